"""Line charts as inline SVG, bars as HTML. Colours are properties of the page, which is light or dark."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from surpass.report.markup import Html, fill, joined
from surpass.report.words import plain

BARS = 60  # more points than this get a band instead of error bars, and no marks
SMALL = 24  # more points than this get small marks
LEFT, RIGHT, TOP, BOTTOM = 46, 62, 14, 30


class Point(NamedTuple):
    """One measured value. `shift` moves its mark sideways, in pixels; `label` says where its value stands:
    "above", "left" or "right".
    """

    x: float
    y: float
    stderr: float = math.nan
    tip: str = ""
    shift: float = 0.0
    label: str = ""
    place: str = "above"


@dataclass
class Series:
    """Points that look alike. `mark`: dot, hollow or diamond; `colour`: 1 or 2; `line` joins them; `tail`
    writes the last value beside it; `band` draws standard errors as a band.
    """

    name: str
    points: list[Point] = field(default_factory=list)
    mark: str = "dot"
    colour: int = 1
    line: bool = True
    tail: bool = True
    band: bool = False

    @property
    def crowded(self) -> bool:
        """Whether errors are drawn as a band, without marks."""
        return self.band or len(self.points) > BARS


@dataclass
class _Frame:
    """The scales of a chart."""

    width: int
    height: int
    x0: float
    x1: float
    y0: float
    y1: float
    room: tuple[float, float]  # before the first point and after the last

    def x(self, value: float) -> float:
        left, right = LEFT + self.room[0], self.width - RIGHT - self.room[1]
        return left + (value - self.x0) / ((self.x1 - self.x0) or 1) * (right - left)

    def y(self, value: float) -> float:
        return (
            self.height
            - BOTTOM
            - (value - self.y0) / ((self.y1 - self.y0) or 1) * (self.height - BOTTOM - TOP)
        )


def ticks(low: float, high: float, most: int = 5, whole: bool = False) -> list[float]:
    """At most about `most` round numbers whose range covers [low, high]."""
    span = high - low
    if not span > 1e-9 * max(abs(low), abs(high)):  # one value, as far as an axis can tell
        span = abs(high) * 0.1 or 1.0
    step = 10.0 ** math.floor(math.log10(span / most))
    step *= next(k for k in (1, 2, 5, 10) if span / (step * k) <= most)
    step = max(1.0, math.ceil(step)) if whole else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(int(first), int(max(last, first + 1)) + 1)]


def line_chart(
    what: str,
    series: Sequence[Series],
    size: tuple[int, int] = (460, 240),
    bounds: tuple[float, float] | None = None,
    room: tuple[float, float] = (9, 0),
    axis: str = "round",
    say: Callable[[float], str] = "{:.0f}".format,
) -> Html:
    """An SVG with axes, error bars, marks that tell their value, and the last value beside each line; ""
    without points.

    `what` is read aloud in place of the picture. Error bars do not extend the vertical axis beyond `bounds`.
    `room` is the space left free before the first round and after the last, in pixels. `axis` names the
    horizontal axis, and `say` writes its numbers.
    """
    width, height = size
    shown = [p for s in series for p in s.points if math.isfinite(p.y)]
    if not shown:
        return Html("")
    frame, rows, columns = _frame(shown, size, bounds, room)
    parts = [fill('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">', width, height, what)]
    for value, text in zip(rows, _axis_labels(rows), strict=True):
        y = frame.y(value)
        parts.append(
            fill(
                '<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>', LEFT, width - RIGHT + 12, y, y
            )
        )
        parts.append(
            fill('<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text>', LEFT - 8, y + 4, text)
        )
    for value in columns:
        x = frame.x(value)
        parts.append(
            fill(
                '<text class="tick" x="{:.1f}" y="{}" text-anchor="middle">{}</text>',
                x,
                height - 8,
                say(value),
            )
        )
    parts.append(
        fill('<text class="tick" x="{}" y="{}" text-anchor="end">{}</text>', width, height - 8, axis)
    )
    for s in series:
        parts += _line(s, frame)
    for s in series:
        parts += [part for p in s.points if math.isfinite(p.y) for part in _mark(s, p, frame)]
    taken: list[float] = []
    for s in series:
        parts += _end_label(s, frame, taken)
    return joined([*parts, Html("</svg>")])


def _frame(
    shown: Sequence[Point],
    size: tuple[int, int],
    bounds: tuple[float, float] | None,
    room: tuple[float, float],
) -> tuple[_Frame, list[float], list[float]]:
    """The scales, and the numbers along both axes."""
    low = min(p.y - (p.stderr if math.isfinite(p.stderr) else 0) for p in shown)
    high = max(p.y + (p.stderr if math.isfinite(p.stderr) else 0) for p in shown)
    if bounds:
        low, high = (
            max(low, min(bounds[0], *(p.y for p in shown))),
            min(high, max(bounds[1], *(p.y for p in shown))),
        )
    rows = ticks(low, high)
    x0, x1 = min(p.x for p in shown), max(p.x for p in shown)
    columns = [x for x in ticks(x0, x1, 7 if size[0] < 700 else 12, whole=True) if x0 <= x <= x1]
    return _Frame(*size, x0, max(x1, x0 + 1), rows[0], rows[-1], room), rows, columns


def _axis_labels(rows: Sequence[float]) -> list[str]:
    """The numbers of an axis, with as many decimals as its steps need."""
    step = rows[1] - rows[0]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if decimals > 4 or step >= 1e6:
        return [f"{value:.0e}" for value in rows]
    return [f"{value + 0.0:,.{decimals}f}".replace("-", "−") for value in rows]


def _line(s: Series, frame: _Frame) -> list[Html]:
    """The line through a series, broken where a value is missing; with many points, its band."""
    if not s.line:
        return []
    parts: list[Html] = []
    stretch: list[Point] = []
    for p in [*s.points, Point(0, math.nan)]:
        if math.isfinite(p.y):
            stretch.append(p)
            continue
        if len(stretch) > 1:
            if s.crowded:
                above = [(p.x, p.y + _known(p.stderr)) for p in stretch]
                below = [(p.x, p.y - _known(p.stderr)) for p in reversed(stretch)]
                parts.append(
                    fill('<polygon class="band c{}" points="{}"/>', s.colour, _path(above + below, frame))
                )
            parts.append(
                fill(
                    '<polyline class="line c{}" points="{}"/>',
                    s.colour,
                    _path([(p.x, p.y) for p in stretch], frame),
                )
            )
        stretch = []
    return parts


def _path(points: Iterable[tuple[float, float]], frame: _Frame) -> str:
    return " ".join(
        f"{frame.x(x):.1f},{min(max(frame.y(y), TOP - 6), frame.height - BOTTOM + 6):.1f}" for x, y in points
    )


def _known(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _mark(s: Series, p: Point, frame: _Frame) -> list[Html]:
    """One point: error bar, mark, a wide invisible target that tells its value, and label."""
    x, y = frame.x(p.x) + p.shift, frame.y(p.y)
    crowded = s.crowded
    parts = [fill('<g class="c{}">', s.colour), fill("<title>{}</title>", p.tip) if p.tip else Html("")]
    top, bottom = y, y
    if math.isfinite(p.stderr) and p.stderr > 0:
        top, bottom = (
            max(frame.y(p.y + p.stderr), TOP - 6),
            min(frame.y(p.y - p.stderr), frame.height - BOTTOM + 6),
        )
        if not crowded:
            caps = "".join(f"M{x - 3:.1f} {end:.1f}h6" for end in (top, bottom))
            parts.append(fill('<path class="error" d="M{:.1f} {:.1f}V{:.1f}{}"/>', x, top, bottom, caps))
    if not (crowded and s.line):
        parts.append(glyph(s.mark, x, y, 2.8 if len(s.points) > SMALL else 4.2))
    parts.append(fill('<circle class="aim" cx="{:.1f}" cy="{:.1f}" r="{}"/>', x, y, 4 if crowded else 10))
    if p.label:
        places = {
            "above": (x + 4, top - 7, "end"),
            "left": (x - 12, y + 4, "end"),
            "right": (x + 12, y + 4, "start"),
        }
        at, y, anchor = places[p.place]
        parts.append(
            fill(
                '<text class="label" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>', at, y, anchor, p.label
            )
        )
    return [*parts, Html("</g>")]


def glyph(mark: str, x: float, y: float, r: float = 4.2) -> Html:
    """A mark: a filled dot, a hollow one, or a diamond."""
    if mark == "diamond":
        return fill('<path class="dot" d="M{:.1f} {:.1f}l6.5 6.5l-6.5 6.5l-6.5 -6.5z"/>', x, y - 6.5)
    return fill('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{}"/>', mark, x, y, r)


def _end_label(s: Series, frame: _Frame, taken: list[float]) -> list[Html]:
    """The last value beside the end of a line, moved apart from labels already there."""
    known = [p for p in s.points if math.isfinite(p.y)]
    if not s.tail or not known:
        return []
    last = known[-1]
    y = frame.y(last.y) + 4
    for other in sorted(taken):
        if abs(y - other) < 15:
            y = other + (15 if y >= other else -15)
    taken.append(y)
    return [
        fill(
            '<text class="label c{}" x="{:.1f}" y="{:.1f}">{}</text>',
            s.colour,
            frame.x(last.x) + 11,
            y,
            plain(last.y),
        )
    ]


def legend(entries: Sequence[tuple[str, int, str]]) -> Html:
    """A legend of (mark, colour, words)."""
    item = (
        '<li><svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true"><g '
        'class="c{}">{}</g></svg>{}</li>'
    )
    return fill(
        '<ul class="legend">{}</ul>',
        joined(fill(item, c, glyph(mark, 8, 8), words) for mark, c, words in entries),
    )


def bars(amounts: Mapping[str, float], say: Callable[[float], str]) -> Html:
    """One bar per name, as long as its share of the largest; `say` puts an amount in words."""
    largest, total = max(amounts.values(), default=0), sum(amounts.values())
    row = '<tr><th scope="row">{}</th><td class="bar"><i class="{}"></i></td><td>{}</td><td>{:.0f}%</td></tr>'
    rows = [
        fill(
            row,
            name,
            share(100 * amount / largest if largest else 0),
            say(amount),
            100 * amount / total if total else 0,
        )
        for name, amount in amounts.items()
    ]
    return fill('<table class="bars">{}</table>', joined(rows))


def share(percent: float) -> str:
    """The class whose --v is so many percent; a page's policy allows no inline style."""
    return f"v{round(min(100.0, max(0.0, percent)))}"
