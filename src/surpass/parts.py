"""What joins parts: Learn, one update of one role, and Method.

Every part is a frozen dataclass with `__call__` (surpass.protocols says what it takes and returns). Its
fields are JSON values or other parts. So a method written as JSON is its complete configuration
(surpass.part_json), and the hash of that JSON names the run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from surpass.demands import check_numbers, demands, needs_of, shown
from surpass.part_json import from_json, modules_in, run_hash, to_json
from surpass.protocols import (
    Adapt,
    Advantage,
    Choose,
    Curriculum,
    Gate,
    Learner,
    Measure,
    Objective,
    Reward,
    Search,
    Selector,
)
from surpass.types import Cast
from surpass.worlds import Engine, Oracle, Task

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


@dataclass(frozen=True)
class Learn:
    """One update of one role.

    `voices` are the authors whose tokens are trained (default: the role itself). `start` is the snapshot that
    training begins from ("policy@0": anew from the start every round); None: the current weights. `scores`
    are computed again when this row's turn comes, so by models that earlier rows have just updated; only this
    row sees them.
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
    """Propose, score, select, learn, keep. `learn=()` is an inference-only method. Scores run in order, and
    each may read the columns before it. `exam` says what "better" means and how an answer is chosen at
    inference. `cast` says who plays the roles that have no model of their own.
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
            check_numbers(part)
