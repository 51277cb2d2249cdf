"""What the page asks of run folders: which there are, their attempts as a list to filter, one tree as JSON.
Only reads.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from surpass.errors import SurpassError
from surpass.report.attempts import leaf_values, said, score_name
from surpass.report.folder import batches, names, parsed, trees
from surpass.report.read import Run, read_run, texts
from surpass.store import columns_from
from surpass.types import STOPS, Tree

DEEPEST = 4  # folders below the one that is shown
MOST_FOLDERS = 20_000  # looked through for runs
PATIENCE = 20.0  # seconds to wait for a run that another request is reading
OWN = ("trees", "texts", "credit", "exams", "examples", "weights")  # where a run has no other run
BATCH = 64  # trees read at a time
LONGEST = 20_000  # characters of one text
CUT = " … (cut)"
LISTED = 2000  # characters at the beginning and at the end of a text that the list looks through
SORTS = ("round", "score", "tokens", "problem", "stop")


class Unclear(SurpassError):
    """A question that means nothing."""


class Busy(SurpassError):
    """A run is still being read."""


class Attempt(NamedTuple):
    """One leaf of a round's trees."""

    round: int
    tree: int
    leaf: int
    problem: str
    score: float
    tokens: int
    stop: str
    text: str


@dataclass
class Runs:
    """The runs in a folder and below it. A run is known by its place below the folder, and by nothing else:
    what is asked for is looked up, never joined to a path. Each is read by one request at a time, and while
    it is the others are read all the same.
    """

    root: Path
    _read: dict[str, tuple[Any, Run | SurpassError]] = field(default_factory=dict)
    _attempts: dict[tuple[str, int], tuple[Any, list[Attempt]]] = field(default_factory=dict)
    _walked: tuple[float, dict[str, Path]] = (-math.inf, {})
    _locks: dict[str, threading.Lock] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Every run's name: its path below the folder, "." for the folder itself."""
        return sorted(self._folders())

    def _folders(self) -> dict[str, Path]:
        """Every run's folder by its name; looked for again after a second, and later where that takes
        long.
        """
        if time.monotonic() > self._walked[0]:
            began = time.monotonic()
            found = self._walk()
            self._walked = time.monotonic() + max(1.0, 10 * (time.monotonic() - began)), found
        return self._walked[1]

    def _walk(self) -> dict[str, Path]:
        found = {}
        # links are not followed
        for (folder, below, files), _ in zip(os.walk(self.root), range(MOST_FOLDERS), strict=False):
            here = Path(folder)
            if "events.jsonl" in files or "events.jsonl" in below:
                found[here.relative_to(self.root).as_posix()] = here
                below[:] = [name for name in below if name not in OWN]
            if len(here.relative_to(self.root).parts) >= DEEPEST:
                below.clear()
        return found

    @contextlib.contextmanager
    def _alone(self, what: str) -> Iterator[None]:
        lock = self._locks.setdefault(what, threading.Lock())
        if not lock.acquire(timeout=PATIENCE):
            raise Busy("this run is still being read; ask again in a moment")
        try:
            yield
        finally:
            lock.release()

    def run(self, name: str) -> Run:
        """A run as it stands now; SurpassError where there is none of that name or nothing in it yet."""
        if name not in self._folders():
            self._walked = (-math.inf, {})  # it may have begun just now
        folder = self._folders().get(name)
        if folder is None:
            raise SurpassError(f'there is no run "{name}"')
        with self._alone(name):
            stamp = self.stamp(folder)
            if name not in self._read or self._read[name][0] != stamp:
                try:
                    self._read[name] = (stamp, read_run(folder))
                except SurpassError as error:  # to find the same again takes as long
                    self._read[name] = (stamp, error)
            found = self._read[name][1]
        if isinstance(found, SurpassError):
            raise found
        return found

    def soon(self, name: str, seconds: float) -> Run:
        """`run`, as far as that takes no longer; Busy where it does, and then it goes on."""
        found: list[Any] = []

        def read() -> None:
            try:
                found.append(self.run(name))
            except Exception as error:
                found.append(error)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        reader.join(seconds)
        if not found:
            raise Busy("it is still being read; load this page again in a moment")
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]

    @staticmethod
    def stamp(folder: Path) -> str:
        """Changes whenever there is something new to show of a run."""
        read = [_stat(folder / name) for name in ("events.jsonl", "state.json", "run.json", "timing.jsonl")]
        return f"{read} {len(names(folder, 'trees'))}"

    # -- attempts

    def attempts(self, run: Run) -> tuple[list[Attempt], list[int]]:
        """(every attempt of a run, by round, tree and leaf; the rounds that cannot be read). Each round's
        file is read once.
        """
        found: list[Attempt] = []
        broken: list[int] = []
        with self._alone(str(run.folder)):
            for round in run.rounds:
                stamp, key = _stat(run.folder / "trees" / f"{round:04d}.parquet"), (str(run.folder), round)
                try:
                    if self._attempts.get(key, ("",))[0] != stamp:
                        self._attempts[key] = (stamp, _attempts(run, round))
                    found += self._attempts[key][1]
                except Exception:  # as the loop does: what is damaged, however, is as good as missing
                    broken.append(round)
        return found, broken

    def page(self, run: Run, wanted: Mapping[str, str]) -> dict[str, Any]:
        """{"total", "all", "from", "broken", "rows"}: the attempts that fit, sorted, from `offset` on.

        `wanted` may hold round, stop, low and high (of the score), short and long (in tokens), text (in
        prompt or answer), sort ("score", "-score"), offset and limit. SurpassError for what is none of these.
        """
        every, broken = self.attempts(run)
        rows = [a for a in every if _fits(a, wanted)]
        order = wanted.get("sort") or "round"
        by = order.removeprefix("-")
        if by not in SORTS:
            raise Unclear(f'attempts are sorted by {", ".join(SORTS)}; found "{by}"')
        if by != "round" or order.startswith("-"):
            known = [a for a in rows if getattr(a, by) == getattr(a, by)]
            # not judged: last in both directions
            unknown = [a for a in rows if getattr(a, by) != getattr(a, by)]
            rows = sorted(known, key=lambda a: getattr(a, by), reverse=order.startswith("-")) + unknown
        offset, limit = (
            max(0, int(_figure(wanted, "offset", 0))),
            min(500, max(0, int(_figure(wanted, "limit", 100)))),
        )
        shown = [
            a._asdict() | {"problem": a.problem[:300], "text": " ".join(a.text.split())[:160]}
            for a in rows[offset : offset + limit]
        ]
        return {"total": len(rows), "all": len(every), "from": offset, "broken": broken, "rows": shown}

    # -- trees

    def tree(self, run: Run, round: int, number: int, kind: str = "trees") -> dict[str, Any]:
        """One tree as the page draws it; of "exams" it is a test exam's."""
        file, place = f"{kind}/{round:04d}.parquet", number
        if kind not in ("trees", "exams") or not (run.folder / file).exists():
            raise SurpassError(f"no attempts of round {round} are stored")
        for batch in batches(run.folder, file, BATCH):
            if 0 <= place < batch.num_rows:
                (tree,) = trees(batch.slice(place, 1))
                break
            place -= batch.num_rows
        else:
            raise SurpassError(f"round {round} has no tree {number}")
        beside = texts(run.folder, f"{'texts' if kind == 'trees' else 'exams'}/{round:04d}.jsonl")
        nodes = next((found for i, found in beside if i == number), {})
        credit, learnt = (
            (_credit(run, round, number, tree), _learnt(run, round, number, tree))
            if kind == "trees"
            else ({}, [])
        )
        score = "chosen" if tree.has("chosen") else score_name(run.about, [tree])
        return tree_json(tree, nodes, score, credit, learnt)

    def outcomes(self, left: tuple[str, int], right: tuple[str, int]) -> list[dict[str, Any]]:
        """What two test exams came to on the problems both judged, each named by its run and its place (0:
        before, -1: after): {"problem", "asks", "values": [2], "trees": [2]}; a tree is {"run", "round",
        "tree"}, or None where it was not stored.
        """
        exams = [(name, self.run(name), _exam(self.run(name), place)) for name, place in (left, right)]
        metric = next(
            (
                m
                for m in ("accuracy", "agreement")
                if all(exam and exam.get("rows", {}).get(m) for *_, exam in exams)
            ),
            None,
        )
        if metric is None:
            return []
        sides = [(_values(exam, metric), *_stored(run, name, exam["round"])) for name, run, exam in exams]
        return [
            {
                "problem": p,
                "asks": next((asks[p] for _, _, asks in sides if p in asks), p),
                "values": [values[p] for values, _, _ in sides],
                "trees": [trees.get(p) for _, trees, _ in sides],
            }
            for p in sides[0][0]
            if p in sides[1][0]
        ]


def _exam(run: Run, place: int) -> Mapping[str, Any]:
    """The test exam at the start (0) or at the end (-1), which a run has once it is over."""
    tests = run.of("exam", split="test")
    return tests[place] if tests and (place == 0 or len(tests) > 1) else {}


def _values(exam: Mapping[str, Any], metric: str) -> dict[str, float]:
    return {p: v for p, v in exam["rows"][metric] if v is not None}


def _stored(run: Run, name: str, round: int) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """(where the attempt is, what was asked) by problem of a test exam; where nothing was kept, the end's is
    the start's.
    """
    files = {r: f"exams/{r:04d}.parquet" for r in (round, 0)}
    at = next((r for r, file in files.items() if (run.folder / file).exists()), 0)
    stored: dict[str, dict[str, Any]] = {}
    asks: dict[str, str] = {}
    for i, text in enumerate(
        text
        for batch in batches(run.folder, files[at], BATCH, ["problem"])
        for text in batch["problem"].to_pylist()
    ):
        problem = parsed((text or "").encode())
        if isinstance(problem, dict) and isinstance(problem.get("id"), str):
            stored[problem["id"]] = {"run": name, "round": at, "tree": i}
            asks[problem["id"]] = _asked(problem.get("prompt"))[:160]
    return stored, asks


def _asked(prompt: Any) -> str:
    """A prompt in a line: itself, or its last user message."""
    turns = [turn for turn in prompt if isinstance(turn, dict)] if isinstance(prompt, (list, tuple)) else []
    text = (
        next((turn.get("content") for turn in reversed(turns) if turn.get("role") == "user"), "")
        if turns
        else prompt
    )
    return " ".join(_string(text if text is not None else "").split())


def _attempts(run: Run, round: int) -> list[Attempt]:
    read = [
        tree for batch in batches(run.folder, f"trees/{round:04d}.parquet", BATCH) for tree in trees(batch)
    ]
    found, score, beside = [], score_name(run.about, read), run.texts(round, len(read))
    for i, tree in enumerate(read):
        values, asks = leaf_values(tree, score), _ends(_asked(tree.problem.prompt))
        stops = [STOPS[int(stop)] for stop in tree.stop]
        for leaf in tree.leaves():
            path = tree.attempt(leaf)
            own = [node for node in path if tree.author[node] != "task"]
            words = "".join(_text(tree, beside.get(i, {}), node) for node in own)
            found.append(
                Attempt(
                    round,
                    i,
                    leaf,
                    asks,
                    values[leaf],
                    sum(tree.length(node) for node in own),
                    stops[leaf],
                    _ends(words),
                )
            )
    return found


def _ends(text: str) -> str:
    """The beginning and the end of a text."""
    return text if len(text) <= 2 * LISTED else f"{text[:LISTED]} … {text[-LISTED:]}"


def _text(tree: Tree, texts: Mapping[str, Any], node: int) -> str:
    return (tree.text[node] if tree.text[node] is not None else said(texts.get(str(node)))) or ""


def _fits(a: Attempt, wanted: Mapping[str, str]) -> bool:
    text = wanted.get("text", "").casefold()
    return (
        wanted.get("round", "") in ("", str(a.round))
        and wanted.get("stop", "") in ("", a.stop)
        and not a.score < _figure(wanted, "low", -math.inf)
        and not a.score > _figure(wanted, "high", math.inf)
        and (math.isfinite(a.score) or not (wanted.get("low") or wanted.get("high")))
        and _figure(wanted, "short", 0) <= a.tokens <= _figure(wanted, "long", math.inf)
        and (not text or text in a.problem.casefold() or text in a.text.casefold())
    )


def _figure(wanted: Mapping[str, str], name: str, otherwise: float) -> float:
    try:
        value = float(wanted.get(name) or otherwise)
    except ValueError:
        value = math.nan
    if math.isnan(value) or (math.isinf(value) and wanted.get(name)):
        raise Unclear(f'{name} is a number; found "{wanted[name]}"')
    return value


def _stat(path: Path) -> tuple[int, int]:
    try:
        found = path.lstat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _rows(run: Run, file: str, number: int) -> list[dict[str, Any]]:
    """What a table beside the trees says of one of them; nothing where it cannot be read."""
    try:
        return [
            row
            for batch in batches(run.folder, file, 4096)
            for row in batch.filter(pc.equal(batch["tree"], number)).to_pylist()
        ]
    except (SurpassError, LookupError, pa.ArrowException):
        return []


def _credit(run: Run, round: int, number: int, tree: Tree) -> dict[str, Any]:
    """The advantages of a tree, by the role that learnt from them."""
    rows = _rows(run, f"credit/{round:04d}.parquet", number)
    found = {}
    for i, row in enumerate(rows, 1):
        with contextlib.suppress(
            SurpassError, LookupError, ValueError, TypeError
        ):  # what does not fit the tree says nothing of it
            columns = columns_from(row["columns"])
            tree.with_columns(columns)
            found.update(
                {
                    name if len(rows) == 1 else f"{name} {i} ({row['role']})": column
                    for name, column in columns.items()
                }
            )
    return found


def _learnt(run: Run, round: int, number: int, tree: Tree) -> list[int]:
    """The nodes whose paths examples named."""
    rows = _rows(run, f"examples/{round:04d}.parquet", number)
    return sorted(
        {
            node
            for row in rows
            for node in row.get("nodes") or ()
            if node is not None and 0 <= node < len(tree)
        }
    )


def tree_json(
    tree: Tree, texts: Mapping[str, Any], score: str | None, credit: Mapping[str, Any], learnt: list[int]
) -> dict[str, Any]:
    """A tree for the page: its problem; its nodes, each with the node it answers in time and its pieces; its
    attempts, as the nodes from their beginning in time; and every column by node, token or attempt.
    """
    leaves, values = tree.leaves(), leaf_values(tree, score)
    prompt = tree.problem.prompt
    turns = (
        [["", prompt]]
        if isinstance(prompt, str)
        else [[str(t.get("role", "")), _string(t.get("content", ""))] for t in prompt]
    )
    per_node: list[dict[str, float]] = [{} for _ in range(len(tree))]
    per_token: list[dict[str, list[float]]] = [{} for _ in range(len(tree))]
    per_leaf: dict[str, list[float]] = {}
    span, cause, stops = tree.span.tolist(), tree.cause.tolist(), tree.stop.tolist()
    for name, column in {**tree.columns, **credit}.items():
        if column.values.ndim > 1 or column.axis == "pair":
            continue
        if column.axis == "leaf":
            per_leaf[name] = np.asarray(column.values, float).tolist()
            continue
        for node in range(len(tree)):
            own = np.asarray(
                column.values[span[node] : span[node + 1]]
                if column.axis == "token"
                else column.values[node : node + 1],
                float,
            )
            if len(own) and not np.isnan(own).all():
                if column.axis == "token":
                    per_token[node][name] = own.tolist()
                else:
                    per_node[node][name] = float(own[0])
    nodes = []
    for node in range(len(tree)):
        logp = tree.drawn(node)[0].astype(float)
        nodes.append(
            {
                "before": cause[node],
                "author": tree.author[node],
                "stop": STOPS[stops[node]],
                "aside": bool(tree.aside[node]),
                "tokens": tree.length(node),
                "values": per_node[node],
                "along": per_token[node],
                "text": _cut(tree.text[node] if tree.text[node] is not None else texts.get(str(node))),
                "logp": logp.tolist() if not np.isnan(logp).all() else None,
            }
        )
    return {
        "id": tree.problem.id,
        "prompt": turns,
        "answer": None if tree.problem.answer is None else _string(tree.problem.answer)[:2000],
        "score": score,
        "nodes": nodes,
        "leaves": leaves,
        "attempts": [tree.attempt(leaf) for leaf in leaves],
        "rewards": [values[leaf] for leaf in leaves],
        "scores": per_leaf,
        "learnt": learnt,
    }


def _string(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _cut(text: str | list[str] | None) -> str | list[str] | None:
    """A text of at most LONGEST characters, in pieces if it came in pieces: each stays the piece of its
    token.
    """
    if text is None or sum(map(len, text)) <= LONGEST:
        return text
    if isinstance(text, str):
        return text[:LONGEST] + CUT
    ends = np.cumsum([len(piece) for piece in text])
    return [*text[: int(np.searchsorted(ends, LONGEST, "right"))], CUT]
