"""Iterative DPO: the model's own best attempts against its worst (Xu et al. 2023, arXiv 2312.16682).

Idea     Every round ranks the current model's attempts and prefers the best to the worst.
Search   n attempts a problem
Select   the best against the worst attempt, where their scores differ
Loss     -log sigmoid(beta [log-ratio(best) - log-ratio(worst)]), ratios against the weights at the ROUND'S
         start (Rafailov et al. 2023, arXiv 2305.18290)
Family   preference
Labels   verifier
Needs    engine "train"
Differs  The ranking is the task's check, not a learned reward. A round makes `epochs` passes over its few
         pairs: with one step a round the reference and beta would change nothing (objectives.dpo).
Works    tests/test_conformance.py: on the identity task a tabular policy reaches accuracy 1. On four tasks
         (docs/comparisons.md) the tiny model does not get better by it, at grpo's learning rate.
"""

from surpass import curricula, gates, learners, measures, objectives, rewards, searches, selectors
from surpass.parts import Learn, Method


def iterative_dpo(
    problems: int = 64,
    n: int = 8,
    temperature: float = 0.8,
    max_tokens: int = 128,
    lr: float = 1e-5,
    beta: float = 0.1,
    epochs: int = 8,
    updates: int = 4,
    every: int = 2,
) -> Method:
    """`problems` a round with `n` attempts each, and `updates` optimiser steps; the gate decides every
    `every` rounds.
    """
    return Method(
        curriculum=curricula.shuffle(problems),
        search=searches.samples(n, temperature, max_tokens),
        scores={"reward": rewards.check()},
        learn=(
            Learn(
                "policy", selectors.best_worst(), learners.gradient(objectives.dpo(beta), lr, epochs, updates)
            ),
        ),
        exam=measures.answers(searches.samples(1, 0.0, max_tokens)),
        gate=gates.no_worse(every),
    )
