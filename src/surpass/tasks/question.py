"""One question, asked by a person: nobody knows the answer, so nothing is judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from surpass.parts import Task
from surpass.tasks.answers import final_answer
from surpass.tasks.splits import problem_id
from surpass.types import Problem


@dataclass(frozen=True)
class question(Task):
    """The problem `text`, with `instruction` after it; check gives nan. Answers are compared by what follows "Answer:", or, in
    attempts without it, by their last line that is not blank."""

    text: str
    instruction: str = ""

    def problems(self, split: str, seed: int) -> Iterator[Problem]:
        yield Problem(problem_id(self.text), "\n\n".join(part for part in (self.text, self.instruction) if part))

    async def check(self, models, problem: Problem, text: str) -> float:
        return float("nan")

    def final_answer(self, text: str) -> str | None:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return final_answer(text) or (lines[-1] if lines else None)
