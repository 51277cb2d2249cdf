"""Sums of rewards, and a penalty on length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from surpass.errors import SurpassError
from surpass.models import Models
from surpass.parts import Task
from surpass.types import Column, Tree


@dataclass(frozen=True)
class weighted:
    """Per leaf: sum over `parts` of weight * score; nan if one of the scores is nan."""

    parts: Mapping[str, float]

    async def __call__(self, models: Models, task: Task, trees: Sequence[Tree]) -> list[Column]:
        return [Column("leaf", self._leaves(tree)) for tree in trees]

    def _leaves(self, tree: Tree) -> np.ndarray:
        total = np.zeros(len(tree.leaves()))
        for name, weight in self.parts.items():
            column = tree.get(name)
            if column.axis != "leaf":
                raise SurpassError(
                    f'weighted adds scores of leaves; "{name}" lies along the {column.axis} axis'
                )
            total = total + weight * column.values.astype(float)
        return total


@dataclass(frozen=True)
class overlong:
    """Per leaf: 0 if `voice` drew at most max_tokens - margin tokens on its path; from there it falls
    linearly to -1 at `max_tokens`. Yu et al. 2025 (DAPO), eq. 13.
    """

    max_tokens: int
    margin: int
    voice: str = "policy"

    async def __call__(self, models: Models, task: Task, trees: Sequence[Tree]) -> list[Column]:
        return [
            Column("leaf", np.array([self._leaf(tree, leaf) for leaf in tree.leaves()], float))
            for tree in trees
        ]

    def _leaf(self, tree: Tree, leaf: int) -> float:
        length = sum(len(tree.own(node)) for node in tree.dialogue(leaf) if tree.author[node] == self.voice)
        return -min(1.0, max(0.0, (length - (self.max_tokens - self.margin)) / self.margin))
