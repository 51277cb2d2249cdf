"""Preferences: the first path of an example is better than the second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surpass.parts import values_at
from surpass.selectors.paths import judged_leaves
from surpass.types import Example, Memory, Tree


@dataclass(frozen=True)
class best_worst:
    """The best against the worst attempt at each problem (the earlier of equals), where they differ by more than `margin`.

    `confidence` names a score whose value at the best leaf is the probability that the order is right; nan there: no pair.
    """

    score: str = "reward"
    margin: float = 0.0
    confidence: str | None = None

    def __call__(self, trees: Sequence[Tree], memory: Memory, rng: int) -> list[Example]:
        out = []
        for tree in trees:
            judged = judged_leaves(tree, self.score)
            if not judged:
                continue
            (best, high), (worst, low) = max(judged, key=lambda lv: lv[1]), min(judged, key=lambda lv: lv[1])
            if high - low <= self.margin:
                continue
            trust = 1.0 if self.confidence is None else float(values_at(tree, self.confidence, [best])[0])
            if np.isnan(trust):
                continue
            out.append(Example(tree, (best, worst), confidence=trust))
        return out
