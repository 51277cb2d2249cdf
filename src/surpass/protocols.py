"""The kinds of part, as protocols, each followed by its optional hooks.

A part is a frozen dataclass with `__call__`. A protocol lists what each part of its kind must have; hooks are
optional. Tasks and engines are in surpass.worlds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from surpass.types import Batch, Column, Example, Figures, Memory, Out, Problem, Report, Tree, Verdict
from surpass.worlds import Task

if TYPE_CHECKING:
    import torch

    from surpass.models import Models
    from surpass.parts import Learn, Method


class PartHooks(Protocol):
    """Optional members of any part."""

    needs: frozenset[str]
    """What the engine, the task or the run must give; surpass.needs lists all names."""
    role: str
    """The role that it asks. Default: the role of the part around it."""
    of_task: tuple[str, ...]
    """The task's hooks that it calls, e.g. ("prefer",) or ("oracle.grade",); all must be there."""
    instead: str
    """What to do if the task lacks the hook: the end of the error message."""


class Curriculum(Protocol):
    """The next problems, and trees that join the round without a search (proposals, replays)."""

    async def __call__(
        self, models: Models, task: Task, memory: Memory, rng: int
    ) -> tuple[list[Problem], list[Tree]]: ...


class CurriculumHooks(Protocol):
    """Optional members of a curriculum."""

    n: int
    """The number of problems a round: one search each."""


class Search(Protocol):
    """Grows one problem's tree. It computes nothing itself: it awaits `models`, which serves all waiting
    searches as one batch.
    """

    async def __call__(self, models: Models, task: Task, problem: Problem, rng: int) -> Tree: ...


class SearchHooks(Protocol):
    """Optional members of a search; they predict what a run costs."""

    max_tokens: int
    """The most tokens of one attempt."""

    def at_most(self) -> int:
        """The most tokens that one problem can draw."""
        ...


class Reward(Protocol):
    """One column per tree, for all trees of a round at once."""

    async def __call__(self, models: Models, task: Task, trees: Sequence[Tree]) -> list[Column]: ...


class RewardHooks(Protocol):
    """Optional members of a reward."""

    def at_most(self) -> int:
        """The most tokens that judging one attempt can draw."""
        ...


class Advantage(Protocol):
    """New columns per tree ("advantage", "return", ...) for its own Learn row alone. A pure function, but for
    changes to memory.notes.
    """

    def __call__(self, trees: Sequence[Tree], memory: Memory) -> list[dict[str, Column]]: ...


class Selector(Protocol):
    """The examples that are worth learning from. A pure function."""

    def __call__(self, trees: Sequence[Tree], memory: Memory, rng: int) -> list[Example]: ...


class Objective(Protocol):
    """A loss: sums by normaliser, {"tokens" | "paths" | "examples": sum}, and figures to report, {name: (a
    sum, a count)}. A pure function.

    The learner divides each sum by its total over the whole update, so micro-batches change nothing.
    `columns` names the token and path values that it reads: columns of the tree ("advantage"), and log-probs
    that the learner fills in before its first step ("logp@start", "logp@policy@0"). `outputs` names what it
    needs from the forward pass: "logp", "entropy", "value".
    """

    @property
    def columns(self) -> frozenset[str]: ...
    @property
    def outputs(self) -> frozenset[str]: ...

    def __call__(self, out: Out, batch: Batch) -> tuple[dict[str, torch.Tensor], Figures]: ...


class ObjectiveHooks(Protocol):
    """Optional members of an objective."""

    silent_at: str
    """A column. A path on which it is 0 throughout does not change the loss and is left out."""


class Learner(Protocol):
    """Changes a role: its weights, its prompt, an archive. It may ask models while it learns."""

    async def __call__(
        self, models: Models, learn: Learn, examples: Sequence[Example], memory: Memory, rng: int
    ) -> Report: ...


class Choose(Protocol):
    """The node that is the answer, at inference."""

    def __call__(self, tree: Tree) -> int: ...


class Measure(Protocol):
    """A report of what "better" means: metrics of a role on a split."""

    async def __call__(self, models: Models, task: Task, split: str, seed: int) -> Report: ...


class MeasureHooks(Protocol):
    """Optional members of a measure: with them an exam can be resized, redrawn and predicted."""

    n: Mapping[str, int]
    """The number of problems of each split."""
    search: Search
    """How attempts are drawn."""
    measures: tuple[Measure, ...]
    """The measures that this one joins."""

    def at_most(self, split: str) -> int:
        """The most tokens that an exam on this split can draw."""
        ...


class Gate(Protocol):
    """Whether a trial is kept, decided every `every` rounds. `labels`: whether it uses ground truth."""

    @property
    def every(self) -> int: ...
    @property
    def labels(self) -> bool: ...

    def __call__(self, best: Report, kept: Report, new: Report) -> Verdict: ...


class GateHooks(Protocol):
    """Optional members of a gate."""

    metric: str
    """The metric that says which kept model is the best; "": the start always stays the best."""

    def hopeless(self, start: Report) -> str:
        """Why no update can ever be kept; "" if one can. With a reason the run ends before it learns."""
        ...


class Adapt(Protocol):
    """The next round's method: a method is a value, too."""

    async def __call__(
        self, method: Method, models: Models, task: Task, memory: Memory, report: Report, rng: int
    ) -> Method: ...
