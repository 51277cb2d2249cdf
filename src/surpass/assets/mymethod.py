"""A method of your own: a function that returns how to propose, score, select, learn and keep. Try it:

    surpass run mymethod.py --task arithmetic --rounds 10 --n 8

Its arguments are its command line. Parts to choose from: surpass methods, docs/catalogue.md,
src/surpass/methods.
"""

from surpass import (
    Learn,
    Method,
    advantages,
    curricula,
    gates,
    learners,
    measures,
    objectives,
    rewards,
    searches,
    selectors,
)


def mymethod(
    problems: int = 8, n: int = 8, max_tokens: int = 128, lr: float = 1e-5, every: int = 3
) -> Method:
    """`problems` a round with `n` attempts each; the gate decides every `every` rounds."""
    return Method(
        curriculum=curricula.shuffle(problems),  # which problems
        search=searches.samples(n, temperature=0.8, max_tokens=max_tokens),  # propose
        scores={"reward": rewards.check()},  # score
        learn=(
            Learn(
                "policy",
                selectors.nonconstant(),  # select: problems whose attempts differ
                learners.gradient(objectives.clipped(normaliser="token"), lr),  # learn
                advantages.leave_one_out(),  # each attempt against the others
            ),
        ),
        exam=measures.answers(searches.samples(1, 0.0, max_tokens)),  # what "better" means: greedy answers
        gate=gates.no_worse(every),  # keep
    )
