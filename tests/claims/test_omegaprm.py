"""OmegaPRM's binary search on the tiny model's sums, against the exact first error."""

from __future__ import annotations

import numpy as np
from trees import grown, tiny

from conftest import listed
from surpass import searches
from surpass.tasks.suite import suite

SEEDS, N = (1, 2, 3), 40


def located(seed: int, linear: bool) -> tuple[float, float, float, int]:
    """(share of wrong completions whose first wrong step was found, completions drawn, share of prefixes after an error with MC 0,
    completions that were searched)."""
    models, oracle = tiny(), suite("arithmetic").parts["arithmetic"]
    search = searches.first_error(k=8, searches=4, linear=linear, max_tokens=64)
    trees, models = grown(search, "arithmetic", N, seed, models)
    hits, later = [], []
    for tree in trees:
        found, mc = tree.get("wrong_step").values, tree.get("mc").values
        for node in np.flatnonzero(~np.isnan(found)):
            above = [i for i in tree.path(int(node))[:-1] if tree.author[i] == "policy"]
            before = models.text("policy", tree, above[-1]).count("\n") if above else 0
            true = oracle.first_wrong_step(tree.problem, models.text("policy", tree, int(node)))
            hits.append(true is not None and true - before + 1 == found[node])
        for node in range(len(tree)):
            probe = (
                tree.author[node] == "policy"
                and not np.isnan(mc[node])
                and not np.isfinite(found[node])
                and (tree.parent == node).any()
            )
            if probe and oracle.first_wrong_step(tree.problem, models.text("policy", tree, node)) is not None:
                later.append(mc[node] == 0)
    return float(np.mean(hits)), float(models.cost["search"]["calls"]), float(np.mean(later)) if later else np.nan, len(hits)


def test_claims(claims):
    halves, all_ = [located(seed, False) for seed in SEEDS], [located(seed, True) for seed in SEEDS]
    claims.primary("binary search finds the first wrong step of more than 80% of wrong attempts", [h[0] - 0.8 for h in halves],
                   f"{listed([h[0] for h in halves])} of {[h[3] for h in halves]}", "not shown")  # fmt: skip
    claims.secondary("with fewer completions than trying every step in order", [1 - h[1] / a[1] for h, a in zip(halves, all_, strict=True)],
                     f"{[int(h[1]) for h in halves]} against {[int(a[1]) for a in all_]}", "not shown")  # fmt: skip
    claims.secondary("after an error hardly any prefix is completed to a right answer (MC is 0 in more than 80%)", [h[2] - 0.8 for h in halves],
                     listed([h[2] for h in halves]), "not shown")  # fmt: skip
