"""Credit for single steps: a node is compared with its siblings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surpass.advantages.leaves import against_others, standardised
from surpass.types import Column, Memory, Tree


@dataclass(frozen=True)
class siblings:
    """Per node: A(i) = V(i) - mean of V over i's siblings. V(i) is the mean reward of the leaves below i, or,
    where `score` is a node column, the node's own score. With `scale`: A(i) = (V(i) - mean) / (std + eps)
    over i and its siblings, as in advantages.group.

    A is 0 for a node without siblings, and nan where no leaf below it was judged. It is the advantage of
    every token drawn at the node. The column "value" gives V.

    Two first steps with two continuations each, one right attempt, below the first step. V of the first step
    is 1/2, of the other 0.

    >>> from surpass.types import Problem
    >>> tree = Tree(Problem("p", ""))
    >>> opening = tree.add(-1, "task", [1])
    >>> steps = [tree.add(opening, "policy", [2]), tree.add(opening, "policy", [3])]
    >>> leaves = [tree.add(step, "policy", [token]) for step in steps for token in (4, 5)]
    >>> tree.put("reward", Column("leaf", np.array([1.0, 0.0, 0.0, 0.0])))
    >>> advantage = siblings()([tree], Memory())[0]["advantage"].values
    >>> advantage[steps].tolist(), advantage[leaves].tolist()
    ([0.5, -0.5], [1.0, -1.0, 0.0, 0.0])
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
