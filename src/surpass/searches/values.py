"""How a search values unfinished attempts: parts with values(models, task, tree, nodes) -> float64[n]."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from surpass.judging import words_of, yes_no
from surpass.models import Models
from surpass.prompts import RIGHT
from surpass.searches.turns import fill, play_on, worth
from surpass.types import Tree
from surpass.verdicts import asking, read


class Value(Protocol):
    """Values of some nodes of one tree, usually in [0, 1]; nan: not known."""

    async def values(self, models: Models, task: Any, tree: Tree, nodes: Sequence[int]) -> np.ndarray: ...


@dataclass(frozen=True)
class head:
    """What value head `number` of `role` reads after the node's last token, clipped to [0, 1]. With
    `logistic`, the logistic function of it instead.
    """

    role: str = "value"
    number: int = 0
    logistic: bool = False
    needs = frozenset({"value"})

    async def values(self, models: Models, task: Any, tree: Tree, nodes: Sequence[int]) -> np.ndarray:
        """float64[n] in [0, 1]."""
        found = await asyncio.gather(*(models.value(self.role, tree, node) for node in nodes))
        raw = np.array([value[-1, self.number] for value in found], float)
        return 1 / (1 + np.exp(-raw)) if self.logistic else raw.clip(0, 1)


@dataclass(frozen=True)
class asked:
    """p(yes) / (p(yes) + p(no)) of `role`'s next token when asked, right after the node, whether it is right
    so far (rewards.verdict).
    """

    role: str = "policy"
    ask: str = RIGHT
    yes: str = "<yes>"
    no: str = "<no>"
    needs = frozenset({"logprobs"})

    async def values(self, models: Models, task: Any, tree: Tree, nodes: Sequence[int]) -> np.ndarray:
        """float64[n] in [0, 1]."""
        words = words_of(models, self.role, self.yes, self.no)
        found = (yes_no(models, self.role, tree, node, self.ask, words) for node in nodes)
        return np.array(await asyncio.gather(*found), float)


@dataclass(frozen=True)
class completions:
    """The mean worth of `n` completions that `role` draws from the node, aside, over those that can be
    judged; nan if none can. The task judges them: labels.
    """

    n: int = 4
    temperature: float = 1.0
    max_tokens: int = 128
    turns: int = 32
    role: str = "policy"

    async def values(self, models: Models, task: Any, tree: Tree, nodes: Sequence[int]) -> np.ndarray:
        """float64[n]: the mean worth at each node."""
        known = [some[~np.isnan(some)] for some in await self.each(models, task, tree, nodes)]
        return np.array([some.mean() if len(some) else np.nan for some in known], float)

    async def each(
        self, models: Models, task: Any, tree: Tree, nodes: Sequence[int], aside: bool = True
    ) -> list[np.ndarray]:
        """The worth of every completion: float64[n] for each node."""
        sampling = {"temperature": self.temperature, "max_tokens": self.max_tokens}

        async def one(node: int) -> np.ndarray:
            start = models.put(self.role, tree, node, [], self.role, aside=True) if aside else node
            drawn = await models.generate(self.role, tree, start, self.n, **sampling)
            ends = await asyncio.gather(
                *(play_on(models, task, tree, d, self.role, self.turns, sampling) for d in drawn)
            )
            return np.array(
                await asyncio.gather(*(worth(models, task, tree, end, self.role) for end in ends)), float
            )

        return list(await asyncio.gather(*(one(node) for node in nodes)))


@dataclass(frozen=True)
class truth:
    """The oracle's value of the unfinished attempt, for tests and upper bounds."""

    role: str = "policy"
    needs = frozenset({"oracle"})

    async def values(self, models: Models, task: Any, tree: Tree, nodes: Sequence[int]) -> np.ndarray:
        """float64[n]: the oracle's value at each node."""

        def one(node: int) -> float:
            state = tree.state_at(node)
            spoken = tree.author[node] == self.role and tree.state[node] is None
            return float(
                task.oracle.value(tree.problem, state, models.said(self.role, tree, node) if spoken else "")
            )

        return np.array([one(node) for node in nodes], float)


@dataclass(frozen=True)
class constant:
    """The same value for every node: only finished attempts guide the search."""

    number: float = 0.5

    async def values(self, models: Models, task: Any, tree: Tree, nodes: Sequence[int]) -> np.ndarray:
        """float64[n]: `number` at each node."""
        return np.full(len(nodes), self.number)


@dataclass(frozen=True)
class graded:
    """What the task's oracle says of a finished turn by itself: 1 good, 0 harmless, -1 bad. A right answer
    gets early * (turns - used) / turns more, for the turns that were left. The task's oracle must have
    grade(problem, state, text).
    """

    early: float = 0.0
    turns: int = 4
    role: str = "policy"
    needs = frozenset({"oracle"})
    of_task = ("oracle.grade",)
    instead = ". A model can judge instead: --by judge"

    async def values(self, models: Models, task: Any, tree: Tree, nodes: Sequence[int]) -> np.ndarray:
        """float64[n]: the grade at each node."""
        return np.array([self._one(models, task, tree, node) for node in nodes], float)

    def _one(self, models: Models, task: Any, tree: Tree, node: int) -> float:
        before = [i for i in tree.history(node)[:-1] if tree.state[i] is not None]
        used = sum(tree.author[i] == self.role for i in before)
        score, over = task.oracle.grade(
            tree.problem, tree.state[before[-1]], models.said(self.role, tree, node)
        )
        return score + (self.early * (self.turns - used - 1) / self.turns if over and score > 0 else 0.0)


@dataclass(frozen=True)
class spoken:
    """The score that `role` states (verdicts.score_of), divided by `best`; nan if it states none. It is shown
    `prompt` with {question} and {answer}: the turn that ends at the node and the task's answer to it. The
    scale goes from `worst` to `best`: {worst} and {best} in the prompt stand for it; else a sentence with it
    is added. `pattern` instead reads the last number that this regular expression finds. The dialogue stays
    in the tree, aside; its node column "read" is 1 where a score was stated, else 0.
    """

    prompt: str
    role: str = "judge"
    best: float = 1.0
    pattern: str = ""
    temperature: float = 0.7
    max_tokens: int = 128
    voice: str = "policy"
    worst: float = -1.0

    async def values(self, models: Models, task: Any, tree: Tree, nodes: Sequence[int]) -> np.ndarray:
        """float64[n]: the stated score over `best` at each node; nan where none is stated."""
        return np.array(await asyncio.gather(*(self._one(models, tree, node) for node in nodes)), float)

    async def _one(self, models: Models, tree: Tree, node: int) -> float:
        words = models.said(self.voice, tree, node)
        told = [
            i
            for i in np.flatnonzero(tree.cause == node).tolist()
            if tree.author[i] == "task" and not tree.aside[i]
        ]
        if told and tree.parent[told[0]] == node:
            words += "\n" + models.text(self.voice, tree, told[0], since=node).strip()
        elif told:  # rendered again as a whole: the new part was kept as messages
            words += "\n" + str(tree.said[told[0]][-1]["content"]).strip()
        prompt = self.prompt if self.pattern else asking(self.prompt, self.worst, self.best)
        shown = fill(prompt, {"{question}": tree.problem.asks, "{answer}": words})
        root = models.open(self.role, tree, shown, cause=node, aside=True)
        (said,) = await models.generate(
            self.role, tree, root, 1, temperature=self.temperature, max_tokens=self.max_tokens
        )
        score = read(models.said(self.role, tree, said, since=root), self.worst, self.best, self.pattern)
        tree.mark("read", said, float(score == score))
        return score / self.best
