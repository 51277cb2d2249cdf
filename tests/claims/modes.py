"""A world where everything about labels-free learning is known: one letter answers, with a known probability
of being right.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch

from surpass.engines import TabularEngine
from surpass.models import Models
from surpass.parts import Task
from surpass.types import Problem

PROMPTS = ["".join(letters) for letters in product("abcd", repeat=3)]


@dataclass(frozen=True)
class letter(Task):
    """Answer a three-letter prompt with one letter. The right one is the start's commonest ("mode") in a
    share `right` of the prompts and its second choice in the others. A table cannot generalise, so the splits
    share their prompts.
    """

    right: float = 1.0

    def problems(self, split, seed):
        for i, prompt in enumerate(PROMPTS):
            mode = i % 4
            yield Problem(
                f"{split}-{prompt}", prompt, "abcd"[mode if i / len(PROMPTS) < self.right else (mode + 1) % 4]
            )

    async def check(self, models, problem, text):
        return float(text[:1] == problem.answer)

    def final_answer(self, text):
        return text[:1] or None


def start(top: float = 0.45, second: float = 0.25) -> Models:
    """A table that answers each prompt's mode with probability `top`, the next letter with `second`, and
    always ends after it.
    """
    engine = TabularEngine("abcd", size=2**16)
    others = (1 - top - second) / 2
    with torch.no_grad():
        table = engine.module["table"]
        for i, prompt in enumerate(PROMPTS):
            chances = [others] * 4 + [1e-9]
            chances[i % 4], chances[(i + 1) % 4] = top, second
            context = engine.text.encode(prompt)
            table[engine.row(context)] = torch.tensor(chances).log()
            for token in range(4):
                table[engine.row([*context, token])] = torch.tensor([0.01] * 4 + [0.96]).log()
    return Models(policy=engine)


def sampled_accuracy(models: Models, task: letter) -> float:
    """The exact chance that one draw at temperature 1 is right, mean over prompts."""
    engine = models.engine("policy")
    chances = [
        engine.module["table"][engine.row(engine.text.encode(p.prompt))].softmax(-1)["abcd".index(p.answer)]
        for p in task.problems("test", 0)
    ]
    return float(torch.stack(chances).mean().detach())


def most_probable(models: Models, task: letter) -> float:
    """The mean chance of the letter that was the mode at the start."""
    engine = models.engine("policy")
    rows = [
        engine.module["table"][engine.row(engine.text.encode(prompt))].softmax(-1)[i % 4]
        for i, prompt in enumerate(PROMPTS)
    ]
    return float(torch.stack(rows).mean().detach())
