"""An own method, compared with a known one at equal work: python examples/own_method.py [MODEL] [TOKENS]"""

import sys

from surpass import curricula, gates, learners, measures, objectives, rewards, searches, selectors
from surpass.comparing import compare
from surpass.parts import Learn, Method


def hopeful(
    problems: int = 8, n: int = 8, max_tokens: int = 64, lr: float = 2e-4, every: int = 2, enough: float = 1.0
) -> Method:
    """Imitate attempts worth `enough`, starting from the current weights. GRPO also pushes bad ones down."""
    learner = learners.gradient(objectives.sft("path"), lr)
    return Method(
        curriculum=curricula.shuffle(problems),
        search=searches.samples(n, 0.8, max_tokens),
        scores={"reward": rewards.check()},
        learn=(Learn("policy", selectors.correct(threshold=enough), learner),),
        exam=measures.answers(searches.samples(1, 0.0, max_tokens)),
        gate=gates.no_worse(every),
    )


def main(model: str = "tiny", tokens: str = "5k") -> None:
    methods = [f"{__file__}:hopeful", "grpo,lr=2e-4,max_tokens=64,problems=8"]
    sizes = {"budget": f"tokens={tokens}", "seeds": 2, "test": 64, "gate": 32}
    print(compare(methods, "suite:arithmetic", model, out="runs/own-method", **sizes))


if __name__ == "__main__":
    main(*sys.argv[1:])
