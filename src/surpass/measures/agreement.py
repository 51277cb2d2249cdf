"""What can be known without labels: whether attempts agree, and how far the model has moved."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from surpass.measures.answers import exam_trees
from surpass.models import Models
from surpass.parts import Search, Task
from surpass.rewards.likelihood import mean_logp
from surpass.rewards.vote import stated
from surpass.types import FAILED, LENGTH, Report, Row, Tree


@dataclass(frozen=True)
class agreement:
    """Per problem, over the attempts that `search` makes:

    agreement: the share of attempts that state the commonest final answer. answered: the share that state any
    answer. sameness: the share of the other problems with the same commonest answer (a model that gives one
    answer to everything agrees with itself perfectly). drift: the mean over attempts of the mean over drawn
    tokens of log p_now - log p_base, in nats a token; at temperature 1 it estimates KL(now || base).
    sampled/mean_length: tokens; sampled/clipped_ratio: the share cut off. None says that an answer is right.

    At most `limit` problems of a split, the same in every run.
    """

    search: Search
    n: Mapping[str, int] = field(default_factory=lambda: {"gate": 48, "test": 48})
    limit: int = 48
    base: str = "policy@0"
    role: str = "policy"
    needs = frozenset({"logprobs"})

    def at_most(self, split: str) -> int:
        """The most tokens that an exam can draw."""
        return (
            min(self.n[split], self.limit) * self.search.at_most() if hasattr(self.search, "at_most") else 0
        )

    async def __call__(self, models: Models, task: Task, split: str, seed: int) -> Report:
        trees = await exam_trees(self.search, models, task, split, min(self.n[split], self.limit), seed)
        answers = [stated(models, task, tree, self.role) for tree in trees]
        common = [Counter(a for a in some if a is not None).most_common(1) for some in answers]
        tops = Counter(top[0][0] for top in common if top)
        drifts = await asyncio.gather(*(self._drift(models, tree) for tree in trees))
        report = Report("agreement", info={"split": split, "asked": len(trees)})
        for tree, some, top, drift in zip(trees, answers, common, drifts, strict=True):
            leaves = [leaf for leaf in tree.leaves() if tree.stop[leaf] != FAILED]
            stating = sum(answer is not None for answer in some)
            figures = {
                "agreement": (top[0][1] if top else 0) / len(leaves) if leaves else np.nan,
                "answered": stating / len(leaves) if leaves else np.nan,
                "sameness": (tops[top[0][0]] - 1) / max(1, len(trees) - 1)
                if top
                else 0.0
                if leaves
                else np.nan,
                "drift": drift,
                "sampled/mean_length": float(np.mean([self._length(tree, leaf) for leaf in leaves]))
                if leaves
                else np.nan,
                "sampled/clipped_ratio": float(np.mean([tree.stop[leaf] == LENGTH for leaf in leaves]))
                if leaves
                else np.nan,
            }
            report.rows += [Row(tree.problem.id, 0, name, value) for name, value in figures.items()]
        return report

    async def _drift(self, models: Models, tree: Tree) -> float:
        async def gap(leaf: int) -> float:
            now, base = await asyncio.gather(
                *(mean_logp(models, r, tree, leaf, self.role) for r in ("", self.base))
            )
            return now - base

        gaps = np.array(await asyncio.gather(*(gap(leaf) for leaf in tree.leaves())), float)
        return float(np.nanmean(gaps)) if not np.isnan(gaps).all() else float("nan")

    def _length(self, tree: Tree, leaf: int) -> int:
        return sum(tree.length(node) for node in tree.dialogue(leaf) if tree.author[node] == self.role)
