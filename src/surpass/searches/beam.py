"""Searches that continue the most promising steps: beam, and best first."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field

from surpass.models import Models
from surpass.parts import Task
from surpass.searches.steps import Steps
from surpass.searches.turns import begin
from surpass.searches.values import Value, constant
from surpass.types import Problem, Tree


@dataclass(frozen=True)
class _Stepped:
    """What both searches share: how a step is drawn and judged."""

    value: Value = field(default_factory=constant)
    stop: str = "\n"
    step_tokens: int = 0
    depth: int = 16
    temperature: float = 1.0
    max_tokens: int = 256
    token_budget: int = 0
    role: str = "policy"
    needs = frozenset({"tokens", "branching", "one_player"})  # half an answer is continued

    async def _begin(self, models: Models, task: Task, problem: Problem, rng: int) -> tuple[Steps, int]:
        tree, root, plays = await begin(models, task, problem, rng, self.role)
        steps = Steps(
            models,
            task,
            tree,
            plays,
            self.value,
            False,
            {"temperature": self.temperature},
            self.stop,
            self.step_tokens,
            self.max_tokens,
            self.depth,
        )
        steps.begin(root)
        return steps, root

    def _spent(self, steps: Steps) -> bool:
        return bool(self.token_budget) and steps.drawn >= self.token_budget


def _marked(steps: Steps, scores: dict[int, float]) -> Tree:
    steps.tree.put_nodes(
        "worth", {node: score for node, score in scores.items() if node not in steps.unknown}
    )
    return steps.tree


@dataclass(frozen=True)
class beam(_Stepped):
    """At each depth, continue each of the `width` kept steps `n` times and keep the `width` best new steps by
    `value`. Attempts that end are set aside until the choice. With `by_least` a step counts by the lowest
    value on its path instead of its own.

    The search ends once `token_budget` tokens are drawn (0: no limit); steps kept then stay unfinished. Adds
    the node column "worth".
    """

    width: int = 2
    n: int = 4
    by_least: bool = False

    def at_most(self) -> int:
        """The most tokens that one problem can draw."""
        return self.token_budget or self.width * self.n * self.max_tokens

    async def __call__(self, models: Models, task: Task, problem: Problem, rng: int) -> Tree:
        steps, root = await self._begin(models, task, problem, rng)
        kept, scores = [root], {root: math.inf}
        while kept and not self._spent(steps):
            new: list[int] = []
            for node in kept:
                for child in await steps.expand(node, self.n):
                    scores[child] = (
                        min(steps.worth[child], scores[node]) if self.by_least else steps.worth[child]
                    )
                    new.append(child)
            kept = sorted((c for c in new if not steps.over(c)), key=lambda c: (-scores[c], c))[: self.width]
        return _marked(steps, {node: score for node, score in scores.items() if node != root})


@dataclass(frozen=True)
class best_first(_Stepped):
    """Continue the most promising step so far, wherever it is, `n` times; do so `expansions` times. Steps
    worth less than `prune` are dropped. The search ends with the `attempts`-th finished attempt. Adds the
    node column "worth".
    """

    expansions: int = 20
    n: int = 3
    prune: float = 0.0
    attempts: int = 1

    def at_most(self) -> int:
        """The most tokens that one problem can draw."""
        return self.token_budget or self.expansions * self.n * self.max_tokens

    async def __call__(self, models: Models, task: Task, problem: Problem, rng: int) -> Tree:
        steps, root = await self._begin(models, task, problem, rng)
        open_, ended = [(0.0, root)], 0
        for _ in range(self.expansions):
            if not open_ or ended >= self.attempts or self._spent(steps):
                break
            _, node = heapq.heappop(open_)
            for child in await steps.expand(node, self.n):
                if steps.over(child):
                    ended += 1
                elif child in steps.unknown or steps.worth[child] >= self.prune:
                    heapq.heappush(open_, (-steps.worth[child], child))
        return _marked(steps, {node: worth for node, worth in steps.worth.items() if node != root})
