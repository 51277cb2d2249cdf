"""DAPO: decoupled clip and dynamic sampling policy optimisation (Yu et al. 2025, arXiv 2503.14476).

Idea     Four repairs of GRPO. A higher upper clip keeps exploration alive. Groups whose rewards are all equal
         are replaced. The loss is a mean over tokens. Attempts that run too long get a soft penalty.
Search   n independent attempts a problem, for `oversample` times as many problems as are learnt from
Score    check + overlong; overlong = 0 up to max_tokens - margin tokens, then falls linearly to -1 at
         max_tokens (eq. 13)
Select   the first `problems` groups with both right and wrong attempts (eq. 11)
Credit   A_i = (r_i - mean(r)) / (std(r) + 1e-4)
Loss     -sum_t min(rho_t A, clip(rho_t, 1 - low, 1 + high) A) / number of tokens, low 0.2, high 0.28 (eq. 8,
         10, 12)
Family   policy gradient
Labels   verifier
Needs    engine "train"
Differs  Written from memory of the paper. The paper draws until enough groups have mixed results. Here
         `oversample` times as many groups are drawn at once, and where too few are mixed the round learns
         from fewer. margin is a quarter of max_tokens, not 4096 of 20480. The check gives 0 or 1, not -1 or
         1. The paper draws at temperature 1; at another temperature ratios are of
         softmax(logits / temperature), as in grpo.
Works    tests/test_conformance.py: on the identity task a tabular policy reaches accuracy 1;
         tests/test_trl_parity.py: the loss is TRL's.
"""

from surpass import advantages, curricula, gates, learners, measures, objectives, rewards, searches, selectors
from surpass.parts import Learn, Method


def dapo(
    problems: int = 8,
    n: int = 8,
    oversample: int = 2,
    temperature: float = 0.8,
    max_tokens: int = 128,
    lr: float = 1e-5,
    low: float = 0.2,
    high: float = 0.28,
    updates: int = 1,
    tempered: bool = True,
    correct: float = 0.0,
    every: int = 3,
) -> Method:
    """Draws `oversample * problems` groups of `n` a round, and learns from the first `problems` groups whose
    checks differ, in `updates` optimiser steps; the gate decides every `every` rounds.
    """
    loss = objectives.clipped(low, high, normaliser="token", correct=correct)
    learner = learners.gradient(loss, lr, updates=updates, temperature=temperature if tempered else 1.0)
    return Method(
        curriculum=curricula.shuffle(oversample * problems),
        search=searches.samples(n, temperature, max_tokens),
        scores={
            "check": rewards.check(),
            "overlong": rewards.overlong(max_tokens, max(1, max_tokens // 4)),
            "reward": rewards.weighted({"check": 1.0, "overlong": 1.0}),
        },
        learn=(Learn("policy", selectors.nonconstant("check", problems), learner, advantages.group()),),
        exam=measures.answers(searches.samples(1, 0.0, max_tokens)),
        gate=gates.no_worse(every),
    )
