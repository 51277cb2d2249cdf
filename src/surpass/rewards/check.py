"""The task's own judgement."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surpass.models import Models
from surpass.parts import Task
from surpass.searches.turns import worth
from surpass.types import Column, Tree


@dataclass(frozen=True)
class check:
    """Per leaf: what the attempt is worth (see surpass.searches.turns.worth)."""

    role: str = "policy"

    async def __call__(self, models: Models, task: Task, trees: Sequence[Tree]) -> list[Column]:
        return list(await asyncio.gather(*(self._tree(models, task, tree) for tree in trees)))

    async def _tree(self, models: Models, task: Task, tree: Tree) -> Column:
        values = await asyncio.gather(*(worth(models, task, tree, leaf, self.role) for leaf in tree.leaves()))
        return Column("leaf", np.array(values, float))
