"""A model's verdict in words, read as a number."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surpass.errors import EngineError, SurpassError
from surpass.searches.turns import fill
from surpass.types import FAILED, Column, Tree


@dataclass(frozen=True)
class judge:
    """Per leaf: the mean of `n` verdicts by `role`, each the last number that `pattern` finds in its words, divided by `best`
    and held to [0, 1]; nan where no verdict holds a number or the judge cannot be asked; an EngineError where it never can.

    `prompt` is one user message with {question} and {answer}: what the players were told last, and the attempt. What the judge
    is shown and says stands in the tree, aside. Uses no labels. Yuan et al. 2024 (self-rewarding), section 2.2.
    """

    prompt: str
    role: str = "policy"
    n: int = 3
    best: float = 5.0
    pattern: str = r"(-?\d+(?:\.\d+)?)"
    temperature: float = 0.7
    top_p: float = 0.9
    max_tokens: int = 128
    voice: str = "policy"

    def __post_init__(self):
        if "{question}" not in self.prompt or "{answer}" not in self.prompt:
            raise SurpassError('a judge\'s prompt needs "{question}" and "{answer}"')

    def at_most(self) -> int:
        """Tokens drawn for one attempt, if every verdict uses all it may."""
        return self.n * self.max_tokens

    async def __call__(self, models, task, trees: Sequence[Tree]) -> list[Column]:
        judged = await asyncio.gather(*(self._tree(models, tree) for tree in trees))
        errors = [verdict for verdicts in judged for verdict in verdicts if isinstance(verdict, EngineError)]
        if errors and len(errors) == sum(map(len, judged)):
            raise errors[0]
        return [Column("leaf", np.array([np.nan if isinstance(v, EngineError) else v for v in some], float)) for some in judged]

    async def _tree(self, models, tree: Tree) -> list[float | EngineError]:
        question = tree.problem.asks
        return await asyncio.gather(*(self._leaf(models, tree, leaf, question) for leaf in tree.leaves()))

    async def _leaf(self, models, tree: Tree, leaf: int, question: str) -> float | EngineError:
        if tree.stop[leaf] == FAILED:
            return float("nan")
        words = fill(self.prompt, {"{question}": question, "{answer}": models.said(self.voice, tree, leaf)})
        root = models.open(self.role, tree, words, cause=leaf, aside=True)
        sampling = {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens}
        try:
            nodes = await models.generate(self.role, tree, root, self.n, **sampling)
        except EngineError as error:  # e.g. too long for the judge: this attempt is not judged
            return error
        found = [re.findall(self.pattern, models.said(self.role, tree, node, since=root)) for node in nodes]
        verdicts = [min(1.0, max(0.0, float(numbers[-1]) / self.best)) for numbers in found if numbers]
        return float(np.mean(verdicts)) if verdicts else float("nan")
