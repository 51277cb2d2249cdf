"""A judge that knows the truth and errs at a set rate, to study a method with a judge of known quality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surpass.errors import SurpassError
from surpass.means import right
from surpass.models import Models
from surpass.parts import Task
from surpass.searches.turns import worth
from surpass.types import Column, Tree, fold


@dataclass(frozen=True)
class noisy_truth:
    """Per leaf: 1 if the attempt is right (worth at least 1), else 0; flipped with probability `noise`; plus
    `bias` times the attempt's length as a share, in [0, 1], of the longest attempt at that problem. nan if it
    cannot be judged.

    Errors are a function of the tree and the leaf: asked again, the judge says the same.
    """

    noise: float = 0.1
    bias: float = 0.0
    role: str = "policy"
    needs = frozenset({"oracle"})

    def __post_init__(self) -> None:
        if not 0 <= self.noise <= 1:
            raise SurpassError(f"noise is a probability; found {self.noise}")

    async def __call__(self, models: Models, task: Task, trees: Sequence[Tree]) -> list[Column]:
        return [await self._tree(models, task, tree) for tree in trees]

    async def _tree(self, models: Models, task: Task, tree: Tree) -> Column:
        leaves = tree.leaves()
        values = np.array([await worth(models, task, tree, leaf, self.role) for leaf in leaves], float)
        flips = np.array([fold(tree.keys[leaf], "noise") / 2**63 < self.noise for leaf in leaves], bool)
        truth = np.array([right(value) for value in values])
        lengths = np.array(
            [
                sum(tree.length(i) for i in tree.dialogue(leaf) if tree.author[i] == self.role)
                for leaf in leaves
            ],
            float,
        )
        return Column(
            "leaf",
            np.where(flips, 1 - truth, truth) + self.bias * lengths / max(1.0, lengths.max(initial=1.0)),
        )
