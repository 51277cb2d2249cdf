"""A run on disk: what was decided, what happened, and everything needed to go on from any phase.

    run.json              the method as JSON, task, models, seed, rounds, versions, and digests of what the
    run began with lock                  held by the process that works here; lock.pid where the file system
    has no locks events.jsonl          one line per exam, search, update and verdict; the same bytes however
    often the run was interrupted timing.jsonl          wall-clock seconds per phase, apart because they never
    repeat
    trees/0001.parquet    every tree of a round with its columns (0001.sha256: its sum); examples/0001.parquet
    what was learnt from texts/0001.jsonl      the same trees' nodes decoded, a piece a token, for people
    credit/0001.parquet   the columns that advantages added to them, per Learn row, for people
    exams/0000.parquet    the attempts of a test exam (before round 1, and at the end), exams/0000.jsonl their
    texts, for people weights/0001/ROLE/    a folder that transformers loads, and the optimiser's state as
    safetensors weights/0001/ROLE@-1.safetensors   the weights before the round's update, where the method
    names them weights/0001/         checksums.json, and state.json as it was once the gate had judged these
    weights
    secret                what hidden tests are made with, in a run whose task has some
    state.json            where the run stands; replaced in one step after every phase

No link in it is followed (surpass.nofollow). A file counts once it has its final name. `state.json` names the
weights it belongs to and how long events.jsonl was. What is damaged is as good as missing: the run goes on
from the last state whose files are whole.
"""

from __future__ import annotations

import contextlib
import errno
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
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from surpass import nofollow, records
from surpass.errors import RunBroken, SurpassError
from surpass.intact import checksum, damage, loads, round_of, seal, sealed, unsealed, write_whole
from surpass.lock import Lock
from surpass.models import Models
from surpass.tables import (
    COLUMN,
    DAMAGED,
    as_line,
    columns_from,
    columns_json,
    exact_line,
    shared,
    trees_from_table,
    trees_to_table,
)
from surpass.types import Example, Tree
from surpass.weights import Snapshot

__all__ = ["FORMAT", "Store", "as_line", "columns_from", "trees_from_table", "trees_to_table"]

FORMAT = 2
READS = (1, 2)  # runs of format 1 have no checksums and are taken as they are
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
)  # by which a run is known


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """safetensors reports a full disk as an error of its own; here it is an OSError as everywhere."""
    try:
        yield
    except SafetensorError as error:
        raise OSError(
            errno.ENOSPC if "No space left" in str(error) else errno.EIO,
            " ".join(str(error).split()),
            str(path),
        ) from error


def _rounds(folder: Path) -> list[int]:
    """The rounds that folders of weights are named by."""
    return [
        round
        for name in nofollow.listed(folder, "weights")
        if "." not in name and (round := round_of(name)) is not None
    ]


def _states(folder: Path) -> Iterator[str]:
    """The names of the states that lie there, the newest first."""
    for name in (
        "state.json",
        *(f"weights/{round:04d}/state.json" for round in sorted(_rounds(folder), reverse=True)),
    ):
        if nofollow.there(folder / name):
            yield name


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
        """Whether the folder holds a run of which something was finished. SurpassError where it does and
        run.json, which says what the run is, is missing or damaged, and where a link lies in it.
        """
        folder = Path(folder)
        nofollow.check(folder)
        if nofollow.there(folder / "run.json"):
            Store.read_run(folder)
            return any(True for _ in _states(folder)) or bool(nofollow.listed(folder, "trees"))
        if found := [name for name in _RUN if nofollow.there(folder / name)]:
            raise SurpassError(
                f"{folder} holds {', '.join(found)} of a run, and no run.json that says of which; "
                "nothing was changed. Put back a copy of run.json and go on with surpass resume, or "
                "choose another folder"
            )
        return False

    def describe(self, run: dict[str, Any]) -> None:
        """Write run.json once."""
        write_whole(self.folder / "run.json", json.dumps({"format": FORMAT} | run, indent=2))

    def digests(self) -> dict[str, str]:
        """What run.json says the run began with (surpass.identity); nothing where it does not, or is not
        there.
        """
        found = (
            self.read_run(self.folder).get("digests", {}) if nofollow.there(self.folder / "run.json") else {}
        )
        return found if not records.flaw(found, records.each(str)) else {}

    def rests_on(self, digests: dict[str, str]) -> None:
        """Write into run.json, if there is one, what the run begins with."""
        if nofollow.there(self.folder / "run.json"):
            self.describe(self.read_run(self.folder) | {"digests": digests})

    @staticmethod
    def read_run(folder: str | Path) -> dict[str, Any]:
        """run.json of a run; SurpassError where there is none or it is of another format."""
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
        """What the hidden tests of this run are made with: drawn by its first use, so that no seed tells
        them.
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
        """Every event; of a run that came without sums those that can be read."""
        return records.events(self._events())

    @contextlib.contextmanager
    def timed(self, phase: str, round: int) -> Iterator[None]:
        """Note the seconds a phase took."""
        begin = time.perf_counter()
        yield
        line = {"phase": phase, "round": round, "seconds": time.perf_counter() - begin, "at": time.time()}
        with nofollow.opened(self.folder, "timing.jsonl", "ab") as file:
            file.write((as_line(line) + "\n").encode())

    # -- where it stands

    def commit(self, state: dict[str, Any], events: Iterable[dict[str, Any]] = (), judged: int = 0) -> None:
        """Events, then the state that makes them count; a copy of it beside the weights of the round that was
        judged.
        """
        self.events(events)
        written = self._events()
        line = sealed(
            exact_line(state | {"events": len(written), "events_sha256": hashlib.sha256(written).hexdigest()})
        )
        if judged:
            write_whole(self.folder / "weights" / f"{judged:04d}" / "state.json", line)
        write_whole(self.folder / "state.json", line)

    def state(self) -> dict[str, Any] | None:
        """The last committed state whose weights are whole, with events.jsonl cut back to it; None before the
        first.
        """
        names = list(_states(self.folder))
        state = self._last_whole(list(dict.fromkeys(["state.json", *names]))) if names else None
        with (
            contextlib.suppress(FileNotFoundError),
            nofollow.opened(self.folder, "events.jsonl", "r+b") as file,
        ):
            file.truncate(state["events"] if state else 0)
        return state

    def _events(self) -> bytes:
        return nofollow.read(self.folder, "events.jsonl") or b""

    def _last_whole(self, names: Sequence[str]) -> dict[str, Any] | None:
        wrong = ""
        for name in names:
            state = unsealed(self.folder, name)
            why = f"{self.folder / name} is damaged or missing" if state is None else self._lacks(state, name)
            if state is not None and not why:
                if wrong:
                    warnings.warn(f"{wrong}; the run goes on from round {state['round']}", stacklevel=2)
                return state
            wrong = wrong or why
        warnings.warn(f"{wrong}, and so is whatever the run could go back to; it begins again", stacklevel=2)
        return None

    def _lacks(self, state: dict[str, Any], name: str) -> str:
        """What is wrong with a state, or with the events and weights that it needs."""
        if flaw := records.flaw(state, records.STATE):
            return f"{self.folder / name} is damaged: {flaw}"
        known, written = state.get("events_sha256"), self._events()
        if len(written) < state["events"] or (
            known and hashlib.sha256(written[: state["events"]]).hexdigest() != known
        ):
            return f"{self.folder / 'events.jsonl'} is not as it was written"
        rounds = {state["weights"], state["trial"] or 0} - {0}
        old = nofollow.there(self.folder / "run.json") and self.read_run(self.folder)["format"] == 1
        return next(
            (
                why
                for round in sorted(rounds)
                if (why := damage(self.folder / "weights" / f"{round:04d}", old))
            ),
            "",
        )

    # -- trees and examples

    def write_trees(self, round: int, trees: Sequence[Tree], extra: dict[str, Any]) -> None:
        """A round's trees, in one step, and their sum: a table's own covers its pages alone."""
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
        """What advantages and scores of Learn rows said of a round's trees, a row per Learn row and tree: the
        columns that the tree itself has not, or not so.
        """
        rows = [
            {"role": role, "tree": i, "columns": columns_json(tree, shared(tree, trees[i]))}
            for role, some in credit
            if some is not trees
            for i, tree in enumerate(some[: len(trees)])
        ]
        if rows:
            schema = pa.schema([("role", pa.string()), ("tree", pa.int32()), ("columns", pa.list_(COLUMN))])
            self._parquet("credit", round, pa.Table.from_pylist(rows, schema=schema))

    def read_trees(self, round: int) -> tuple[list[Tree], dict[str, Any]] | None:
        """(trees, extra) of a round, None where they were not finished or are damaged."""
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
                f"{self.folder / name} is damaged ({type(error).__name__}); it is as good as missing",
                stacklevel=2,
            )
            return None

    def write_examples(
        self, round: int, chosen: Sequence[tuple[str, Sequence[Example]]], trees: Sequence[Tree]
    ) -> None:
        """What each Learn row of a round learnt from: the tree's number in the round (-1: of another round,
        or made by the selector) and the nodes.
        """
        number = {(tree.problem.id, tree.key): i for i, tree in enumerate(trees)}
        rows = [
            {
                "role": role,
                "tree": number.get((e.tree.problem.id, e.tree.key), -1),
                "nodes": list(e.nodes),
                "since": None if e.since is None else list(e.since),
                "weight": e.weight,
                "confidence": e.confidence,
            }
            for role, examples in chosen
            for e in examples
        ]
        ints = pa.list_(pa.int32())
        schema = pa.schema(
            [
                ("role", pa.string()),
                ("tree", pa.int32()),
                ("nodes", ints),
                ("since", ints),
                ("weight", pa.float64()),
                ("confidence", pa.float64()),
            ]
        )
        self._parquet("examples", round, pa.Table.from_pylist(rows, schema=schema))

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
        """Where a role's weights after a round lie: a folder that transformers loads. SurpassError for a name
        that leads elsewhere: a run's folder may come from somebody else.
        """
        if not re.fullmatch(r"\w+", role):
            raise SurpassError(f'a role\'s name is letters, digits and underscores; found "{role}"')
        return self.folder / "weights" / f"{round:04d}" / role

    def save(self, round: int, models: Models, roles: Iterable[str]) -> None:
        """The roles' weights and optimisers after a round's updates, and what ROLE@-1 stands for then."""
        final = self.folder / "weights" / f"{round:04d}"
        partial = final.with_suffix(".partial")
        if nofollow.there(partial):
            shutil.rmtree(partial)  # refuses a link, and follows none
        partial.mkdir(parents=True)  # also where what is learnt are words, and no role has new weights
        for role in roles:
            self.weights_folder(round, role)
            with _disk_errors(partial):
                models.engine(role).save(partial / role)
            optimiser = getattr(models.engine(role), "optimisers", {}).get(role)
            if optimiser is not None:
                state = optimiser.state_dict()
                tensors = {
                    f"{i}.{name}": value.contiguous()
                    for i, values in state["state"].items()
                    for name, value in values.items()
                }
                with _disk_errors(partial):
                    save_file(tensors, partial / role / "optimiser.safetensors")
                (partial / role / "optimiser.json").write_text(
                    json.dumps(state["param_groups"]), encoding="utf-8"
                )
        for name in models.weights.predecessors():
            with _disk_errors(partial):
                save_file(
                    {key: value.contiguous() for key, value in models.weights.snapshots[name].items()},
                    partial / f"{name}.safetensors",
                )
        seal(partial)
        if nofollow.there(final):
            shutil.rmtree(final)
        os.replace(partial, final)

    def load(
        self, round: int, models: Models, role: str, start: dict[str, torch.Tensor], version: int
    ) -> Snapshot:
        """A role, or ROLE@-1, as it was after a round's updates; round 0 is the start. RunBroken where that
        cannot be read.
        """
        if round == 0:
            return Snapshot(start, None, 0)
        try:
            return self._load(round, models, role, start, version)
        except SurpassError:
            raise
        except Exception as error:  # these files may hold anything, and so may what is raised over them
            raise RunBroken(
                f"{self.folder / 'weights' / f'{round:04d}'} cannot be read as {role} after round "
                f"{round} ({type(error).__name__}: {' '.join(str(error).split()):.200}); put back a "
                "copy, or begin a new run"
            ) from error

    def _load(
        self, round: int, models: Models, role: str, start: dict[str, torch.Tensor], version: int
    ) -> Snapshot:
        if "@" in role:
            found = load_file(self.folder / "weights" / f"{round:04d}" / f"{role}.safetensors")
            return Snapshot({name: value.to(start[name].device) for name, value in found.items()}, None, 0)
        folder = self.weights_folder(round, role)
        if not folder.exists():
            raise RunBroken(f"{folder} is missing; without it the run cannot be resumed from round {round}")
        weights = models.engine(role).read(folder)
        optimiser = None
        if (folder / "optimiser.json").exists():
            state: dict[int, dict[str, torch.Tensor]] = {}
            for name, value in load_file(folder / "optimiser.safetensors").items():
                i, _, field = name.partition(".")
                state.setdefault(int(i), {})[field] = value
            groups = json.loads((folder / "optimiser.json").read_text(encoding="utf-8"))
            optimiser = {"state": state, "param_groups": [g | {"betas": tuple(g["betas"])} for g in groups]}
        return Snapshot(weights, optimiser, version)

    def forget(self, wanted: Iterable[int]) -> None:
        """Remove weights of rounds that nothing can go back to any more, but for the newest `retain` (0: keep
        all). What is called otherwise than a round is somebody else's, and stays.
        """
        if not self.retain:
            return
        rounds = sorted(_rounds(self.folder))
        for round in set(rounds[: -self.retain]) - set(wanted):
            shutil.rmtree(self.folder / "weights" / f"{round:04d}")
