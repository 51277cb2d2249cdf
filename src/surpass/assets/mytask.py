"""A task of your own: problems, and how an answer is judged. Try it:

surpass eval grpo --task mytask.py --limit 64 --max-tokens 32           how good is the model now?
surpass run tree_grpo --task mytask.py --rounds 6 --max-tokens 32       make it better
"""

import random
import re
from dataclasses import dataclass

import surpass
from surpass.tasks import unique


@dataclass(frozen=True)  # its fields are knobs: --task.digits 4
class mytask(surpass.Task):
    """Say which number comes after a number of up to `digits` digits."""

    digits: int = 3

    def problems(self, split, seed):
        """Problems of "train", "gate" or "test". `unique` puts every problem into one split, by a hash, and
        drops repeats.
        """
        rng = random.Random(seed)

        def make(index):
            n = rng.randrange(10**self.digits)
            # id (equal ids are the same problem), prompt (text, or a list of chat messages), answer (only
            # `check` sees it)
            return surpass.Problem(str(n), f"Write the number that comes after {n}.", str(n + 1))

        return unique(make, split)

    def check(self, models, problem, text):
        """The value of an answer: 1 right, 0 wrong, anything between; None if it cannot be judged. May be
        async.
        """
        return self.final_answer(text) == problem.answer

    def final_answer(self, text):
        """What is compared when attempts vote (self_consistency, tree_vote, ttrl). Leave it out where answers
        cannot be compared.
        """
        numbers = re.findall(r"\d+", text)
        return numbers[-1] if numbers else None
