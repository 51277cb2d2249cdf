"""How sure a model is of an attempt: by its distributions, when asked, or by a mark after it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from surpass.errors import SurpassError
from surpass.judging import per_leaf, words_of, yes_no
from surpass.models import Models
from surpass.parts import Task
from surpass.prompts import RIGHT
from surpass.rewards.likelihood import along, written
from surpass.types import DONE, Column, Tree


@dataclass(frozen=True)
class certainty:
    """Per leaf: the mean of KL(uniform || p), in nats, over the tokens that `voice` drew on its path; p is
    the distribution of `role` at that token (temperature 1). nan if nothing was drawn. Larger is surer; a
    loop is sure, too.

    Uses no labels. Kang et al. 2025 (self-certainty): -(1 / (n V)) sum over n tokens and V words of log(V p).
    """

    role: str = "policy"
    voice: str = "policy"
    needs = frozenset({"logprobs"})

    async def __call__(self, models: Models, task: Task, trees: Sequence[Tree]) -> list[Column]:
        return await per_leaf(trees, lambda tree, leaf: self._leaf(models, tree, leaf))

    async def _leaf(self, models: Models, tree: Tree, leaf: int) -> float:
        mine = written(tree, leaf, self.voice)
        if not mine.any():
            return float("nan")
        return float((await along(models.certainty, self.role, tree, leaf))[mine].astype(float).mean())


@dataclass(frozen=True)
class verdict:
    """Per leaf: p(yes) / (p(yes) + p(no)), in [0, 1], for the next token of `role` when asked, right after
    the attempt and in the same conversation, whether it is right. Words count by their first token. Nothing
    is drawn.

    The question stays in the tree, aside. `role` must have the tokenizer of whoever wrote the attempt:
    itself, or a snapshot. The defaults are words that the tiny models know; for other models: ask="Is this
    right? Answer yes or no.", yes="Yes", no="No". Uses no labels.
    """

    role: str = "policy"
    ask: str = RIGHT
    yes: str = "<yes>"
    no: str = "<no>"
    needs = frozenset({"logprobs"})

    async def __call__(self, models: Models, task: Task, trees: Sequence[Tree]) -> list[Column]:
        words = words_of(models, self.role, self.yes, self.no)
        return await per_leaf(
            trees, lambda tree, leaf: yes_no(models, self.role, tree, leaf, self.ask, words)
        )


@dataclass(frozen=True)
class marked:
    """Per leaf: beta * (log p_role(z) - log p_base(z)), where z is the token `mark`, as the next one after
    the attempt; nan if the attempt did not end by itself. It costs one token. Without training it means
    nothing: objectives.regression trains it.

    `mark` is a token that is never written ("": one that the tokenizer reserves). With `graft` the mark is
    added to the tree after each attempt, aside, by the author "mark", so that a Learn row with that voice can
    train it. Uses no labels. Yang et al. 2025 (LaSeR), the last-token self-reward, with the reference's own
    log-probability in place of its mean.
    """

    beta: float = 0.1
    mark: str = ""
    role: str = "policy"
    base: str = "policy@0"
    graft: bool = False
    needs = frozenset({"logprobs"})

    async def __call__(self, models: Models, task: Task, trees: Sequence[Tree]) -> list[Column]:
        tokens = models.encode(self.role, self.mark) if self.mark else [models.reserved(self.role)]
        if len(tokens) != 1:
            raise SurpassError(f'a mark is one token of the model; "{self.mark}" is {len(tokens)}')
        columns = await per_leaf(trees, lambda tree, leaf: self._leaf(models, tree, leaf, tokens))
        for tree in trees if self.graft else ():
            for leaf in tree.leaves():
                models.put(self.role, tree, leaf, tokens, "mark", aside=True)
        return columns

    async def _leaf(self, models: Models, tree: Tree, leaf: int, mark: list[int]) -> float:
        if tree.stop[leaf] != DONE:
            return float("nan")
        now, base = await asyncio.gather(
            *(models.next(role, tree, leaf, mark) for role in (self.role, self.base))
        )
        return self.beta * float(now[0] - base[0])
