"""GRPO: group relative policy optimisation (Shao et al. 2024, DeepSeekMath, arXiv 2402.03300).

Idea     No critic: the other attempts at the same problem are the baseline.
Search   n independent attempts a problem
Score    the task's check
Credit   A_i = (r_i - mean(r)) / (std(r) + 1e-4), the same for all tokens of attempt i
Loss     clipped policy gradient, mean over tokens within an attempt, then over attempts, +
         beta KL(policy || reference)
Family   policy gradient
Labels   verifier
Needs    engine "train"
Differs  beta defaults to 0, as in TRL, not the paper's 0.04. As in TRL, ratios are of
         softmax(logits / temperature), the distribution that was drawn from. tempered=False trains at
         temperature 1 whatever the draws were; then correct > 0 weighs each token by min(p / q, correct), q
         being what it was drawn from.
Works    docs/claims.md: within two minutes a task it lifts the tiny model on six of eight tasks of the suite;
         docs/results.md: SmolLM2-135M on sums. tests/test_conformance.py: on the identity task a tabular
         policy reaches accuracy 1.
"""

from surpass import advantages, curricula, gates, learners, measures, objectives, rewards, searches, selectors
from surpass.parts import Learn, Method


def grpo(
    problems: int = 8,
    n: int = 8,
    temperature: float = 0.8,
    max_tokens: int = 128,
    lr: float = 1e-5,
    beta: float = 0.0,
    scale: bool = True,
    normaliser: str = "path",
    clip: float = 0.2,
    updates: int = 1,
    tempered: bool = True,
    correct: float = 0.0,
    every: int = 3,
) -> Method:
    """`problems` a round with `n` attempts each, and `updates` optimiser steps; the gate decides every
    `every` rounds. `tempered` trains the distribution that was drawn from. `correct` bounds the importance
    weight of tokens drawn from another distribution (0: no such weights).
    """
    loss = objectives.leashed(
        objectives.clipped(clip, clip, normaliser=normaliser, correct=correct), beta, normaliser
    )
    learner = learners.gradient(loss, lr, updates=updates, temperature=temperature if tempered else 1.0)
    return Method(
        curriculum=curricula.shuffle(problems),
        search=searches.samples(n, temperature, max_tokens),
        scores={"reward": rewards.check()},
        learn=(Learn("policy", selectors.every(), learner, advantages.group(scale=scale)),),
        exam=measures.answers(searches.samples(1, 0.0, max_tokens)),
        gate=gates.no_worse(every),
    )
