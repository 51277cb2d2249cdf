"""Dr. GRPO: GRPO done right (Liu et al. 2025, arXiv 2503.20783).

Idea     Dividing by an attempt's length favours long wrong answers. Dividing by the standard deviation of the
         rewards favours problems that are too easy or too hard. Dr. GRPO does neither.
Search   n independent attempts a problem
Score    the task's check
Credit   A_i = r_i - mean(r), the same for all tokens of attempt i
Loss     clipped policy gradient, sum over tokens / max_tokens, mean over attempts
Family   policy gradient
Labels   verifier
Needs    engine "train"
Differs  Written from memory of the paper. Ratios are of softmax(logits / temperature); tempered and correct
         as in grpo.
Works    tests/test_conformance.py: on the identity task a tabular policy reaches accuracy 1;
         tests/test_trl_parity.py: the loss is TRL's.
"""

from surpass import advantages, curricula, gates, learners, measures, objectives, rewards, searches, selectors
from surpass.parts import Learn, Method


def dr_grpo(
    problems: int = 8,
    n: int = 8,
    temperature: float = 0.8,
    max_tokens: int = 128,
    lr: float = 1e-5,
    clip: float = 0.2,
    updates: int = 1,
    tempered: bool = True,
    correct: float = 0.0,
    every: int = 3,
) -> Method:
    """`problems` a round with `n` attempts each, and `updates` optimiser steps; the gate decides every
    `every` rounds.
    """
    loss = objectives.clipped(clip, clip, normaliser="constant", length=float(max_tokens), correct=correct)
    learner = learners.gradient(loss, lr, updates=updates, temperature=temperature if tempered else 1.0)
    return Method(
        curriculum=curricula.shuffle(problems),
        search=searches.samples(n, temperature, max_tokens),
        scores={"reward": rewards.check()},
        learn=(Learn("policy", selectors.every(), learner, advantages.group(scale=False)),),
        exam=measures.answers(searches.samples(1, 0.0, max_tokens)),
        gate=gates.no_worse(every),
    )
