"""Which attempt is the answer, at inference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from surpass.types import Tree


@dataclass(frozen=True)
class best:
    """The leaf with the highest score; the earlier of equals; the first leaf where nothing was judged."""

    score: str = "reward"

    def __call__(self, tree: Tree) -> int:
        values = np.asarray(tree.get(self.score).values, float)
        return tree.leaves()[int(np.nanargmax(values)) if not np.isnan(values).all() else 0]


@dataclass(frozen=True)
class first:
    """The first leaf."""

    def __call__(self, tree: Tree) -> int:
        return tree.leaves()[0]
