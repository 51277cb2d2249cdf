"""A task judged by a function of the user's own, written for TRL or for verl."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from surpass.errors import SurpassError
from surpass.models import Models
from surpass.tasks.reward_function import RewardFunction
from surpass.types import Problem, Turn


@dataclass(frozen=True)
class rewarded:
    """`task`, except that `check` is the user's function `reward` = "FILE.py:FUNCTION", of one of two forms:

    f(prompts, completions, **columns) -> list[float | None], as for TRL, sync or async. Where prompts are
    messages, completions are, too; the columns are problem.meta and "answer". All checks that wait at the
    same time are one call. An exception ends the run.

    f(data_source, solution_str, ground_truth, extra_info) -> float | {"score": float}, as for verl, called
    once per attempt; ground_truth is problem.answer. An exception makes that attempt nan, and `failed` counts
    it; where more than half of the latest attempts fail, the run ends.

    A function gets only the arguments that its signature has. None and nan mean "cannot be judged"; any other
    value that is no finite number ends the run (RunBroken). A sync function runs in a thread, unless its file
    uses signals, which work in the main thread only (math-verify's time-outs do). A call may take
    `reward_seconds`; one that takes longer ends the run in TRL's form, and fails for its attempt in verl's.
    The file's folder is put at the end of sys.path, so that the file can import its neighbours.
    """

    task: Any
    reward: str
    reward_seconds: float = 600.0
    files = ("reward",)
    reads_thoughts = True  # as in TRL and verl, where a function may reward how a model thinks
    _judge: ClassVar[RewardFunction]

    def __post_init__(self) -> None:
        if not self.reward_seconds > 0:
            raise SurpassError(f"reward_seconds is more than 0; found {self.reward_seconds}")
        judge = RewardFunction(self.reward, self.reward_seconds)
        judge.require(self.task)
        object.__setattr__(self, "_judge", judge)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "task":
            raise AttributeError(name)
        return getattr(self.task, name)

    @property
    def players(self) -> tuple[str, ...]:
        return self.task.players

    @property
    def branches(self) -> bool:
        return self.task.branches

    @property
    def failed(self) -> int:
        """How many attempts a function of verl's form has raised for."""
        return self._judge.failed

    def problems(self, split: str, seed: int) -> Iterator[Problem]:
        return self.task.problems(split, seed)

    async def start(self, models: Models, problem: Problem) -> Turn:
        return await self.task.start(models, problem)

    async def step(self, models: Models, state: Any, text: str) -> Turn:
        return await self.task.step(models, state, text)

    async def check(self, models: Models, problem: Problem, text: str) -> float:
        return await self._judge.value(problem, text)
