"""Sums, differences and products of several terms, solved one step a line; any prefix has an exact value."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from surpass.answers import final_answer, normal
from surpass.errors import SurpassError
from surpass.models import Models
from surpass.parts import Task
from surpass.tasks.splits import problem_id, unique
from surpass.types import Problem, fold

_APPLY = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b}


def worked(expression: str, slips: Mapping[int, int] = MappingProxyType({})) -> str:
    """A solution of "a + b * c ...", one step a line ("b * c = d"), then "Answer: x". Products come first,
    else it goes from left to right. `slips` plants errors: what to add to a step's result, by the step's
    number; the rest follows from them.

    >>> print(worked("2 + 3 * 4"))
    3 * 4 = 12
    2 + 12 = 14
    Answer: 14
    """
    numbers = [int(x) for x in re.findall(r"(?<!\d)\d+", expression)]
    operators = re.findall(r"[+\-*]", expression)
    lines: list[str] = []
    while operators:
        at = operators.index("*") if "*" in operators else 0
        result = _APPLY[operators[at]](numbers[at], numbers[at + 1]) + slips.get(len(lines), 0)
        lines.append(f"{numbers[at]} {operators[at]} {numbers[at + 1]} = {result}")
        numbers[at : at + 2] = [result]
        del operators[at]
    return "\n".join([*lines, f"Answer: {numbers[0]}"])


@dataclass(frozen=True)
class arithmetic(Task):
    """Sums, differences and products of several terms, one step a line.

    `terms` numbers of up to `digits` digits are joined by `operators` (out of +-*; products come first). The
    prompt holds `shots` worked examples as earlier turns. check gives 1 for the right final answer, else 0.
    """

    terms: int = 3
    digits: int = 1
    operators: str = "+-"
    shots: int = 3

    def __post_init__(self) -> None:
        if self.terms < 2 or self.digits < 1 or not set(self.operators) <= set(_APPLY) or not self.operators:
            raise SurpassError(
                f"arithmetic needs terms >= 2, digits >= 1 and operators out of +-*; found {self}"
            )

    def _expression(self, seed: int, index: int) -> str:
        rng = random.Random(fold(seed, "arithmetic", index))
        text = str(rng.randrange(10**self.digits))
        for _ in range(self.terms - 1):
            text += f" {rng.choice(self.operators)} {rng.randrange(10**self.digits)}"
        return text

    def _examples(self) -> list[str]:
        return [self._expression(-1, i) for i in range(self.shots)]

    def problems(self, split: str, seed: int) -> Iterator[Problem]:
        """Problems of a split, ordered by the seed, without those shown as examples."""
        examples = self._examples()
        turns: list[dict[str, str]] = []
        for example in examples:
            turns += [
                {"role": "user", "content": f"{example} ="},
                {"role": "assistant", "content": worked(example)},
            ]
        for problem in unique(lambda i: self._problem(self._expression(seed, i), turns), split):
            if problem.meta["expression"] not in examples:
                yield problem

    def _problem(self, expression: str, turns: list[dict[str, str]]) -> Problem:
        answer = worked(expression).rpartition(" ")[2]
        prompt = (*turns, {"role": "user", "content": f"{expression} ="})
        return Problem(problem_id(f"arithmetic {expression}"), prompt, answer, {"expression": expression})

    def reworded(self, problem: Problem, seed: int) -> tuple[Any, ...] | None:
        """The prompt with the sum's terms and factors in another order; None where there is no other."""
        parts = re.findall(r"([+-]?) ?(\d+(?: \* \d+)*)", problem.meta["expression"])
        for attempt in range(20):
            rng = random.Random(fold(seed, "reworded", attempt))
            terms = [
                (sign or "+", rng.sample(factors.split(" * "), factors.count("*") + 1))
                for sign, factors in parts
            ]
            rng.shuffle(terms)
            # a sum does not begin with a minus
            first = next(i for i, (sign, _) in enumerate(terms) if sign == "+")
            terms = [terms[first], *terms[:first], *terms[first + 1 :]]
            text = "".join(f" {sign} {' * '.join(factors)}" for sign, factors in terms)[3:]
            if text != problem.meta["expression"]:
                return (*problem.prompt[:-1], {"role": "user", "content": f"{text} ="})
        return None

    async def check(self, models: Models, problem: Problem, text: str) -> float:
        return float(self.final_answer(text) == problem.answer)

    def final_answer(self, text: str) -> str | None:
        """What votes compare: the answer after a mark, in one form; None where there is no mark."""
        found = final_answer(text)
        return None if found is None else normal(found)

    def first_wrong_step(self, problem: Problem, text: str) -> int | None:
        """The line (from 0) of the first step that is not the exact next one; None if every step is."""
        return first_wrong_line(worked(problem.meta["expression"]), text)

    @property
    def oracle(self) -> ArithmeticOracle:
        """The worked solution, and the exact value of every prefix."""
        return ArithmeticOracle()


def first_wrong_line(right: str, text: str) -> int | None:
    """The first line (from 0) of `text` that differs from that of `right`; None if there is none. The last
    line may be unfinished: it has to begin the right one.

    >>> first_wrong_line("3 * 4 = 12\\n2 + 12 = 14", "3 * 4 = 12\\n2 + 12 = 15")
    1
    """
    wanted = [line.split() for line in right.split("\n")]
    lines = text.split("\n")
    for i, line in enumerate(lines):
        last = i == len(lines) - 1
        if last and not line.strip():
            continue
        if i >= len(wanted) or not (
            line.split() == wanted[i] or (last and " ".join(wanted[i]).startswith(line.strip()))
        ):
            return i
    return None


_OFF = (1, -1, 1, -1, 2, -2, 10, -10, 9, -9, 11, 20)  # the usual errors of small models: carries, neighbours


@dataclass(frozen=True)
class ArithmeticOracle:
    """The oracle of arithmetic. A text is worth 1 while each line is the right next step, else 0."""

    def act(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """The worked solution."""
        return worked(problem.meta["expression"])

    def slip(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """A solution with one planted error, followed through to a wrong answer."""
        expression = problem.meta["expression"]
        steps = len(re.findall(r"[+\-*]", expression))
        for _ in range(20):
            text = worked(expression, {rng.randrange(steps): rng.choice(_OFF)})
            if final_answer(text) != problem.answer:
                return text
        return f"Answer: {int(problem.answer) + 1}"

    def value(self, problem: Problem, state: Any, text: str = "") -> float:
        return float(first_wrong_line(worked(problem.meta["expression"]), text) is None)
