"""MCTS-DPO's search on the tiny model's countdowns (its sums have too few siblings that differ): does Q know which of two next steps is right?"""

from __future__ import annotations

from trees import grown, sibling_auc

from conftest import listed
from surpass.methods.mcts_dpo import mcts_dpo

SEEDS, N = (1, 2, 3), 96


def test_claims(claims):
    q, own, blind = [], [], []
    for seed in SEEDS:
        knobs = {"simulations": 32, "width": 4, "in_flight": 4, "max_tokens": 64}
        trees, models = grown(mcts_dpo(**knobs).search, "countdown", N, seed)
        q.append(sibling_auc(trees, models, "countdown", "q")[0])
        own.append(sibling_auc(trees, models, "countdown", "worth")[0])
        trees, models = grown(mcts_dpo(self_evaluate=False, **knobs).search, "countdown", N, seed)
        blind.append(sibling_auc(trees, models, "countdown", "q")[0])
    claims.primary(
        "of two next steps the right one has the higher Q in more than 80% of the pairs", [x - 0.8 for x in q], listed(q)
    )
    claims.secondary("Q knows more than the model's own verdict on the step", [a - b for a, b in zip(q, own, strict=True)],
                     f"{listed(q)} against {listed(own)}")  # fmt: skip
    claims.secondary("and so without any verdict, from outcomes alone", [x - 0.8 for x in blind], listed(blind))
