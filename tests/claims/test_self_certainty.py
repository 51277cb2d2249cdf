"""Self-certainty on the tiny model's sums."""

from __future__ import annotations

import math

import numpy as np
from trees import Other

from conftest import listed
from surpass import choose, rewards, searches
from surpass.find import make_models
from surpass.measures import auc
from surpass.measures.answers import exam_trees
from surpass.rewards.vote import stated
from surpass.tasks.suite import suite

N, K, SEEDS = 384, 8, (1, 2, 3)
FEWER, MANY = 64, 32  # fewer problems with four times as many attempts each
POWERS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)


def pool(seed: int, n: int = N, k: int = K, name: str = "arithmetic"):
    models, task = make_models({"name": "tiny"}), Other(suite(name).parts[name], seed)
    trees = models.run(exam_trees(searches.samples(k, 0.8, 96), models, task, "test", n, seed))
    parts = {
        "right": rewards.check(),
        "certainty": rewards.certainty(),
        "likelihood": rewards.likelihood(""),
        "rank": rewards.ranks("certainty", 0.5),
        "borda": rewards.vote(weight="rank"),
        "vote": rewards.vote(),
    }
    for power in POWERS:
        parts |= {
            f"rank{power}": rewards.ranks("certainty", power),
            f"borda{power}": rewards.vote(weight=f"rank{power}"),
        }
    for key, part in parts.items():
        for tree, column in zip(trees, models.run(part(models, task, trees)), strict=True):
            tree.put(key, column)
    for tree in trees:  # an attempt without an answer is not chosen
        none = np.array([answer is None for answer in stated(models, task, tree)])
        tree.put("sure", type(tree.get("vote"))("leaf", np.where(none, np.nan, tree.get("certainty").values)))
    return trees


def within(trees, score: str) -> tuple[float, float]:
    """The mean over problems with right and wrong attempts of the AUC within the problem, and its standard
    error.
    """
    found = []
    for tree in trees:
        right = tree.get("right").values >= 1
        if 0 < right.sum() < len(right):
            values = tree.get(score).values
            found.append(
                float(np.mean([(a > b) + 0.5 * (a == b) for a in values[right] for b in values[~right]]))
            )
    return float(np.mean(found)), float(np.std(found, ddof=1) / math.sqrt(len(found)))


def picked(trees, chooser) -> np.ndarray:
    where = [tree.leaves().index(chooser(tree)) for tree in trees]
    return np.array([float(tree.get("right").values[i] >= 1) for tree, i in zip(trees, where, strict=True)])


def surest(trees, k: int) -> float:
    """How often the surest of k attempts is right, mean over the blocks of k that each problem's attempts
    fall into.
    """
    found = []
    for tree in trees:
        sure, right = (tree.get(name).values.reshape(-1, k) for name in ("sure", "right"))
        at = np.where(np.isnan(sure), -np.inf, sure).argmax(1)
        found.append((np.take_along_axis(right, at[:, None], 1) >= 1).mean())
    return float(np.mean(found))


def chosen_power(trees) -> tuple[float, float, float]:
    """(the power whose Borda votes are right most often on the first half of the problems, accuracy of these
    votes and of the plain majority on the other half).
    """
    half = len(trees) // 2
    dev, test = trees[:half], trees[half:]
    power = max(POWERS, key=lambda p: picked(dev, choose.best(f"borda{p}", then="certainty")).mean())
    return (
        power,
        picked(test, choose.best(f"borda{power}", then="certainty")).mean(),
        picked(test, choose.best("vote")).mean(),
    )


def test_claims(claims):
    rows = []
    for seed in SEEDS:
        trees, many = pool(seed), pool(seed, FEWER, MANY)
        power, tuned, plain = chosen_power(trees)
        score, right = (
            np.concatenate([t.get(name).values for t in trees]) for name in ("certainty", "right")
        )
        rows.append(
            {
                "within": within(trees, "certainty")[0],
                "likelihood": within(trees, "likelihood")[0],
                "all": auc(score, right >= 1)[0],
                "mean": float(np.mean([(t.get("right").values >= 1).mean() for t in trees])),
                "sure": picked(trees, choose.best("sure")).mean(),
                "borda": picked(trees, choose.best("borda", then="certainty")).mean(),
                "vote": picked(trees, choose.best("vote")).mean(),
                "power": power,
                "tuned": tuned,
                "plain": plain,
                "eight": surest(many, K),
                "many": surest(many, MANY),
            }
        )

    def column(name: str) -> list[float]:
        return [row[name] for row in rows]

    def over(name: str, other: str) -> list[float]:
        return [row[name] - row[other] for row in rows]

    claims.primary(
        "of two attempts at the same problem the right one is the surer in more than half of the cases",
        [x - 0.5 for x in column("within")],
        f"{listed(column('within'))}; over all problems AUC {listed(column('all'))}",
        least=0.02,
    )
    claims.secondary(
        "certainty ranks them better than likelihood",
        over("within", "likelihood"),
        f"{listed(column('within'))} against {listed(column('likelihood'))}",
        least=0.02,
    )
    claims.secondary(
        f"the surest of {K} is better than a random one",
        over("sure", "mean"),
        f"{listed(column('sure'))} against {listed(column('mean'))}",
        least=0.02,
    )
    claims.secondary(
        "Borda votes beat the plain majority",
        over("borda", "vote"),
        f"{listed(column('borda'))} against {listed(column('vote'))}",
        least=0.02,
    )
    claims.secondary(
        "and so they do with the power that is best on other problems",
        over("tuned", "plain"),
        f"{listed(column('tuned'))} against {listed(column('plain'))}, powers {column('power')}",
        least=0.02,
    )
    claims.secondary(
        f"the surest of {MANY} is better than the surest of {K}",
        over("many", "eight"),
        f"{listed(column('many'))} against {listed(column('eight'))}",
        least=0.02,
    )
