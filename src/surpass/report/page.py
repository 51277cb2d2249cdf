"""report.html: what a run came to, how it went, and attempts to read."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from surpass.report import attempts
from surpass.report.chart import Point, Series, bars, legend, line_chart, plain
from surpass.report.read import NAN, Mean, Run, number, read_run, thin
from surpass.report.style import SCRIPT, STYLE
from surpass.store import write_whole

MOST_POINTS = 400  # rounds drawn and listed; longer runs are thinned evenly
MOST_ROWS = 200  # gate decisions listed
MOST_PROBLEMS = 3  # per round to read
SIGNAL = 2.0  # standard errors below which a change is not called one


def write_report(folder: str | Path) -> Path:
    """Write FOLDER/report.html, one page that needs nothing else, from what the run has stored so far."""
    run = read_run(Path(folder))
    charts, reading = _charts(run), _attempts(run)
    sections = [("result", "Result", _headline(run)), ("charts", "How it went", charts), ("decisions", "Gate decisions", _decisions(run)),
                ("attempts", "Attempts to read", reading), ("setup", "Set-up", _setup(run))]  # fmt: skip
    sections = [section for section in sections if section[2]]
    links = "".join(f'<a href="#{key}">{title}</a>' for key, title, _ in sections[1:])
    body = "".join(f'<section id="{key}">{"" if key == "result" else f"<h2>{title}</h2>"}{inside}</section>' for key, title, inside in sections)
    script = SCRIPT if reading else ""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    title = " · ".join([*_names(run), run.folder.resolve().name])
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'\">"
        f'<title>{html.escape(title)}</title><link rel="icon" href="data:,"><style>{STYLE}</style></head><body><main>'
        f"{_title(run)}<nav aria-label=\"Sections\">{links}</nav>{body}<footer>Written by surpass from {html.escape(run.folder.resolve().name)}. "
        f"± is one standard error.</footer></main>{f'<script>{script}</script>' if script else ''}</body></html>\n"
    )
    path = run.folder / "report.html"
    write_whole(path, page)
    return path


# -- the headline


def _names(run: Run) -> list[str]:
    """Method and task, as far as run.json names them."""
    task = run.about.get("task")
    task = task.get("name") or task.get("part", "").rpartition(".")[2] if isinstance(task, Mapping) else task
    return [str(name) for name in (run.about.get("name"), task) if name]


def _title(run: Run) -> str:
    names, seed = _names(run), run.about.get("seed")
    what = html.escape(" on ".join(names)) or "A run of surpass"
    return f"<h1>{what} <span>{html.escape(run.folder.resolve().name)}{'' if seed is None else f', seed {html.escape(str(seed))}'}</span></h1>"


def _headline(run: Run) -> str:
    tests, gates, change = run.of("exam", split="test"), run.of("gate"), run.change()
    parts = []
    if tests:
        before, after = run.exam(tests[0]), run.exam(tests[-1])
        parts.append(f"<p>Test {html.escape(run.metric)} before<b>{plain(before.mean)}</b>± {plain(before.stderr)}</p>")
        if change is not None:
            down = " down" if change.mean < 0 else ""
            parts.append('<span class="arrow" aria-hidden="true">→</span>')
            parts.append(f"<p>after<b>{plain(after.mean)}</b>± {plain(after.stderr)}</p>")
            parts.append(f'<p class="change{down}">Change<b>{signed(change.mean)}</b>± {plain(change.stderr)} paired, n = {change.n}</p>')
    kept = sum(bool(gate["keep"]) for gate in gates)
    done = max((event["round"] for event in run.of("search")), default=0)
    facts = [("Rounds", f"{done}", _kept_words(run, len(gates), kept))]
    tokens = run.tokens()
    if tokens:
        facts.append(("Tokens", amount(sum(tokens.values())), ", ".join(_by_kind(run))))
    if run.seconds:
        facts.append(("Time", duration(sum(run.seconds.values())), "all phases together"))
    listed = "".join(f"<div><dt>{name}</dt><dd>{value}<small>{html.escape(words)}</small></dd></div>" for name, value, words in facts)
    return f'<div class="card"><div class="result">{"".join(parts)}</div><p class="says">{_says(run, change)}</p><dl class="facts-row">{listed}</dl></div>'


def _kept_words(run: Run, n: int, kept: int) -> str:
    decided = f"{kept} of {n} gate decisions kept" if n else "no gate decision yet"
    if run.end is None:
        return decided
    return f"{decided}; the model is that of round {run.end['kept']}" if run.end.get("kept") else f"{decided}; the model is the one at the start"


def _by_kind(run: Run) -> list[str]:
    kinds: dict[str, int] = {}
    for name, n in run.tokens().items():
        kind = name.partition(": ")[2]
        kinds[kind] = kinds.get(kind, 0) + n
    return [f"{amount(n)} {kind}" for kind, n in kinds.items()]


def _says(run: Run, change: Mean | None) -> str:
    """The result in a sentence or two."""
    name, words = html.escape(run.metric), []
    if run.end is None:
        words.append("The run is not finished; its test exam comes at the end.")
    elif run.end.get("kept") == 0:
        words.append("No update was kept, so the model is the one it was at the start.")
    elif change is not None:
        if not math.isfinite(change.stderr):
            words.append(f"Test {name} went from the first value to the second; too few problems for an error of the change.")
        elif abs(change.mean) < SIGNAL * change.stderr or change.mean == 0:
            words.append(f"Test {name} did not change by more than {SIGNAL:.0f} standard errors over the same {change.n} problems.")
        else:
            words.append(f"Test {name} {'rose' if change.mean > 0 else 'fell'} by {plain(abs(change.mean))} over the same {change.n} problems.")
    if run.end is not None and run.end.get("why"):
        words.append(f"It stopped early: {html.escape(str(run.end['why']))}.")
    return " ".join(words)


def signed(value: float) -> str:
    """A difference with its sign."""
    return f"+{plain(value)}" if value > 0 else plain(value)


def amount(n: float) -> str:
    """A count to read: 12,345 or 1.23 M."""
    for size, letter in ((1e9, "G"), (1e6, "M")):
        if n >= size:
            return f"{n / size:.2f} {letter}"
    return f"{n:,.0f}"


def duration(seconds: float) -> str:
    """Seconds to read: 0.42 s, 3 min 12 s, 2 h 05 min."""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


# -- the charts


def _charts(run: Run) -> str:
    searches, learns = run.of("search"), run.of("learn")
    roles = list(dict.fromkeys(str(event.get("role", "")) for event in learns))
    small = [
        _figure("Reward", "mean over a round's problems, ± standard error", [_series(searches, "reward", "reward_stderr")]),
        _figure("Completion length", "drawn tokens per attempt", [_series(searches, "completions/mean_length")]),
        _figure("Entropy", "mean −log p of drawn tokens, in nats", [_series(searches, "entropy")]),
        _figure("Gradient norm", "before clipping, mean over a round's steps", [_series([e for e in learns if str(e.get("role", "")) == role], "grad_norm", name=role, colour=i + 1) for i, role in enumerate(roles[:2])]),
    ]  # fmt: skip
    if run.tokens():
        small.append(_bars("Tokens", "by phase", run.tokens(), amount))
    if run.seconds:
        small.append(_bars("Time", "by phase", dict(sorted(run.seconds.items(), key=lambda item: -item[1])), duration))
    body = _accuracy(run) + (f'<div class="grid-two">{"".join(small)}</div>' if any(small) else "")
    note = f'<p class="lead">Every chart shows {MOST_POINTS} of {len(searches)} rounds, evenly spread.</p>' if len(searches) > MOST_POINTS else ""
    return f"{note}{body}{_numbers(run)}" if body else ""


def _figure(title: str, words: str, series: Sequence[Series], names: str = "") -> str:
    """A card with one small chart; "" where nothing was measured."""
    known = [s for s in series if any(math.isfinite(p.y) for p in s.points)]
    if len(known) > 1:
        names = legend([(s.mark, s.colour, s.name) for s in known])
    if not known:
        return ""
    return f'<figure class="card"><figcaption>{title}<span>{words}</span></figcaption>{names}{line_chart(f"{title} per round", known)}</figure>'


def _bars(title: str, words: str, amounts: Mapping[str, float], say) -> str:
    return f'<figure class="card"><figcaption>{title}<span>{words}, {say(sum(amounts.values()))} together</span></figcaption>{bars(amounts, say)}</figure>'


def _series(events: Sequence[Mapping[str, Any]], field: str, stderr: str = "", name: str = "", colour: int = 1) -> Series:
    """One figure over the rounds; missing values leave gaps."""
    points = []
    for event in thin(events, MOST_POINTS):
        y, error = number(event.get(field)), number(event.get(stderr))
        points.append(Point(event["round"], y, error, f"round {event['round']}: {_with(y, error)}"))
    return Series(name or field, points, colour=colour)


def _with(value: float, stderr: float) -> str:
    return f"{plain(value)} ± {plain(stderr)}" if math.isfinite(stderr) else plain(value)


def _accuracy(run: Run) -> str:
    """The exams over the rounds: gate exams kept and refused, and the two test exams beside them."""
    verdicts, gates, tests = run.verdicts(), run.of("exam", split="gate"), run.of("exam", split="test")
    kept, refused, test = Series("gate, kept"), Series("gate, refused", mark="hollow", line=False), Series("test", mark="diamond", colour=2, line=False)
    for event in thin(gates, MOST_POINTS):
        m, keep = run.exam(event), verdicts.get(event["round"], True)
        words = "start" if event["round"] == 0 else "kept" if keep else "refused"
        (kept if keep else refused).points.append(Point(event["round"], m.mean, m.stderr, f"round {event['round']}, gate, {words}: {_with(m.mean, m.stderr)}, n = {m.n}"))
    for i, event in enumerate(tests[:1] + tests[1:][-1:]):
        m, when = run.exam(event), "start" if i == 0 else "end"
        rose = len(tests) < 2 or run.exam(tests[-1]).mean >= run.exam(tests[0]).mean
        tip = f"test, {when}: {_with(m.mean, m.stderr)}, n = {m.n}"
        test.points.append(Point(event["round"], m.mean, m.stderr, tip, (-13, 26)[i], f"test {plain(m.mean)}" if i == 0 else "", rose))
    series = [kept, refused, test]
    name = html.escape(run.metric)
    whole = (0.0, 1.0) if run.metric == "accuracy" else None
    charts = [line_chart(f"{run.metric} per round", series, width, height, whole) for width, height in ((1030, 330), (460, 300))]
    if not any(charts):
        return ""
    names = legend([("dot", 1, "gate split, kept"), ("hollow", 1, "gate split, refused"), ("diamond", 2, "test split, start and end")])
    return (
        f'<figure class="card"><figcaption>{name[:1].upper() + name[1:]}<span>exams after each round, ± standard error over problems</span></figcaption>'
        f'{names}<div class="full">{charts[0]}</div><div class="narrow">{charts[1]}</div></figure>'
    )


def _numbers(run: Run) -> str:
    """The charts as a table, folded."""
    fields = {"reward": "reward", "frac_reward_zero_std": "no spread", "completions/mean_length": "length", "completions/clipped_ratio": "cut off",
              "entropy": "entropy", "failed": "failed", "unjudged": "not judged"}  # fmt: skip
    learnt = {"examples": "examples", "loss": "loss", "grad_norm": "gradient norm"}
    searches, learns = run.of("search"), {event["round"]: event for event in reversed(run.of("learn"))}
    gates = {event["round"]: run.exam(event) for event in run.of("exam", split="gate")}
    if not searches:
        return ""
    rows = []
    for event in thin(searches, MOST_POINTS):
        r = event["round"]
        values = [plain(number(event.get(f))) if f not in ("failed", "unjudged") else str(event.get(f, "–")) for f in fields]
        update = learns.get(r, {})
        values += [str(update.get("examples", "–")), *(plain(number(update.get(f))) for f in ("loss", "grad_norm"))]
        values.append(_with(*gates[r][:2]) if r in gates else "")
        rows.append(f'<tr><th scope="row">{r}</th>{"".join(f"<td>{html.escape(v)}</td>" for v in values)}</tr>')
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("round", *fields.values(), *learnt.values(), "gate exam"))
    return (
        '<details class="more"><summary>The numbers of every round</summary><div class="wide" tabindex="0" role="region" aria-label="Numbers">'
        f'<table class="numbers"><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div></details>'
    )


# -- decisions, attempts, set-up


def _decisions(run: Run) -> str:
    gates = run.of("gate")
    if not gates:
        return ""
    rows = []
    for gate in thin(gates, MOST_ROWS):
        word = "kept" if gate["keep"] else "refused"
        why = html.escape(str(gate.get("why", "")).replace("+-", "±"))
        rows.append(f'<tr class="{word}"><th scope="row">{gate["round"]}</th><td class="decision"><span class="mark"></span>{word}</td>'
                    f'<td class="why">{why}</td></tr>')  # fmt: skip
    kept = sum(bool(gate["keep"]) for gate in gates)
    shown = f" {MOST_ROWS} of them, evenly spread:" if len(gates) > MOST_ROWS else ""
    return (
        f'<p class="lead">{kept} of {len(gates)} kept. A refused trial is undone: weights, optimiser and notes go back.{shown}</p>'
        '<div class="card"><table class="gate"><thead><tr><th scope="col">Round</th><th scope="col">Decision</th><th scope="col">Why</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _attempts(run: Run) -> str:
    """The first problems of the first, the middle and the last round."""
    if not run.rounds:
        return ""
    rounds = list(dict.fromkeys([run.rounds[0], run.rounds[(len(run.rounds) - 1) // 2], run.rounds[-1]]))
    read = {r: run.trees(r, MOST_PROBLEMS) for r in rounds}
    every = [tree for trees, _ in read.values() for tree in trees]
    score = attempts.score_name(run.about, every)
    values = [v for tree in every for v in attempts.leaf_values(tree, score).values() if math.isfinite(v)]
    span = (min([0.0, *values]), max([1.0, *values]))
    parts = []
    for r, (trees, total) in read.items():
        texts = run.texts(r, MOST_PROBLEMS)
        boxes = "".join(attempts.problem(tree, score, texts.get(i, {}), span, i == 0) for i, tree in enumerate(trees))
        parts.append(f"<h3>Round {r}</h3><p class=\"note\">{len(trees)} of {total} problems, the first as they were drawn</p>{boxes}")
    return (
        '<p class="lead">Every attempt at the first problems of the first, the middle and the last round. A filled cell is a high reward.</p>'
        f'<button id="open" type="button" hidden>Open all problems</button>{"".join(parts)}'
    )


def _setup(run: Run) -> str:
    """run.json: short values as a list, long ones folded."""
    rows = []
    for key, value in run.about.items():
        if isinstance(value, str) or not isinstance(value, (Mapping, list)):
            shown = html.escape(str(value)[:2000])
        elif len(text := json.dumps(value, ensure_ascii=False, default=str)) <= 160:
            words = [f"{k} {v}" if k != "part" else str(v) for k, v in value.items()] if isinstance(value, Mapping) else [text]
            shown = html.escape(", ".join(words))
        else:
            full = json.dumps(value, indent=2, ensure_ascii=False, default=str)
            shown = f"<details><summary>{len(value)} entries</summary><pre>{html.escape(full[:20_000])}</pre></details>"
        rows.append(f"<dt>{html.escape(str(key))}</dt><dd>{shown}</dd>")
    return f'<div class="card"><dl class="setup">{"".join(rows)}</dl></div>' if rows else ""
