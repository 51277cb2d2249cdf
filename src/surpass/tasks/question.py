"""One question, asked by a person: nobody knows the answer, so nothing is judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from surpass.answers import plain, said
from surpass.models import Models
from surpass.parts import Task
from surpass.tasks import maths
from surpass.tasks.splits import problem_id
from surpass.types import Problem


@dataclass(frozen=True)
class question(Task):
    """The problem `text`, followed by `instruction`; check gives nan. Votes compare what an attempt states
    (surpass.tasks.maths.canonical), as in the task data, or its last line where it states nothing.
    """

    text: str
    instruction: str = ""

    def problems(self, split: str, seed: int) -> Iterator[Problem]:
        yield Problem(
            problem_id(self.text), "\n\n".join(part for part in (self.text, self.instruction) if part)
        )

    async def check(self, models: Models, problem: Problem, text: str) -> float:
        return float("nan")

    def final_answer(self, text: str) -> str | None:
        """What votes compare: the answer that the text states, else its last line; None where it is empty."""
        lines = [line for line in said(text).splitlines() if line.strip()]
        return maths.canonical(text) or (plain(lines[-1]) or None if lines else None)
