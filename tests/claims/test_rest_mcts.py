"""ReST-MCTS*'s inferred step values on the tiny model's trees, against exhaustive knowledge."""

from __future__ import annotations

from trees import grown, sibling_auc, tiny

from conftest import listed
from surpass import rewards
from surpass.methods.rest_mcts import rest_mcts
from surpass.tasks.suite import suite
from surpass.types import Memory

SEEDS, N = (1, 2, 3), 48


def labelled(name: str, seed: int) -> tuple[float, int]:
    """AUC of the labels over siblings of the first round's trees (the value model still knows nothing)."""
    method = rest_mcts(simulations=20, max_tokens=64, temperature=1.0)
    models = tiny()
    models.cast(method.cast)
    trees, models = grown(method.search, name, N, seed, models)
    for tree, column in zip(trees, models.run(rewards.check()(models, suite(name).parts[name], trees)), strict=True):
        tree.put("reward", column)
    columns = method.learn[1].advantage(trees, Memory())
    return sibling_auc([tree.with_columns(some) for tree, some in zip(trees, columns, strict=True)], models, name, "target")


def test_claims(claims):
    found = [labelled("countdown", seed) for seed in SEEDS]
    claims.primary("of two unfinished next steps of a countdown the right one has the higher inferred value in more than 80% of the pairs",
                   [x - 0.8 for x, _ in found], f"{listed([x for x, _ in found])} ({[n for _, n in found]} pairs)")  # fmt: skip
