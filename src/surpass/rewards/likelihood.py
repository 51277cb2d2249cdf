"""How probable an attempt is to a model, alone or compared with another model."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np

from surpass.judging import per_leaf
from surpass.models import Models
from surpass.parts import Task
from surpass.types import FAILED, Column, Tree


@dataclass(frozen=True)
class likelihood:
    """Per leaf: exp(scale * m), in (0, 1]; m is the mean log-probability (temperature 1) under `role` of the
    tokens that `voice` drew on the leaf's path. nan if nothing was drawn.

    role "policy@0" is the model at the start of the run; "" is whoever drew the tokens, at the time (no model
    call). Unlike the sum, the mean does not favour short attempts. Uses no labels. Huang et al. 2024
    (sharpening), the length-normalised self-reward. With role "policy@0" and scale 1 / beta, its optimum is
    the start, tempered towards what it prefers.
    """

    role: str = "policy@0"
    scale: float = 1.0
    voice: str = "policy"

    @property
    def needs(self) -> frozenset[str]:
        """Log-probs of a role; tokens alone if whoever drew them counts."""
        return frozenset({"logprobs" if self.role else "tokens"})

    async def __call__(self, models: Models, task: Task, trees: Sequence[Tree]) -> list[Column]:
        means = await per_leaf(trees, lambda tree, leaf: mean_logp(models, self.role, tree, leaf, self.voice))
        return [Column("leaf", np.exp(self.scale * mean.values)) for mean in means]


@dataclass(frozen=True)
class implicit:
    """Per leaf, in nats: beta * sum of log p_role(t) - log p_base(t) over the tokens t that `voice` drew on
    its path. Uses no labels.

    It is the reward for which `role` is the optimum of RL from `base` with KL coefficient beta, up to a
    constant per problem (Rafailov et al. 2023, eq. 5). role "" is whoever drew the tokens, at the time (no
    model call): at temperature 1 its expectation is then beta * KL(voice || base) of whole attempts.
    `per_token` takes the mean over tokens, not the sum. Where role and base have the same weights this is 0;
    with `or_likelihood` it is then the mean log-probability under base (Wang et al. 2024, CREAM).
    """

    role: str = ""
    base: str = "policy@0"
    beta: float = 1.0
    per_token: bool = False
    or_likelihood: bool = False
    voice: str = "policy"
    needs = frozenset({"logprobs"})

    async def __call__(self, models: Models, task: Task, trees: Sequence[Tree]) -> list[Column]:
        alone = self.or_likelihood and models.weights.same(self.role or self.voice, self.base)

        async def one(tree: Tree, leaf: int) -> float:
            if alone:
                return await mean_logp(models, self.base, tree, leaf, self.voice)
            now, base = await asyncio.gather(
                *(mean_logp(models, r, tree, leaf, self.voice) for r in (self.role, self.base))
            )
            tokens = 1 if self.per_token else int(written(tree, leaf, self.voice).sum())
            return self.beta * (now - base) * tokens

        return await per_leaf(trees, one)


def written(tree: Tree, leaf: int, voice: str) -> np.ndarray:
    """bool[t]: which tokens of the dialogue up to `leaf` (all its parts) `voice` drew."""
    path = tree.dialogue(leaf)
    drawn = np.concatenate([tree.drawn(node)[0] for node in path])
    return np.repeat(
        [tree.author[node] == voice for node in path], [len(tree.own(node)) for node in path]
    ) & ~np.isnan(drawn)


async def along(
    ask: Callable[[str, Tree, int], Awaitable[np.ndarray]], role: str, tree: Tree, leaf: int
) -> np.ndarray:
    """[t, ...]: what `ask` (models.logprobs, .certainty, .value) gives for each token of the dialogue up to
    `leaf`, all its parts.
    """
    return np.concatenate(await asyncio.gather(*(ask(role, tree, end) for end in tree.parts(leaf))))


async def mean_logp(models: Models, role: str, tree: Tree, leaf: int, voice: str) -> float:
    """The mean log-probability under `role` ("": at the draw) of the tokens that `voice` drew on the path to
    `leaf`; nan if there are none.
    """
    mine = written(tree, leaf, voice)
    if not mine.any() or tree.stop[leaf] == FAILED:
        return float("nan")
    drawn = np.concatenate([tree.drawn(node)[0] for node in tree.dialogue(leaf)])
    logp = await along(models.logprobs, role, tree, leaf) if role else drawn
    return float(logp[mine].astype(float).mean())
