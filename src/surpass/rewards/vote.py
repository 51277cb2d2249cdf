"""Agreement among the attempts at one problem."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surpass.types import FAILED, Column, Tree


def stated(models, task, tree: Tree, role: str = "policy") -> list[str | None]:
    """The final answer of every leaf; None where none is stated or the attempt failed. Two answers are the same if task.final_answer gives the same
    text (the whole attempt, for tasks without one)."""
    final = getattr(task, "final_answer", str.strip)
    return [None if tree.stop[leaf] == FAILED else final(models.text(role, tree, leaf)) for leaf in tree.leaves()]


@dataclass(frozen=True)
class vote:
    """Per leaf: the share of this tree's leaves that state the same final answer; nan where none is stated.

    With `weight`, the name of a score, leaves count by it (nan: not at all), and the share is of all weight. Uses no labels.
    Wang et al. 2022, self-consistency.
    """

    role: str = "policy"
    weight: str | None = None

    async def __call__(self, models, task, trees: Sequence[Tree]) -> list[Column]:
        return [Column("leaf", self._shares(stated(models, task, tree, self.role), tree)) for tree in trees]

    def _shares(self, answers: list[str | None], tree: Tree) -> np.ndarray:
        weights = np.ones(len(answers)) if self.weight is None else np.nan_to_num(tree.get(self.weight).values.astype(float))
        total = weights.sum()
        votes: dict[str, float] = defaultdict(float)
        for answer, weight in zip(answers, weights, strict=True):
            if answer is not None:
                votes[answer] += weight
        return np.array([np.nan if answer is None or total == 0 else votes[answer] / total for answer in answers], float)


@dataclass(frozen=True)
class majority:
    """Per leaf: 1 for the answer with the most votes (the earlier of equals), 0 for every other and for an attempt that states
    none; times the winner's share where `scaled`. nan where no leaf states an answer, and for attempts that failed.

    `score` names the column of rewards.vote. Uses no labels. Zuo et al. 2025 (TTRL), the majority reward.
    """

    score: str = "vote"
    scaled: bool = False
    role: str = "policy"

    async def __call__(self, models, task, trees: Sequence[Tree]) -> list[Column]:
        return [Column("leaf", self._agrees(stated(models, task, tree, self.role), tree)) for tree in trees]

    def _agrees(self, answers: list[str | None], tree: Tree) -> np.ndarray:
        shares = np.asarray(tree.get(self.score).values, float)
        if np.isnan(shares).all():
            return np.full(len(answers), np.nan)
        first = int(np.nanargmax(shares))
        agrees = np.array([answer == answers[first] for answer in answers], float) * (shares[first] if self.scaled else 1.0)
        return np.where(tree.stop[tree.leaves()] == FAILED, np.nan, agrees)
