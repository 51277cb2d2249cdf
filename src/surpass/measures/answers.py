"""How good a role's answers are on a split."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from surpass import given
from surpass.choose import first
from surpass.errors import SurpassError
from surpass.judging import value_of
from surpass.models import Models
from surpass.parts import Choose, Reward, Search, Task
from surpass.searches.round import search_all
from surpass.searches.turns import judged, worth
from surpass.types import FAILED, LENGTH, Column, Report, Row, Tree, fold
from surpass.verdicts import unread


async def exam_trees(search: Search, models: Models, task: Task, split: str, n: int, seed: int) -> list[Tree]:
    """What `search` finds for the first n problems of a split. Every run has the same problems; the run's
    seed sets the draws.
    """
    if n < 1:
        raise SurpassError(f"an exam needs at least one problem; found {n}")
    problems = list(islice(given.problems(task, split, 0), n))
    if not problems:
        raise SurpassError(
            f'the task has no problem in its split "{split}"; check its parameters or its data'
        )
    if len(problems) < n:
        # Python shows a warning once
        warnings.warn(f'{len(problems)} of {n} problems: the split "{split}" has no more', stacklevel=1)
    return await search_all(search, models, task, problems, fold(seed, "exam", split))


@dataclass(frozen=True)
class answers:
    """Per problem: the value (task.check) of the answer that `choose` picks from what `search` finds.

    Metrics: accuracy (1 if the value is at least 1, else 0), reward (the value), completions/mean_length
    (drawn tokens on the chosen path), completions/clipped_ratio (1 if cut off), verdicts/unread if a judge
    was asked (the share of its verdicts without a score), and count/NAME for what the task counted, summed
    per attempt.

    `n` problems a split, the same in every run, whatever its seed. `scores` are what `choose` may read. A
    failed attempt counts as missing, not as wrong. An attempt that the search left unfinished is no answer:
    it is not accurate and has no value.
    """

    search: Search
    n: Mapping[str, int] = field(default_factory=lambda: {"gate": 96, "test": 256})
    choose: Choose = field(default_factory=first)
    scores: Mapping[str, Reward] = field(default_factory=dict)
    role: str = "policy"

    def at_most(self, split: str) -> int:
        """The most tokens that an exam can draw."""
        return self.n[split] * self.search.at_most() if hasattr(self.search, "at_most") else 0

    async def __call__(self, models: Models, task: Task, split: str, seed: int) -> Report:
        trees = await exam_trees(self.search, models, task, split, self.n[split], seed)
        await given.score_all(self.scores, models, task, trees)
        report = Report("answers", info={"split": split, "asked": len(trees)}, trees=trees)
        counted = sorted({name for tree in trees for name in tree.columns if name.startswith("count/")})
        for rows in await asyncio.gather(*(self._rows(models, task, tree, counted) for tree in trees)):
            report.rows += rows
        verdicts = [(tree.problem.id, *unread([tree])) for tree in trees]
        if any(asked for _, _, asked in verdicts):
            report.rows += [
                Row(id, 0, "verdicts/unread", n / asked if asked else np.nan) for id, n, asked in verdicts
            ]
        return report

    async def _rows(self, models: Models, task: Task, tree: Tree, counted: Sequence[str]) -> list[Row]:
        leaf = given.leaf(self.choose, tree, given.told(self.choose, tree))
        value = await worth(models, task, tree, leaf, self.role)
        tree.put(
            "chosen", Column("leaf", np.array([value if one == leaf else np.nan for one in tree.leaves()]))
        )
        right = float(value >= 1 - 1e-9) if value == value else value
        failed = tree.stop[leaf] == FAILED
        if tree.unfinished(leaf) and not failed:
            known = await value_of(task, models, tree.problem, judged(models, task, tree, leaf, self.role))
            right = 0.0 if known == known else right  # without a label this is not known either
        drawn = sum(tree.length(node) for node in tree.dialogue(leaf) if tree.author[node] == self.role)
        figures = {
            "accuracy": right,
            "reward": value,
            "completions/mean_length": np.nan if failed else float(drawn),
            "completions/clipped_ratio": np.nan if failed else float(tree.stop[leaf] == LENGTH),
        }
        for name in counted if not failed else ():
            figures[name] = (
                float(np.nansum(tree.get(name).values[tree.attempt(leaf)])) if tree.has(name) else 0.0
            )
        return [Row(tree.problem.id, 0, name, figure) for name, figure in figures.items()]
