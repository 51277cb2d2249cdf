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
    """Say the letter you are shown; or, unless `shared`, just a character of even code, which even a random model often does.

    Splits share no letter unless `shared` (a table cannot generalise)."""

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
        return text


def table(seed: int = 0, scale: float = 0.1) -> Models:
    """A tabular policy over a, b and the end of a turn."""
    return Models(policy=TabularEngine("ab", size=512, seed=seed, scale=scale))


def nano_models(lora=None) -> Models:
    """A nano transformer as the policy."""
    sys.path.insert(0, str(Path(__file__).parent))
    from conftest import make_causal, make_tokenizer

    return Models(policy=LocalEngine.of(make_causal(0, 0.05), make_tokenizer(), lora=lora))
