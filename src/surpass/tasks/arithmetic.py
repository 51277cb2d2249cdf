"""Sums and differences of several terms, solved one step a line, with the exact value of every prefix."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from surpass.errors import SurpassError
from surpass.parts import Task
from surpass.tasks.answers import final_answer
from surpass.tasks.splits import problem_id, unique
from surpass.types import Problem, fold

_APPLY = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b}


def worked(expression: str) -> str:
    """A right solution of "a + b - c ...", from left to right: one step a line ("a + b = d"), then "Answer: x"."""
    numbers = [int(x) for x in re.findall(r"(?<!\d)\d+", expression)]
    operators = re.findall(r"[+\-*]", expression)
    value = numbers[0]
    lines: list[str] = []
    for operator, number in zip(operators, numbers[1:], strict=True):
        result = _APPLY[operator](value, number)
        lines.append(f"{value} {operator} {number} = {result}")
        value = result
    return "\n".join([*lines, f"Answer: {value}"])


@dataclass(frozen=True)
class arithmetic(Task):
    """`terms` numbers of up to `digits` digits joined by `operators`, evaluated from left to right.

    The prompt holds `shots` worked examples as earlier turns. check gives 1 for the right final answer, else 0.
    """

    terms: int = 3
    digits: int = 1
    operators: str = "+-"
    shots: int = 3

    def __post_init__(self):
        if self.terms < 2 or self.digits < 1 or not set(self.operators) <= set(_APPLY) or not self.operators:
            raise SurpassError(f"arithmetic needs terms >= 2, digits >= 1 and operators out of +-*; found {self}")

    def _expression(self, seed: int, index: int) -> str:
        rng = random.Random(fold(seed, "arithmetic", index))
        text = str(rng.randrange(10**self.digits))
        for _ in range(self.terms - 1):
            text += f" {rng.choice(self.operators)} {rng.randrange(10**self.digits)}"
        return text

    def _examples(self) -> list[str]:
        return [self._expression(-1, i) for i in range(self.shots)]

    def problems(self, split: str, seed: int) -> Iterator[Problem]:
        """Problems of a split in an order given by the seed; those shown as examples are left out."""
        examples = self._examples()
        turns: list[dict[str, str]] = []
        for example in examples:
            turns += [{"role": "user", "content": f"{example} ="}, {"role": "assistant", "content": worked(example)}]
        for problem in unique(lambda i: self._problem(self._expression(seed, i), turns), split):
            if problem.meta["expression"] not in examples:
                yield problem

    def _problem(self, expression: str, turns: list[dict[str, str]]) -> Problem:
        answer = worked(expression).rpartition(" ")[2]
        prompt = (*turns, {"role": "user", "content": f"{expression} ="})
        return Problem(problem_id(f"arithmetic {expression}"), prompt, answer, {"expression": expression})

    async def check(self, models, problem: Problem, text: str) -> float:
        return float(final_answer(text) == problem.answer)

    def final_answer(self, text: str) -> str | None:
        return final_answer(text)

    def first_wrong_step(self, problem: Problem, text: str) -> int | None:
        """The line (from 0) of the first step that is not the exact next one; None if every step is. For tests and measures."""
        right = worked(problem.meta["expression"]).split("\n")
        lines = text.rstrip("\n").split("\n")
        for i, line in enumerate(lines):
            if i >= len(right) or line.split() != right[i].split():
                return i
        return None
