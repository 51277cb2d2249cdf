"""The kinds of part, as protocols, each followed by its hooks: what such a part may have beside, and who
asks.

A part is a frozen dataclass with `__call__`. A protocol holds what each of its kind has; a hook is had by
whoever can. Tasks and engines stand in surpass.worlds.
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
    """What any part may have."""

    needs: frozenset[str]
    """What the engine, the task or the run has to give (surpass.needs lists them all)."""
    role: str
    """The role it asks; without it, that of the part it is in."""
    of_task: tuple[str, ...]
    """The task's hooks that it calls, e.g. ("prefer",) or ("oracle.grade",): refused where the task lacks
    one.
    """
    instead: str
    """What else a user whose task lacks one can do: the end of that message."""


class Curriculum(Protocol):
    """Which problems come next, and trees that join the round without being searched (proposals, replays)."""

    async def __call__(
        self, models: Models, task: Task, memory: Memory, rng: int
    ) -> tuple[list[Problem], list[Tree]]: ...


class CurriculumHooks(Protocol):
    """What a curriculum may have, too."""

    n: int
    """The problems of a round: how often the search is made."""


class Search(Protocol):
    """Grows one problem's tree. It computes nothing itself: it awaits `models`, and every waiting search is
    served at once.
    """

    async def __call__(self, models: Models, task: Task, problem: Problem, rng: int) -> Tree: ...


class SearchHooks(Protocol):
    """What a search may have, too: for the prediction of what a run costs."""

    max_tokens: int
    """The tokens of an attempt, at most."""

    def at_most(self) -> int:
        """The tokens that one problem draws, at most."""
        ...


class Reward(Protocol):
    """One column per tree, for all trees of a round at once."""

    async def __call__(self, models: Models, task: Task, trees: Sequence[Tree]) -> list[Column]: ...


class RewardHooks(Protocol):
    """What a reward may have, too."""

    def at_most(self) -> int:
        """The tokens that judging one attempt draws, at most."""
        ...


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


class ObjectiveHooks(Protocol):
    """What an objective may have, too."""

    silent_at: str
    """A column: a path on which it is 0 throughout adds nothing, and the learner leaves it out."""


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


class MeasureHooks(Protocol):
    """What a measure may have, too: so that an exam can be made larger, drawn otherwise, and predicted."""

    n: Mapping[str, int]
    """The problems of each split."""
    search: Search
    """How attempts are drawn."""
    measures: tuple[Measure, ...]
    """The measures that this one joins."""

    def at_most(self, split: str) -> int:
        """The tokens that an exam draws, at most."""
        ...


class Gate(Protocol):
    """Whether a trial is kept. `every` is the number of rounds between decisions; `labels` whether it uses
    ground truth.
    """

    @property
    def every(self) -> int: ...
    @property
    def labels(self) -> bool: ...

    def __call__(self, best: Report, kept: Report, new: Report) -> Verdict: ...


class GateHooks(Protocol):
    """What a gate may have, too."""

    metric: str
    """What it compares; "": nothing of which a best could be kept, so the start stays it."""

    def hopeless(self, start: Report) -> str:
        """Why no update could be kept, whatever it does; "" if one could. A run ends there before it
        begins.
        """
        ...


class Adapt(Protocol):
    """The next round's method: a method is a value too."""

    async def __call__(
        self, method: Method, models: Models, task: Task, memory: Memory, report: Report, rng: int
    ) -> Method: ...
