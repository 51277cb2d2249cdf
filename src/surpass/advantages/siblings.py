"""Credit for single steps: a node against its siblings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surpass.advantages.leaves import against_others
from surpass.types import Column, Memory, Tree


@dataclass(frozen=True)
class siblings:
    """Per node: V(i) - mean of V over i's other siblings, where V(i) is the mean reward of the leaves below i.

    0 for a node without siblings, nan where nothing below it was judged. Every token drawn at a node carries its advantage.
    Also gives the column "value": V.
    """

    score: str = "reward"

    def __call__(self, trees: Sequence[Tree], memory: Memory) -> list[dict[str, Column]]:
        return [self._tree(tree) for tree in trees]

    def _tree(self, tree: Tree) -> dict[str, Column]:
        total, count = np.zeros(len(tree)), np.zeros(len(tree))
        for leaf, reward in zip(tree.leaves(), tree.get(self.score).values, strict=True):
            if not np.isnan(reward):
                for node in tree.path(leaf):
                    total[node] += reward
                    count[node] += 1
        value = np.divide(total, count, out=np.full(len(tree), np.nan), where=count > 0)
        advantage = np.zeros(len(tree))
        for node in range(-1, len(tree)):
            children = tree.children(node)
            if children:
                advantage[children] = against_others(value[children])
        return {"advantage": Column("node", advantage), "value": Column("node", value)}
