"""Agreement among the attempts at one problem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surpass.types import Column, Tree


@dataclass(frozen=True)
class vote:
    """Per leaf: the share of this tree's leaves that state the same final answer; nan where none is stated.

    Two answers are the same if task.final_answer gives the same text (the whole attempt, for tasks without one). Uses no
    labels. Wang et al. 2023, self-consistency.
    """

    role: str = "policy"

    async def __call__(self, models, task, trees: Sequence[Tree]) -> list[Column]:
        final = getattr(task, "final_answer", str.strip)
        columns = []
        for tree in trees:
            answers = [final(models.text(self.role, tree, leaf)) for leaf in tree.leaves()]
            votes = Counter(answer for answer in answers if answer is not None)
            values = [np.nan if answer is None else votes[answer] / len(answers) for answer in answers]
            columns.append(Column("leaf", np.array(values)))
        return columns
