"""NFT on a table where every probability is known, against rejection fine-tuning on the same attempts."""

from __future__ import annotations

import dataclasses

import numpy as np
from modes import PROMPTS, letter, sampled_accuracy, start

from conftest import listed
from surpass import gates
from surpass.loop import improve
from surpass.methods.grpo import grpo
from surpass.methods.nft import nft

SEEDS = (1, 2, 3, 4, 5)


def entropy(models) -> float:
    """Of the first letter, in nats, mean over prompts."""
    engine = models.engine("policy")
    rows = [engine.module["table"][engine.row(engine.text.encode(p))].softmax(-1) for p in PROMPTS]
    return float(np.mean([-(p * p.log()).sum().item() for p in rows]))


def learnt(seed: int, rounds: int = 12, which=nft, **knobs) -> tuple[float, float]:
    models, task = start(0.45, 0.25), letter(0.5)
    method = which(problems=32, n=8, max_tokens=2, lr=0.05, updates=2, every=10**6, **knobs)
    method = dataclasses.replace(method, gate=gates.always(every=10**6))
    models.run(improve(method, task, models, rounds=rounds, seed=seed))
    return sampled_accuracy(models, task), entropy(models)


def test_claims(claims):
    both = np.array([learnt(seed) for seed in SEEDS])
    right = np.array([learnt(seed, negative=0.0) for seed in SEEDS])
    claims.primary("ends higher than rejection fine-tuning on as many attempts (chance of the right letter)",
                   both[:, 0] - right[:, 0], f"{listed(both[:, 0])} against {listed(right[:, 0])}", "refuted")  # fmt: skip
    claims.secondary(
        "and its entropy falls less", both[:, 1] - right[:, 1], f"{listed(both[:, 1])} against {listed(right[:, 1])} nats"
    )
    group = np.array([learnt(seed, which=grpo, temperature=1.0) for seed in SEEDS])
    claims.secondary(
        "and not two points below GRPO", both[:, 0] - group[:, 0] + 0.02, f"{listed(both[:, 0])} against {listed(group[:, 0])}"
    )
    bare = np.array([learnt(seed, eps=1e-3) for seed in SEEDS])
    claims.secondary("without the bound on the implicit ratio (eps 0.001) it ends lower", both[:, 0] - bare[:, 0],
                     f"{listed(both[:, 0])} against {listed(bare[:, 0])}", "not shown")  # fmt: skip
