"""comparison.html: methods side by side, as a table, sentences and curves with bands."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from surpass.intact import write_whole
from surpass.report.chart import Point, Series, legend, line_chart
from surpass.report.markup import Html, fill, joined
from surpass.report.page import document
from surpass.report.words import between

GRID = 40  # places along the budget at which curves are read


def on_grid(curves: Sequence[Sequence[tuple[float, float]]], grid: np.ndarray) -> np.ndarray:
    """[seeds, places]: at each place along the budget, the gate accuracy of what was kept by then; nan before
    a run's first exam, the last value after its end.
    """
    found = np.full((len(curves), len(grid)), np.nan)
    for row, curve in zip(found, curves, strict=True):
        for spent, accuracy in curve:
            row[grid >= spent] = accuracy
    return found


def bands(
    name: str, curves: Sequence[Sequence[tuple[float, float]]], most: float, colour: int, unit: str
) -> Series:
    """A method's mean over seeds with its standard error, along the budget."""
    grid = np.linspace(0, most, GRID)
    values = on_grid(curves, grid)
    points = []
    for x, column in zip(grid, values.T, strict=True):
        known = column[~np.isnan(column)]
        stderr = float(known.std(ddof=1) / math.sqrt(len(known))) if len(known) > 1 else math.nan
        y = float(known.mean()) if len(known) == len(column) else math.nan
        points.append(Point(float(x), y, stderr, f"{name} at {short(x)} {unit}: {between(y, stderr)}"))
    return Series(name, points, colour=colour, band=True)


def short(value: Any) -> str:
    """A number as at most three digits and a letter."""
    value = float(value)
    scale = next((i for i in (5, 4, 3, 2, 1) if value >= 1000.0**i), 0)
    return f"{value / 1000.0**scale:.3g}{['', 'k', 'M', 'G', 'T', 'P'][scale]}"


def write_comparison(found: Any, folder: Path) -> Path:
    """Write FOLDER/comparison.html from a surpass.comparison.Comparison."""
    learns = bool(found.runs[0].curves)
    name = f"{len(found.runs)} methods on {found.task}"
    about = f"{found.model}, {found.budget or 'one exam each'}, {len(found.runs[0].reports)} seeds"
    decided = [words for words, d in zip(found.verdicts(), found.differences, strict=True) if d.decided]
    open_ = [words for words, d in zip(found.verdicts(), found.differences, strict=True) if not d.decided]
    undecided = (
        fill(
            "<details class=more><summary>{} pairs undecided</summary>{}</details>", len(open_), _list(open_)
        )
        if open_
        else ""
    )
    body = fill(
        '<main><h1>{} <span>{}</span></h1><section><h2>In the end</h2><div class="card wide">{}</div>'
        '<p class="lead">± is one standard error; seeds and problems both count as drawn at random. '
        "What exams draw is not in the budget.</p>"
        "{}</section><section><h2>Better, and "
        "undecided</h2>{}{}</section><section><h2>{}</h2>{}</section></main>",
        name,
        about,
        _table(found.table()),
        _list([*found.left_out(), *found.overspent()]),
        _list(decided) or Html("<p class=lead>No pair is told apart at this budget.</p>"),
        undecided,
        "Along the budget" if learns else "What accuracy costs",
        _curves(found) if learns else _prices(found),
    )
    path = folder / "comparison.html"
    write_whole(path, document(name, body, ""))
    return path


def _list(sentences: Sequence[str]) -> Html:
    return (
        fill("<ul>{}</ul>", joined(fill("<li>{}</li>", words) for words in sentences))
        if sentences
        else Html("")
    )


def _table(markdown: str) -> Html:
    """A Markdown table as HTML."""
    cells = [
        re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|"))
        for line in markdown.split("\n")
    ]
    head, _, *rows = [[cell.strip().replace("\\|", "|") for cell in line] for line in cells]
    heads = joined(fill('<th scope="col">{}</th>', cell) for cell in head)
    lines = joined(
        fill(
            '<tr><th scope="row">{}</th>{}</tr>',
            row[0],
            joined(fill("<td>{}</td>", cell) for cell in row[1:]),
        )
        for row in rows
    )
    return fill(
        '<table class="numbers named"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>', heads, lines
    )


def _curves(found: Any) -> Html:
    """One small chart for each method, on a common scale, with the first method's curve for comparison."""
    most = max(
        [x for runs in found.runs for curve in runs.curves for x, _ in curve if math.isfinite(x)], default=1.0
    )
    unit, first = found.budget.kind, found.runs[0]
    base = bands(first.entry.name, first.curves, most, 2, unit)
    every = {runs.entry.name: bands(runs.entry.name, runs.curves, most, 1, unit) for runs in found.runs}
    ys = [
        p.y + side * (p.stderr if math.isfinite(p.stderr) else 0)
        for s in every.values()
        for p in s.points
        if math.isfinite(p.y)
        for side in (-1, 1)
    ]
    corners = (
        Series("", [Point(0, min(ys)), Point(most, max(ys))], line=False, tail=False) if ys else Series("")
    )
    cards = []
    for runs in found.runs if len(found.runs) == 1 else found.runs[1:]:
        name = runs.entry.name
        chart = line_chart(
            f"{name} along the budget",
            [_unseen(corners), base, every[name]],
            room=(9, 6),
            axis=unit,
            say=short,
        )
        names = legend([("dot", 1, name), ("dot", 2, first.entry.name)])
        cards.append(
            fill(
                '<figure class="card"><figcaption>{}<span>gate accuracy of what was kept, mean over '
                "seeds ± standard error"
                "</span></figcaption>{}{}</figure>",
                name,
                names,
                chart,
            )
        )
    return fill('<div class="grid-two">{}</div>', joined(cards))


def _unseen(series: Series) -> Series:
    """Points that set the scale and are not drawn."""
    return Series("", [p._replace(tip="") for p in series.points], mark="unseen", line=False, tail=False)


def _prices(found: Any) -> Html:
    """Accuracy against tokens per problem, with a mark for each method."""
    series = []
    for i, runs in enumerate(found.runs):
        values = runs.values(found.metric).mean(1)
        stderr = float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
        price = runs.per_problem()
        tip = f"{runs.entry.name}: {between(float(values.mean()), stderr)} at {price:,.0f} tokens a problem"
        series.append(
            Series(
                runs.entry.name,
                [Point(price, float(values.mean()), stderr, tip, label=runs.entry.name, place="right")],
                mark=("dot", "hollow", "diamond")[i % 3],
                colour=1 + i % 2,
                line=False,
                tail=False,
            )
        )
    chart = line_chart(
        "accuracy against tokens a problem", series, (1030, 360), room=(20, 170), axis="tokens", say=short
    )
    card = (
        '<figure class="card"><figcaption>Accuracy<span>against tokens drawn for a problem; ± standard '
        "error over seeds</span></figcaption>{}</figure>"
    )
    return fill(card, chart)
