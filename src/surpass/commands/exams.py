"""surpass eval | solve: what a model can do, and one question."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from surpass.commands.runs import method_first
from surpass.errors import SurpassError
from surpass.find import find_method, make_method, make_task
from surpass.means import all_bounds
from surpass.options import eval_flags, skill_flags, solve_flags
from surpass.parsing import parse, picked, task_settings
from surpass.shell import show, tell_failed


def evaluate(arguments: Sequence[str]) -> int:
    """surpass eval METHOD ..., or without a method: what the model can do."""
    from surpass.progress import watching
    from surpass.starting import examined
    from surpass.store import as_line

    if not arguments or arguments[0].startswith("-"):
        return _skills(arguments)
    name, rest, settings = method_first("eval", arguments)
    asked = parse(find_method(name), eval_flags(), rest, f"surpass eval {name}", drawing=True)
    _check_split(asked["split"])
    models, work = examined(asked | {"settings": settings})
    with watching(models, f"{name}, {asked['split']}"):
        report = models.run(work)
    print(report)
    tell_failed(report.cost)
    print("cost  " + ", ".join(f"{n:,} {what}" for what, n in sorted(report.cost.items())))
    if asked["json"]:
        print(as_line({"metrics": report.metrics, "bounds": all_bounds(report.metrics), "cost": report.cost}))
    return 0


def _check_split(split: str) -> None:
    if split not in ("test", "gate"):
        raise SurpassError(f'--split is test or gate; found "{split}"')


def _skills(arguments: Sequence[str]) -> int:
    """surpass eval --model M --task T: a table with a line per task."""
    from surpass.store import as_line

    rest, settings = task_settings(arguments)
    title = (
        "What a model can do on each task before anything is learnt, and whether it knows when it is right."
    )
    asked = parse(None, skill_flags(skill_table), rest, "surpass eval", title)
    given = {name: asked[name] for name in asked if name not in ("json", "api", "method", "knobs")}
    reports = skill_table(**given, settings=settings)
    if asked["json"]:
        found = {
            name: {"metrics": report.metrics, "bounds": all_bounds(report.metrics), "auc": report.info["auc"]}
            for name, report in reports.items()
        }
        print(as_line(found))
    return 0


def skill_table(
    model: str = "tiny",
    task: str = "suite",
    split: str = "test",
    limit: int = 512,
    k: int = 16,
    max_tokens: int = 192,
    seed: int = 0,
    dtype: str = "auto",
    device: str = "auto",
    template_args: Mapping[str, Any] | None = None,
    settings: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What a model can do on each task before anything is learnt, and whether it knows when it is right: a
    line per task is printed, the reports are returned.
    """
    from surpass.measures import fit, skills, table
    from surpass.needs import ENGINE_NEEDS
    from surpass.parts import needs_of
    from surpass.progress import watching
    from surpass.starting import model_spec, models_of

    _check_split(split)
    made = make_task(task, settings, model=model)
    loading = {"dtype": dtype, "device": device, "template_args": template_args}
    models = models_of(model, model_spec(loading))
    if min(limit, k, max_tokens) < 1:
        raise SurpassError("--limit, --k and --max-tokens are at least 1")
    measure = skills(limit, k, max_tokens)
    if missing := (needs_of(measure) & ENGINE_NEEDS.keys()) - models.can("policy"):
        raise SurpassError(
            f"a table of skills needs {', '.join(sorted(missing))}, which {model} does not give; "
            "evaluate a method instead: surpass eval self_consistency --model ..."
        )
    reports, missed = {}, []
    for name, part in getattr(made, "parts", {type(made).__name__: made}).items():
        with watching(models, f"{name}, {split}"):
            reports[name] = models.run(measure(models, part, split, seed))
        lines = table({name: reports[name]}, k).splitlines()
        print("\n".join(lines if len(reports) == 1 else lines[-1:]), flush=True)
        missed += [f"{name}: {reason}" for reason in fit(reports[name], k)]
    if missed:
        print("\n".join(["", "not fit to show what methods do with this model:", *missed]))
    else:
        print("\nevery task is fit")
    return reports


def solve(arguments: Sequence[str]) -> int:
    """surpass solve QUESTION [--method METHOD] ..."""
    import surpass
    from surpass.measures import redrawn
    from surpass.progress import watching
    from surpass.starting import model_spec, models_of

    if not arguments or arguments[0].startswith("-"):
        raise SurpassError(
            'surpass solve wants a question first, e.g. surpass solve "What is 17 * 24?" --method '
            "self_consistency"
        )
    question, name = arguments[0], "self_consistency"
    rest, found = picked(arguments[1:], "--method".__eq__)
    for _, values in found:
        if not values:
            raise SurpassError("--method wants a name after it")
        name = values[0]
    function = find_method(name)
    asked = parse(function, solve_flags(), rest, f"surpass solve QUESTION --method {name}", drawing=True)
    method = make_method(function, asked["knobs"])
    method = dataclasses.replace(method, exam=redrawn(method.exam, asked["drawing"]))
    models = models_of(asked["model"], model_spec(asked))
    with watching(models, name):
        solution = surpass.solve(
            question, method, models, seed=asked["seed"], instruction=asked["instruction"]
        )
    if asked["json"]:
        print(solution.as_json())
    else:
        show(solution)
    return 0
