"""A model's verdict in words, read as a number."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surpass.errors import EngineError, SurpassError
from surpass.models import Models
from surpass.parts import Task
from surpass.searches.turns import fill
from surpass.types import FAILED, Column, Tree
from surpass.verdicts import asking, read


@dataclass(frozen=True)
class judge:
    """Per leaf: the mean of `n` verdicts by `role`. A verdict states a score x from `worst` to `best`
    (verdicts.score_of) and counts (x - worst) / (best - worst), in [0, 1]. nan if no verdict states a score
    or the judge cannot be asked; EngineError if it never can. An empty attempt is worth 0 and is not shown.

    `prompt` is one user message with {question} and {answer}: what the players were told last, and the
    attempt. {worst} and {best} in it stand for the scale; without them a sentence with the scale is added.
    `pattern`, a regular expression, reads the last number that it finds instead, and nothing is added; a
    number outside the scale is not read. The dialogue with the judge stays in the tree, aside, and its node
    column "read" is 1 at verdicts that state a score, else 0. Uses no labels. Yuan et al. 2024
    (self-rewarding), section 2.2.
    """

    prompt: str
    role: str = "policy"
    n: int = 3
    best: float = 5.0
    pattern: str = ""
    temperature: float = 0.7
    top_p: float = 0.9
    max_tokens: int = 128
    voice: str = "policy"
    worst: float = 0.0

    def __post_init__(self) -> None:
        if "{question}" not in self.prompt or "{answer}" not in self.prompt:
            raise SurpassError('a judge\'s prompt needs "{question}" and "{answer}"')
        if not self.worst < self.best:
            raise SurpassError(
                f"a judge's scale goes from worst up to best; found worst={self.worst}, best={self.best}"
            )

    def at_most(self) -> int:
        """The most tokens that judging one attempt can draw."""
        return self.n * self.max_tokens

    async def __call__(self, models: Models, task: Task, trees: Sequence[Tree]) -> list[Column]:
        judged = await asyncio.gather(*(self._tree(models, tree) for tree in trees))
        errors = [verdict for verdicts in judged for verdict in verdicts if isinstance(verdict, EngineError)]
        if errors and len(errors) == sum(map(len, judged)):
            raise errors[0]
        return [
            Column("leaf", np.array([np.nan if isinstance(v, EngineError) else v for v in some], float))
            for some in judged
        ]

    async def _tree(self, models: Models, tree: Tree) -> list[float | EngineError]:
        question = tree.problem.asks
        return await asyncio.gather(*(self._leaf(models, tree, leaf, question) for leaf in tree.leaves()))

    async def _leaf(self, models: Models, tree: Tree, leaf: int, question: str) -> float | EngineError:
        if tree.stop[leaf] == FAILED:
            return float("nan")
        attempt = models.said(self.voice, tree, leaf)
        if not attempt.strip():
            return 0.0
        prompt = self.prompt if self.pattern else asking(self.prompt, self.worst, self.best)
        words = fill(prompt, {"{question}": question, "{answer}": attempt})
        root = models.open(self.role, tree, words, cause=leaf, aside=True)
        sampling = {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens}
        try:
            nodes = await models.generate(self.role, tree, root, self.n, **sampling)
        except EngineError as error:  # e.g. too long for the judge: this attempt is not judged
            return error
        found = [
            read(models.said(self.role, tree, node, since=root), self.worst, self.best, self.pattern)
            for node in nodes
        ]
        for node, score in zip(nodes, found, strict=True):
            tree.mark("read", node, float(score == score))
        known = [(score - self.worst) / (self.best - self.worst) for score in found if score == score]
        return float(np.mean(known)) if known else float("nan")
