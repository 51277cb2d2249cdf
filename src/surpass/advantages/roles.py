"""Advantages of players over what their seat usually gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surpass.types import Column, Memory, Tree


@dataclass(frozen=True)
class seats:
    """Per node that the player of seat p wrote: A = (R - b[G, p]) discount ** (turns the player had left), R
    the node column `score`.

    b[G, p] is an exponential average of what seat p of game G got in earlier games. It begins at 0, and after
    each game b <- decay b + (1 - decay) R. G is the problem's meta["task"], if any. Without `apart` all seats
    of a game share one average. b is kept in memory.notes. Liu et al. 2025 (SPIRAL), role-conditioned
    advantage estimation.

    A player who wins two games: the baseline is 0 before the first and 0.05 before the second.

    >>> from surpass.types import Problem
    >>> tree = Tree(Problem("game", ""))
    >>> move = tree.add(tree.add(-1, "task", [1]), "policy", [2])
    >>> tree.put_nodes("outcome", {move: 1.0})
    >>> first, second = seats(decay=0.95)([tree, tree], Memory())
    >>> [round(float(found["advantage"].values[move]), 4) for found in (first, second)]
    [1.0, 0.95]
    """

    score: str = "outcome"
    decay: float = 0.95
    discount: float = 1.0
    apart: bool = True

    def __call__(self, trees: Sequence[Tree], memory: Memory) -> list[dict[str, Column]]:
        baselines = memory.notes.setdefault("seats", {})
        return [{"advantage": Column("node", self._tree(tree, baselines))} for tree in trees]

    def _tree(self, tree: Tree, baselines: dict[str, float]) -> np.ndarray:
        paid = np.asarray(tree.get(self.score).values, float)
        game, out = str(tree.problem.meta.get("task", "")), np.full(len(tree), np.nan)
        mine: dict[int, list[int]] = {}
        for node in np.flatnonzero(~np.isnan(paid)).tolist():
            seat = int(tree.get("player").values[tree.path(node)[0]]) if tree.has("player") else 0
            mine.setdefault(seat, []).append(node)
        before = dict(baselines)
        for seat, nodes in sorted(mine.items()):
            key = f"{game}/{seat if self.apart else 'all'}"
            credit = paid[nodes[0]] - before.get(key, 0.0)
            out[nodes] = credit * self.discount ** np.arange(len(nodes) - 1, -1, -1)
            baselines[key] = self.decay * baselines.get(key, 0.0) + (1 - self.decay) * float(paid[nodes[0]])
        return out
