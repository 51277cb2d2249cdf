"""Reading a run's folder for a page, while the run may still write to it. Nothing is written here."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from surpass.errors import Damaged, SurpassError
from surpass.gates import paired, strict
from surpass.means import SHARES, bounds
from surpass.report.folder import MOST_EVENTS, batches, count, json_object, lines, numbered, trees
from surpass.store import READS
from surpass.types import Report, Row, Tree


class Mean(NamedTuple):
    """A measured mean and its standard error over n problems; nan where it was not measured. `missing`
    problems were not judged; a share then lies between `low` and `high`.
    """

    mean: float
    stderr: float = math.nan
    n: int = 0
    missing: int = 0
    low: float = math.nan
    high: float = math.nan


@dataclass
class Run:
    """A run's folder, read once."""

    folder: Path
    about: dict[str, Any] = field(default_factory=dict)  # run.json
    events: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)  # by phase
    cost: dict[str, dict[str, int]] = field(default_factory=dict)  # by account, by kind
    rounds: list[int] = field(default_factory=list)  # rounds whose trees are stored
    unread: int = 0  # lines of events.jsonl that are no events

    def of(self, kind: str, **wanted: Any) -> list[dict[str, Any]]:
        """The events of a kind, in order, whose fields equal `wanted`."""
        return [
            e for e in self.events if e.get("event") == kind and all(e.get(k) == v for k, v in wanted.items())
        ]

    @property
    def end(self) -> dict[str, Any] | None:
        """The event that ends a run; None while it is under way."""
        ends = self.of("end")
        return ends[-1] if ends else None

    def leading(self, split: str) -> str:
        """The main figure of a split: accuracy where a problem has a label, else agreement, else the first
        that was measured.
        """
        known = [
            name
            for exam in self.of("exam", split=split)
            for name, m in exam.get("metrics", {}).items()
            if m.get("n")
        ]
        return next((name for name in ("accuracy", "agreement", *known) if name in known), "accuracy")

    @property
    def metric(self) -> str:
        """The main figure of the page."""
        return self.leading("test") if self.of("exam", split="test") else self.leading("gate")

    def exam(self, event: Mapping[str, Any], metric: str | None = None) -> Mean:
        """A figure of an exam; by default the main one."""
        m = event.get("metrics", {}).get(metric or self.metric, {})
        between = bounds(metric or self.metric, m) or (math.nan, math.nan)
        return Mean(
            number(m.get("mean")),
            number(m.get("stderr")),
            int(m.get("n") or 0),
            int(m.get("missing") or 0),
            *between,
        )

    def change(self, metric: str | None = None) -> Mean | None:
        """After minus before, over the problems that a test exam judged. Where only one of the two judged a
        problem (`missing` of them), the other counts as wrong. None before the second exam.
        """
        exams, metric = self.of("exam", split="test"), metric or self.metric
        if len(exams) < 2:
            return None
        rows = [exam.get("rows", {}).get(metric) for exam in (exams[0], exams[-1])]
        if None in rows:
            return Mean(self.exam(exams[-1], metric).mean - self.exam(exams[0], metric).mean)
        before, after = (
            Report("test", [Row(str(p), 0, metric, number(value)) for p, value in some]) for some in rows
        )
        both = paired(before, after, metric)
        mean, stderr, n = strict(before, after, metric) if metric.startswith(SHARES) else both
        return Mean(mean, stderr, n, n - both[2])

    @property
    def labels(self) -> bool:
        """Whether the gate used labels. A method whose gate uses none uses none at all."""
        method = self.about.get("method")
        gate = method.get("gate") if isinstance(method, dict) else None
        gate = gate if isinstance(gate, dict) else {}
        return bool(gate.get("labels", True)) or str(gate.get("part", "")).endswith("always")

    def verdicts(self) -> dict[int, bool]:
        """Whether each judged round was kept."""
        return {e["round"]: bool(e["keep"]) for e in self.of("gate")}

    def tokens(self) -> dict[str, int]:
        """Tokens that passed through a model, by phase and kind, largest first."""
        found = {
            (account, kind): n
            for account, kinds in self.cost.items()
            for kind, n in kinds.items()
            if kind in KINDS
        }
        return {
            f"{account}: {KINDS[kind]}": n
            for (account, kind), n in sorted(found.items(), key=lambda item: -item[1])
            if n
        }

    def trees(self, round: int, most: int) -> tuple[list[Tree], int]:
        """(the first `most` trees of a round, the number of trees in the round)."""
        name = f"trees/{round:04d}.parquet"
        first = next(batches(self.folder, name, most), None)
        return ([] if first is None else trees(first)), count(self.folder, name)

    def texts(self, round: int, most: int) -> dict[int, dict[str, Any]]:
        """The decoded text of nodes, by tree and node, for the first `most` trees; empty without any."""
        return dict(
            itertools.takewhile(lambda item: item[0] < most, texts(self.folder, f"texts/{round:04d}.jsonl"))
        )


KINDS = {"generated": "drawn", "trained": "trained on", "scored": "scored"}
"""The kinds of counted tokens, in words."""


def read_run(folder: Path) -> Run:
    """A run's folder; what is not there yet is empty. Lines, figures and names that are none are left out.
    SurpassError, with the reason, where nothing is left.
    """
    if not folder.is_dir():
        raise SurpassError(f"{folder} is not a run: there is no such folder")
    about, state = json_object(folder, "run.json"), json_object(folder, "state.json")
    if about and about.get("format") not in READS:
        reads = " and ".join(map(str, READS))
        raise SurpassError(
            f"the run {folder} has format {str(about.get('format'))[:40]}; this version of surpass "
            f"reads formats {reads}"
        )
    seconds: dict[str, float] = {}
    for line in lines(folder, "timing.jsonl"):
        if line and isinstance(line.get("phase"), str) and math.isfinite(took := number(line.get("seconds"))):
            seconds[line["phase"]] = seconds.get(line["phase"], 0.0) + took
    size, cost = state.get("events"), state.get("cost")
    found = [
        event_of(line) for line in lines(folder, "events.jsonl", size if whole(size) else None, MOST_EVENTS)
    ]
    events = [event for event in found if event is not None]
    run = Run(
        folder, about, events, seconds, _cost(cost), numbered(folder, "trees"), len(found) - len(events)
    )
    if run.unread and not run.events:
        raise Damaged(f"{folder / 'events.jsonl'} is damaged: none of its lines is an event")
    if not run.events and not run.rounds:
        raise SurpassError(f"{folder} holds nothing to report yet: no event and no finished round")
    return run


def whole(value: Any) -> bool:
    """Whether a JSON value is a count: a whole number of at least 0 that fits into 53 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def event_of(line: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """An event with fields of the types that pages expect; other fields are left out. Names and reasons are
    text, rounds are counts, and all else is a number or None. None for a line that is no event.
    """
    if (
        line is None
        or not isinstance(line.get("event"), str)
        or not (whole(line.get("round")) and line["round"] < 10**9)
    ):
        return None
    if line["event"] == "gate" and not isinstance(line.get("keep"), bool):
        return None
    found: dict[str, Any] = {
        name: _figure(value)
        for name, value in line.items()
        if value is None or isinstance(value, (int, float))
    }
    found |= {
        name: line[name] for name in ("event", "split", "why", "role") if isinstance(line.get(name), str)
    }
    found |= (
        {"metrics": _metrics(line.get("metrics")), "rows": _rows(line.get("rows"))}
        if line["event"] == "exam"
        else {}
    )
    return {
        name: value
        for name, value in found.items()
        if name not in ("kept", "split", "why", "role") or _fits(name, value)
    }


def _fits(name: str, value: Any) -> bool:
    return whole(value) if name == "kept" else isinstance(value, str)


def _figure(value: Any) -> Any:
    return (
        value
        if value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) < 2**53)
        else number(value)
    )


def _metrics(value: Any) -> dict[str, dict[str, Any]]:
    """{name: {"mean", "stderr", "n", "missing"}}"""
    known = {name: m for name, m in value.items() if isinstance(m, dict)} if isinstance(value, dict) else {}
    return {
        name: {
            "mean": number(m.get("mean")),
            "stderr": number(m.get("stderr")),
            **{key: m[key] if whole(m.get(key)) else 0 for key in ("n", "missing")},
        }
        for name, m in known.items()
    }


def _rows(value: Any) -> dict[str, list[list[Any]]]:
    """{name: [[problem, value or None]]}"""
    known = (
        {name: rows for name, rows in value.items() if isinstance(rows, list)}
        if isinstance(value, dict)
        else {}
    )
    return {
        name: [
            [row[0], None if math.isnan(number(row[1])) else number(row[1])]
            for row in rows
            if isinstance(row, list) and len(row) == 2 and isinstance(row[0], str)
        ]
        for name, rows in known.items()
    }


def _cost(value: Any) -> dict[str, dict[str, int]]:
    known = (
        {name: kinds for name, kinds in value.items() if isinstance(kinds, dict)}
        if isinstance(value, dict)
        else {}
    )
    return {name: {kind: n for kind, n in kinds.items() if whole(n)} for name, kinds in known.items()}


def texts(root: Path, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(tree, {node: its text, or the pieces of it}) of a file of texts, in its order."""
    for line in lines(root, name):
        if line and whole(line.get("tree")) and isinstance(line.get("nodes"), dict):
            yield line["tree"], {node: text for node, text in line["nodes"].items() if _is_text(text)}


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and all(isinstance(piece, str) for piece in value)
    )


def number(value: Any) -> float:
    """A JSON number as a float; nan for any other value, and for one of 1e100 or more, which no measurement
    gives; 0 for one as small.
    """
    if not isinstance(value, (int, float)) or not -1e100 < value < 1e100:
        return math.nan
    return float(value) if abs(value) > 1e-100 else 0.0


def thin(rows: Sequence[Any], most: int) -> list[Any]:
    """At most `most` of the rows, evenly spaced, with the first and the last."""
    if len(rows) <= most:
        return list(rows)
    return [rows[round(i * (len(rows) - 1) / (most - 1))] for i in range(most)]
