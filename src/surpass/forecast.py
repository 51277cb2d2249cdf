"""How much longer a run will take, from its exams and rounds so far: a range that narrows as it goes on."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from surpass.budget import Budget

if TYPE_CHECKING:
    from surpass.parts import Method

# a round takes at most this many times as long as an exam of as many attempts; seen on two cores: less
LEARNING = 6.0


class Forecast:
    """Hears what the loop says; `left` tells how long the rest will take.

    An exam will last as long as the last one of its split, give or take a quarter. A round will last as long
    as the mean of up to five last rounds, give or take a half over the root of their number. Before the first
    round, the estimate is half to LEARNING times what as many attempts took in the first exam.
    """

    def __init__(self, method: Method, rounds: int, budget: Budget | None = None):
        self.method, self.rounds, self.budget = method, rounds, budget
        self.exams: dict[str, float] = {}  # seconds of the last exam of each split
        self.took: list[float] = []  # seconds of each round, searching and learning
        self.now, self.since, self.round = "", 0.0, 0

    def hear(self, what: str, round: int, event: dict[str, Any]) -> None:
        """Something began or ended."""
        clock = time.perf_counter()
        if what == "learn":  # once for each row of the method
            self.took = [*self.took[: len(self.took) - (round == self.round)], clock - self.since]
            self.round = round
        elif what in ("exam", "problems"):
            if self.now:
                self.exams[self.now] = clock - self.since
            self.now, self.since = ("" if what == "problems" or "metrics" in event else event["split"]), clock

    def left(self, spent: float = 0.0) -> tuple[float, float] | None:
        """(least, most) seconds to the end of the run; None while that cannot be known."""
        each = self._round()
        rounds = float(self.rounds - self.round)
        if self.budget and self.round and spent:
            rounds = min(rounds, max(0.0, (self.budget.amount - spent) / (spent / self.round)))
        if each is None or "test" not in self.exams:
            return None
        gates = math.ceil(rounds / self.method.gate.every) * self.exams.get("gate", 0.0) + self.exams["test"]
        return 0.75 * gates + rounds * each[0], 1.25 * gates + rounds * each[1]

    def _round(self) -> tuple[float, float] | None:
        """(least, most) seconds of a round."""
        if last := self.took[-5:]:
            mean, off = sum(last) / len(last), 0.5 / math.sqrt(len(last))
            return mean * (1 - off), mean * (1 + off)
        search, exam = self.method.search, getattr(self.method.exam, "n", None)
        if not (
            exam
            and hasattr(search, "at_most")
            and hasattr(self.method.curriculum, "n")
            and "test" in self.exams
        ):
            return None
        attempts = self.method.curriculum.n * search.at_most() / max(1, getattr(search, "max_tokens", 1))
        draws = attempts * self.exams["test"] / max(1, exam["test"])
        return draws / 2, LEARNING * draws
