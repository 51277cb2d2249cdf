"""A tiny world for whole runs: copy one character, on a nano transformer or a table."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from surpass.engines import LocalEngine, TabularEngine
from surpass.models import Models
from surpass.types import Problem, Turn

LETTERS = {"train": "abcdef", "gate": "gh", "test": "ij"}


@dataclass(frozen=True)
class copy_letter:
    """Say the letter you are shown; or, unless `shared`, just a character of even code, which even a random
    model often does.

    Splits share no letter unless `shared` (a table cannot generalise).
    """

    shared: bool = False
    players = ("policy",)
    branches = True

    def problems(self, split, seed):
        letters = "ab" if self.shared else LETTERS[split]
        for letter in letters:
            yield Problem(letter if self.shared else f"{split}-{letter}", letter, letter)

    async def start(self, models, problem):
        return Turn({}, {"policy": problem.prompt}, "policy")

    async def step(self, models, state, text):
        return Turn(state)

    async def check(self, models, problem, text):
        return float(text == problem.answer if self.shared else ord(text[:1] or "a") % 2 == 0)

    def final_answer(self, text):
        return text if self.shared else str(ord(text[:1] or "a") % 2)

    def reworded(self, problem, seed):
        return problem.prompt + "b"

    def prefer(self, models, problem, a, b):
        """What begins with a later letter is liked better."""
        return 0.5 if a[:1] == b[:1] else float(a[:1] > b[:1])

    @property
    def oracle(self):
        return Grader(self)

    def proposing(self):
        return Proposals(self)


@dataclass(frozen=True)
class Proposals:
    """Any text of even code is a proposal; its question is a letter of the train split."""

    of: copy_letter
    players = ("policy",)
    branches = True

    def problems(self, split, seed):
        for i in range(1000):
            yield Problem(f"seed-{seed}-{i}", "say", LETTERS["train"][i % 6])

    async def start(self, models, problem):
        return Turn({}, {"policy": problem.prompt}, "policy")

    async def step(self, models, state, text):
        return Turn({"said": text})

    async def check(self, models, problem, text):
        return float("nan")

    def posed(self, problem, state, text):
        fine = ord(text[:1] or "a") % 2 == 0
        return (Problem(f"posed-{problem.id}", problem.answer, problem.answer) if fine else None), "", []


@dataclass(frozen=True)
class Grader:
    """Knows the letter."""

    task: copy_letter

    def grade(self, problem, state, text):
        return 2.0 * (text == problem.answer if self.task.shared else ord(text[:1] or "a") % 2 == 0) - 1, True

    def value(self, problem, state, text=""):
        return float(problem.answer.startswith(text))


def table(seed: int = 0, scale: float = 0.1) -> Models:
    """A tabular policy over a, b and the end of a turn."""
    return Models(policy=TabularEngine("ab", size=512, seed=seed, scale=scale))


def nano_models(lora=None) -> Models:
    """A nano transformer as the policy."""
    sys.path.insert(0, str(Path(__file__).parent))
    from conftest import make_causal, make_tokenizer

    return Models(policy=LocalEngine.of(make_causal(0, 0.05), make_tokenizer(), lora=lora))
