"""How well does a model judge its own attempts? For self_rewarding, likelihood and votes: the chance that a
right attempt scores higher than a wrong one at the same problem (AUC within problems, ties count half), with
a 95% interval by bootstrap over problems.

    python bench/judge.py [--problems 96] [--n 8] [--terms 3] [--operators +]
"""

from __future__ import annotations

import argparse
from itertools import islice

import numpy as np

from surpass import rewards, searches
from surpass.engines import LocalEngine
from surpass.methods.self_rewarding import self_rewarding
from surpass.models import Models
from surpass.searches.round import search_all
from surpass.tasks import arithmetic


def auc(score: np.ndarray, right: np.ndarray) -> tuple[float, int]:
    """(sum over pairs of right and wrong attempts of [score higher] + half [equal], number of pairs); nan
    scores take no part.
    """
    a, b = score[(right == 1) & ~np.isnan(score)], score[(right == 0) & ~np.isnan(score)]
    gap = a[:, None] - b[None, :]
    return float((gap > 0).sum() + 0.5 * (gap == 0).sum()), gap.size


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (("problems", 96), ("n", 8), ("terms", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--operators", default="+")
    parser.add_argument("--model", default="smollm2-135m")
    given = parser.parse_args()
    models, task = Models(policy=LocalEngine(given.model)), arithmetic(given.terms, operators=given.operators)
    problems = list(islice(task.problems("gate", 0), given.problems))
    trees = models.run(search_all(searches.samples(given.n, 0.8, 128), models, task, problems, 1))
    scores = {
        "right": rewards.check(),
        "vote": rewards.vote(),
        "likelihood": rewards.likelihood(""),
        "judge": self_rewarding().scores["reward"],
    }
    for name, reward in scores.items():
        for tree, column in zip(trees, models.run(reward(models, task, trees)), strict=True):
            tree.put(name, column)
    right = [tree.get("right").values for tree in trees]
    top = [
        np.nanargmax(v) if not np.isnan(v).all() else 0 for v in (tree.get("vote").values for tree in trees)
    ]
    print(
        f"attempts right {np.mean([r.mean() for r in right]):.3f}, votes right "
        f"{np.mean([r[t] for r, t in zip(right, top, strict=True)]):.3f}, {len(trees)} problems of "
        f"{given.n} attempts"
    )
    rng = np.random.default_rng(0)
    for name in ("vote", "likelihood", "judge"):
        values = [tree.get(name).values.astype(float) for tree in trees]
        sums = np.array([auc(v, r) for v, r in zip(values, right, strict=True)])
        judged = 1 - np.mean(np.isnan(np.concatenate(values)))
        if not sums[:, 1].sum():
            print(f"{name:10}  no pair could be compared   judged {judged:.2f} of the attempts")
            continue
        draws = [sums[rng.integers(len(sums), size=len(sums))].sum(0) for _ in range(2000)]
        low, high = np.quantile([won / pairs for won, pairs in draws if pairs], [0.025, 0.975])
        print(
            f"{name:10}  AUC {sums[:, 0].sum() / sums[:, 1].sum():.3f} [{low:.3f}, {high:.3f}]   judged "
            f"{judged:.2f} of the attempts"
        )


if __name__ == "__main__":
    main()
