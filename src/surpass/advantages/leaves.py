"""Advantages of whole attempts against others at the same problem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surpass.types import Column, Memory, Tree


@dataclass(frozen=True)
class group:
    """A_i = (r_i - mean(r)) / (std(r) + eps) over a tree's leaves; without `scale`, A_i = r_i - mean(r). With
    `apart` each opening's leaves are a group of their own, for trees that hold several wordings of a problem.

    std is the sample standard deviation (ddof 1), as in TRL. nan rewards are left out and stay nan. Shao et
    al. 2024 (GRPO), eq. in section 4.1.2; scale=False is Liu et al. 2025 (Dr. GRPO).
    """

    score: str = "reward"
    scale: bool = True
    eps: float = 1e-4
    apart: bool = False

    def __call__(self, trees: Sequence[Tree], memory: Memory) -> list[dict[str, Column]]:
        return [{"advantage": Column("leaf", self._tree(tree))} for tree in trees]

    def _tree(self, tree: Tree) -> np.ndarray:
        r = np.asarray(tree.get(self.score).values, float)
        if not self.apart:
            return standardised(r, self.scale, self.eps)
        roots = np.array([tree.dialogue(leaf)[0] for leaf in tree.leaves()])
        out = np.full(len(r), np.nan)
        for root in np.unique(roots):
            out[roots == root] = standardised(r[roots == root], self.scale, self.eps)
        return out


def standardised(r: np.ndarray, scale: bool = True, eps: float = 1e-4) -> np.ndarray:
    """float64[n]: (r - mean) / (sample standard deviation + eps), without `scale` r - mean; 0 where all are
    equal. nan values are left out and stay nan.

    One right attempt of four: the mean is 1/4, the deviation sqrt((9 + 1 + 1 + 1) / 16 / 3) = 1/2.

    >>> standardised(np.array([1.0, 0.0, 0.0, 0.0]), eps=0.0).tolist()
    [1.5, -0.5, -0.5, -0.5]
    >>> standardised(np.array([1.0, 0.0, 0.0, 0.0]), scale=False).tolist()
    [0.75, -0.25, -0.25, -0.25]
    """
    known = r[~np.isnan(r)]
    if not len(known):
        return r
    if np.ptp(known) == 0:  # exactly 0, although the mean may be rounded
        return np.where(np.isnan(r), np.nan, 0.0)
    centred = r - known.mean()
    return np.asarray(centred / (known.std(ddof=1) + eps) if scale else centred)


@dataclass(frozen=True)
class leave_one_out:
    """A_i = r_i - mean of the other leaves' rewards; 0 where there is only one leaf.

    Ahmadian et al. 2024 (RLOO), eq. 8.
    """

    score: str = "reward"

    def __call__(self, trees: Sequence[Tree], memory: Memory) -> list[dict[str, Column]]:
        return [
            {"advantage": Column("leaf", against_others(np.asarray(tree.get(self.score).values, float)))}
            for tree in trees
        ]


def against_others(values: np.ndarray) -> np.ndarray:
    """float64[n]: each value minus the mean of the others; 0 where there are no others. nan values are left
    out and stay nan.

    >>> against_others(np.array([1.0, 0.0, 0.5, np.nan])).tolist()
    [0.75, -0.75, 0.0, nan]
    """
    known = ~np.isnan(values)
    n = int(known.sum())
    if n < 2 or np.ptp(values[known]) == 0:
        return np.where(known, 0.0, np.nan)
    return np.asarray(values - (values[known].sum() - values) / (n - 1))


@dataclass(frozen=True)
class success:
    """The two columns that objectives.nft reads. "right", per leaf: 1 where the reward is at least
    `threshold`, else 0. "rate", the same at every node: the share of the tree's judged leaves that are right.
    """

    score: str = "reward"
    threshold: float = 1.0

    def __call__(self, trees: Sequence[Tree], memory: Memory) -> list[dict[str, Column]]:
        return [self._tree(tree) for tree in trees]

    def _tree(self, tree: Tree) -> dict[str, Column]:
        r = np.asarray(tree.get(self.score).values, float)
        right = np.where(np.isnan(r), np.nan, (r >= self.threshold - 1e-9).astype(float))
        rate = float(np.nanmean(right)) if not np.isnan(right).all() else np.nan
        return {"right": Column("leaf", right), "rate": Column("node", np.full(len(tree), rate))}
