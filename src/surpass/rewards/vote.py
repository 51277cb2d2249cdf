"""Agreement among the attempts at one problem."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surpass.judging import answer_of
from surpass.models import Models
from surpass.parts import Task
from surpass.types import FAILED, Column, Tree


def stated(models: Models, task: Task, tree: Tree, role: str = "policy") -> list[str | None]:
    """The final answer of every leaf; None if it states none, failed, or was left unfinished by a search. Two
    answers are the same if task.final_answer gives the same text (without that method, the whole attempt).
    """
    over = [not (tree.stop[leaf] == FAILED or tree.unfinished(leaf)) for leaf in tree.leaves()]
    return [
        answer_of(task, models.said(role, tree, leaf)) if ended else None
        for leaf, ended in zip(tree.leaves(), over, strict=True)
    ]


@dataclass(frozen=True)
class vote:
    """Per leaf: the share of this tree's leaves that state the same final answer; nan if it states none.

    With `weight`, the name of a score, each leaf counts by that score (nan: not at all; below 0: as 0), and
    the share is of the total weight. If no leaf that states an answer has weight, heads are counted instead:
    of the leaves that have a score, else of all. Uses no labels. Wang et al. 2022, self-consistency.
    """

    role: str = "policy"
    weight: str | None = None

    async def __call__(self, models: Models, task: Task, trees: Sequence[Tree]) -> list[Column]:
        return [Column("leaf", self._shares(stated(models, task, tree, self.role), tree)) for tree in trees]

    def _shares(self, answers: list[str | None], tree: Tree) -> np.ndarray:
        weights = np.ones(len(answers))
        if self.weight is not None:
            given = np.asarray(tree.get(self.weight).values, float)
            states = np.array([answer is not None for answer in answers], bool)
            weights = np.nan_to_num(given).clip(0)
            if not weights[states].any():  # no vote has weight: count heads
                known = ~np.isnan(given)
                weights = np.where(known | ~known[states].any(), 1.0, 0.0)
        total = weights.sum()
        votes: dict[str, float] = defaultdict(float)
        for answer, weight in zip(answers, weights, strict=True):
            if answer is not None:
                votes[answer] += weight
        return np.array([np.nan if answer is None else votes[answer] / total for answer in answers], float)


@dataclass(frozen=True)
class ranks:
    """Per leaf: (N - r + 1) ** power, where r in 1..N is its rank among the tree's N judged leaves by
    `score`, the highest first (ties: the earlier first); nan if it was not judged. Leaves that state no
    answer rank last, whatever their score, and get nan. As the `weight` of `vote` this is a Borda count:
    power 0 counts heads, a large power follows the best alone. Kang et al. 2025 (self-certainty), section 4.
    """

    score: str = "reward"
    power: float = 0.5
    role: str = "policy"

    async def __call__(self, models: Models, task: Task, trees: Sequence[Tree]) -> list[Column]:
        return [Column("leaf", self._weights(stated(models, task, tree, self.role), tree)) for tree in trees]

    def _weights(self, answers: list[str | None], tree: Tree) -> np.ndarray:
        values = np.asarray(tree.get(self.score).values, float)
        judged = int((~np.isnan(values)).sum())
        ranked = np.flatnonzero(
            ~np.isnan(values) & np.array([answer is not None for answer in answers], bool)
        )
        order = ranked[np.argsort(-values[ranked], kind="stable")]
        weights = np.full(len(values), np.nan)
        weights[order] = np.arange(judged, judged - len(order), -1.0) ** self.power
        return weights


@dataclass(frozen=True)
class majority:
    """Per leaf: 1 for the answer with the most votes (ties: the earlier), 0 for every other answer and for an
    attempt that states none; with `scaled`, times the winner's share. nan if no leaf states an answer, and
    for attempts that failed.

    `score` names the column of rewards.vote. Uses no labels. Zuo et al. 2025 (TTRL), the majority reward.
    """

    score: str = "vote"
    scaled: bool = False
    role: str = "policy"

    async def __call__(self, models: Models, task: Task, trees: Sequence[Tree]) -> list[Column]:
        return [Column("leaf", self._agrees(stated(models, task, tree, self.role), tree)) for tree in trees]

    def _agrees(self, answers: list[str | None], tree: Tree) -> np.ndarray:
        shares = np.asarray(tree.get(self.score).values, float)
        if np.isnan(shares).all():
            return np.full(len(answers), np.nan)
        first = int(np.nanargmax(shares))
        agrees = np.array([answer == answers[first] for answer in answers], float) * (
            shares[first] if self.scaled else 1.0
        )
        return np.where(tree.stop[tree.leaves()] == FAILED, np.nan, agrees)


@dataclass(frozen=True)
class crossed:
    """Per leaf: 1 if it states the commonest final answer (ties: the earlier) of the attempts from the tree's
    other opening, else 0; all 0 if no attempt there states one. nan for attempts that failed, and in a tree
    with one opening only. Uses no labels. Zhang et al. 2025 (Co-Reward).
    """

    role: str = "policy"

    async def __call__(self, models: Models, task: Task, trees: Sequence[Tree]) -> list[Column]:
        return [Column("leaf", self._leaves(stated(models, task, tree, self.role), tree)) for tree in trees]

    def _leaves(self, answers: list[str | None], tree: Tree) -> np.ndarray:
        leaves = tree.leaves()
        roots = [tree.dialogue(leaf)[0] for leaf in leaves]
        votes = {
            root: Counter(a for a, r in zip(answers, roots, strict=True) if r == root and a is not None)
            for root in roots
        }
        if len(votes) != 2:
            return np.full(len(leaves), np.nan)
        first, second = (max(count, key=count.__getitem__) if count else None for count in votes.values())
        label = dict(zip(votes, (second, first), strict=True))
        agrees = [float(a is not None and a == label[root]) for a, root in zip(answers, roots, strict=True)]
        return np.where(tree.stop[leaves] == FAILED, np.nan, agrees)
