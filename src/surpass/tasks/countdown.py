"""Reach a target with the given numbers, one step a line. An exhaustive solver values partial solutions."""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from surpass.errors import SurpassError
from surpass.models import Models
from surpass.parts import Task
from surpass.tasks.splits import problem_id, unique
from surpass.types import Problem, fold

_STEP = re.compile(r"\s*(\d{1,9})\s*([+\-*])\s*(\d{1,9})\s*=\s*(\d{1,9})\s*(?:\(([\d ]*)\))?\s*")
_TRIES = 5000
Numbers = tuple[int, ...]


def result(a: int, operator: str, b: int) -> int | None:
    """a operator b; None for a difference below 0, which is no legal step.

    >>> result(7, "*", 3), result(3, "-", 7)
    (21, None)
    """
    if operator == "-":
        return a - b if a >= b else None
    return a + b if operator == "+" else a * b


def steps(numbers: Numbers, operators: str) -> Iterator[tuple[int, str, int, Numbers]]:
    """Every legal step (a, operator, b) from sorted `numbers`, and the sorted numbers after it."""
    for i, a in enumerate(numbers):
        for j, b in enumerate(numbers):
            for operator in operators:
                if i == j or (operator != "-" and i > j):
                    continue
                value = result(a, operator, b)
                if value is not None:
                    rest = [n for k, n in enumerate(numbers) if k not in (i, j)]
                    yield a, operator, b, tuple(sorted([*rest, value]))


@functools.lru_cache(maxsize=2**16)
def solvable(numbers: Numbers, target: int, operators: str) -> bool:
    """Whether some sequence of legal steps makes the target the result of its last step. Exhaustive.

    >>> solvable((2, 3, 4), 20, "+-*"), solvable((2, 3, 4), 23, "+-*")
    (True, False)
    """
    return any(
        (target in after and result(a, op, b) == target) or solvable(after, target, operators)
        for a, op, b, after in steps(numbers, operators)
    )


@dataclass(frozen=True)
class countdown(Task):
    """Reach the target with the given numbers, each used at most once.

    `numbers` of them are given, from 1 to `largest`. A target is at most `limit`; it is made from all the
    numbers with `operators` (out of +-*), so every problem has a solution. A step is a line "a + b = c (what
    is left)". check gives 1 where all steps are legal and the last one gives the target, else 0.
    """

    numbers: int = 4
    largest: int = 10
    limit: int = 100
    operators: str = "+-*"

    def __post_init__(self) -> None:
        if not (
            2 <= self.numbers <= 6 and self.largest >= 1 and self.limit >= 2 * self.largest and self.operators
        ) or not (set(self.operators) <= set("+-*")):
            raise SurpassError(
                "countdown needs 2 to 6 numbers, largest >= 1, limit >= 2 largest, operators out of "
                f"+-*; found {self}"
            )

    def problems(self, split: str, seed: int) -> Iterator[Problem]:
        return unique(lambda i: self._problem(random.Random(fold(seed, "countdown", i))), split)

    def _problem(self, rng: random.Random) -> Problem:
        for _ in range(_TRIES):
            given = [rng.randint(1, self.largest) for _ in range(self.numbers)]
            left: Numbers = tuple(sorted(given))
            while len(left) > 1:
                *_, left = rng.choice(list(steps(left, self.operators)))
            target = left[0]
            if 1 <= target <= self.limit and target not in given:
                break
        else:
            raise SurpassError(
                "countdown finds no target up to limit that is not among the numbers; other knobs than "
                f"{self}"
            )
        shown = " ".join(map(str, given))
        prompt = f"Make {target} from {shown}. One step a line, with what is left."
        return Problem(problem_id(f"countdown {target} {sorted(given)}"), prompt, target, {"numbers": given})

    async def check(self, models: Models, problem: Problem, text: str) -> float:
        done = self._played(problem, text)
        return float(done is not None and done[1] == problem.answer)

    def final_answer(self, text: str) -> str | None:
        """What votes compare: the result of the last step; None where there is no step."""
        found = [match for line in text.splitlines() if (match := _STEP.fullmatch(line))]
        return found[-1][4] if found else None

    def _played(self, problem: Problem, text: str) -> tuple[Numbers, int | None] | None:
        """(numbers left, result of the last step) after all lines with an "="; None if one is not legal."""
        left, last = sorted(problem.meta["numbers"]), None
        for line in text.splitlines():
            if "=" not in line:
                continue
            match = _STEP.fullmatch(line)
            if match is None:
                return None
            a, b, said = int(match[1]), int(match[3]), int(match[4])
            for number in (a, b):
                if number not in left:
                    return None
                left.remove(number)
            last = result(a, match[2], b) if match[2] in self.operators else None
            if last is None or last != said:
                return None
            left = sorted([*left, last])
            if match[5] is not None and sorted(map(int, match[5].split())) != left:
                return None
        return tuple(left), last

    @property
    def oracle(self) -> CountdownOracle:
        """An exhaustive solver."""
        return CountdownOracle(self)


def _line(a: int, operator: str, b: int, said: int, left: Numbers, rng: random.Random) -> str:
    if operator != "-" and rng.random() < 0.5:
        a, b = b, a
    return f"{a} {operator} {b} = {said} ({' '.join(map(str, left))})"


@dataclass(frozen=True)
class CountdownOracle:
    """The oracle of countdown: an exhaustive solver."""

    task: countdown

    def act(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """The first solution that a random search finds."""
        left, target, operators = tuple(sorted(problem.meta["numbers"])), problem.answer, self.task.operators
        lines: list[str] = []
        while True:
            choices = list(steps(left, operators))
            rng.shuffle(choices)
            for a, operator, b, after in choices:
                said = result(a, operator, b) or 0
                if said == target or solvable(after, target, operators):
                    break
            lines.append(_line(a, operator, b, said, after, rng))
            left = after
            if said == target:
                return "\n".join(lines)

    def slip(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """Legal steps to a wrong result, or a solution with wrong arithmetic in one line."""
        target, operators = problem.answer, self.task.operators
        for attempt in range(10):
            if rng.random() < 0.4 or attempt == 9:
                break
            left: Numbers = tuple(sorted(problem.meta["numbers"]))
            lines = []
            while len(left) > 1:
                near = [
                    step
                    for step in steps(left, operators)
                    if len(step[3]) > 1 or abs(step[3][0] - target) < 12
                ]
                a, operator, b, after = rng.choice(near or list(steps(left, operators)))
                said, left = result(a, operator, b) or 0, after
                lines.append(_line(a, operator, b, said, after, rng))
            if said == target:
                continue
            if rng.random() < 0.4:  # claims the target all the same
                lines[-1] = f"{lines[-1].partition(' = ')[0]} = {target} ({target})"
            return "\n".join(lines)
        lines = self.act(problem, state, rng).split("\n")
        at = rng.randrange(len(lines))
        said = int(re.findall(r"\d+", lines[at])[2])
        lines[at] = lines[at].replace(f"= {said} (", f"= {said + rng.choice((1, 2, 10))} (")
        return "\n".join(lines)

    def value(self, problem: Problem, state: Any, text: str = "") -> float:
        """1 if the whole lines of `text` are legal and the target is reached or can still be, else 0."""
        whole = (
            text
            if text.endswith("\n") or _STEP.fullmatch(text.rpartition("\n")[2])
            else text.rpartition("\n")[0]
        )
        done = self.task._played(problem, whole)
        if done is None:
            return 0.0
        left, last = done
        return float(last == problem.answer or solvable(left, problem.answer, self.task.operators))
