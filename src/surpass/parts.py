"""The kinds of part a method is composed of, as protocols, and the two sentences that join them: Learn and
Method.

Every implementation is a frozen dataclass with `__call__`. Its fields are JSON values or other parts, so a
method written as JSON is its complete configuration, and the hash of that JSON names the run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from surpass.errors import SurpassError, UnmetNeed
from surpass.hints import hints, misfit
from surpass.types import (
    Batch,
    Cast,
    Column,
    Example,
    Figures,
    Memory,
    Out,
    Problem,
    Report,
    Tree,
    Turn,
    Verdict,
)

if TYPE_CHECKING:
    import torch

    from surpass.models import Models

__all__ = [
    "Adapt",
    "Advantage",
    "Choose",
    "Curriculum",
    "Engine",
    "Gate",
    "Learn",
    "Learner",
    "Measure",
    "Method",
    "Objective",
    "Oracle",
    "Reward",
    "Search",
    "Selector",
    "Task",
    "demands",
    "from_json",
    "modules_in",
    "needs_of",
    "run_hash",
    "shown",
    "to_json",
]


class Task(Protocol):
    """Where problems come from and how attempts are judged. States are JSON values; `step` never changes the
    old one.

    What stands here is a question with one answer; a task that inherits it writes `problems` and `check`.
    `branches = False` says that a state is no value (a live site); searches then replay from the start. A
    task whose answers can be compared, for votes, has final_answer(text) -> str | None; one with exact
    knowledge has `oracle`, an Oracle. What a model thought (surpass.answers.said) is in none of the texts
    that a task is given; one with `reads_thoughts = True` is given them in check.
    """

    @property
    def players(self) -> tuple[str, ...]:
        return ("policy",)

    @property
    def branches(self) -> bool:
        return True

    def problems(self, split: str, seed: int) -> Iterator[Problem]:
        """Problems of "train", "gate" (the gate alone) or "test" (start and end of a run, nothing else),
        without repeats.
        """
        ...

    async def start(self, models: Models, problem: Problem) -> Turn:
        """The first state, what each player is told, and who moves."""
        return Turn({}, {"policy": problem.prompt}, "policy")

    async def step(self, models: Models, state: Any, text: str) -> Turn:
        """What follows a move."""
        return Turn(state)

    async def check(self, models: Models, problem: Problem, text: str) -> float:
        """The value of a finished attempt, usually in [0, 1]; nan: cannot be judged."""
        ...


class Oracle(Protocol):
    """Exact knowledge of a task, for tests and measures. A search or a reward is given it only if it declares
    needs = {"oracle"}; a policy never is.

    A state is what the task's start or step returned; `text` is the unfinished turn after it (whole lines).
    """

    def act(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """A best turn in this state for whoever moves, judged by what that player can know; rng chooses among
        equals.
        """
        ...

    def slip(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """A turn that looks like a good one and is not: after it the attempt is worth less."""
        ...

    def value(self, problem: Problem, state: Any, text: str = "") -> float:
        """What the attempt is worth under best play from here on."""
        ...


class Engine(Protocol):
    """Serves one model. `can` holds what it is able to do: text tokens logprobs logits value embed train."""

    @property
    def can(self) -> frozenset[str]: ...

    def serve(self, requests: Sequence[Any]) -> Iterable[tuple[Any, Any]]:
        """(request, reply) for every request, in whatever order they finish; a reply may be an exception. An
        engine whose attribute `pauses` is true is called as serve(requests, others=...): once others() was
        true it may leave requests without a reply, and gets them again.
        """
        ...


class Curriculum(Protocol):
    """Which problems come next, and trees that join the round without being searched (proposals, replays)."""

    async def __call__(
        self, models: Models, task: Task, memory: Memory, rng: int
    ) -> tuple[list[Problem], list[Tree]]: ...


class Search(Protocol):
    """Grows one problem's tree. It computes nothing itself: it awaits `models`, and every waiting search is
    served at once.
    """

    async def __call__(self, models: Models, task: Task, problem: Problem, rng: int) -> Tree: ...


class Reward(Protocol):
    """One column per tree, for all trees of a round at once."""

    async def __call__(self, models: Models, task: Task, trees: Sequence[Tree]) -> list[Column]: ...


class Advantage(Protocol):
    """New columns per tree ("advantage", "return", ...), seen by its own Learn row only. Pure but for
    memory.notes.
    """

    def __call__(self, trees: Sequence[Tree], memory: Memory) -> list[dict[str, Column]]: ...


class Selector(Protocol):
    """What is worth learning from. Pure."""

    def __call__(self, trees: Sequence[Tree], memory: Memory, rng: int) -> list[Example]: ...


class Objective(Protocol):
    """A loss as sums by normaliser, {"tokens" | "paths" | "examples": sum}, and figures to report, {name:
    (sum, over how many)}. Pure.

    The learner divides each sum by its total over the whole update, so micro-batches change nothing.
    `columns` names what is read of tokens and paths: columns of the tree ("advantage"), and log-probs that
    the learner fills before its first step ("logp@start", "logp@policy@0"). `outputs` names what the forward
    pass gives, in one pass: "logp", "entropy", "value". A path on which the column `silent_at` is 0
    throughout adds nothing and may be left out (no such attribute: none may).
    """

    @property
    def columns(self) -> frozenset[str]: ...
    @property
    def outputs(self) -> frozenset[str]: ...

    def __call__(self, out: Out, batch: Batch) -> tuple[dict[str, torch.Tensor], Figures]: ...


class Learner(Protocol):
    """Changes what a role plays with: weights, a prompt, an archive. It may ask models while it learns."""

    async def __call__(
        self, models: Models, learn: Learn, examples: Sequence[Example], memory: Memory, rng: int
    ) -> Report: ...


class Choose(Protocol):
    """The node that is the answer, at inference."""

    def __call__(self, tree: Tree) -> int: ...


class Measure(Protocol):
    """What "better" means."""

    async def __call__(self, models: Models, task: Task, split: str, seed: int) -> Report: ...


@runtime_checkable
class Gate(Protocol):
    """Whether a trial is kept. `every` is the number of rounds between decisions; `labels` whether it uses
    ground truth.
    """

    @property
    def every(self) -> int: ...
    @property
    def labels(self) -> bool: ...

    def __call__(self, best: Report, kept: Report, new: Report) -> Verdict: ...


class Adapt(Protocol):
    """The next round's method: a method is a value too."""

    async def __call__(
        self, method: Method, models: Models, task: Task, memory: Memory, report: Report, rng: int
    ) -> Method: ...


@dataclass(frozen=True)
class Learn:
    """One update of one role.

    `voices` are the authors whose tokens are trained (default: the role itself). `start` names the snapshot
    training begins from ("policy@0": from the start every round); None: from the current weights. `scores`
    are taken anew when this row's turn comes, after the updates of the rows before it, and seen by this row
    only: what a model says that has just learnt.
    """

    role: str
    select: Selector
    learner: Learner
    advantage: Advantage | None = None
    voices: tuple[str, ...] | None = None
    start: str | None = None
    scores: Mapping[str, Reward] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """Propose, score, select, learn, keep. `learn=()` is an inference-only method. Scores run in order; each
    may read the columns before it. What "better" means, and how an answer is chosen at inference, is the
    exam's. `cast` says who plays the roles that no model was given for.
    """

    curriculum: Curriculum
    search: Search
    scores: Mapping[str, Reward]
    exam: Measure
    gate: Gate
    learn: tuple[Learn, ...] = ()
    adapt: Adapt | None = None
    cast: Mapping[str, Cast] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for part, *_ in demands(self):
            _check_numbers(part)


COUNTS = frozenset(
    "n k answer_tokens batch branch budget depth dev epochs every expansions held in_flight iterations "
    "max_tokens period pool searches simulations turns updates width".split()
)
HOLD_PARTS = frozenset(
    "advantages choose curricula gates learners measures methods objectives parts rewards searches "
    "selectors tasks types".split()
)
SIGNED = frozenset({"enough", "margin", "threshold", "worst"})  # compared with rewards, which may be negative


def _check_numbers(part: Any) -> None:
    """The numbers in surpass's own parts by the names that all share: COUNTS are at least 1, top_p is a
    share, no other is below 0 but the SIGNED.
    """
    if not dataclasses.is_dataclass(part) or not type(part).__module__.startswith("surpass."):
        return
    for field in dataclasses.fields(part):
        value, name = getattr(part, field.name), field.name
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        least = 1 if name in COUNTS else -math.inf if name in SIGNED else 0
        if not value >= least:  # true of nan, too
            raise SurpassError(
                f"{type(part).__name__} needs {name} "
                f"{'to be a number' if least < 0 else f'of at least {least}'}; found {name}={value}"
            )
        if name == "top_p" and not 0 < value <= 1:
            raise SurpassError(
                f"{type(part).__name__} needs top_p above 0 and at most 1; found top_p={value}"
            )


def _public_name(cls: type) -> str:
    """The shortest dotted name that finds the class: its package if that exports it, else its module."""
    package = cls.__module__.rpartition(".")[0]
    if package and getattr(importlib.import_module(package), cls.__name__, None) is cls:
        return f"{package}.{cls.__name__}"
    return f"{cls.__module__}.{cls.__name__}"


def to_json(value: Any) -> Any:
    """A part (or any value made of parts, numbers, strings, tuples and dicts) as JSON; `from_json` gives an
    equal one back.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"part": _public_name(type(value))} | {
            f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "problems") and hasattr(value, "check"):
        raise SurpassError(
            f"the task {type(value).__name__} is written into the run's folder, so it has to be a "
            "dataclass: write @dataclass(frozen=True) above the class and give it a name at the top of "
            "a module"
        )
    raise SurpassError(
        f"a part may hold numbers, text, tuples, dicts and other parts; found {type(value).__name__}: "
        f"{value!r}"
    )


def from_json(data: Any, allowed: Mapping[str, str] | Iterable[str] = ()) -> Any:
    """The part that `to_json` wrote. Only names inside surpass resolve, and modules that are `allowed`: a
    run's folder may come from somebody else. A class's `files` are its fields of the form "file.py:name";
    where `allowed` maps a module to the path that the user named, that path is taken, whatever the data says.
    """
    allowed = dict(allowed) if isinstance(allowed, Mapping) else dict.fromkeys(allowed, "")
    if isinstance(data, dict):
        if "part" not in data:
            return {key: from_json(item, allowed) for key, item in data.items()}
        module, _, name = str(data["part"]).rpartition(".")
        if module.partition(".")[0] != "surpass" and module not in allowed:
            raise SurpassError(
                f'the part "{data["part"]!s:.100}" is not inside surpass; if it is in a file of your '
                f"own, allow it by name: --code {module:.100}.py"
            )
        cls = _class(module, name)
        data = dict(data)
        for field in getattr(cls, "files", ()):
            file, _, wanted = str(data.get(field, "")).rpartition(":")
            if Path(file).stem not in allowed:
                raise SurpassError(
                    f"the run uses {file}, a file of your own; allow it by name: --code {file}"
                )
            data[field] = f"{allowed[Path(file).stem] or file}:{wanted}"
        return _made(cls, {key: from_json(item, allowed) for key, item in data.items() if key != "part"})
    if isinstance(data, list):
        return tuple(from_json(item, allowed) for item in data)
    return data


def _class(module: str, name: str) -> type:
    """The dataclass of this name, of a module that is allowed; of surpass's own only one that holds parts:
    others open files when they are made, or do something when they are imported.
    """
    try:
        known = (
            module.partition(".")[0] != "surpass" or module == "surpass" or module.split(".")[1] in HOLD_PARTS
        )
        cls = getattr(importlib.import_module(module), name, None) if known else None
    except (ImportError, ValueError):  # ValueError: a name that cannot be one
        cls = None
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise SurpassError(f'there is no part "{module:.100}.{name:.100}" in this version of surpass')
    return cls


def _made(cls: type, values: dict[str, Any]) -> Any:
    """cls(**values); of surpass's own classes SurpassError where the values are not what its fields hold."""
    if not cls.__module__.startswith("surpass."):
        return cls(**values)
    for name, hint in hints(cls).items():
        if name in values and (wanted := misfit(values[name], hint)):
            raise SurpassError(f"{cls.__name__} needs {name} to be {wanted}; found {values[name]!r:.60}")
    try:
        return cls(**values)
    except SurpassError:
        raise
    except Exception as error:  # they look at their values when they are made
        raise SurpassError(
            f"{cls.__name__} cannot be made of what is written there: {' '.join(str(error).split()):.200}"
        ) from error


def modules_in(data: Any) -> set[str]:
    """The modules outside surpass whose parts a JSON configuration holds."""
    if isinstance(data, dict):
        module = str(data.get("part", "surpass.x")).rpartition(".")[0]
        own = set() if module.partition(".")[0] == "surpass" else {module}
        return own.union(*(modules_in(item) for item in data.values()))
    return set().union(*(modules_in(item) for item in data)) if isinstance(data, list) else set()


def run_hash(config: Any) -> str:
    """Eight hexadecimal digits that name a configuration."""
    return hashlib.blake2b(json.dumps(config, sort_keys=True).encode(), digest_size=4).hexdigest()


def demands(part: Any, role: str = "policy") -> Iterator[tuple[Any, str, frozenset[str]]]:
    """(part, the role it asks, the needs it declares itself) of a part and of the parts inside it; a part
    that names no role asks that of the part it is in.
    """
    role = getattr(part, "role", role) or role
    yield part, role, frozenset(getattr(part, "needs", ()))
    children: Iterable[Any] = ()
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        children = [getattr(part, f.name) for f in dataclasses.fields(part)]
    elif isinstance(part, Mapping):
        children = part.values()
    elif isinstance(part, (list, tuple)):
        children = part
    for child in children:
        yield from demands(child, role)


def needs_of(part: Any) -> frozenset[str]:
    """Every need declared by a part and by the parts inside it."""
    return frozenset().union(*(needs for _, _, needs in demands(part)))


class _NoOracle(UnmetNeed, AttributeError):
    """A part that asks an oracle without having declared it."""


class _Veiled:
    """A task without its oracle, and without those of the tasks in it."""

    def __init__(self, task: Any):
        self._task = task

    def __getattr__(self, name: str) -> Any:
        if name == "oracle":
            raise _NoOracle('only a part that declares needs = {"oracle"} may ask the task\'s oracle')
        value = getattr(self._task, name)
        if isinstance(value, Mapping):
            return {key: _Veiled(part) if hasattr(part, "oracle") else part for key, part in value.items()}
        return _Veiled(value) if hasattr(value, "oracle") else value


def shown(task: Any, part: Any) -> Any:
    """The task as `part` may know it: with its oracle only if the part, or one inside it, declares needs =
    {"oracle"}.
    """
    if "oracle" in needs_of(part):
        if getattr(task, "oracle", None) is None:
            raise UnmetNeed(
                f"{type(part).__name__} needs a task with exact knowledge, and {type(task).__name__} "
                "has no oracle"
            )
        return task
    return task if isinstance(task, _Veiled) else _Veiled(task)


def values_at(tree: Tree, name: str, nodes: Sequence[int]) -> np.ndarray:
    """float64[len(nodes)]: a "leaf" or "node" column read at nodes; nan where a leaf column has no value for
    a node.
    """
    column = tree.get(name)
    if column.axis == "node":
        return np.asarray(column.values, float)[list(nodes)]
    if column.axis == "leaf":
        where = {node: i for i, node in enumerate(tree.leaves())}
        return np.array([column.values[where[node]] if node in where else np.nan for node in nodes], float)
    raise SurpassError(
        f'column "{name}" lies along the {column.axis} axis; a value per leaf or node was wanted'
    )
