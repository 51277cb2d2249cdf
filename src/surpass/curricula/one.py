"""The same problem every round."""

from __future__ import annotations

from dataclasses import dataclass

from surpass.models import Models
from surpass.parts import Task
from surpass.types import Memory, Problem, Tree


@dataclass(frozen=True)
class one:
    """One problem a round that is not the task's, called `name`: for methods that improve a prompt, a rubric
    or a program.
    """

    name: str
    n: int = 1

    async def __call__(
        self, models: Models, task: Task, memory: Memory, rng: int
    ) -> tuple[list[Problem], list[Tree]]:
        return [Problem(self.name, self.name, meta={"round": memory.round})], []
