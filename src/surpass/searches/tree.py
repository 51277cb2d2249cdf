"""A tree of steps: every step is continued several times."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from surpass.errors import SurpassError
from surpass.models import Models
from surpass.parts import Task
from surpass.searches.turns import begin, play_on
from surpass.types import LENGTH, OPEN, Problem, Tree


@dataclass(frozen=True)
class tree:
    """n[0] first steps, each continued n[1] times, and so on; the last continuation runs to the end
    of the turn.

    A step ends after the token that completes `stop` (default: a line), or after `step_tokens` tokens if that
    is not 0. A step that ends its turn early is a leaf. An attempt has at most `max_tokens` tokens in its
    first turn; prefixes are computed once.
    """

    n: tuple[int, ...] = (4, 2)
    stop: str = "\n"
    step_tokens: int = 0
    temperature: float = 1.0
    max_tokens: int = 256
    turns: int = 32
    role: str = "policy"
    needs = frozenset({"tokens", "branching"})  # half an answer is continued

    def __post_init__(self) -> None:
        if not self.n or min(self.n) < 1:
            raise SurpassError(f"a tree needs at least one n, each at least 1; found n={self.n}")

    def at_most(self) -> int:
        """Tokens drawn for one problem, if every attempt uses all it may and no step is shared."""
        leaves = 1
        for some in self.n:
            leaves *= some
        return leaves * self.max_tokens

    async def __call__(self, models: Models, task: Task, problem: Problem, rng: int) -> Tree:
        grown, root, plays = await begin(models, task, problem, rng, self.role)
        await self._grow(models, task, grown, root, self.n, self.max_tokens, plays)
        return grown

    async def _grow(
        self, models: Models, task: Task, grown: Tree, node: int, n: tuple[int, ...], budget: int, plays: str
    ) -> None:
        """Continue `node` as often as the first n says, and what can be continued as the others say."""
        last = len(n) == 1
        step = min(budget, self.step_tokens) if self.step_tokens and not last else budget
        sampling = {
            "temperature": self.temperature,
            "max_tokens": step,
            "stop": () if last or self.step_tokens else (self.stop,),
        }
        children = await models.generate(plays, grown, node, n[0], **sampling)
        whole = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        grow: list[Coroutine[Any, Any, Any]] = []
        for child in children:
            left = budget - len(grown.own(child))
            if self.step_tokens and not last and grown.stop[child] == LENGTH:
                grown.end(child, OPEN)  # a step that used its tokens, not an attempt that was cut off
            if not last and grown.stop[child] == OPEN and left > 0:
                grow.append(self._grow(models, task, grown, child, n[1:], left, plays))
            else:
                grow.append(play_on(models, task, grown, child, self.role, self.turns, whole))
        await asyncio.gather(*grow)
