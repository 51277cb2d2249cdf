"""Judge shown work: is this solution right, are these steps right, which of two is right? The judged task
knows the truth.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from surpass import answers
from surpass.errors import SurpassError
from surpass.models import Models
from surpass.parts import Task
from surpass.prompts import RIGHT
from surpass.tasks.arithmetic import arithmetic
from surpass.tasks.countdown import countdown
from surpass.tasks.maze import maze
from surpass.tasks.splits import problem_id
from surpass.types import Problem, fold
from surpass.verdicts import word_of

KINDS = ("solution", "step", "pair")
_SOURCES = {"arithmetic": arithmetic, "countdown": countdown, "maze": maze}
STEP = "So far right? <yes> or <no>"
PAIR = "Which is right? A or B"
VERDICTS = ("yes", "no", "A", "B")


def said(text: str) -> str:
    """The verdict that a text states (verdicts.word_of); else the first word after a mark such as "Answer:";
    else its first word. In lower case, without brackets and punctuation; "" if there is none.

    >>> said("<yes>"), said("Answer: B")
    ('yes', 'b')
    """
    words = (word_of(text, VERDICTS) or answers.final_answer(text) or answers.said(text)).split()
    return words[0].strip("<>.,:;!\"'()*[]").lower() if words else ""


@dataclass(frozen=True)
class judge(Task):
    """Judge whether a shown solution, or its first steps, are right, or which of two solutions is.

    The work shown solves a problem of the task `of` (with its `parameters`); half of the time it has a
    planted error. `kind` is solution, step, pair or all. check gives 1 for the true verdict (yes, no, A, B),
    else 0. A judged problem is of the same split, so training judges nothing that is solved in a test.
    """

    of: str = "arithmetic"
    kind: str = "solution"
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.of not in _SOURCES or self.kind not in (*KINDS, "all"):
            raise SurpassError(
                f"judge needs of={' | '.join(_SOURCES)} and kind={' | '.join(KINDS)} | all; found "
                f"of={self.of}, kind={self.kind}"
            )
        _ = self.source

    @property
    def source(self) -> Task:
        """The task whose solutions are judged."""
        settings = {"shots": 0} | dict(self.parameters) if self.of == "arithmetic" else dict(self.parameters)
        try:
            return _SOURCES[self.of](**settings)
        except TypeError as error:
            raise SurpassError(
                f"the task {self.of}, which is judged, refused its parameters: {error}"
            ) from error

    def problems(self, split: str, seed: int) -> Iterator[Problem]:
        source = self.source
        for problem in source.problems(split, seed):
            yield self._shown(source, problem, random.Random(fold(seed, "judge", problem.id)))

    def _shown(self, source: Any, problem: Problem, rng: random.Random) -> Problem:
        kind = rng.choice(KINDS) if self.kind == "all" else self.kind
        oracle, truth = source.oracle, rng.random() < 0.5
        good, bad = oracle.act(problem, {}, rng), oracle.slip(problem, {}, rng)
        if kind == "pair":
            first, second = (good, bad) if truth else (bad, good)
            work, ask, answer = f"A:\n{first}\nB:\n{second}", PAIR, "A" if truth else "B"
        elif kind == "step":
            # a slip may be wrong only because it ends too soon, and then no step of it is wrong
            for _ in range(20):
                lines = (good if truth else bad).split("\n")
                ends = [
                    n
                    for n in range(1, len(lines) + 1)
                    if oracle.value(problem, {}, "\n".join(lines[:n]) + "\n") == truth
                ]
                if ends:
                    break
                bad = oracle.slip(problem, {}, rng)
            # a wrong solution is shown up to its first wrong step
            n = (rng.choice(ends) if truth else ends[0]) if ends else len(lines)
            work, ask, answer = "\n".join(lines[:n]), STEP, "yes" if truth or not ends else "no"
        else:
            work, ask, answer = good if truth else bad, RIGHT, "yes" if truth else "no"
        prompt = f"{problem.asks}\n{work}\n{ask}"
        return Problem(problem_id(prompt), prompt, answer, {"kind": kind, "of": problem.id})

    async def check(self, models: Models, problem: Problem, text: str) -> float:
        return float(said(text) == str(problem.answer).lower())

    def final_answer(self, text: str) -> str | None:
        """What votes compare: the verdict; None where there is none."""
        return said(text) or None

    @property
    def oracle(self) -> JudgeOracle:
        """The true verdict."""
        return JudgeOracle()


@dataclass(frozen=True)
class JudgeOracle:
    """The oracle of judge: it knows the true verdict."""

    def act(self, problem: Problem, state: Any, rng: random.Random) -> str:
        return f"<{problem.answer}>" if problem.answer in ("yes", "no") else str(problem.answer)

    def slip(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """The other verdict."""
        return {"yes": "<no>", "no": "<yes>", "A": "B", "B": "A"}[problem.answer]

    def value(self, problem: Problem, state: Any, text: str = "") -> float:
        return float(not text.strip() or said(text) == str(problem.answer).lower())
