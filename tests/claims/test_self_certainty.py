"""Self-certainty on the tiny model's sums: it separates right from wrong on the same problems, and a Borda vote by it does no harm.

Two secondary claims of the paper do not show here and are printed, not asserted: the surest attempt beats a random one, and certainty
separates better than likelihood."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from surpass import choose, rewards, searches
from surpass.find import make_models
from surpass.measures import auc
from surpass.measures.answers import exam_trees
from surpass.rewards.vote import stated
from surpass.tasks.suite import suite

N, K = 384, 8


def pool(seed: int, name: str = "arithmetic"):
    torch.set_num_threads(2)
    models, task = make_models({"name": "tiny"}), suite(name).parts[name]
    trees = models.run(exam_trees(searches.samples(K, 0.8, 96), models, task, "test", N, seed))
    parts = {"right": rewards.check(), "certainty": rewards.certainty(), "likelihood": rewards.likelihood(""),
             "rank": rewards.ranks("certainty", 0.5), "borda": rewards.vote(weight="rank"), "vote": rewards.vote()}  # fmt: skip
    for key, part in parts.items():
        for tree, column in zip(trees, models.run(part(models, task, trees)), strict=True):
            tree.put(key, column)
    for tree in trees:  # an attempt without an answer is not chosen
        none = np.array([answer is None for answer in stated(models, task, tree)])
        tree.put("sure", type(tree.get("vote"))("leaf", np.where(none, np.nan, tree.get("certainty").values)))
    return trees


def within(trees, score: str) -> tuple[float, float]:
    """The mean over problems with right and wrong attempts of the AUC within the problem, and its standard error."""
    found = []
    for tree in trees:
        right = tree.get("right").values >= 1
        if 0 < right.sum() < len(right):
            values = tree.get(score).values
            found.append(float(np.mean([(a > b) + 0.5 * (a == b) for a in values[right] for b in values[~right]])))
    return float(np.mean(found)), float(np.std(found, ddof=1) / math.sqrt(len(found)))


def picked(trees, chooser) -> np.ndarray:
    where = [tree.leaves().index(chooser(tree)) for tree in trees]
    return np.array([float(tree.get("right").values[i] >= 1) for tree, i in zip(trees, where, strict=True)])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_certainty_knows_right_from_wrong_at_the_same_problem(seed):
    trees = pool(seed)
    sure, error = within(trees, "certainty")
    likely, _ = within(trees, "likelihood")
    everything = auc(
        np.concatenate([t.get("certainty").values for t in trees]), np.concatenate([t.get("right").values >= 1 for t in trees])
    )
    mean = np.array([(t.get("right").values >= 1).mean() for t in trees])
    surest, borda = picked(trees, choose.best("sure")), picked(trees, choose.best("borda", then="certainty"))
    vote = picked(trees, choose.best("vote"))
    print(f"seed {seed}: AUC within problems {sure:.3f} ± {error:.3f} (likelihood {likely:.3f}), over all {everything[0]:.3f}; accuracy mean "
          f"{mean.mean():.3f}, surest of {K} {surest.mean():.3f}, majority {vote.mean():.3f}, Borda {borda.mean():.3f}")  # fmt: skip
    assert sure - 1.96 * error > 0.5, "the primary claim: certainty ranks right attempts above wrong ones at the same problem"
    assert (borda - vote).mean() > -2 * (borda - vote).std(ddof=1) / math.sqrt(N), "Borda is not below the majority"
