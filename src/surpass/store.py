"""A run on disk: what was decided, what happened, and everything needed to go on from any phase.

    run.json              the method as JSON, task, models, seed, rounds, versions, and digests of what the
                          run began with
    lock                  held by the process that works here; lock.pid where the file system has no locks
    events.jsonl          one line per exam, search, update and verdict; the same bytes however often the run
                          was interrupted
    timing.jsonl          wall-clock seconds per phase, apart because they never repeat
    trees/0001.parquet    every tree of a round with its columns; 0001.sha256: its checksum
    examples/0001.parquet what was learnt from
    texts/0001.jsonl      the nodes of these trees decoded, one piece a token (for people)
    credit/0001.parquet   the columns that advantages added to the trees, per Learn row (for people)
    exams/0000.parquet    the attempts of a test exam, before round 1 and at the end; 0000.jsonl: their texts
                          (for people)
    weights/0001/ROLE/    a folder that transformers loads, and the optimiser's state as safetensors
    weights/0001/ROLE@-1.safetensors   the weights before the round's update, where the method names them
    weights/0001/         checksums.json, and state.json as it was once the gate had judged these weights
    secret                what hidden tests are made with, in a run whose task has some
    state.json            where the run stands; replaced in one step after every phase

No link in it is followed (surpass.nofollow). A file counts once it has its final name. `state.json` names the
weights it belongs to and how long events.jsonl was. A damaged file counts as missing: the run goes on from
the last state whose files are whole (surpass.states).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from surpass import nofollow, records, saved_weights, states
from surpass.errors import RunBroken, SurpassError
from surpass.intact import checksum, loads, seal, sealed, write_whole
from surpass.lock import Lock
from surpass.models import Models
from surpass.tables import (
    DAMAGED,
    as_line,
    columns_from,
    credit_to_table,
    exact_line,
    examples_to_table,
    trees_from_table,
    trees_to_table,
)
from surpass.types import Example, Tree
from surpass.weights import Snapshot

__all__ = ["FORMAT", "Store", "as_line", "columns_from", "trees_from_table", "trees_to_table"]

FORMAT = 2
READS = (1, 2)  # runs of format 1 have no checksums and are taken as they are
# by these a run is known
_RUN = (
    "state.json",
    "events.jsonl",
    "trees",
    "weights",
    "exams",
    "examples",
    "texts",
    "credit",
    "timing.jsonl",
    "report.html",
)


class Store:
    """One run's folder. Opening it takes a lock, so that two processes never write one run."""

    def __init__(self, folder: str | Path, retain: int = 2):
        self.folder, self.retain = Path(folder), retain
        self.folder.mkdir(parents=True, exist_ok=True)
        nofollow.check(self.folder)
        self._lock = Lock(self.folder)
        self.began = time.perf_counter()

    def close(self) -> None:
        self._lock.close()

    # -- what the run is

    @staticmethod
    def begun(folder: str | Path) -> bool:
        """Whether the folder holds a run that finished something. SurpassError where it holds parts of a run
        without a whole run.json, which says what the run is, and where a link lies in it.
        """
        folder = Path(folder)
        nofollow.check(folder)
        if nofollow.there(folder / "run.json"):
            Store.read_run(folder)
            return bool(states.names(folder)) or bool(nofollow.listed(folder, "trees"))
        if found := [name for name in _RUN if nofollow.there(folder / name)]:
            raise SurpassError(
                f"{folder} holds {', '.join(found)} of a run, but no run.json, which says what run it is; "
                "nothing was changed. Put back a copy of run.json and go on with surpass resume, or "
                "choose another folder"
            )
        return False

    def describe(self, run: dict[str, Any]) -> None:
        """Write run.json once."""
        write_whole(self.folder / "run.json", json.dumps({"format": FORMAT} | run, indent=2))

    def digests(self) -> dict[str, str]:
        """What the run began with (surpass.identity), from run.json; nothing where that does not say it."""
        about = self.read_run(self.folder) if nofollow.there(self.folder / "run.json") else {}
        found = about.get("digests", {})
        return found if not records.flaw(found, records.each(str)) else {}

    def rests_on(self, digests: dict[str, str]) -> None:
        """Add to run.json, if there is one, what the run begins with."""
        if nofollow.there(self.folder / "run.json"):
            self.describe(self.read_run(self.folder) | {"digests": digests})

    @staticmethod
    def read_run(folder: str | Path) -> dict[str, Any]:
        """A run's run.json; SurpassError where it is missing, damaged or of another format."""
        path = Path(folder) / "run.json"
        try:
            text = nofollow.read(folder, "run.json")
            run = None if text is None else loads(text)
        except (FileNotFoundError, NotADirectoryError):
            text = None
        except ValueError as error:
            raise SurpassError(
                f"{path} is damaged: {error}; put back a copy of it, or begin a new run elsewhere"
            ) from error
        if text is None:
            raise SurpassError(f"{folder} is not a run: it has no run.json")
        if not isinstance(run, dict):
            raise SurpassError(
                f"{path} is damaged: it holds no JSON object; put back a copy of it, or begin a new run "
                "elsewhere"
            )
        if run.get("format") not in READS or isinstance(run["format"], bool):
            reads = " and ".join(map(str, READS))
            raise SurpassError(
                f"the run {folder} has format {run.get('format')!r:.40}; this version of surpass reads "
                f"formats {reads}"
            )
        return run

    def secret(self) -> bytes:
        """What the hidden tests of this run are made with; drawn at first use, so that no seed
        gives it away.
        """
        path = self.folder / "secret"
        if not nofollow.there(path):
            write_whole(path, secrets.token_hex(16))
        words = (nofollow.read(self.folder, "secret", 100) or b"").decode(errors="replace")
        if not re.fullmatch(r"[0-9a-f]{32}", words):
            raise RunBroken(
                f"{path} is damaged, and the run's hidden tests are made with it; put back a copy of "
                "it, or begin a new run"
            )
        return bytes.fromhex(words)

    # -- what happened

    def events(self, lines: Iterable[dict[str, Any]]) -> None:
        """Append events; they count once the state that follows them is written."""
        with nofollow.opened(self.folder, "events.jsonl", "ab") as file:
            file.write("".join(as_line(line) + "\n" for line in lines).encode())
            file.flush()
            os.fsync(file.fileno())

    def read_events(self) -> list[dict[str, Any]]:
        """Every event that can be read; a run of format 1, which has no checksums, may hold others."""
        return records.events(nofollow.read(self.folder, "events.jsonl") or b"")

    @contextlib.contextmanager
    def timed(self, phase: str, round: int) -> Iterator[None]:
        """Note the seconds that a phase takes."""
        begin = time.perf_counter()
        yield
        line = {"phase": phase, "round": round, "seconds": time.perf_counter() - begin, "at": time.time()}
        with nofollow.opened(self.folder, "timing.jsonl", "ab") as file:
            file.write((as_line(line) + "\n").encode())

    # -- where it stands

    def commit(self, state: dict[str, Any], events: Iterable[dict[str, Any]] = (), judged: int = 0) -> None:
        """Write events, then the state that makes them count. After a gate's verdict on the weights of round
        `judged` a copy of the state lies beside them.
        """
        self.events(events)
        written = nofollow.read(self.folder, "events.jsonl") or b""
        line = sealed(
            exact_line(state | {"events": len(written), "events_sha256": hashlib.sha256(written).hexdigest()})
        )
        if judged:
            write_whole(self.folder / "weights" / f"{judged:04d}" / "state.json", line)
        write_whole(self.folder / "state.json", line)

    def state(self) -> dict[str, Any] | None:
        """The newest state whose events and weights are whole, after cutting events.jsonl back to it; None
        where there is none.
        """

        def sealed_never() -> bool:
            about = self.folder / "run.json"
            return nofollow.there(about) and self.read_run(self.folder)["format"] == 1

        state = states.newest_whole(self.folder, sealed_never)
        with (
            contextlib.suppress(FileNotFoundError),
            nofollow.opened(self.folder, "events.jsonl", "r+b") as file,
        ):
            file.truncate(state["events"] if state else 0)
        return state

    # -- trees and examples

    def write_trees(self, round: int, trees: Sequence[Tree], extra: dict[str, Any]) -> None:
        """A round's trees, in one step, and their checksum: those inside a table cover its pages alone."""
        self._parquet("trees", round, trees_to_table(trees, extra))

    def write_texts(self, round: int, texts: Sequence[Mapping[int, Any]], kind: str = "texts") -> None:
        """Per tree, each node's text (surpass.texts): for reading, not for computing."""
        path = self.folder / kind / f"{round:04d}.jsonl"
        path.parent.mkdir(exist_ok=True)
        write_whole(
            path, "".join(json.dumps({"tree": i, "nodes": nodes}) + "\n" for i, nodes in enumerate(texts))
        )

    def write_exam(self, round: int, trees: Sequence[Tree], texts: Sequence[Mapping[int, Any]]) -> None:
        """A test exam's attempts, to read beside those of another."""
        self._parquet("exams", round, trees_to_table(trees))
        self.write_texts(round, texts, "exams")

    def write_credit(
        self, round: int, credit: Sequence[tuple[str, Sequence[Tree]]], trees: Sequence[Tree]
    ) -> None:
        """The columns that advantages and scores of Learn rows added to a round's trees, or changed."""
        table = credit_to_table(credit, trees)
        if table.num_rows:
            self._parquet("credit", round, table)

    def read_trees(self, round: int) -> tuple[list[Tree], dict[str, Any]] | None:
        """(trees, extra) of a round; None where they are not finished or are damaged."""
        name = f"trees/{round:04d}.parquet"
        try:
            data = nofollow.read(self.folder, name)
            if data is None:
                return None
            known = nofollow.read(self.folder, f"trees/{round:04d}.sha256", 100)
            if known is not None and known.decode() != hashlib.sha256(data).hexdigest():
                raise ValueError("not as it was written")
            table = pq.read_table(pa.BufferReader(data))
            extra = loads(table.schema.metadata[b"surpass"])
            if flaw := records.flaw(extra, records.EXTRA):
                raise ValueError(flaw)
            return trees_from_table(table), extra
        except DAMAGED as error:
            warnings.warn(
                f"{self.folder / name} is damaged ({type(error).__name__}); it counts as missing",
                stacklevel=2,
            )
            return None

    def write_examples(
        self, round: int, chosen: Sequence[tuple[str, Sequence[Example]]], trees: Sequence[Tree]
    ) -> None:
        """What each Learn row of a round learnt from. The tree of an example is -1 where it is of another
        round, or the selector made it.
        """
        self._parquet("examples", round, examples_to_table(chosen, trees))

    def _parquet(self, kind: str, round: int, table: pa.Table) -> None:
        path = self.folder / kind / f"{round:04d}.parquet"
        path.parent.mkdir(exist_ok=True)
        with nofollow.opened(self.folder, f"{kind}/{round:04d}.partial", "wb") as file:
            pq.write_table(table, file, compression="zstd")
        if kind == "trees":
            write_whole(path.with_suffix(".sha256"), checksum(path.with_suffix(".partial")))
        os.replace(path.with_suffix(".partial"), path)

    # -- weights

    def weights_folder(self, round: int, role: str) -> Path:
        """The folder of a role's weights after a round, which transformers loads. SurpassError for a role
        that is no plain name: a run's folder may come from somebody else.
        """
        if not re.fullmatch(r"\w+", role):
            raise SurpassError(f'a role\'s name is letters, digits and underscores; found "{role}"')
        return self.folder / "weights" / f"{round:04d}" / role

    def save(self, round: int, models: Models, roles: Iterable[str]) -> None:
        """Save the roles' weights and optimisers after a round's updates, and ROLE@-1, those before."""
        final = self.folder / "weights" / f"{round:04d}"
        partial = final.with_suffix(".partial")
        if nofollow.there(partial):
            shutil.rmtree(partial)  # refuses a link, and follows none
        partial.mkdir(parents=True)  # even where a round learns only words, and no role has new weights
        saved_weights.write(partial, models, [self.weights_folder(round, role).name for role in roles])
        seal(partial)
        if nofollow.there(final):
            shutil.rmtree(final)
        os.replace(partial, final)

    def load(
        self, round: int, models: Models, role: str, start: dict[str, torch.Tensor], version: int
    ) -> Snapshot:
        """A role, or ROLE@-1, as it was after a round's updates; round 0 is the start. RunBroken where it
        cannot be read.
        """
        if round == 0:
            return Snapshot(start, None, 0)
        if "@" not in role:
            self.weights_folder(round, role)
        folder = self.folder / "weights" / f"{round:04d}"
        try:
            return saved_weights.read(folder, models, role, start, version)
        except SurpassError:
            raise
        except Exception as error:  # the files may hold anything, so any error may be raised
            raise RunBroken(
                f"{folder} cannot be read as {role} after round {round} ({type(error).__name__}: "
                f"{' '.join(str(error).split()):.200}); put back a copy, or begin a new run"
            ) from error

    def forget(self, wanted: Iterable[int]) -> None:
        """Remove the weights of rounds but for those `wanted` and the newest `retain` (0: keep all). Folders
        whose names are no rounds are the user's, and stay.
        """
        if not self.retain:
            return
        rounds = sorted(states.rounds(self.folder))
        for round in set(rounds[: -self.retain]) - set(wanted):
            shutil.rmtree(self.folder / "weights" / f"{round:04d}")
