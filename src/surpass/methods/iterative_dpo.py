"""Iterative DPO: preference optimisation on the model's own best and worst attempts (Xu et al. 2023, arXiv
2312.16682; loss: Rafailov et al. 2023, arXiv 2305.18290).

Idea     Every round the current model's attempts are ranked and the best is preferred to the worst.
Search   n attempts a problem
Select   the best against the worst attempt, where they differ
Loss     -log sigmoid(beta [log-ratio(best) - log-ratio(worst)]), ratios against the round's START weights
Family   preference
Labels   verifier
Needs    engine "train"
Differs  the ranking is the task's check, not a learned reward; a round's few pairs are gone over `epochs`
         times: with one step a round the reference and beta change nothing (objectives.dpo).
Works    tests/test_conformance.py: on the identity task a table reaches accuracy 1.
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
    """`problems` a round with `n` attempts each; `updates` optimiser steps a round; a gate decision `every`
    so many rounds.
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
