"""What the page asks of run folders: which there are, and their attempts as a list to filter. Only reads."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from surpass.errors import SurpassError
from surpass.report.attempts import leaf_values, said, score_name
from surpass.report.folder import batches, names, parsed, trees
from surpass.report.read import Run, read_run
from surpass.types import STOPS, Tree
from surpass.view.trees import BATCH, string

DEEPEST = 4  # levels of folders that are searched for runs
MOST_FOLDERS = 20_000  # searched for runs
PATIENCE = 20.0  # seconds to wait for a run that another request is reading
OWN = (
    "trees",
    "texts",
    "credit",
    "exams",
    "examples",
    "weights",
)  # folders of a run, in which no other run is looked for
LISTED = 2000  # characters at each end of a text that a search in the list sees
SORTS = ("round", "score", "tokens", "problem", "stop")


class Unclear(SurpassError):
    """A request whose words or figures mean nothing."""


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
    """The runs in a folder and below it. A run's name is its path below the folder; a name in a request is
    looked up, never joined to a path. One request at a time reads a run; others may read other runs.
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
        """Every run's folder by its name. The search is repeated after a second; if it is slow, later."""
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
        """A run as it stands now; SurpassError where no run has that name, or nothing is in it yet."""
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
                except SurpassError as error:  # kept, because finding it again takes as long
                    self._read[name] = (stamp, error)
            found = self._read[name][1]
        if isinstance(found, SurpassError):
            raise found
        return found

    def soon(self, name: str, seconds: float) -> Run:
        """`run` within so many seconds; else Busy, while reading goes on."""
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
        """A text that changes whenever a run has something new to show."""
        read = [_stat(folder / name) for name in ("events.jsonl", "state.json", "run.json", "timing.jsonl")]
        return f"{read} {len(names(folder, 'trees'))}"

    # -- attempts

    def attempts(self, run: Run) -> tuple[list[Attempt], list[int]]:
        """(every attempt of a run, by round, tree and leaf; the rounds that cannot be read). The file of each
        round is read once.
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
                except Exception:  # however it is damaged: it counts as missing, as in the loop
                    broken.append(round)
        return found, broken

    def page(self, run: Run, wanted: Mapping[str, str]) -> dict[str, Any]:
        """{"total", "all", "from", "broken", "rows"}: the attempts that fit, sorted, from `offset` on.

        `wanted` may hold round, stop, low and high (of the score), short and long (in tokens), text (in
        prompt or answer), sort ("score", "-score"), offset and limit. Unclear where a value means nothing.
        """
        every, broken = self.attempts(run)
        rows = [a for a in every if _fits(a, wanted)]
        order = wanted.get("sort") or "round"
        by = order.removeprefix("-")
        if by not in SORTS:
            raise Unclear(f'attempts are sorted by {", ".join(SORTS)}; found "{by}"')
        if by != "round" or order.startswith("-"):
            known = [a for a in rows if getattr(a, by) == getattr(a, by)]
            # without a score: last in both directions
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

    def outcomes(self, left: tuple[str, int], right: tuple[str, int]) -> list[dict[str, Any]]:
        """The results of two test exams on the problems that both judged. An exam is named by its run and its
        place (0: before, -1: after). A row is {"problem", "asks", "values": [2], "trees": [2]}, and a tree
        {"run", "round", "tree"}, or None where it is not stored.
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
    """The test exam at the start (0), or that at the end (-1), once the run is over."""
    tests = run.of("exam", split="test")
    return tests[place] if tests and (place == 0 or len(tests) > 1) else {}


def _values(exam: Mapping[str, Any], metric: str) -> dict[str, float]:
    return {p: v for p, v in exam["rows"][metric] if v is not None}


def _stored(run: Run, name: str, round: int) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """(where the attempt is, what was asked), each by problem, of a test exam. A run that kept nothing has no
    attempts at the end; those of the start stand for them.
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
    """A prompt on one line; of messages, the last user message."""
    turns = [turn for turn in prompt if isinstance(turn, dict)] if isinstance(prompt, (list, tuple)) else []
    text = (
        next((turn.get("content") for turn in reversed(turns) if turn.get("role") == "user"), "")
        if turns
        else prompt
    )
    return " ".join(string(text if text is not None else "").split())


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
