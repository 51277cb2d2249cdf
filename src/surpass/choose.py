"""Which attempt is the answer, at inference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from surpass.types import FAILED, Tree


@dataclass(frozen=True)
class best:
    """The finished attempt with the highest `score`, a leaf or node column. Ties go to the higher `then`, and
    after that to the earlier attempt. Attempts without a score come after all that have one: an answer has to
    be given, and this choice trains nothing. Unfinished attempts come after finished ones, failed ones last.

    >>> from surpass.columns import Column
    >>> from surpass.types import DONE, Problem
    >>> tree = Tree(Problem("p", "2 + 2 ="), key=0)
    >>> root = tree.add(-1, "task", [1])
    >>> answers = [tree.add(root, "policy", [token], stop=DONE) for token in (5, 6, 7)]
    >>> tree.put("reward", Column("leaf", np.array([0.0, np.nan, 1.0])))
    >>> best()(tree), first()(tree)
    (3, 1)
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
    """The first leaf that did not fail; if all failed, the first leaf."""

    def __call__(self, tree: Tree) -> int:
        return min(tree.leaves(), key=lambda leaf: tree.stop[leaf] == FAILED)


def _order(tree: Tree, leaf: int) -> int:
    return 2 if tree.stop[leaf] == FAILED else int(tree.unfinished(leaf))
