"""Problems of the train split in random order."""

from __future__ import annotations

from dataclasses import dataclass

from surpass import given
from surpass.errors import SurpassError
from surpass.models import Models
from surpass.parts import Task
from surpass.types import Memory, Problem, Tree, fold


@dataclass(frozen=True)
class shuffle:
    """`n` problems of the train split a round, in an order that the run's seed gives. When all were used, the
    order begins again. SurpassError if the split is empty.
    """

    n: int = 8

    async def __call__(
        self, models: Models, task: Task, memory: Memory, rng: int
    ) -> tuple[list[Problem], list[Tree]]:
        wanted = range(memory.round * self.n, (memory.round + 1) * self.n)
        found: list[Problem] = []
        seen = epoch = 0
        while len(found) < self.n:
            before = seen
            for problem in given.problems(task, "train", fold(memory.seed, "train", epoch)):
                if seen in wanted:
                    found.append(problem)
                seen += 1
                if len(found) == self.n:
                    break
            if seen == before:
                raise SurpassError("the task has no train problem; check its parameters or its data")
            epoch += 1
        return found, []
