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


AT = (12, 40)  # rounds after which it is looked at


def learnt(seed: int, which=nft, **knobs) -> list[tuple[float, float]]:
    """(chance of the right letter, entropy) after each number of rounds in AT; one pass over a round's
    attempts, as in the paper.
    """
    models, task, seen = start(0.45, 0.25), letter(0.5), {}
    method = which(problems=32, n=8, max_tokens=2, lr=0.05, updates=2, every=10**6, **knobs)
    method = dataclasses.replace(method, gate=gates.always(every=10**6))

    def say(what, round, event):
        if what == "learn" and round in AT:
            seen[round] = sampled_accuracy(models, task), entropy(models)

    models.run(improve(method, task, models, rounds=max(AT), seed=seed, say=say))
    return [seen[round] for round in AT]


def test_claims(claims):
    """Arrays are [seed, number of rounds, accuracy or entropy]."""
    both = np.array([learnt(seed, epochs=1) for seed in SEEDS])
    right = np.array([learnt(seed, epochs=1, negative=0.0) for seed in SEEDS])
    group = np.array([learnt(seed, which=grpo, temperature=1.0) for seed in SEEDS])
    claims.primary(
        "ends higher than rejection fine-tuning on as many attempts (chance of the right letter after "
        "12 rounds)",
        both[:, 0, 0] - right[:, 0, 0],
        f"{listed(both[:, 0, 0])} against {listed(right[:, 0, 0])}",
        least=0.01,
    )
    claims.secondary(
        "and its entropy falls less in 12 rounds",
        both[:, 0, 1] - right[:, 0, 1],
        f"{listed(both[:, 0, 1])} against {listed(right[:, 0, 1])} nats",
        least=0.01,
    )
    claims.secondary(
        "and not two points below GRPO after 12 rounds",
        both[:, 0, 0] - group[:, 0, 0] + 0.02,
        f"{listed(both[:, 0, 0])} against {listed(group[:, 0, 0])}",
        least=0.005,
    )
    claims.secondary(
        "after 40 rounds it is higher than rejection fine-tuning",
        both[:, 1, 0] - right[:, 1, 0],
        f"{listed(both[:, 1, 0])} against {listed(right[:, 1, 0])}",
        least=0.01,
    )
    claims.secondary(
        "but its entropy has fallen less in 40 rounds, too",
        both[:, 1, 1] - right[:, 1, 1],
        f"{listed(both[:, 1, 1])} against {listed(right[:, 1, 1])} nats",
        least=0.01,
    )
    claims.secondary(
        "and not two points below GRPO after 40 rounds",
        both[:, 1, 0] - group[:, 1, 0] + 0.02,
        f"{listed(both[:, 1, 0])} against {listed(group[:, 1, 0])}",
        least=0.005,
    )
