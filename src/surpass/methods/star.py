"""STaR: self-taught reasoner (Zelikman et al. 2022, arXiv 2203.14465).

Idea     Attempts that reach the right answer are worth imitating, reasoning included.
Search   n attempts a problem
Select   attempts that the task's check calls right, at most one a problem
Loss     supervised fine-tuning on them, from the START weights every round
Needs    engine "train"
Differs  no rationalisation (a second attempt with the answer as a hint) for problems that were missed. n samples instead of one
         greedy attempt, so that small rounds find something to learn; n=1, temperature=0 is the paper's.
Works    docs/claims.md: within two minutes a task it lifts the tiny model on six of eight tasks of the suite. tests/test_conformance.py: on the
         identity task a table reaches accuracy 1.
"""

from surpass import curricula, gates, learners, measures, objectives, rewards, searches, selectors
from surpass.parts import Learn, Method


def star(
    problems: int = 32, n: int = 4, temperature: float = 0.8, max_tokens: int = 128, lr: float = 1e-5, epochs: int = 1,
    updates: int = 4, every: int = 1,
) -> Method:  # fmt: skip
    """`problems` a round with `n` attempts each; `epochs` passes in `updates` steps; a gate decision `every` so many rounds."""
    learner = learners.gradient(objectives.sft("path"), lr, epochs, updates)
    return Method(
        curriculum=curricula.shuffle(problems),
        search=searches.samples(n, temperature, max_tokens),
        scores={"reward": rewards.check()},
        learn=(Learn("policy", selectors.correct(limit=1), learner, start="policy@0"),),
        exam=measures.answers(searches.samples(1, 0.0, max_tokens)),
        gate=gates.no_worse(every),
    )
