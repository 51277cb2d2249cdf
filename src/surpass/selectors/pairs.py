"""Preference pairs: the first path of an example is better than the second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surpass.selectors.paths import judged_leaves
from surpass.types import Example, Memory, Tree


@dataclass(frozen=True)
class best_worst:
    """The best against the worst attempt at each problem, where their scores differ by more than `margin`. Of
    equal attempts the earlier is taken.

    `confidence` names a score: its value at the best leaf is the probability that the order is right. Where
    it is nan there is no pair.

    >>> from surpass.types import Column, Problem
    >>> tree = Tree(Problem("p", ""))
    >>> opening = tree.add(-1, "task", [1])
    >>> attempts = [tree.add(opening, "policy", [token]) for token in (2, 3, 4, 5)]
    >>> tree.put("reward", Column("leaf", np.array([0.5, 1.0, 0.0, 1.0])))
    >>> (pair,) = best_worst()([tree], Memory(), 0)
    >>> [attempts.index(node) for node in pair.nodes]
    [1, 2]
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
            trust = 1.0 if self.confidence is None else float(tree.values_at(self.confidence, [best])[0])
            if np.isnan(trust):
                continue
            out.append(Example(tree, (best, worst), confidence=trust))
        return out


@dataclass(frozen=True)
class siblings:
    """Pairs of steps: at every node with several judged continuations the best against the worst by the node
    column `score`, where they differ by more than `margin`. Only the steps themselves are learnt, not the
    path to them. Continuations without a score (nan) are left out.

    `visits` names a node column of visit counts. Continuations that were not visited are then left out,
    because their score is only a first guess, and the pair's confidence is N_best / (N_best + N_worst), at
    least 1/2. Xie et al. 2024 (MCTS-DPO), eq. 5.

    The better step has three of four visits.

    >>> from surpass.types import Problem
    >>> tree = Tree(Problem("p", ""))
    >>> opening = tree.add(-1, "task", [1])
    >>> good, bad = tree.add(opening, "policy", [2]), tree.add(opening, "policy", [3])
    >>> tree.put_nodes("q", {good: 0.9, bad: 0.2})
    >>> tree.put_nodes("visits", {good: 3, bad: 1})
    >>> (pair,) = siblings(visits="visits")([tree], Memory(), 0)
    >>> pair.nodes == (good, bad), pair.confidence
    (True, 0.75)
    """

    score: str = "q"
    margin: float = 0.0
    visits: str | None = None

    def __call__(self, trees: Sequence[Tree], memory: Memory, rng: int) -> list[Example]:
        return [example for tree in trees for node in range(len(tree)) for example in self._at(tree, node)]

    def _at(self, tree: Tree, node: int) -> list[Example]:
        values = tree.get(self.score).values
        steps = [
            i
            for i in tree.children(node)
            if not np.isnan(values[i]) and not tree.aside[i] and tree.author[i] != "task"
        ]
        counts = np.ones(len(tree)) if self.visits is None else np.nan_to_num(tree.get(self.visits).values)
        steps = [i for i in steps if counts[i] > 0]
        if len(steps) < 2:
            return []
        best = max(steps, key=lambda i: (values[i], counts[i], -i))
        worst = min(steps, key=lambda i: (values[i], counts[i], i))
        if not values[best] - values[worst] > self.margin or np.array_equal(tree.own(best), tree.own(worst)):
            return []
        trust = 1.0
        if self.visits is not None:
            trust = max(0.5, float(counts[best] / (counts[best] + counts[worst])))
        return [Example(tree, (best, worst), (node, node), confidence=trust)]
