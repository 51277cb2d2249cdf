"""LaSeR on the tiny model's sums: does the score after the last token know what is right on problems not seen?"""

from __future__ import annotations

import dataclasses

import numpy as np
from trees import grown, tiny

from conftest import listed
from surpass import gates, measures, rewards
from surpass.loop import improve
from surpass.measures import auc
from surpass.methods.laser import laser
from surpass.tasks.suite import suite

SEEDS, ROUNDS = (1, 2, 3), 4


def learnt(seed: int, alpha: float) -> tuple[float, float]:
    """(AUC of the self-score, share of right attempts) on 96 x 4 attempts at test problems."""
    models, task = tiny(), suite("arithmetic").parts["arithmetic"]
    method = laser(problems=24, n=8, max_tokens=64, lr=2e-4, alpha=alpha, warm=10**6, updates=2, every=10**6)
    exam = measures.sized(method.exam, {"gate": 1, "test": 1})
    method = dataclasses.replace(method, gate=gates.always(every=10**6), exam=exam)
    models.run(improve(method, task, models, rounds=ROUNDS, seed=seed))
    trees, models = grown(dataclasses.replace(method.search, n=4), "arithmetic", 96, seed, models)
    own = models.run(rewards.marked(0.1, "")(models, task, trees))
    right = models.run(rewards.check()(models, task, trees))
    scores, truth = (np.concatenate([c.values for c in columns]) for columns in (own, right))
    known = ~np.isnan(scores)
    return auc(scores[known], truth[known] >= 1)[0], float(truth.mean())


def test_claims(claims):
    own, none = [learnt(seed, 0.1) for seed in SEEDS], [learnt(seed, 0.0) for seed in SEEDS]
    claims.primary("after four rounds the self-score's AUC is above that without its loss", [o[0] - n[0] for o, n in zip(own, none, strict=True)],
                   f"{listed([o[0] for o in own])} against {listed([n[0] for n in none])}")  # fmt: skip
    claims.secondary("and above 0.8", [o[0] - 0.8 for o in own], listed([o[0] for o in own]), "refuted")
    claims.secondary("accuracy is at most a point below the same run's without it", [o[1] - n[1] + 0.01 for o, n in zip(own, none, strict=True)],
                     f"{listed([o[1] for o in own])} against {listed([n[1] for n in none])}", "not shown")  # fmt: skip
