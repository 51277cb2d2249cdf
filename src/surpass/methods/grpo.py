"""GRPO: group relative policy optimisation (Shao et al. 2024, DeepSeekMath, arXiv 2402.03300).

Idea     No critic: the other attempts at the same problem are the baseline.
Search   n independent attempts a problem
Score    the task's check
Credit   A_i = (r_i - mean(r)) / (std(r) + 1e-4), the same for all tokens of attempt i
Loss     clipped policy gradient, mean over tokens within an attempt, then over attempts, + beta KL(policy ||
         start)
Family   policy gradient
Labels   verifier
Needs    engine "train"
Differs  beta defaults to 0, as in TRL, not the paper's 0.04. Ratios are of softmax(logits / temperature),
         which was drawn from, as in TRL; tempered=False trains tokens as if drawn at 1, then weighed by min(p
         / q, correct) where correct > 0.
Works    docs/claims.md: within two minutes a task it lifts the tiny model on six of eight tasks of the suite;
         docs/results.md: SmolLM2-135M on sums. tests/test_conformance.py: on the identity task a table
         reaches accuracy 1.
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
    """`problems` a round with `n` attempts each; `updates` optimiser steps a round; a gate decision `every`
    so many rounds. `tempered` trains the distribution that was drawn from; `correct` bounds the weight of
    tokens drawn from another one (0: none).
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
