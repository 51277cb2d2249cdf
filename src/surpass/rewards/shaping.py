"""Rewards made of others, and what lengths and distances cost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from surpass.errors import SurpassError
from surpass.rewards.likelihood import mean_logp
from surpass.types import Column, Tree


@dataclass(frozen=True)
class weighted:
    """Per leaf: sum over `parts` of weight * score; nan where one of them is."""

    parts: Mapping[str, float]

    async def __call__(self, models, task, trees: Sequence[Tree]) -> list[Column]:
        return [Column("leaf", self._leaves(tree)) for tree in trees]

    def _leaves(self, tree: Tree) -> np.ndarray:
        total = np.zeros(len(tree.leaves()))
        for name, weight in self.parts.items():
            column = tree.get(name)
            if column.axis != "leaf":
                raise SurpassError(f'weighted adds scores of leaves; "{name}" lies along the {column.axis} axis')
            total = total + weight * column.values.astype(float)
        return total


@dataclass(frozen=True)
class overlong:
    """Per leaf: 0 where `voice` drew at most most - margin tokens on its path, falling linearly to -1 at `most`.
    Yu et al. 2025 (DAPO), eq. 13."""

    most: int
    margin: int
    voice: str = "policy"

    async def __call__(self, models, task, trees: Sequence[Tree]) -> list[Column]:
        return [Column("leaf", np.array([self._leaf(tree, leaf) for leaf in tree.leaves()], float)) for tree in trees]

    def _leaf(self, tree: Tree, leaf: int) -> float:
        length = sum(len(tree.own(node)) for node in tree.path(leaf) if tree.author[node] == self.voice)
        return -min(1.0, max(0.0, (length - (self.most - self.margin)) / self.margin))


@dataclass(frozen=True)
class divergence:
    """Per leaf: sum over the tokens `voice` drew on its path of log p at the draw - log p under `role`; its expectation at
    temperature 1 is KL(voice || role) of whole attempts, in nats."""

    role: str = "policy@0"
    voice: str = "policy"
    needs = frozenset({"logprobs"})

    async def __call__(self, models, task, trees: Sequence[Tree]) -> list[Column]:
        return list(await asyncio.gather(*(self._tree(models, tree) for tree in trees)))

    async def _tree(self, models, tree: Tree) -> Column:
        async def leaf_sum(leaf: int) -> float:
            now, then = await asyncio.gather(*(mean_logp(models, role, tree, leaf, self.voice) for role in ("", self.role)))
            drawn = sum(len(tree.own(node)) for node in tree.path(leaf) if tree.author[node] == self.voice)
            return (now - then) * drawn

        return Column("leaf", np.array(await asyncio.gather(*(leaf_sum(leaf) for leaf in tree.leaves())), float))
