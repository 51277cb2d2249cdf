"""Which attempt is the answer, at inference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from surpass.parts import values_at
from surpass.types import FAILED, Tree


@dataclass(frozen=True)
class best:
    """The finished attempt with the highest score, a column of leaves or nodes; of equals the one with the higher score `then`, of
    those the earlier; the first leaf where nothing was judged."""

    score: str = "reward"
    then: str = ""

    def __call__(self, tree: Tree) -> int:
        leaves = tree.leaves()
        keys = [-values_at(tree, name, leaves) for name in (self.score, self.then) if name]
        keys = [np.where(np.isnan(key), np.inf, key) for key in keys]
        keys = [np.array([tree.stop[leaf] == FAILED or tree.unfinished(leaf) for leaf in leaves], float), *keys]
        return leaves[int(np.lexsort(keys[::-1])[0])]  # stable; the last key counts first


@dataclass(frozen=True)
class first:
    """The first leaf that did not fail; the first where all did."""

    def __call__(self, tree: Tree) -> int:
        leaves, stop = tree.leaves(), tree.stop
        return next((leaf for leaf in leaves if stop[leaf] != FAILED), leaves[0])
