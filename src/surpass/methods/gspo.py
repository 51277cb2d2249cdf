"""GSPO: group sequence policy optimisation (Zheng et al. 2025, arXiv 2507.18071).

Idea     The reward belongs to a whole attempt, so the importance ratio should too: one ratio per attempt,
         clipped as a whole.
Search   n independent attempts a problem
Score    the task's check
Credit   A_i = (r_i - mean(r)) / (std(r) + 1e-4)
Loss     -mean_i min(s_i A_i, clip(s_i, 1 - low, 1 + high) A_i), s_i = (p(y_i) / p_old(y_i))^(1 / |y_i|),
         p_old = the policy before the round's updates (eq. 5 to 7)
Family   policy gradient
Labels   verifier
Needs    engine "train"
Differs  Written from memory of the paper, which splits a rollout batch into 4 mini-batches (updates=4, the
         default here). Ratios are of softmax(logits / temperature), the distribution that was drawn from;
         tempered=False trains as if drawn at 1.
Works    tests/test_conformance.py: on the identity task a tabular policy reaches accuracy 1;
         tests/test_trl_parity.py: the loss is TRL's.
"""

from surpass import advantages, curricula, gates, learners, measures, objectives, rewards, searches, selectors
from surpass.parts import Learn, Method


def gspo(
    problems: int = 8,
    n: int = 8,
    temperature: float = 0.8,
    max_tokens: int = 128,
    lr: float = 1e-5,
    low: float = 3e-4,
    high: float = 4e-4,
    updates: int = 4,
    tempered: bool = True,
    every: int = 3,
) -> Method:
    """`problems` a round with `n` attempts each, and `updates` optimiser steps; the gate decides every
    `every` rounds.
    """
    loss = objectives.clipped(low, high, ratio="path")
    learner = learners.gradient(loss, lr, updates=updates, temperature=temperature if tempered else 1.0)
    return Method(
        curriculum=curricula.shuffle(problems),
        search=searches.samples(n, temperature, max_tokens),
        scores={"reward": rewards.check()},
        learn=(Learn("policy", selectors.every(), learner, advantages.group()),),
        exam=measures.answers(searches.samples(1, 0.0, max_tokens)),
        gate=gates.no_worse(every),
    )
