"""What a game paid each player."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surpass.models import Models
from surpass.parts import Task
from surpass.types import FAILED, Column, Tree


@dataclass(frozen=True)
class outcome:
    """Per node that a player of the task wrote: what the task paid that player over the whole game; nan
    elsewhere and if the search failed. For a task with one player, what it was paid on the way.
    """

    async def __call__(self, models: Models, task: Task, trees: Sequence[Tree]) -> list[Column]:
        return [Column("node", self._nodes(tree, tuple(task.players))) for tree in trees]

    def _nodes(self, tree: Tree, players: tuple[str, ...]) -> np.ndarray:
        out = np.full(len(tree), np.nan)
        paid = {
            p: float(np.nansum(tree.get(f"reward/{p}").values)) if tree.has(f"reward/{p}") else 0.0
            for p in players
        }
        for node in range(len(tree)):
            if (
                tree.author[node] != "task"
                and not tree.aside[node]
                and FAILED not in (tree.stop[node], tree.stop[0])
            ):
                seat = int(tree.get("player").values[tree.path(node)[0]]) if len(players) > 1 else 0
                out[node] = paid[players[seat]]
        return out
