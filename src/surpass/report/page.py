"""report.html: what a run came to, how it went, and attempts to read."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from surpass import nofollow
from surpass.alarms import alarms
from surpass.errors import SurpassError
from surpass.intact import write_whole
from surpass.report import attempts
from surpass.report.curves import curves
from surpass.report.read import Mean, Run, read_run, thin
from surpass.report.style import SCRIPT, STYLE
from surpass.report.words import amount, between, duration, plain, signed, some
from surpass.tables import DAMAGED
from surpass.types import Tree

MOST_ROWS = 200  # gate decisions listed
MOST_PROBLEMS = 3  # per round to read
SIGNAL = 2.0  # standard errors below which a change is not called one


def write_report(folder: str | Path) -> Path:
    """Write FOLDER/report.html, one page that needs nothing else, from what the run has stored so far."""
    nofollow.check(folder)
    run = read_run(Path(folder))
    sections = [("charts", "How it went", curves(run)), ("decisions", "Gate decisions", decisions(run)),
                ("attempts", "Attempts to read", _attempts(run)), ("setup", "Set-up", setup(run))]  # fmt: skip
    shown = [section for section in sections if section[2]]
    links = "".join(f'<a href="#{key}">{title}</a>' for key, title, _ in shown)
    parts = "".join(f'<section id="{key}"><h2>{title}</h2>{inside}</section>' for key, title, inside in shown)
    name = html.escape(run.folder.resolve().name)
    body = (
        f'<main>{title(run, name)}<nav aria-label="Sections">{links}</nav>{headline(run)}{parts}'
        f"<footer>Written by surpass from {name}. ± is one standard error.</footer></main>"
    )
    path = run.folder / "report.html"
    write_whole(path, document(" · ".join([*map(html.escape, names(run)), name]), body, SCRIPT if run.rounds else ""))
    return path


def document(title: str, body: str, script: str) -> str:
    """A whole page. Its policy forbids every request, and every script but this one."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><title>{title}</title>'
        f'<link rel="icon" href="data:,"><style>{STYLE}</style></head>\n<body>{body}'
        f"{f'<script>{script}</script>' if script else ''}</body></html>\n"
    )


# -- the headline


def names(run: Run) -> list[str]:
    """Method and task, as far as run.json names them."""
    task = run.about.get("task")
    if isinstance(task, Mapping):
        task = task.get("name") or str(task.get("part", "")).rpartition(".")[2]
    return [str(name) for name in (run.about.get("name"), task) if name]


def title(run: Run, folder: str) -> str:
    what = html.escape(" on ".join(names(run))) or "A run of surpass"
    seed = f", seed {html.escape(str(run.about['seed']))}" if "seed" in run.about else ""
    return f"<h1>{what} <span>{folder}{seed}</span></h1>"


def headline(run: Run) -> str:
    """The one result, and what it took."""
    tests, change, big = run.of("exam", split="test"), run.change(), ""
    if tests:
        before, after = run.exam(tests[0]), run.exam(tests[-1])
        big = f"<p>Test {html.escape(run.metric)} before{_big(before)}"
        if change is not None:
            big += '</p><span class="arrow" aria-hidden="true">→</span>'
            big += f"<p>after{_big(after)}</p>"
            big += f'<p class="change{" down" if change.mean < 0 else ""}">Change<b>{signed(change.mean)}</b>'
            big += f"± {plain(change.stderr)} paired, n = {change.n}" if change.n else ""
            big += (
                f", {change.missing} of them judged once only and counted as wrong the other time</p>"
                if change.missing
                else "</p>"
            )
        else:
            big += f", n = {before.n}</p>"
    done = max((event["round"] for event in run.of("search")), default=0)
    facts = [("Rounds", str(done), _kept(run))]
    if run.tokens():
        kinds: Counter[str] = Counter()
        for name, n in run.tokens().items():
            kinds[name.partition(": ")[2]] += n
        facts.append(("Tokens", amount(kinds.total()), ", ".join(f"{amount(n)} {kind}" for kind, n in kinds.items())))
    if run.seconds:
        facts.append(("Time", duration(sum(run.seconds.values())), "all phases together"))
    rows = [f"<div><dt>{name}</dt><dd>{value}<small>{html.escape(words)}</small></dd></div>" for name, value, words in facts]
    says = "".join(f'<p class="says">{html.escape(words)}</p>' for words in (_says(run, change), _unlabelled(run)) if words)
    says += "".join(f'<p class="says alarm">{html.escape(words)}</p>' for words in alarms(run.events))
    return f'<div class="card"><div class="result">{big}</div>{says}<dl class="facts-row">{"".join(rows)}</dl></div>'


def _big(m: Mean) -> str:
    """A figure of an exam; where something was not judged, first between what it lies."""
    if not math.isfinite(m.low):
        return f"<b>{plain(m.mean)}</b>± {plain(m.stderr)}"
    of = f"{m.missing} of {m.n + m.missing} not judged; {plain(m.mean)} ± {plain(m.stderr)} of the others"
    return f"<b>{plain(m.low)} to {plain(m.high)}</b>{of}"


def _kept(run: Run) -> str:
    """How many decisions went which way, and which round the model is of."""
    gates = run.of("gate")
    kept = sum(bool(gate["keep"]) for gate in gates)
    decided = f"{kept} of {some(len(gates), 'gate decision')} kept" if gates else "no gate decision yet"
    if run.end is None:
        return decided
    return f"{decided}; the model is {'that of round ' + str(run.end['kept']) if run.end.get('kept') else 'the one at the start'}"


def _says(run: Run, change: Mean | None) -> str:
    """The result in a sentence or two."""
    words = []
    if run.end is None:
        words.append("The run is not finished; the second test exam comes at its end.")
    elif run.end.get("kept") == 0:
        words.append("No update was kept, so the model is the one it was at the start.")
    elif change is not None and not math.isfinite(change.stderr):
        words.append("There are too few problems to say how sure the change is.")
    elif change is not None:
        if change.mean and abs(change.mean) >= SIGNAL * change.stderr:
            went = f"{'rose' if change.mean > 0 else 'fell'} by {between(abs(change.mean), change.stderr)}"
        else:
            went = f"did not change by as much as {SIGNAL:.0f} standard errors"
        words.append(f"Test {run.metric} {went} over the same {some(change.n, 'problem')}.")
    if run.end is not None and run.end.get("why"):
        words.append(f"The run stopped early: {run.end['why']}.")
    return " ".join(words)


def _unlabelled(run: Run) -> str:
    """For a method without labels: what is known about improvement, and what is not."""
    if run.labels:
        return ""
    words = ["Training and gate used no labels."]
    if run.metric == "accuracy":
        words.append("The two test exams did, for this page alone; nothing was chosen by them.")
    else:
        words.append("No test problem has a label, so whether answers became better is not known.")
    agreed, tests = run.change("agreement"), run.of("exam", split="test")
    if agreed is not None and math.isfinite(agreed.mean):
        drift = run.exam(tests[-1], "drift").mean
        words.append(f"Known without labels: agreement among attempts changed by {signed(agreed.mean)}, and the model drifted {plain(drift)} "
                     "nats a token from the start. A model that agrees with itself more may be right or wrong more often.")  # fmt: skip
    return " ".join(words)


# -- decisions, attempts, set-up


def decisions(run: Run) -> str:
    """The gate's verdicts as a table."""
    gates = run.of("gate")
    if not gates:
        return ""
    rows = []
    for gate in thin(gates, MOST_ROWS):
        word = "kept" if gate["keep"] else "refused"
        why = html.escape(str(gate.get("why", ""))[:500].replace("+-", "±"))
        rows.append(
            f'<tr class="{word}"><th scope="row">{gate["round"]}</th>'
            f'<td class="decision"><span class="mark"></span>{word}</td><td class="why">{why}</td></tr>'
        )
    kept = sum(bool(gate["keep"]) for gate in gates)
    listed = f" {MOST_ROWS} of them are listed, evenly spread." if len(gates) > MOST_ROWS else ""
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("Round", "Decision", "Why"))
    return (
        f'<p class="lead">{kept} of {len(gates)} kept. A refused trial is undone: weights, optimiser and notes.{listed}</p>'
        f'<div class="card"><table class="gate"><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _attempts(run: Run) -> str:
    """The first problems of the first, the middle and the last round."""
    if not run.rounds:
        return ""
    rounds = dict.fromkeys([run.rounds[0], run.rounds[(len(run.rounds) - 1) // 2], run.rounds[-1]])
    read, broken = {}, ""
    for r in rounds:
        try:
            read[r] = run.trees(r, MOST_PROBLEMS)
        except SurpassError as error:
            broken += f'<p class="note">Round {r} is left out: {html.escape(str(error))}</p>'
    every = [tree for trees, _ in read.values() for tree in trees]
    score = attempts.score_name(run.about, every)
    values = [v for tree in every for v in attempts.leaf_values(tree, score).values() if math.isfinite(v)]
    span = (min([0.0, *values]), max([1.0, *values]))
    parts = []
    for r, (trees, total) in read.items():
        texts = run.texts(r, MOST_PROBLEMS)
        first = f"{len(trees)} of {some(total, 'problem')}, the first ones of the round"
        parts.append(f'<h3>Round {r} <span class="note">{first}</span></h3>')
        parts += [_problem(tree, score, texts.get(i, {}), span, i == 0) for i, tree in enumerate(trees)]
    return (
        '<p class="lead">Every attempt at the first problems of the first, the middle and the last round. '
        "Each cell is one attempt; the fuller it is, the higher its reward.</p>"
        f'<button id="open" type="button" hidden>Open all problems</button>{"".join(parts)}{broken}'
    )


def _problem(tree: Tree, *more: Any) -> str:
    """One problem's attempts; a sentence where its tree holds something that no run of surpass wrote."""
    try:
        return attempts.problem(tree, *more)
    except DAMAGED as error:
        return f'<p class="note">A problem is left out: its tree cannot be read ({type(error).__name__}).</p>'


def setup(run: Run) -> str:
    """run.json: short values as a list, long ones folded."""
    rows = "".join(f"<dt>{html.escape(str(key))}</dt><dd>{_value(value)}</dd>" for key, value in run.about.items())
    return f'<div class="card"><dl class="setup">{rows}</dl></div>' if rows else ""


def _value(value: Any) -> str:
    if not isinstance(value, (Mapping, list)):
        return html.escape(str(value)[:2000])
    if len(text := json.dumps(value, ensure_ascii=False)) <= 160:
        words = [str(v) if k == "part" else f"{k} {v}" for k, v in value.items()] if isinstance(value, Mapping) else [text]
        return html.escape(", ".join(words))
    whole = html.escape(json.dumps(value, indent=2, ensure_ascii=False)[:20_000])
    return f"<details><summary>{some(len(value), 'field')}</summary><pre>{whole}</pre></details>"
