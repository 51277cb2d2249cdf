"""Methods side by side: the same problems and seeds, as much work for each, paired tests."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from surpass import api, nofollow, records
from surpass.budget import Budget, parameters
from surpass.comparison import Comparison, Runs, judged
from surpass.errors import SurpassError
from surpass.figures import report_from, report_json
from surpass.find import Entry, find_method, make_method, make_models
from surpass.intact import loads, write_whole
from surpass.measures import sized
from surpass.parts import Task, to_json
from surpass.progress import longest
from surpass.report.comparison import short, write_comparison
from surpass.result import Result
from surpass.store import as_line


def compare(
    methods: Sequence[str],
    task: str | Task = "arithmetic",
    model: str = "smollm2-135m",
    *,
    budget: str = "tokens=200k",
    seeds: int = 3,
    name: str = "",
    out: str | Path = "runs/compare",
    test: int = 256,
    gate: int = 96,
    metric: str = "accuracy",
    reward: str | None = None,
    tell: Callable[[str], None] = lambda words: print(words, file=sys.stderr),
    **options: Any,
) -> Comparison:
    """Run every method with every seed until the budget is spent, and compare them on the test problems.
    Methods that learn nothing have one exam each and are compared beside its cost.

    Folders below `out` hold the runs: finished ones are reused, interrupted ones go on. `out`/comparison.html
    is written at the end and calls the task `name`. `options` are those of surpass.improve (dtype, device,
    lora, patience). Raises SurpassError.
    """
    entries, limit = [Entry.parse(text) for text in methods], Budget.parse(budget)
    if len(entries) < 2 or len({entry.slug for entry in entries}) < len(entries):
        raise SurpassError(
            "comparing wants two methods or more, each once (or with other knobs); found "
            f"{', '.join(methods)}"
        )
    if len({entry.learns for entry in entries}) == 2:
        still = ", ".join(entry.name for entry in entries if not entry.learns)
        raise SurpassError(
            f"methods that learn and methods that learn nothing ({still}) spend at different times; "
            "compare them apart"
        )
    if seeds < 1:
        raise SurpassError(f"comparing wants one seed or more; found {seeds}")
    _plain(Path(out), [entry.slug for entry in entries], seeds)
    models = make_models({"name": model, "trained": entries[0].learns})
    size, learning = parameters(models), entries[0].learns
    amount = (
        f"{limit} each, {short(len(entries) * seeds * limit.amount)} {limit.kind} "
        f"together{longest(models, limit, len(entries) * seeds)}"
        if learning
        else f"one exam of {test} problems each"
    )
    tell(
        f"{len(entries)} methods x {seeds} seeds = {len(entries) * seeds} runs: {amount}; exams are not in it"
    )
    found = {entry.name: Runs(entry) for entry in entries}
    for seed in range(1, seeds + 1):
        for entry in entries:
            folder = Path(out) / entry.slug / f"seed-{seed}"
            tell(f"{entry.name}, seed {seed}: {folder}")
            if learning:
                result = api.improve(
                    entry.method,
                    task,
                    model,
                    rounds=10**6,
                    seed=seed,
                    out=folder,
                    budget=str(budget),
                    test=test,
                    gate=gate,
                    reward=reward,
                    quiet=not sys.stderr.isatty(),
                    **options,
                    **entry.knobs,
                )
                _learnt(found[entry.name], result, limit, size, metric)
            else:
                _examined(found[entry.name], folder, entry, task, model, seed, test, reward, options)
    called = name or (task if isinstance(task, str) else type(task).__name__)
    compared = judged(list(found.values()), called, model, limit if learning else None, metric, size)
    tell(f"table, verdicts and curves: {write_comparison(compared, Path(out))}")
    return compared


def _learnt(runs: Runs, result: Result, budget: Budget, size: int, metric: str) -> None:
    runs.reports.append(result.after)
    runs.before.append(result.before)
    runs.costs.append({account: dict(counts) for account, counts in result.cost.items()})
    exams = {e["round"]: e for e in result.events if e["event"] == "exam" and e.get("split") == "gate"}
    curve: list[tuple[float, float]] = []
    best = math.nan
    for event in result.events:
        if event["event"] == "gate" or (
            event["event"] == "exam" and event["round"] == 0 and event.get("split") == "gate"
        ):
            accuracy = exams[event["round"]]["metrics"].get(metric, {}).get("mean", math.nan)
            best = accuracy if event.get("keep", True) else best
            curve.append((budget.of(event.get("spent", {}), size, event.get("seconds", 0.0)), best))
    runs.curves.append(curve)


def _examined(
    runs: Runs,
    folder: Path,
    entry: Entry,
    task: str | Task,
    model: str,
    seed: int,
    test: int,
    reward: str | None,
    options: Mapping[str, Any],
) -> None:
    """The exam of a method that learns nothing; one that is stored already is read again."""
    method = make_method(find_method(entry.method), entry.knobs)
    about = {
        "method": to_json(sized(method.exam, {"test": test})),
        "task": task if isinstance(task, str) else to_json(task),
        "model": model,
        "seed": seed,
        "reward": reward,
        **{name: value for name, value in options.items() if name != "template_args" or value},
    }
    path = folder / "report.json"
    known = _known(folder)
    if known is not None and known["about"] != json.loads(as_line(about)):
        raise SurpassError(f"{folder} holds an exam of something else; choose another --out")
    if known is None:
        report = api.evaluate(
            entry.method, task, model, limit=test, seed=seed, reward=reward, **options, **entry.knobs
        )
        known = {"about": about, "report": report_json(report), "cost": report.cost}
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, as_line(known))
    runs.reports.append(report_from(known["report"]))
    runs.costs.append({"exam": known["cost"]})


def _plain(out: Path, slugs: Sequence[str], seeds: int) -> None:
    """SurpassError where a link lies in a comparison's folder. Runs check their own folders."""
    nofollow.check(out, ("comparison.html",), ())
    for slug in slugs:
        nofollow.listed(out, slug)
        for seed in range(1, seeds + 1):
            nofollow.listed(out / slug, f"seed-{seed}")
            nofollow.check(out / slug / f"seed-{seed}", ("report.json",), ())


def _known(folder: Path) -> dict[str, Any] | None:
    """The exam in a folder; None where there is none."""
    try:
        text = nofollow.read(folder, "report.json") if folder.exists() else None
        found = None if text is None else loads(text)
        flaw = (
            ""
            if found is None
            else records.flaw(
                found, {"about": dict, "report": records.REPORT, "cost": records.each(records.number)}
            )
        )
    except ValueError as error:
        flaw = str(error)
    if flaw:
        raise SurpassError(
            f"{folder / 'report.json'} is damaged: {flaw}; remove it, and the exam is held again"
        )
    return found
