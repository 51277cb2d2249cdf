"""Independent attempts at one problem in two wordings."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
from dataclasses import dataclass

from surpass.errors import SurpassError
from surpass.models import Models
from surpass.parts import Task
from surpass.searches.turns import begin, drawn, fill, opened, play_on, reasked
from surpass.types import Problem, Tree, fold


@dataclass(frozen=True)
class views:
    """`n` attempts at the problem as it is asked and, from a second opening of the same tree, `n` at the same
    problem in other words.

    The other words come from the task, reworded(problem, seed) -> prompt or None. With `rewrite` (one message
    with {question}) they are the answer of `rewriter` to it. If there are none, the tree has one opening.
    """

    n: int = 8
    temperature: float = 1.0
    max_tokens: int = 256
    rewrite: str = ""
    rewriter: str = "policy"
    turns: int = 32
    role: str = "policy"
    instead = ". Or let a model find other words: --rewrite 'Say this in other words: {question}'"

    @property
    def of_task(self) -> tuple[str, ...]:
        """The task's reworded(problem, seed), unless a model finds the words."""
        return () if self.rewrite else ("reworded",)

    def at_most(self) -> int:
        """The most tokens that one problem can draw, if each attempt takes one turn."""
        return (2 * self.n + bool(self.rewrite)) * self.max_tokens

    async def __call__(self, models: Models, task: Task, problem: Problem, rng: int) -> Tree:
        tree, root, plays = await begin(models, task, problem, rng, self.role)
        other = await self._other(models, task, problem, rng)
        roots = [root]
        if other is not None and other != problem.prompt:
            roots.append(
                (await opened(models, task, tree, dataclasses.replace(problem, prompt=other), self.role))[0]
            )
        sampling = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        found = await asyncio.gather(*(drawn(models, plays, tree, root, self.n, sampling) for root in roots))
        nodes = [node for some in found for node in some]
        await asyncio.gather(
            *(play_on(models, task, tree, node, self.role, self.turns, sampling) for node in nodes)
        )
        return tree

    async def _other(self, models: Models, task: Task, problem: Problem, rng: int) -> str | tuple | None:
        if self.rewrite:
            words = fill(self.rewrite, {"{question}": problem.asks})
            messages = [{"role": "user", "content": words}]
            (said,) = await models.chat(
                self.rewriter, messages, key=fold(rng, "rewrite"), max_tokens=self.max_tokens
            )
            return reasked(problem, said.strip()) if said.strip() else None
        if not hasattr(task, "reworded"):
            raise SurpassError(
                f"{type(getattr(task, '_task', task)).__name__} cannot ask its problems in other words: "
                "it has no reworded(problem, seed); give searches.views a `rewrite` prompt for a model "
                "that can"
            )
        found = task.reworded(problem, fold(rng, "reworded"))
        return await found if inspect.isawaitable(found) else found
