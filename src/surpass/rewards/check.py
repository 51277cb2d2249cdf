"""The task's own judgement."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surpass.parts import value_of
from surpass.types import FAILED, Column, Tree


@dataclass(frozen=True)
class check:
    """Per leaf: what the attempt is worth (see `worth`)."""

    role: str = "policy"

    async def __call__(self, models, task, trees: Sequence[Tree]) -> list[Column]:
        return list(await asyncio.gather(*(self._tree(models, task, tree) for tree in trees)))

    async def _tree(self, models, task, tree: Tree) -> Column:
        values = await asyncio.gather(*(worth(models, task, tree, leaf, self.role) for leaf in tree.leaves()))
        return Column("leaf", np.array(values, float))


async def worth(models, task, tree: Tree, leaf: int, role: str = "policy") -> float:
    """What an attempt is worth: task.check of its last turn's text plus what the task paid its player on the way (of several
    players, the one who moved last); nan where nobody can judge and where the attempt failed."""
    if tree.stop[leaf] == FAILED:
        return float("nan")
    value = await value_of(task, models, tree.problem, models.text(role, tree, leaf))
    players = getattr(task, "players", ("policy",))
    who = players[int(tree.get("player").values[tree.path(leaf)[0]])] if len(players) > 1 else players[0]
    if tree.has(f"reward/{who}"):
        value += float(np.nansum(tree.get(f"reward/{who}").values[tree.attempt(leaf)]))
    return value
