"""A process reward model's judgement of attempts, step by step."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surpass.errors import SurpassError
from surpass.models import Models
from surpass.parts import Task
from surpass.rewards.likelihood import along
from surpass.searches.steps import step_ends
from surpass.types import FAILED, Column, Tree


@dataclass(frozen=True)
class process:
    """Per leaf: the least ("min"), the product ("product") or the last ("last") of the values of the steps
    that `voice` wrote on its path; a step is a line (`stop`). A step's value is the logistic function of what
    value head number `head` of `role` reads at its end. nan for failed attempts.

    Luo et al. 2024 (OmegaPRM), Lightman et al. 2023: product and min of step probabilities.
    """

    role: str = "prm"
    over: str = "min"
    head: int = 0
    stop: str = "\n"
    voice: str = "policy"
    needs = frozenset({"value"})

    def __post_init__(self) -> None:
        if self.over not in ("min", "product", "last"):
            raise SurpassError(f'process takes over="min", "product" or "last"; found "{self.over}"')

    async def __call__(self, models: Models, task: Task, trees: Sequence[Tree]) -> list[Column]:
        return list(await asyncio.gather(*(self._tree(models, tree) for tree in trees)))

    async def _tree(self, models: Models, tree: Tree) -> Column:
        return Column(
            "leaf",
            np.array(
                await asyncio.gather(*(self._leaf(models, tree, leaf) for leaf in tree.leaves())), float
            ),
        )

    async def _leaf(self, models: Models, tree: Tree, leaf: int) -> float:
        if tree.stop[leaf] == FAILED:
            return float("nan")
        decode, at, ends = models.engine(self.role).text.decode, 0, []
        run: list[int] = []  # the tokens of one turn, over all its nodes
        for node in [*tree.dialogue(leaf), -1]:
            if node >= 0 and tree.author[node] == self.voice:
                run += tree.own(node).tolist()
                continue
            ends += [at + n - 1 for n in step_ends(decode, run, self.stop)]
            at, run = at + len(run) + (len(tree.own(node)) if node >= 0 else 0), []
        if not ends:
            return float("nan")
        p = 1 / (
            1 + np.exp(-(await along(models.value, self.role, tree, leaf))[ends, self.head].astype(float))
        )
        return float({"min": p.min, "product": p.prod, "last": lambda: p[-1]}[self.over]())
