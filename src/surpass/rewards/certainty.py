"""How sure a model is of an attempt: of every token of it, or of the whole when asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surpass.errors import SurpassError
from surpass.rewards.likelihood import written
from surpass.tasks.judge import RIGHT
from surpass.types import FAILED, Column, Tree


@dataclass(frozen=True)
class certainty:
    """Per leaf: the mean over the tokens that `voice` drew on its path of KL(uniform || p), in nats, where p is the distribution
    under `role` (temperature 1) at that token; nan where nothing was drawn. The surer, the larger; a loop is sure, too.

    Uses no labels. Kang et al. 2025 (self-certainty): -(1 / (n V)) sum over n tokens and V words of log(V p).
    """

    role: str = "policy"
    voice: str = "policy"
    needs = frozenset({"logprobs"})

    async def __call__(self, models, task, trees: Sequence[Tree]) -> list[Column]:
        return list(await asyncio.gather(*(self._tree(models, tree) for tree in trees)))

    async def _tree(self, models, tree: Tree) -> Column:
        return Column("leaf", np.array(await asyncio.gather(*(self._leaf(models, tree, leaf) for leaf in tree.leaves())), float))

    async def _leaf(self, models, tree: Tree, leaf: int) -> float:
        mine = written(tree, leaf, self.voice)
        if not mine.any() or tree.stop[leaf] == FAILED:
            return float("nan")
        return float((await models.certainty(self.role, tree, leaf))[mine].astype(float).mean())


@dataclass(frozen=True)
class verdict:
    """Per leaf: the probability, in [0, 1], that `role` answers `yes` rather than `no` when asked, right after the attempt and
    in the same conversation, whether it is right: p(yes) / (p(yes) + p(no)), from the first token of each. Nothing is drawn.

    What is asked stands in the tree, aside. `role` has to read the tokens of whoever wrote the attempt: itself, or a snapshot.
    The defaults are the words that the tiny models know; for others: ask="Is this right? Answer yes or no.", yes="Yes",
    no="No". Uses no labels.
    """

    role: str = "policy"
    ask: str = RIGHT
    yes: str = "<yes>"
    no: str = "<no>"
    needs = frozenset({"logprobs"})

    async def __call__(self, models, task, trees: Sequence[Tree]) -> list[Column]:
        words = [models.encode(self.role, word)[0] for word in (self.yes, self.no)]
        if words[0] == words[1]:
            raise SurpassError(f'this model\'s "{self.yes}" and "{self.no}" begin with the same token; give the verdict two words that '
                               'do not, e.g. yes="Yes", no="No", and an `ask` that names them')  # fmt: skip
        return list(await asyncio.gather(*(self._tree(models, tree, words) for tree in trees)))

    async def _tree(self, models, tree: Tree, words: list[int]) -> Column:
        values = await asyncio.gather(*(self._leaf(models, tree, leaf, words) for leaf in tree.leaves()))
        return Column("leaf", np.array(values, float))

    async def _leaf(self, models, tree: Tree, leaf: int, words: list[int]) -> float:
        if tree.stop[leaf] == FAILED:
            return float("nan")
        asked = models.tell(self.role, tree, leaf, self.ask, aside=True)
        yes, no = (await models.next(self.role, tree, asked, words)).astype(float)
        return float(1 / (1 + np.exp(no - yes)))
