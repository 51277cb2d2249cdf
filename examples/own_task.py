"""Train on a task of your own, with problems and a check: python examples/own_task.py [MODEL] [ROUNDS]"""

import random
import sys
from dataclasses import dataclass

import surpass
from surpass.tasks import unique


@dataclass(frozen=True)
class alphabetical(surpass.Task):
    """Put letters into their order."""

    letters: int = 3

    def problems(self, split, seed):
        def make(index):
            some = " ".join(random.Random(f"{seed} {index}").sample("abcdefghij", self.letters))
            right = " ".join(sorted(some.split()))
            return surpass.Problem(some, f"Put into alphabetical order: {some}", right)

        return unique(make, split)

    def check(self, models, problem, text):
        """The share of letters in their place, so that half a success is told from none."""
        said = [letter for letter in text.lower().split() if letter in set("abcdefghij")][: self.letters]
        return sum(a == b for a, b in zip(said, problem.answer.split(), strict=False)) / self.letters


def main(model: str = "smollm2-135m", rounds: int = 4) -> None:
    sizes = {"rounds": rounds, "problems": 8, "n": 8, "max_tokens": 16, "test": 64, "gate": 32}
    print(surpass.improve("grpo", alphabetical(), model, **sizes))


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:3]))
