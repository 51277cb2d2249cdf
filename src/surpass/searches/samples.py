"""Independent attempts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from surpass.models import Models
from surpass.parts import Task
from surpass.searches.turns import begin, play_on
from surpass.types import Problem, Tree


@dataclass(frozen=True)
class samples:
    """`n` independent attempts, each of up to `turns` turns of at most `max_tokens` tokens."""

    n: int = 8
    temperature: float = 1.0
    max_tokens: int = 256
    top_p: float = 1.0
    turns: int = 32
    role: str = "policy"

    def at_most(self) -> int:
        """The most tokens that one problem can draw, if each attempt takes one turn."""
        return self.n * self.max_tokens

    async def __call__(self, models: Models, task: Task, problem: Problem, rng: int) -> Tree:
        tree, root, plays = await begin(models, task, problem, rng, self.role)
        sampling = {"temperature": self.temperature, "max_tokens": self.max_tokens, "top_p": self.top_p}
        nodes = await models.generate(plays, tree, root, self.n, **sampling)
        await asyncio.gather(
            *(play_on(models, task, tree, node, self.role, self.turns, sampling) for node in nodes)
        )
        return tree
