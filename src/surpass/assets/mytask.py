"""A task of your own: problems, and how an answer is judged. Try it:

surpass eval grpo --task mytask.py --limit 64 --max-tokens 32           how good is the model now?
surpass run tree_grpo --task mytask.py --rounds 6 --max-tokens 32       make it better
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import surpass
from surpass.tasks import unique


@dataclass(frozen=True)  # its fields are knobs: --task.digits 4
class mytask(surpass.Task):
    """Say which number comes after a number of up to `digits` digits."""

    digits: int = 3

    def problems(self, split: str, seed: int) -> Iterator[surpass.Problem]:
        """Problems of "train", "gate" or "test". `unique` puts each into one split, by a hash."""
        rng = random.Random(seed)

        def make(index: int) -> surpass.Problem:
            n = rng.randrange(10**self.digits)
            # id (equal ids are the same problem), prompt (text or chat messages), answer (seen by `check`)
            return surpass.Problem(str(n), f"Write the number that comes after {n}.", str(n + 1))

        return unique(make, split)

    def check(self, models: Any, problem: surpass.Problem, text: str) -> float:
        """The value of an answer: 1 right, 0 wrong, or between; None: cannot be judged. May be async."""
        return float(self.final_answer(text) == problem.answer)

    def final_answer(self, text: str) -> str | None:
        """What attempts are compared by in votes (tree_vote, ttrl ...). Leave it out if nothing can be."""
        numbers = re.findall(r"\d+", text)
        return numbers[-1] if numbers else None
