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
    """Draw n[0] first steps, continue each n[1] times, and so on; the last continuations run to the end of
    the turn.

    A step ends after the token that completes `stop` (default: a line), or after `step_tokens` tokens if that
    is not 0. A step that ends its turn early is a leaf. An attempt has at most `max_tokens` tokens in its
    first turn. Prefixes are computed once.
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
        """The most tokens that one problem can draw, if each attempt takes one turn and shares no step."""
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
        """Continue `node` n[0] times, and each of these as the rest of n says."""
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
                grown.end(child, OPEN)  # the step used its tokens; the attempt is not cut off
            if not last and grown.stop[child] == OPEN and left > 0:
                grow.append(self._grow(models, task, grown, child, n[1:], left, plays))
            else:
                grow.append(play_on(models, task, grown, child, self.role, self.turns, whole))
        await asyncio.gather(*grow)
