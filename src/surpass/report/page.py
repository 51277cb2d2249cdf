"""report.html: the result of a run, how it went, and attempts to read."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from surpass import nofollow
from surpass.alarms import alarms
from surpass.errors import Damaged
from surpass.intact import write_whole
from surpass.report import attempts
from surpass.report.curves import curves
from surpass.report.markup import Html, fill, joined
from surpass.report.read import Mean, Run, read_run, thin
from surpass.report.style import SCRIPT, STYLE
from surpass.report.words import amount, between, duration, plain, signed, some
from surpass.types import Tree

MOST_ROWS = 200  # gate decisions listed
MOST_PROBLEMS = 3  # per round to read
SIGNAL = 2.0  # standard errors below which a change is not called one


def write_report(folder: str | Path) -> Path:
    """Write FOLDER/report.html, a page that needs no other file, from what the run has stored so far."""
    nofollow.check(folder)
    run = read_run(Path(folder))
    sections = [
        ("charts", "How it went", curves(run)),
        ("decisions", "Gate decisions", decisions(run)),
        ("attempts", "Attempts to read", _attempts(run)),
        ("setup", "Set-up", setup(run)),
    ]
    shown = [section for section in sections if section[2]]
    links = joined(fill('<a href="#{}">{}</a>', key, name) for key, name, _ in shown)
    parts = joined(fill('<section id="{}"><h2>{}</h2>{}</section>', *section) for section in shown)
    name = run.folder.resolve().name
    body = fill(
        '<main>{}<nav aria-label="Sections">{}</nav>{}{}<footer>Written by surpass from {}. ± is one '
        "standard error.</footer></main>",
        title(run, name),
        links,
        headline(run),
        parts,
        name,
    )
    path = run.folder / "report.html"
    write_whole(path, document(" · ".join([*names(run), name]), body, SCRIPT if run.rounds else ""))
    return path


def document(title: str, body: Html, script: str) -> Html:
    """A whole page. Its policy forbids requests, forms, frames, and all scripts and styles but its own."""
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (STYLE, script)]
    policy = (
        "default-src 'none'; style-src 'sha256-{}'; img-src data:; script-src 'sha256-{}'; base-uri "
        "'none'; form-action 'none'"
    )
    return fill(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        'content="width=device-width, initial-scale=1"><meta http-equiv="Content-Security-Policy" '
        'content="{}"><meta name="referrer" content="no-referrer"><title>{}</title><link rel="icon" '
        'href="data:,"><style>{}</style></head>\n<body>{}{}</body></html>\n',
        Html(policy.format(*digests)),
        title,
        Html(STYLE),
        body,
        fill("<script>{}</script>", Html(script)) if script else "",
    )


# -- the headline


def names(run: Run) -> list[str]:
    """The names of method and task, as far as run.json tells them."""
    task = run.about.get("task")
    if isinstance(task, Mapping):
        task = task.get("name") or str(task.get("part", "")).rpartition(".")[2]
    return [str(name)[:200] for name in (run.about.get("name"), task) if name]


def title(run: Run, folder: str) -> Html:
    seed = f", seed {str(run.about['seed'])[:40]}" if "seed" in run.about else ""
    return fill("<h1>{} <span>{}{}</span></h1>", " on ".join(names(run)) or "A run of surpass", folder, seed)


def headline(run: Run) -> Html:
    """The result, and what it cost."""
    tests, change, big = run.of("exam", split="test"), run.change(), Html("")
    if tests:
        before, after = run.exam(tests[0]), run.exam(tests[-1])
        big = fill("<p>Test {} before{}", run.metric, _big(before))
        big = (
            fill("{}, n = {}</p>", big, before.n)
            if change is None
            else joined([big, _changed(after, change)])
        )
    done = max((event["round"] for event in run.of("search")), default=0)
    facts = [("Rounds", str(done), _kept(run))]
    if run.tokens():
        kinds: Counter[str] = Counter()
        for name, n in run.tokens().items():
            kinds[name.partition(": ")[2]] += n
        facts.append(
            ("Tokens", amount(kinds.total()), ", ".join(f"{amount(n)} {kind}" for kind, n in kinds.items()))
        )
    if run.seconds:
        facts.append(("Time", duration(sum(run.seconds.values())), "all phases together"))
    rows = joined(fill("<div><dt>{}</dt><dd>{}<small>{}</small></dd></div>", *fact) for fact in facts)
    says = [
        fill('<p class="says">{}</p>', words) for words in (_says(run, change), _unlabelled(run)) if words
    ]
    says += [fill('<p class="says alarm">{}</p>', words) for words in (*alarms(run.events), *_unread(run))]
    card = '<div class="card"><div class="result">{}</div>{}<dl class="facts-row">{}</dl></div>'
    return fill(card, big, joined(says), rows)


def _changed(after: Mean, change: Mean) -> Html:
    """The result once the second test exam is over."""
    down, words = (
        " down" if change.mean < 0 else "",
        f"± {plain(change.stderr)} paired, n = {change.n}" if change.n else "",
    )
    if change.missing:
        words += f", {change.missing} of them judged once only and counted as wrong the other time"
    arrow = (
        '</p><span class="arrow" aria-hidden="true">→</span><p>after{}</p><p '
        'class="change{}">Change<b>{}</b>{}</p>'
    )
    return fill(arrow, _big(after), down, signed(change.mean), words)


def _unread(run: Run) -> list[str]:
    return (
        [f"{some(run.unread, 'line')} of events.jsonl cannot be read; the page is made of the others."]
        if run.unread
        else []
    )


def _big(m: Mean) -> Html:
    """A figure of an exam; where some problems were not judged, its bounds first."""
    if not math.isfinite(m.low):
        return fill("<b>{}</b>± {}", plain(m.mean), plain(m.stderr))
    of = f"{m.missing} of {m.n + m.missing} not judged; {plain(m.mean)} ± {plain(m.stderr)} of the others"
    return fill("<b>{} to {}</b>{}", plain(m.low), plain(m.high), of)


def _kept(run: Run) -> str:
    """How many rounds were kept and refused, and which round's weights the model has."""
    gates = run.of("gate")
    kept = sum(bool(gate["keep"]) for gate in gates)
    decided = f"{kept} of {some(len(gates), 'gate decision')} kept" if gates else "no gate decision yet"
    if run.end is None:
        return decided
    return (
        f"{decided}; the model is "
        f"{'that of round ' + str(run.end['kept']) if run.end.get('kept') else 'the one at the start'}"
    )


def _says(run: Run, change: Mean | None) -> str:
    """The result in one or two sentences."""
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
        words.append(
            f"Known without labels: agreement among attempts changed by {signed(agreed.mean)}, and the "
            f"model drifted {plain(drift)} nats a token from the start. A model that agrees with itself "
            "more may be right or wrong more often."
        )
    return " ".join(words)


# -- decisions, attempts, set-up


def decisions(run: Run) -> Html:
    """The gate's verdicts as a table."""
    gates = run.of("gate")
    if not gates:
        return Html("")
    row = (
        '<tr class="{}"><th scope="row">{}</th><td class="decision"><span class="mark"></span>{}</td><td '
        'class="why">{}</td></tr>'
    )
    rows = []
    for gate in thin(gates, MOST_ROWS):
        word = "kept" if gate["keep"] else "refused"
        rows.append(fill(row, word, gate["round"], word, gate.get("why", "")[:500].replace("+-", "±")))
    kept = sum(bool(gate["keep"]) for gate in gates)
    listed = f" {MOST_ROWS} of them are listed, evenly spread." if len(gates) > MOST_ROWS else ""
    heads = joined(fill('<th scope="col">{}</th>', name) for name in ("Round", "Decision", "Why"))
    return fill(
        '<p class="lead">{} of {} kept. A refused trial is undone: weights, optimiser and notes.{}</p>'
        '<div class="card"><table class="gate"><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>',
        kept,
        len(gates),
        listed,
        heads,
        joined(rows),
    )


def _attempts(run: Run) -> Html:
    """The first problems of the first, the middle and the last round."""
    if not run.rounds:
        return Html("")
    read: dict[int, tuple[list[Tree], int]] = {}
    broken: list[Html] = []
    for r in dict.fromkeys([run.rounds[0], run.rounds[(len(run.rounds) - 1) // 2], run.rounds[-1]]):
        try:
            read[r] = run.trees(r, MOST_PROBLEMS)
        except Damaged as error:
            broken.append(fill('<p class="note">{}</p>', str(error)))
    every = [tree for trees, _ in read.values() for tree in trees]
    score = attempts.score_name(run.about, every)
    values = [v for tree in every for v in attempts.leaf_values(tree, score).values() if math.isfinite(v)]
    span = (min([0.0, *values]), max([1.0, *values]))
    parts = []
    for r, (trees, total) in read.items():
        texts = run.texts(r, MOST_PROBLEMS)
        first = f"{len(trees)} of {some(total, 'problem')}, the first ones of the round"
        parts.append(fill('<h3>Round {} <span class="note">{}</span></h3>', r, first))
        parts += [
            attempts.problem(tree, score, texts.get(i, {}), span, i == 0) for i, tree in enumerate(trees)
        ]
    return fill(
        '<p class="lead">Every attempt at the first problems of the first, the middle and the last round. '
        "Each cell is one attempt; the fuller it is, the higher its reward.</p>"
        '<button id="open" type="button" hidden>Open all problems</button>{}',
        joined([*broken, *parts]),
    )


def setup(run: Run) -> Html:
    """run.json: short values as a list, long ones folded."""
    rows = joined(
        fill("<dt>{}</dt><dd>{}</dd>", key[:200], _value(value)) for key, value in run.about.items()
    )
    return fill('<div class="card"><dl class="setup">{}</dl></div>', rows) if rows else Html("")


def _value(value: Any) -> Html:
    if not isinstance(value, (Mapping, list)):
        return fill("{}", str(value)[:2000])
    try:
        text, whole = (
            json.dumps(value, ensure_ascii=False),
            json.dumps(value, indent=2, ensure_ascii=False)[:20_000],
        )
    except RecursionError:
        return Html("nested too deeply to be shown")
    if len(text) <= 160:
        words = (
            [str(v) if k == "part" else f"{k} {v}" for k, v in value.items()]
            if isinstance(value, Mapping)
            else [text]
        )
        return fill("{}", ", ".join(words))
    return fill("<details><summary>{}</summary><pre>{}</pre></details>", some(len(value), "field"), whole)
