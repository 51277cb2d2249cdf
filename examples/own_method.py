"""A method of your own, one change against a known one, compared at equal work: python examples/own_method.py
[MODEL] [TOKENS]
"""

import sys

from surpass import (
    Learn,
    Method,
    compare,
    curricula,
    gates,
    learners,
    measures,
    objectives,
    rewards,
    searches,
    selectors,
)


def hopeful(
    problems: int = 8, n: int = 8, max_tokens: int = 64, lr: float = 2e-4, every: int = 2, enough: float = 1.0
) -> Method:
    """Imitate what went well, worth `enough`, from the current weights on; GRPO also pushes down what did
    not.
    """
    return Method(
        curriculum=curricula.shuffle(problems),
        search=searches.samples(n, 0.8, max_tokens),
        scores={"reward": rewards.check()},
        learn=(
            Learn(
                "policy", selectors.correct(threshold=enough), learners.gradient(objectives.sft("path"), lr)
            ),
        ),
        exam=measures.answers(searches.samples(1, 0.0, max_tokens)),
        gate=gates.no_worse(every),
    )


def main(model: str = "tiny", tokens: str = "5k") -> None:
    entries = [f"{__file__}:hopeful", "grpo,lr=2e-4,max_tokens=64,problems=8"]
    print(
        compare(
            entries,
            "suite:arithmetic",
            model,
            budget=f"tokens={tokens}",
            seeds=2,
            test=64,
            gate=32,
            out="runs/own-method",
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
