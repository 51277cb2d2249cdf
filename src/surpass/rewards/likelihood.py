"""How probable a model finds an attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surpass.types import FAILED, Column, Tree


@dataclass(frozen=True)
class likelihood:
    """Per leaf: exp(scale * m), in (0, 1], where m is the mean over the tokens that `voice` drew on the leaf's path of their
    log-probability (temperature 1) under `role`; nan where nothing was drawn.

    role "policy@0" is the model at the start of the run, "" whoever drew the tokens, at the time (no model call). The mean,
    unlike the sum, does not favour short attempts. Uses no labels. Huang et al. 2024 (sharpening), the length-normalised
    self-reward; at role "policy@0" and scale 1 / beta the reward whose optimum is tempered towards what the start prefers.
    """

    role: str = "policy@0"
    scale: float = 1.0
    voice: str = "policy"

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"logprobs" if self.role else "tokens"})

    async def __call__(self, models, task, trees: Sequence[Tree]) -> list[Column]:
        return list(await asyncio.gather(*(self._tree(models, tree) for tree in trees)))

    async def _tree(self, models, tree: Tree) -> Column:
        means = await asyncio.gather(*(mean_logp(models, self.role, tree, leaf, self.voice) for leaf in tree.leaves()))
        return Column("leaf", np.exp(self.scale * np.array(means, float)))


def written(tree: Tree, leaf: int, voice: str) -> np.ndarray:
    """bool[t]: which tokens on the path to `leaf` were drawn by `voice`."""
    path = tree.path(leaf)
    drawn = np.concatenate([tree.drawn(node)[0] for node in path])
    return np.repeat([tree.author[node] == voice for node in path], [len(tree.own(node)) for node in path]) & ~np.isnan(drawn)


async def mean_logp(models, role: str, tree: Tree, leaf: int, voice: str) -> float:
    """The mean log-probability under `role` ("": at the draw) of the tokens `voice` drew on the path to `leaf`; nan without any."""
    mine = written(tree, leaf, voice)
    if not mine.any() or tree.stop[leaf] == FAILED:
        return float("nan")
    logp = await models.logprobs(role, tree, leaf) if role else np.concatenate([tree.drawn(node)[0] for node in tree.path(leaf)])
    return float(logp[mine].astype(float).mean())
