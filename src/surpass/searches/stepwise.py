"""Several continuations of one step at a time; the best one goes on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np

from surpass.errors import SurpassError
from surpass.models import Models
from surpass.parts import Task
from surpass.searches.turns import begin, step_on
from surpass.searches.values import Value
from surpass.types import Problem, Tree, fold


@dataclass(frozen=True)
class stepwise:
    """At every turn draw `n` continuations of one shared prefix, play each, and let `judge` score what came
    of it. One goes on: the best (ties at random), or with `softness` s > 0 one drawn with probability
    proportional to exp(score / s).

    Adds the node column "step": the scores of all continuations. SLATE (2026).
    """

    judge: Value
    n: int = 5
    turns: int = 4
    softness: float = 0.0
    temperature: float = 1.0
    max_tokens: int = 128
    role: str = "policy"
    needs = frozenset({"branching", "one_player"})

    def at_most(self) -> int:
        """The most tokens that one problem can draw."""
        return self.n * self.turns * self.max_tokens

    async def __call__(self, models: Models, task: Task, problem: Problem, rng: int) -> Tree:
        if len(task.players) > 1:
            raise SurpassError(f"stepwise plays one player; this task has {len(task.players)}")
        tree, node, plays = await begin(models, task, problem, rng, self.role)
        scores: dict[int, float] = {}
        for turn in range(self.turns):
            sampling = {"temperature": self.temperature, "max_tokens": self.max_tokens}
            children = await models.generate(plays, tree, node, self.n, **sampling)
            told = await asyncio.gather(*(step_on(models, task, tree, child, plays) for child in children))
            values = await self.judge.values(models, task, tree, children)
            scores |= dict(zip(children, values.tolist(), strict=True))
            kept = self._kept(values, fold(rng, "kept", turn))
            if told[kept] < 0:
                break
            node = told[kept]
        tree.put_nodes("step", scores)
        return tree

    def _kept(self, values: np.ndarray, seed: int) -> int:
        chooser = np.random.default_rng(seed)
        known = values[~np.isnan(values)]
        # not judged: neither better nor worse than others
        values = np.where(np.isnan(values), known.mean() if len(known) else 0.0, values)
        if self.softness:
            p = np.exp((values - values.max()) / self.softness)
            return int(chooser.choice(len(values), p=p / p.sum()))
        return int(chooser.choice(np.flatnonzero(values == values.max())))
