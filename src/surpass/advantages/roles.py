"""Advantages of players against what their seat usually gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surpass.types import Column, Memory, Tree


@dataclass(frozen=True)
class seats:
    """Per node written by the player of seat p: A = (R - b[G, p]) discount ** (turns the player still had), R
    the node column `score`.

    b is the mean that seat p of game G (the problem's meta["task"], if any) has got so far, an exponential
    average that begins at 0: b <- decay b + (1 - decay) R after each game, used as it was before the game.
    Without `apart` all seats of a game share one. Kept in memory.notes. Liu et al. 2025 (SPIRAL),
    role-conditioned advantage estimation.
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
