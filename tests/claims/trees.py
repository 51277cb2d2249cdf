"""The tiny model's trees, and how well a column of their nodes knows which of two sibling steps is right."""

from __future__ import annotations

from itertools import islice

import numpy as np

from surpass.find import make_models
from surpass.models import Models
from surpass.searches.round import search_all
from surpass.tasks.suite import suite
from surpass.types import OPEN, Tree, fold


def tiny() -> Models:
    return make_models({"name": "tiny"})


def grown(search, name: str, n: int, seed: int, models: Models | None = None) -> tuple[list[Tree], Models]:
    """(the trees of n test problems of a suite's task, models)."""
    models, task = models or tiny(), suite(name).parts[name]
    problems = list(islice(task.problems("test", seed), n))
    return models.run(search_all(search, models, task, problems, seed)), models


def true_steps(models: Models, name: str, tree: Tree) -> dict[int, float]:
    """What the exact oracle says of every step that the policy drew, aside or not: its turn so far is right
    (1) or not (0).
    """
    oracle = suite(name).parts[name].oracle
    drawn = [i for i in range(len(tree)) if tree.author[i] == "policy" and len(tree.own(i))]
    return {i: float(oracle.value(tree.problem, {}, models.text("policy", tree, i))) for i in drawn}


def sibling_auc(trees: list[Tree], models: Models, name: str, column: str) -> tuple[float, int]:
    """(share of pairs of unfinished sibling steps, one right and one wrong, in which the right one has the
    higher value, ties counting half; pairs). A finished attempt's value would be the check itself.
    """
    found = []
    for tree in trees:
        true, values = true_steps(models, name, tree), tree.get(column).values
        known = [i for i in true if not np.isnan(values[i]) and tree.stop[i] == OPEN]
        for a in known:
            found += [
                (values[a] > values[b]) + 0.5 * (values[a] == values[b])
                for b in known
                if true[a] > true[b] and tree.parent[a] == tree.parent[b]
            ]
    assert len(found) >= 10, "too few pairs"
    return float(np.mean(found)), len(found)


class Other:
    """A task whose every split begins elsewhere for every seed, so that seeds see different problems in an
    exam.
    """

    def __init__(self, task, seed: int):
        self._task, self._seed = task, seed

    def __getattr__(self, name: str):
        return getattr(self._task, name)

    def problems(self, split: str, seed: int):
        return self._task.problems(split, fold(seed, "other", self._seed))
