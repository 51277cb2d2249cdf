"""Which of two attempts is better, as a [L, L] column, and how often each attempt wins."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np

from surpass.errors import SurpassError
from surpass.models import Models
from surpass.parts import Task
from surpass.searches.turns import fill
from surpass.types import FAILED, Column, Tree

Ask = Callable[[Tree, str, str], Awaitable[float]]
"""The probability that the first of two texts is the better answer."""


@dataclass(frozen=True)
class preferred:
    """Per pair of leaves (i, j): the probability that attempt i is preferred to attempt j, by the task's
    method prefer(models, problem, a, b), which gets both texts and may be a coroutine. 1/2 on the diagonal;
    nan if either attempt failed.

    The column is antisymmetric about 1/2: P[j, i] = 1 - P[i, j]. Both orders are asked and averaged, because
    the task's answers may depend on the order.
    """

    voice: str = "policy"
    of_task = ("prefer",)
    instead = ". Or let a model compare answers: --by duel (rewards.duels)"

    async def __call__(self, models: Models, task: Task, trees: Sequence[Tree]) -> list[Column]:
        if not hasattr(task, "prefer"):
            raise SurpassError(
                f"{type(getattr(task, '_task', task)).__name__} has no prefer(models, problem, a, b), "
                "which says how probable it is that answer a is preferred to answer b; use "
                "rewards.duels, a model's judgement"
            )

        async def ask(tree: Tree, a: str, b: str) -> float:
            found = task.prefer(models, tree.problem, a, b)
            return float(await found if inspect.isawaitable(found) else found)

        return list(await asyncio.gather(*(_table(models, tree, ask, self.voice) for tree in trees)))


@dataclass(frozen=True)
class duels:
    """Per pair of leaves (i, j): the probability that `role` prefers attempt i to attempt j: p(first) /
    (p(first) + p(second)) of its next token after `prompt` with {question}, {a} and {b}. Both orders are
    asked and averaged, so a bias for the first place cancels. The question stays in the tree, aside; nothing
    is drawn. 1/2 on the diagonal; nan if either attempt failed. Uses no labels.
    """

    prompt: str
    role: str = "policy"
    first: str = "A"
    second: str = "B"
    voice: str = "policy"
    needs = frozenset({"logprobs"})

    def __post_init__(self) -> None:
        if missing := [word for word in ("{question}", "{a}", "{b}") if word not in self.prompt]:
            raise SurpassError(f"the prompt of a duel needs {', '.join(missing)}")

    async def __call__(self, models: Models, task: Task, trees: Sequence[Tree]) -> list[Column]:
        words = [models.encode(self.role, word)[0] for word in (self.first, self.second)]
        if words[0] == words[1]:
            raise SurpassError(
                f'"{self.first}" and "{self.second}" begin with the same token of this model; give the '
                "duel two words that do not"
            )

        async def ask(tree: Tree, a: str, b: str) -> float:
            shown = fill(self.prompt, {"{question}": tree.problem.asks, "{a}": a, "{b}": b})
            root = models.open(self.role, tree, shown, aside=True)
            one, two = (await models.next(self.role, tree, root, words)).astype(float)
            return float(1 / (1 + np.exp(two - one)))

        return list(await asyncio.gather(*(_table(models, tree, ask, self.voice) for tree in trees)))


async def _table(models: Models, tree: Tree, ask: Ask, voice: str) -> Column:
    """The [L, L] column of ask(tree, a, b), averaged with its mirror image. Equal texts tie, unasked."""
    leaves = tree.leaves()
    texts = [models.said(voice, tree, leaf) for leaf in leaves]
    p = np.full((len(leaves), len(leaves)), 0.5)

    async def meet(i: int, j: int) -> None:
        if FAILED in (tree.stop[leaves[i]], tree.stop[leaves[j]]):
            p[i, j] = np.nan
        elif texts[i] != texts[j]:
            there, back = await asyncio.gather(ask(tree, texts[i], texts[j]), ask(tree, texts[j], texts[i]))
            p[i, j] = (there + 1 - back) / 2
        p[j, i] = 1 - p[i, j]

    await asyncio.gather(*(meet(i, j) for i in range(len(leaves)) for j in range(i)))
    return Column("pair", p)


@dataclass(frozen=True)
class wins:
    """Per leaf i: r_i = mean over the other leaves j of P[i, j], the pair column `score`; nan if it met no
    other. The mean over a tree's leaves is 1/2. Swamy et al. 2024 (SPO), algorithm 2.
    """

    score: str = "pairs"

    async def __call__(self, models: Models, task: Task, trees: Sequence[Tree]) -> list[Column]:
        return [Column("leaf", self._leaves(np.array(tree.get(self.score).values, float))) for tree in trees]

    def _leaves(self, p: np.ndarray) -> np.ndarray:
        np.fill_diagonal(p, np.nan)
        met = (~np.isnan(p)).sum(1)
        return np.divide(np.nansum(p, 1), met, out=np.full(len(p), np.nan), where=met > 0)
