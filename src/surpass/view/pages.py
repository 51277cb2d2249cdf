"""The pages as HTML: what the report says of a run, and all its attempts to page through."""

from __future__ import annotations

import time
from urllib.parse import quote

from surpass.errors import SurpassError
from surpass.gates import paired_values
from surpass.report.chart import Point, Series, legend, line_chart
from surpass.report.curves import curves
from surpass.report.folder import opened
from surpass.report.markup import Html, fill, joined
from surpass.report.page import decisions, headline, names, setup
from surpass.report.read import Mean, Run, thin
from surpass.report.words import between, plain, signed, some
from surpass.types import STOPS
from surpass.view.runs import Runs

MOST_POINTS = 300
PATIENCE = 5.0  # seconds that the list waits for all runs together to be read
SHORTEST = 0.2  # the least that it waits for each


def page(title: str, body: Html, **data: str) -> Html:
    """A whole page. `data` are attributes of its body. It requests only its own style and script."""
    return fill(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        'content="width=device-width, initial-scale=1"><title>{}</title><link rel="icon" '
        'href="data:,"><link rel="stylesheet" href="style.css"><script src="view.js" '
        'type="module"></script></head>\n<body{}><main>{}</main></body></html>\n',
        title,
        joined(fill(' data-{}="{}"', name, value) for name, value in data.items()),
        body,
    )


def index(runs: Runs) -> Html:
    """One line for each run: what it is, how far it is, and its result."""
    rows, until = [], time.monotonic() + PATIENCE
    for name in runs.names():
        link, box = fill("{}", name.encode("utf-8", "replace").decode()), Html("")
        try:
            cells = _line(runs.soon(name, max(SHORTEST, until - time.monotonic())))
            link = fill('<a href="run?name={}">{}</a>', quote(name, safe=""), name)
            box = fill('<input type="checkbox" name="pair" value="{}" aria-label="choose {}">', name, name)
        except Exception as error:  # whatever this folder holds, the other runs are shown
            words = (
                str(error)
                if isinstance(error, SurpassError)
                else f"this cannot be read: {type(error).__name__}: {error}"
            )
            cells = ["", "", "", fill('<span class="note">{}</span>', words[:200]), "", ""]
        rows.append(
            fill(
                '<tr><td>{}</td><th scope="row">{}</th>{}</tr>',
                box,
                link,
                joined(fill("<td>{}</td>", cell) for cell in cells),
            )
        )
    heads = joined(
        fill('<th scope="col">{}</th>', name)
        for name in ("", "Run", "Method", "Task", "Rounds", "Test before → after", "Change", "")
    )
    table = fill(
        '<div class="card wide"><table class="runs"><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>'
        '<p class="choose"><button id="pair" type="button" disabled>Show two side by side</button></p>',
        heads,
        joined(rows),
    )
    empty = Html(
        '<p class="lead">There is no run in this folder yet. One appears here once its first exam is '
        "over.</p>"
    )
    return page(
        "Runs", fill("<h1>Runs <span>{}</span></h1>{}", runs.root, table if rows else empty), page="index"
    )


def _line(run: Run) -> list[str]:
    """The cells of a run's line; all but the last are text."""
    tests, change = run.of("exam", split="test"), run.change()
    known = [run.exam(exam) for exam in (tests[0], *tests[1:][-1:])] if tests else []
    what = [*names(run), "", ""][:2]
    state = "finished" if run.end else "running" if running(run) else "stopped"
    return [
        what[0],
        what[1],
        str(max((e["round"] for e in run.of("search")), default=0)),
        " → ".join(plain(m.mean) for m in known),
        _change(change),
        fill('<span class="state {}">{}</span>', state, state),
    ]


def _change(change: Mean | None) -> str:
    return "" if change is None else f"{signed(change.mean)} ± {plain(change.stderr)}"


def running(run: Run) -> bool:
    """Whether a process holds the run's lock."""
    import fcntl

    try:
        file = opened(run.folder, "lock")
    except (OSError, SurpassError):
        return False
    if file is None:
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return False


def run_page(runs: Runs, name: str) -> Html:
    """The page of one run."""
    run = runs.run(name)
    what = " on ".join(names(run)) or "A run of surpass"
    sections = joined(
        fill('<section id="{}">{}</section>', key, inside) for key, inside in parts(run).items()
    )
    body = fill(
        '<p class="back"><a href="./">All runs</a></p><h1>{} <span>{}</span> <span '
        'id="state"></span></h1><nav aria-label="Sections"><a href="#charts">How it went</a><a '
        'href="#attempts">Attempts</a><a href="#changes">Before and after</a><a href="#decisions">Gate '
        'decisions</a><a href="#setup">Set-up</a></nav>{}<section '
        'id="attempts"><h2>Attempts</h2>{}<div class="split"><div id="list"></div><div id="panel" '
        'class="card" hidden></div></div></section><section id="changes"><h2>Before and after</h2><p '
        'class="lead">The same test problems, as the model was at the start and as it is in the '
        'end.</p><div class="split"><div id="changed"></div><div id="two" class="card" '
        'hidden></div></div></section><section id="setup"><h2>Set-up</h2>{}</section>',
        what,
        name,
        sections,
        _filters(),
        setup(run),
    )
    return page(f"{what} · {name}", body, page="run", run=name)


def parts(run: Run) -> dict[str, Html]:
    """The sections of a page that change while the run goes on."""
    said = decisions(run)
    return {
        "summary": headline(run),
        "charts": fill("<h2>How it went</h2>{}", curves(run)),
        "decisions": fill("<h2>Gate decisions</h2>{}", said) if said else said,
    }


def _filters() -> Html:
    """The controls that filter the list of attempts."""
    stops = joined(fill('<option value="{}">{}</option>', stop, stop) for stop in STOPS)
    number = '<input type="number" step="any" name="{}" size="6">'
    fields = [
        ("Text", Html('<input type="search" name="text">')),
        ("Round", Html('<input type="number" min="1" name="round">')),
        ("Score from", fill(number, "low")),
        ("to", fill(number, "high")),
        ("Tokens from", fill(number, "short")),
        ("to", fill(number, "long")),
        ("Ended", fill('<select name="stop"><option value="">any way</option>{}</select>', stops)),
    ]
    return fill(
        '<form id="filters" class="filters" autocomplete="off">{}'
        '<button type="reset">Clear</button><output id="count" aria-live="polite"></output></form>',
        joined(fill("<label>{} {}</label>", *field) for field in fields),
    )


def pair_page(runs: Runs, left: str, right: str) -> Html:
    """Two runs side by side: one chart of their exams, their results, problems on which they differ."""
    both = [runs.run(left), runs.run(right)]
    shown = [("dot", 1, left), ("diamond", 2, right)]
    series = [_exams(run, name, mark, colour) for run, (mark, colour, name) in zip(both, shown, strict=True)]
    chart = line_chart("gate accuracy per round", series, (1030, 330), (0.0, 1.0), (20, 30))
    card = (
        '<figure class="card"><figcaption>Gate exams of what was kept<span>± standard error over '
        "problems</span></figcaption>{}{}</figure>"
    )
    columns = joined(
        fill('<div><h2><a href="run?name={}">{}</a></h2>{}</div>', quote(name, safe=""), name, headline(run))
        for run, name in zip(both, (left, right), strict=True)
    )
    body = fill(
        '<p class="back"><a href="./">All runs</a></p><h1>Side by side</h1><div '
        'class="grid-two">{}</div>{}<h2>The same test problems, in the end</h2>{}<div '
        'class="split"><div id="changed"></div><div id="two" class="card" hidden></div></div>',
        columns,
        fill(card, legend(shown), chart) if chart else "",
        _agree(runs, left, right),
    )
    return page("Side by side", body, page="pair", run=left, other=right)


def _exams(run: Run, name: str, mark: str, colour: int) -> Series:
    verdicts, metric = run.verdicts(), run.leading("gate")
    kept = [e for e in run.of("exam", split="gate") if verdicts.get(e["round"], e["round"] == 0)]
    points = []
    for event in thin(kept, MOST_POINTS):
        m = run.exam(event, metric)
        points.append(
            Point(
                event["round"],
                m.mean,
                m.stderr,
                f"{name}, round {event['round']}: {between(m.mean, m.stderr)}",
            )
        )
    return Series(name, points, mark=mark, colour=colour)


def _agree(runs: Runs, left: str, right: str) -> Html:
    """The number of test problems on which each run is better."""
    rows = runs.outcomes((left, -1), (right, -1))
    if not rows:
        return Html('<p class="lead">There are no test problems on which both were judged in the end.</p>')
    first, second = ({row["problem"]: row["values"][i] for row in rows} for i in (0, 1))
    mean, stderr, n = paired_values(second, first)
    better, worse = sum(first[p] > second[p] for p in first), sum(first[p] < second[p] for p in first)
    return fill(
        '<p class="lead">Of {} the first is better on {}, the second on {}; first minus second {} ± '
        "{}, paired.</p>",
        some(n, "problem"),
        better,
        worse,
        signed(mean),
        plain(stderr),
    )
