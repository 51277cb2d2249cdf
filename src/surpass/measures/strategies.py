"""Strategies of inference, compared at equal numbers of tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from surpass import choose, given, rewards
from surpass.measures.answers import exam_trees
from surpass.measures.skills import any_right
from surpass.models import Models
from surpass.parts import Reward, Search, Task
from surpass.searches import samples
from surpass.searches.turns import worth
from surpass.types import Column, Report, Row, Tree, fold


@dataclass(frozen=True)
class strategies:
    """What each strategy makes of at most `budget` drawn tokens a problem. One pool of independent attempts,
    as many as fit into the budget (at least one), serves all of these:

    single (the first), majority and random. For every part NAME of `scores`: best/NAME, the attempt with the
    highest score, and weighted/NAME, a vote in which attempts count by their score, scaled to [0, 1] within
    the problem (all equal: 1). mean and any: the mean over the pool, and whether any attempt is right: what
    chance and a perfect choice would get. Besides, for every part NAME of `searches`, limited to the budget
    by its own settings: its finished attempt with the highest node column "worth", or the last if there is no
    such column.

    Per strategy: accuracy/NAME and tokens/NAME (drawn). For those that choose from the pool,
    info["efficiency"] is (accuracy - mean) / (any - mean), over the problems where all three are known. If
    some attempts at a problem cannot be judged, it has no mean, and an any only if a judged one is right.
    Tokens that a score reads are not in the budget, but in the report's cost.
    """

    budget: int = 512
    pool: int = 32
    temperature: float = 0.7
    max_tokens: int = 128
    scores: Mapping[str, Reward] = field(
        default_factory=lambda: {"certainty": rewards.certainty(), "verdict": rewards.verdict()}
    )
    searches: Mapping[str, Search] = field(default_factory=dict)
    n: Mapping[str, int] = field(default_factory=lambda: {"gate": 96, "test": 256})
    role: str = "policy"

    async def __call__(self, models: Models, task: Task, split: str, seed: int) -> Report:
        report = Report("strategies", info={"split": split, "budget": self.budget})
        trees = await exam_trees(
            samples(self.pool, self.temperature, self.max_tokens, role=self.role),
            models,
            task,
            split,
            self.n[split],
            seed,
        )
        for tree in trees:
            self._within(tree)
        await self._put(models, task, trees)
        values = await asyncio.gather(*(self._worth(models, task, tree, tree.leaves()) for tree in trees))
        for tree, right in zip(trees, values, strict=True):
            report.rows += self._choices(tree, np.asarray(right))
        for name, search in self.searches.items():
            found = await exam_trees(search, models, task, split, self.n[split], seed)
            ends = [self._answer(tree) for tree in found]
            right = await asyncio.gather(
                *(self._worth(models, task, tree, [end]) for tree, end in zip(found, ends, strict=True))
            )
            for tree, (one,) in zip(found, right, strict=True):
                report.rows += self._rows(tree, name, one, self._drawn(tree, range(len(tree))))
        report.info["efficiency"] = {
            metric.removeprefix("accuracy/"): _efficiency(report, metric)
            for metric in report.metrics
            if metric.startswith(
                ("accuracy/best/", "accuracy/weighted/", "accuracy/majority", "accuracy/random")
            )
        }
        return report

    def _drawn(self, tree: Tree, nodes: Sequence[int]) -> int:
        return sum(
            tree.length(i) for i in nodes if tree.author[i] != "task" and not np.isnan(tree.drawn(i)[0]).all()
        )

    def _within(self, tree: Tree) -> None:
        """Put attempts beyond the budget aside."""
        spent, leaves = 0, tree.leaves()
        for number, leaf in enumerate(leaves):
            spent += self._drawn(tree, tree.dialogue(leaf))
            if spent > self.budget and number:
                for node in tree.dialogue(leaf)[1:]:
                    tree.aside[node] = True

    async def _put(self, models: Models, task: Task, trees: Sequence[Tree]) -> None:
        await given.score_all({**self.scores, "votes": rewards.vote(self.role)}, models, task, trees)
        for tree in trees:
            for name in self.scores:
                tree.put(f"scaled/{name}", Column("leaf", _scaled(tree.get(name).values)))
        weighted = {
            f"weighted/{name}": rewards.vote(self.role, weight=f"scaled/{name}") for name in self.scores
        }
        await given.score_all(weighted, models, task, trees)

    async def _worth(self, models: Models, task: Task, tree: Tree, leaves: Sequence[int]) -> list[float]:
        found = await asyncio.gather(*(worth(models, task, tree, leaf, self.role) for leaf in leaves))
        return [float(value >= 1 - 1e-9) if value == value else value for value in found]

    def _choices(self, tree: Tree, right: np.ndarray) -> list[Row]:
        leaves = tree.leaves()
        where = {leaf: i for i, leaf in enumerate(leaves)}
        tokens = self._drawn(tree, [i for i in range(len(tree)) if not tree.aside[i]])
        picks: dict[str, Any] = {"majority": choose.best("votes"), "single": choose.first()}
        for name in self.scores:
            picks |= {
                f"best/{name}": choose.best(name),
                f"weighted/{name}": choose.best(f"weighted/{name}", then=name),
            }
        rows: list[Row] = []
        for name, pick in picks.items():
            leaf = pick(tree)
            rows += self._rows(
                tree,
                name,
                right[where[leaf]],
                self._drawn(tree, tree.dialogue(leaf)) if name == "single" else tokens,
            )
        rows += self._rows(tree, "random", float(right[fold(tree.key, "random") % len(leaves)]), tokens)
        rows += self._rows(tree, "mean", float(right.mean()), tokens) + self._rows(
            tree, "any", any_right(right), tokens
        )
        return rows

    def _answer(self, tree: Tree) -> int:
        finished = [leaf for leaf in tree.leaves() if not tree.unfinished(leaf)]
        return choose.best("worth")(tree) if tree.has("worth") else (finished or tree.leaves())[-1]

    def _rows(self, tree: Tree, name: str, right: float, tokens: int) -> list[Row]:
        return [
            Row(tree.problem.id, 0, f"accuracy/{name}", right),
            Row(tree.problem.id, 0, f"tokens/{name}", float(tokens)),
        ]


def _efficiency(report: Report, metric: str) -> float:
    """(metric - mean) / (any - mean), over the problems where all three are known; nan unless any > mean."""
    found, mean, any_ = (report.by_problem(name) for name in (metric, "accuracy/mean", "accuracy/any"))
    rows = np.array([(found[p], mean[p], any_[p]) for p in found if p in mean and p in any_])
    if not len(rows) or not rows[:, 2].mean() > rows[:, 1].mean():
        return float("nan")
    choice, chance, best = rows.mean(0)
    return float((choice - chance) / (best - chance))


def _scaled(values: Any) -> np.ndarray:
    """Values scaled to [0, 1]; all equal: 1; nan stays."""
    values = np.asarray(values, float)
    if np.isnan(values).all():
        return values
    low, high = np.nanmin(values), np.nanmax(values)
    return np.where(np.isnan(values), np.nan, 1.0 if high == low else (values - low) / (high - low))
