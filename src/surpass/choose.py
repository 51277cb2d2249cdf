"""Which attempt is the answer, at inference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from surpass.types import FAILED, Tree


@dataclass(frozen=True)
class best:
    """The finished attempt with the highest score, a column of leaves or nodes; of equals the one with the
    higher score `then`, of those the earlier. An attempt without a score comes after those that have one,
    because an answer has to be given, and this teaches nothing; one that a search left unfinished after all
    finished ones, one that failed last.
    """

    score: str = "reward"
    then: str = ""

    def __call__(self, tree: Tree) -> int:
        leaves = tree.leaves()
        keys = [-tree.values_at(name, leaves) for name in (self.score, self.then) if name]
        keys = [np.where(np.isnan(key), np.inf, key) for key in keys]
        keys = [np.array([_order(tree, leaf) for leaf in leaves], float), *keys]
        return leaves[int(np.lexsort(keys[::-1])[0])]  # stable; the last key counts first


@dataclass(frozen=True)
class first:
    """The first leaf that did not fail; where all did, the first."""

    def __call__(self, tree: Tree) -> int:
        return min(tree.leaves(), key=lambda leaf: tree.stop[leaf] == FAILED)


def _order(tree: Tree, leaf: int) -> int:
    return 2 if tree.stop[leaf] == FAILED else int(tree.unfinished(leaf))
