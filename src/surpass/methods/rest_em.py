"""ReST-EM: reinforced self-training as expectation-maximisation (Singh et al. 2023, arXiv 2312.06585).

Idea     E-step: sample and keep what is right. M-step: fit the START model to it. Repeat.
Search   n attempts a problem
Select   right attempts, at most `limit` a problem, so that easy problems do not crowd out hard ones
Loss     supervised fine-tuning, sum over tokens of each attempt, from the START weights every round
Needs    engine "train"
Differs  the paper fits until a validation set stops improving; here `epochs` passes in `updates` steps, and the gate decides. n and
         limit are the paper's ratio (32, 10) scaled down.
Works    tests/test_conformance.py: on the identity task a table reaches accuracy 1.
"""

from surpass import curricula, gates, learners, measures, objectives, rewards, searches, selectors
from surpass.parts import Learn, Method


def rest_em(
    problems: int = 32, n: int = 8, limit: int = 3, temperature: float = 0.8, max_tokens: int = 128, lr: float = 1e-5,
    epochs: int = 1, updates: int = 4, every: int = 1,
) -> Method:  # fmt: skip
    """`problems` a round with `n` attempts each; `epochs` passes in `updates` steps; a gate decision `every` so many rounds."""
    learner = learners.gradient(objectives.sft("token"), lr, epochs, updates)
    return Method(
        curriculum=curricula.shuffle(problems),
        search=searches.samples(n, temperature, max_tokens),
        scores={"reward": rewards.check()},
        learn=(Learn("policy", selectors.correct(limit=limit), learner, start="policy@0"),),
        exam=measures.answers(searches.samples(1, 0.0, max_tokens)),
        gate=gates.no_worse(every),
    )
