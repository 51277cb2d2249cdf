"""A world of steps whose chances are all known: an attempt is three lines of one letter, and one way is
right.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from modes import PROMPTS

from surpass.engines import TabularEngine
from surpass.models import Models
from surpass.parts import Task
from surpass.types import Problem

LINES, LETTERS, N = 3, "abcd", 24


@dataclass(frozen=True)
class ways(Task):
    """Write, line by line, the letter after each of the prompt's three. A wrong line cannot be made good. A
    table cannot generalise, so the splits share their prompts.
    """

    def problems(self, split, seed):
        for prompt in PROMPTS[:: len(PROMPTS) // N][:N]:
            yield Problem(
                f"{split}-{prompt}", prompt, "\n".join(LETTERS[(LETTERS.index(c) + 1) % 4] for c in prompt)
            )

    async def check(self, models, problem, text):
        return float(text == problem.answer)

    def final_answer(self, text):
        return text


def start(seed: int, knows: float = 1.5) -> Models:
    """A table that keeps to the form, with random logits for the letters (normal, deviation 1) and `knows`
    more for the right ones: one attempt in ten or so is right.
    """
    engine, rng = TabularEngine(LETTERS + "\n", size=250_007), np.random.default_rng(seed)
    table = engine.module["table"]
    with torch.no_grad():
        for problem in ways().problems("train", 0):
            right = problem.answer.split("\n")
            for written in range(LINES):
                for letters in product(LETTERS, repeat=written):
                    context = engine.text.encode(problem.prompt + "".join(f"{c}\n" for c in letters))
                    logits = rng.normal(0, 1, 6)
                    logits[LETTERS.index(right[written])] += knows
                    logits[4:] = -9  # neither a new line nor the end
                    table[engine.row(context)] = torch.tensor(logits, dtype=torch.float32)
                    for token in range(4):
                        form = torch.full((6,), -9.0)
                        form[4 if written < LINES - 1 else 5] = 0.0
                        table[engine.row([*context, token])] = form
    return Models(policy=engine)


def chance(models: Models, task: ways) -> float:
    """The exact chance that one draw at temperature 1 is right, mean over prompts."""
    engine, found = models.engine("policy"), []
    for problem in task.problems("test", 0):
        context, p = engine.text.encode(problem.prompt), 1.0
        for token in [*engine.text.encode(problem.answer), engine.end]:
            p *= float(engine.module["table"][engine.row(context)].softmax(-1)[token].detach())
            context = [*context, token]
        found.append(p)
    return float(np.mean(found))
