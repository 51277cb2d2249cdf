"""RLOO: REINFORCE leave-one-out (Ahmadian et al. 2024, arXiv 2402.14740).

Idea     An attempt is one action. Plain REINFORCE on whole attempts is enough, with the mean of the other
         attempts as an unbiased baseline.
Search   n independent attempts a problem
Score    R = check - beta * sum_t [log p(token t) at the draw - log p_0(token t)], p_0 = the reference (the
         model at the start of the run)
Credit   A_i = R_i - mean of the other attempts' R (eq. 8)
Loss     -mean_i A_i log p(y_i), a sum over the attempt's tokens; with more than one update a round the ratio
         is clipped
Family   policy gradient
Labels   verifier
Needs    engine "train"; with beta, "logprobs" and the snapshot policy@0
Differs  Written from memory of the paper. beta defaults to 0, not 0.03 or 0.1: with the check as reward no KL
         penalty is needed here. Ratios are of softmax(logits / temperature); tempered and correct as in grpo.
         The KL penalty in R is at temperature 1.
Works    tests/test_conformance.py: on the identity task a tabular policy reaches accuracy 1;
         tests/test_objectives.py: a worked example checks the advantage.
"""

from surpass import advantages, curricula, gates, learners, measures, objectives, rewards, searches, selectors
from surpass.errors import SurpassError
from surpass.parts import Learn, Method, Reward


def rloo(
    problems: int = 8,
    n: int = 8,
    temperature: float = 0.8,
    max_tokens: int = 128,
    lr: float = 1e-5,
    beta: float = 0.0,
    clip: float = 0.2,
    updates: int = 1,
    tempered: bool = True,
    correct: float = 0.0,
    every: int = 3,
) -> Method:
    """`problems` a round with `n` attempts each, and `updates` optimiser steps; the gate decides every
    `every` rounds.
    """
    if not beta >= 0:
        raise SurpassError(f"rloo needs beta of at least 0; found beta={beta}")
    loss = objectives.clipped(clip, clip, normaliser="constant", length=1.0, correct=correct)
    scores: dict[str, Reward] = {"reward": rewards.check()}
    if beta:
        leash = rewards.weighted({"check": 1.0, "implicit": -beta})
        scores = {"check": rewards.check(), "implicit": rewards.implicit(base="policy@0"), "reward": leash}
    learner = learners.gradient(loss, lr, updates=updates, temperature=temperature if tempered else 1.0)
    return Method(
        curriculum=curricula.shuffle(problems),
        search=searches.samples(n, temperature, max_tokens),
        scores=scores,
        learn=(Learn("policy", selectors.every(), learner, advantages.leave_one_out()),),
        exam=measures.answers(searches.samples(1, 0.0, max_tokens)),
        gate=gates.no_worse(every),
    )
