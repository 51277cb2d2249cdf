"""The task's own judgement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from surpass.judging import per_leaf
from surpass.models import Models
from surpass.parts import Task
from surpass.searches.turns import worth
from surpass.types import Column, Tree


@dataclass(frozen=True)
class check:
    """Per leaf: what the task says the attempt is worth (surpass.searches.turns.worth); nan: not known."""

    role: str = "policy"

    async def __call__(self, models: Models, task: Task, trees: Sequence[Tree]) -> list[Column]:
        return await per_leaf(trees, lambda tree, leaf: worth(models, task, tree, leaf, self.role))
