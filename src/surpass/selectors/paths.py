"""Whole attempts, one example each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surpass.types import FAILED, Example, Memory, Tree, fold


def judged_leaves(tree: Tree, score: str) -> list[tuple[int, float]]:
    """(leaf, score) of every leaf that did not fail and was judged."""
    values = tree.get(score).values
    return [
        (leaf, float(v)) for leaf, v in zip(tree.leaves(), values, strict=True) if not np.isnan(v) and tree.stop[leaf] != FAILED
    ]


@dataclass(frozen=True)
class every:
    """Every judged attempt."""

    score: str = "reward"

    def __call__(self, trees: Sequence[Tree], memory: Memory, rng: int) -> list[Example]:
        return [Example(tree, (leaf,)) for tree in trees for leaf, _ in judged_leaves(tree, self.score)]


@dataclass(frozen=True)
class nonconstant:
    """Every judged attempt of the trees whose scores differ: the others carry no signal. At most the first `limit` such trees
    (0: all). Yu et al. 2025 (DAPO), eq. 11."""

    score: str = "reward"
    limit: int = 0

    def __call__(self, trees: Sequence[Tree], memory: Memory, rng: int) -> list[Example]:
        groups = [(tree, judged_leaves(tree, self.score)) for tree in trees]
        differ = [(tree, judged) for tree, judged in groups if len({value for _, value in judged}) > 1]
        return [Example(tree, (leaf,)) for tree, judged in differ[: self.limit or None] for leaf, _ in judged]


@dataclass(frozen=True)
class correct:
    """Attempts that score at least `threshold`, at most `limit` a problem (0: all), chosen at random; equal token sequences
    count once."""

    score: str = "reward"
    threshold: float = 1.0
    limit: int = 0

    def __call__(self, trees: Sequence[Tree], memory: Memory, rng: int) -> list[Example]:
        out = []
        for tree in trees:
            right = {
                tree.path_tokens(leaf).tobytes(): leaf
                for leaf, v in reversed(judged_leaves(tree, self.score))
                if v >= self.threshold
            }
            leaves = sorted(right.values())
            if self.limit and len(leaves) > self.limit:
                chooser = np.random.default_rng(fold(rng, tree.problem.id))
                leaves = sorted(chooser.choice(leaves, self.limit, replace=False).tolist())
            out += [Example(tree, (leaf,)) for leaf in leaves]
        return out
