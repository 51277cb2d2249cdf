"""A world of steps: an attempt is `n` lines, each one letter, and right where all of them are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from surpass.engines import ScriptedEngine
from surpass.models import Models
from surpass.parts import Task
from surpass.types import Problem


@dataclass(frozen=True)
class lines(Task):
    """Write the hidden word down, a letter a line. Every word of `letters` of that length is a problem."""

    n: int = 4
    letters: str = "ab"

    def problems(self, split, seed):
        for i in range(len(self.letters) ** self.n):
            word = "".join(
                self.letters[i // len(self.letters) ** j % len(self.letters)] for j in range(self.n)
            )
            yield Problem(f"{split}-{word}", "write", word)

    async def check(self, models, problem, text):
        return float(text.replace("\n", "") == problem.answer)

    @property
    def oracle(self):
        return Knows()


@dataclass(frozen=True)
class Knows:
    """A beginning is worth 1 as long as all of its lines are right."""

    def value(self, problem, state, text=""):
        return float(problem.answer.startswith(text.replace("\n", "")))


def writer(task: lines, right: float | None = None, word: str = "") -> Models:
    """Writes letters at random; or the lines of `word`, each with probability `right`."""

    def answer(text: str, key: int) -> str:
        said = text.rpartition("assistant: ")[2].count("\n")
        rng = np.random.default_rng(key)
        letters = [
            rng.choice(list(task.letters)) if right is None else word[i] if rng.random() < right else "-"
            for i in range(said, task.n)
        ]
        return "\n".join(letters)

    return Models(policy=ScriptedEngine(answer))
