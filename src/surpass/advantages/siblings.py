"""Credit for single steps: a node against its siblings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surpass.advantages.leaves import against_others, standardised
from surpass.types import Column, Memory, Tree


@dataclass(frozen=True)
class siblings:
    """Per node: V(i) - mean of V over i's other siblings, where V(i) is the mean reward of the leaves below
    i, or the node's own where `score` is a node column. With `scale`: (V(i) - mean) / (std + eps) over i and
    its siblings, as advantages.group does.

    0 for a node without siblings, nan where nothing below it was judged. Every token drawn at a node carries
    its advantage. Also gives the column "value": V.
    """

    score: str = "reward"
    scale: bool = False

    def __call__(self, trees: Sequence[Tree], memory: Memory) -> list[dict[str, Column]]:
        return [self._tree(tree) for tree in trees]

    def _tree(self, tree: Tree) -> dict[str, Column]:
        column = tree.get(self.score)
        value = np.asarray(column.values, float) if column.axis == "node" else self._below(tree)
        advantage = np.zeros(len(tree))
        for node in range(-1, len(tree)):
            children = tree.children(node)
            if children:
                advantage[children] = (
                    standardised(value[children]) if self.scale else against_others(value[children])
                )
        return {"advantage": Column("node", advantage), "value": Column("node", value)}

    def _below(self, tree: Tree) -> np.ndarray:
        """Per node, the mean reward of the leaves below it."""
        total, count = np.zeros(len(tree)), np.zeros(len(tree))
        for leaf, reward in zip(tree.leaves(), tree.get(self.score).values, strict=True):
            if not np.isnan(reward):
                for node in tree.dialogue(leaf):
                    total[node] += reward
                    count[node] += 1
        means = np.full(len(tree), np.nan)
        np.divide(total, count, out=means, where=count > 0)
        return means
