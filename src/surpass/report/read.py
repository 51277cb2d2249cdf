"""What the page needs of a run's folder. Only reads: a run may be under way while its page is made."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from surpass import nofollow, records
from surpass.errors import SurpassError
from surpass.gates import paired, strict
from surpass.intact import json_lines, loads, round_of
from surpass.means import SHARES, bounds
from surpass.store import Store
from surpass.tables import DAMAGED, trees_from_table
from surpass.types import Report, Row, Tree


class Mean(NamedTuple):
    """A measured mean with its standard error over n problems; nan where there is none. `missing` were not judged, and then a share
    lies between `low` and `high`."""

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

    def of(self, kind: str, **wanted: Any) -> list[dict[str, Any]]:
        """The events of a kind, in order, whose fields equal `wanted`."""
        return [e for e in self.events if e.get("event") == kind and all(e.get(k) == v for k, v in wanted.items())]

    @property
    def end(self) -> dict[str, Any] | None:
        """The event that ends a run; None while it is under way."""
        ends = self.of("end")
        return ends[-1] if ends else None

    def leading(self, split: str) -> str:
        """The figure that leads for a split: accuracy where a problem has a label, agreement, or what was measured first."""
        known = [name for exam in self.of("exam", split=split) for name, m in exam.get("metrics", {}).items() if m.get("n")]
        return next((name for name in ("accuracy", "agreement", *known) if name in known), "accuracy")

    @property
    def metric(self) -> str:
        """The figure the page leads with."""
        return self.leading("test") if self.of("exam", split="test") else self.leading("gate")

    def exam(self, event: Mapping[str, Any], metric: str | None = None) -> Mean:
        """A figure of an exam; by default the leading one."""
        m = event.get("metrics", {}).get(metric or self.metric, {})
        between = bounds(metric or self.metric, m) or (math.nan, math.nan)
        return Mean(number(m.get("mean")), number(m.get("stderr")), int(m.get("n") or 0), int(m.get("missing") or 0), *between)

    def change(self, metric: str | None = None) -> Mean | None:
        """After - before over the problems that a test exam judged, what the other did not judge counting as wrong there (`missing` of
        them); None before the second one."""
        exams, metric = self.of("exam", split="test"), metric or self.metric
        if len(exams) < 2:
            return None
        rows = [exam.get("rows", {}).get(metric) for exam in (exams[0], exams[-1])]
        if None in rows:
            return Mean(self.exam(exams[-1], metric).mean - self.exam(exams[0], metric).mean)
        before, after = (Report("test", [Row(str(p), 0, metric, number(value)) for p, value in some]) for some in rows)
        both = paired(before, after, metric)
        mean, stderr, n = strict(before, after, metric) if metric.startswith(SHARES) else both
        return Mean(mean, stderr, n, n - both[2])

    @property
    def labels(self) -> bool:
        """Whether the gate used labels; a method whose gate did not used none at all."""
        method = self.about.get("method")
        gate = method.get("gate") if isinstance(method, dict) else None
        gate = gate if isinstance(gate, dict) else {}
        return bool(gate.get("labels", True)) or str(gate.get("part", "")).endswith("always")

    def verdicts(self) -> dict[int, bool]:
        """Whether each judged round was kept."""
        return {e["round"]: bool(e["keep"]) for e in self.of("gate")}

    def tokens(self) -> dict[str, int]:
        """Tokens that passed through a model, by phase and kind, largest first."""
        found = {(account, kind): n for account, kinds in self.cost.items() for kind, n in kinds.items() if kind in KINDS}
        return {f"{account}: {KINDS[kind]}": n for (account, kind), n in sorted(found.items(), key=lambda item: -item[1]) if n}

    def trees(self, round: int, most: int) -> tuple[list[Tree], int]:
        """(the first `most` trees of a round, the number of trees in the round); SurpassError where they cannot be read."""
        name = f"trees/{round:04d}.parquet"
        try:
            with nofollow.opened(self.folder, name) as opened:
                file = pq.ParquetFile(opened)
                for batch in file.iter_batches(batch_size=most):
                    return trees_from_table(pa.Table.from_batches([batch])), file.metadata.num_rows
                return [], file.metadata.num_rows
        except DAMAGED as error:
            raise SurpassError(f"{self.folder / name} cannot be read: {type(error).__name__}") from error

    def texts(self, round: int, most: int) -> dict[int, dict[str, Any]]:
        """The decoded text of nodes, by tree and node, for the first `most` trees; empty where the run stored none."""
        return texts(self.folder, f"texts/{round:04d}.jsonl", most)


KINDS = {"generated": "drawn", "trained": "trained on", "scored": "scored"}
"""What is counted in tokens, in words."""


def read_run(folder: Path) -> Run:
    """A run's folder; parts of it that are not there yet are empty, and what cannot be read is left out."""
    if not folder.is_dir():
        raise SurpassError(f"{folder} is not a run: there is no such folder")
    about = Store.read_run(folder) if _json(folder, "run.json") else {}
    state = _state(folder)
    seconds: Counter[str] = Counter()
    for line in json_lines(nofollow.read(folder, "timing.jsonl") or b""):
        if not records.flaw(line, {"phase": str, "seconds": records.number}) and 0 <= line["seconds"] < 1e12:
            seconds[line["phase"]] += line["seconds"]
    rounds = sorted(
        round for name in nofollow.listed(folder, "trees") if name.endswith(".parquet") and (round := round_of(name)) is not None
    )
    cost = {
        account: {kind: n for kind, n in kinds.items() if math.isfinite(n)} for account, kinds in state.get("cost", {}).items()
    }
    written = (nofollow.read(folder, "events.jsonl") or b"")[: state.get("events")]
    run = Run(folder, about, records.events(written), dict(seconds), cost, rounds)
    if not written.strip() and not run.rounds:
        raise SurpassError(f"{folder} holds nothing to report yet: no event and no finished round")
    return run


def _json(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object in a file; an empty one where there is none, or it is damaged."""
    try:
        found = loads(nofollow.read(folder, name) or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _state(folder: Path) -> dict[str, Any]:
    """How much of events.jsonl counts, and what was spent, as far as state.json says so: whether it is damaged is for whoever goes on from it."""
    state = _json(folder, "state.json")
    shapes = {"events": records.count, "cost": records.each(records.each(records.number))}
    return {name: state[name] for name, shape in shapes.items() if name in state and not records.flaw(state[name], shape)}


def number(value: Any) -> float:
    """A JSON number as a float; nan for what is none."""
    return float(value) if not records.number(value) and math.isfinite(value) else math.nan


def thin(rows: Sequence[Any], most: int) -> list[Any]:
    """At most `most` of the rows, evenly spread, with the first and the last."""
    if len(rows) <= most:
        return list(rows)
    return [rows[round(i * (len(rows) - 1) / (most - 1))] for i in range(most)]


def lines(path: Path, size: int | None = None) -> list[dict[str, Any]]:
    """The JSON objects in the lines of a file of a run (RUN/FILE, RUN/FOLDER/FILE), up to `size` bytes; a line that holds none, torn while it was written, is left out."""
    below = path.parent.name in nofollow.FOLDERS  # which is then no link
    root, name = (path.parent.parent, f"{path.parent.name}/{path.name}") if below else (path.parent, path.name)
    return [value for value in json_lines((nofollow.read(root, name) or b"")[:size]) if isinstance(value, dict)]


def texts(folder: Path, name: str, most: int | None = None) -> dict[int, dict[str, Any]]:
    """The decoded text of nodes, by tree and node, in a file of a run; of the first `most` trees."""
    found = {}
    for line in json_lines(nofollow.read(folder, name) or b""):
        if not records.flaw(line, {"tree": records.count, "nodes": records.each((str, [str], None))}) and (
            most is None or line["tree"] < most
        ):
            found[line["tree"]] = line["nodes"]
    return found
