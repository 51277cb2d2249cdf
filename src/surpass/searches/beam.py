"""Searches that keep the most promising steps: beam, and best first."""

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
    """What both share: how a step is drawn and judged."""

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
    """At every depth each of the `width` kept steps is continued `n` times, and the `width` best new
    ones by `value` go on; attempts that end are set aside for the choice. `by_least`: a step counts by the
    least value on its way instead of its own.

    `token_budget` tokens drawn end the search (0: none); what is kept then is not finished. Leaves the node
    column "worth".
    """

    width: int = 2
    n: int = 4
    by_least: bool = False

    def at_most(self) -> int:
        """Tokens drawn for one problem at most."""
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
    """`expansions` times the most promising step found so far, wherever it stands, is continued `n`
    times; steps known to be worth less than `prune` are given up; the search ends with the `attempts`-th
    finished attempt. Leaves the node column "worth".
    """

    expansions: int = 20
    n: int = 3
    prune: float = 0.0
    attempts: int = 1

    def at_most(self) -> int:
        """Tokens drawn for one problem at most."""
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
