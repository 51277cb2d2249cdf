"""Attempts that the task tries out, and new ones that improve on the best."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import Any

from surpass.engines.text import as_messages
from surpass.models import Models
from surpass.searches.turns import begin
from surpass.types import Problem, Tree

ALONE = "This was tried: on a scale where more is better it is worth {worth:.3g}. Write a better one."


@dataclass(frozen=True)
class evolve:
    """Draw `n` attempts, `iterations` times. The first ones see the problem; later ones also see the best of
    the iteration before and what the task said about it (task.trial). If none of an iteration could be tried,
    the next one asks the same again. Every attempt is a leaf. Node columns: "trial", what the trial found an
    attempt worth (nan: not tried), and, at an opening, "improves", the attempt that it shows.

    `guided`=False shows the best attempt's worth alone (the ablation). Ma et al. 2023 (Eureka), algorithm 1.
    """

    n: int = 16
    iterations: int = 5
    guided: bool = True
    temperature: float = 1.0
    max_tokens: int = 1024
    role: str = "policy"

    of_task = ("trial",)

    def at_most(self) -> int:
        """The most tokens that can be drawn."""
        return self.n * self.iterations * self.max_tokens

    async def __call__(self, models: Models, task: Any, problem: Problem, rng: int) -> Tree:
        tree, root, _ = await begin(models, task, problem, rng, self.role)
        at = root
        for left in range(self.iterations - 1, -1, -1):
            nodes = await models.generate(
                self.role, tree, at, self.n, temperature=self.temperature, max_tokens=self.max_tokens
            )
            said = [models.said(self.role, tree, node) for node in nodes]
            tried = await asyncio.gather(*(task.trial(models, problem, text) for text in said))
            for node, (value, _) in zip(nodes, tried, strict=True):
                tree.mark("trial", node, value)
            ran = [i for i, (value, _) in enumerate(tried) if not math.isnan(value)]
            if not (ran and left):
                continue
            best = max(ran, key=lambda i: (tried[i][0], -i))
            value, words = tried[best]
            messages = [
                *as_messages(problem.prompt),
                {"role": "assistant", "content": said[best]},
                {"role": "user", "content": words if self.guided else ALONE.format(worth=value)},
            ]
            at = models.open(self.role, tree, messages)
            tree.end(at, 0, tree.state[root])
            tree.mark("improves", at, nodes[best])
        return tree
