"""How long a run will still take, told by a clock that the test turns."""

from __future__ import annotations

import pytest

from surpass import forecast
from surpass.budget import Budget
from surpass.forecast import LEARNING, Forecast
from surpass.methods.grpo import grpo


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(forecast.time, "perf_counter", lambda: now[0])

    def turn(seconds: float) -> None:
        now[0] += seconds

    return turn


def begun(clock, rounds: int = 12, **more) -> Forecast:
    """After exams at the start of 256 test problems in 64 s and 96 gate problems in 20 s."""
    found = Forecast(grpo(problems=8, n=8, every=3), rounds, **more)
    assert found.left() is None
    for split, seconds in (("test", 64), ("gate", 20)):
        found.hear("exam", 0, {"split": split})
        clock(seconds)
    for split in ("test", "gate"):
        found.hear("exam", 0, {"split": split, "metrics": {}})
    return found


def a_round(found: Forecast, clock, round: int, seconds: float, rows: int = 1) -> None:
    found.hear("problems", round, {"n": 8})
    clock(seconds / 2)
    found.hear("search", round, {})
    for _ in range(rows):
        clock(seconds / 2 / rows)
        found.hear("learn", round, {})


def test_before_the_first_round_the_exams_attempts_are_the_measure(clock):
    """64 attempts a round, 1/4 s each in the exam: 16 s; 12 rounds, four more gate exams of 20 s and one test
    of 64 s.
    """
    least, most = begun(clock).left()
    assert least == pytest.approx(0.75 * (4 * 20 + 64) + 12 * 16 / 2)
    assert most == pytest.approx(1.25 * (4 * 20 + 64) + 12 * 16 * LEARNING)


def test_the_range_narrows_with_the_rounds_and_holds_what_was_to_come(clock):
    found, wide = begun(clock), []
    for round in range(1, 12):
        a_round(found, clock, round, 30, rows=2)
        if round % 3 == 0:
            found.hear("exam", round, {"split": "gate"})
            clock(20)
            found.hear("exam", round, {"split": "gate", "metrics": {}})
            found.hear("gate", round, {})
        least, most = found.left()
        truth = (12 - round) * 30 + (4 - round // 3) * 20 + 64
        assert least < truth < most or round % 3  # between two decisions one exam more or less may be counted
        wide.append(most - least)
    assert wide[-1] < wide[4] < wide[0]


def test_a_budget_ends_the_rounds_earlier(clock):
    found = begun(clock, rounds=100, budget=Budget("tokens", 4000.0))
    a_round(found, clock, 1, 30)
    least, most = found.left(spent=1000.0)  # three rounds more, and one decision
    assert least == pytest.approx(0.75 * (20 + 64) + 3 * 15)
    assert most == pytest.approx(1.25 * (20 + 64) + 3 * 45)


def test_what_cannot_be_known_is_not_guessed(clock):
    found = Forecast(grpo(), 3)
    a_round(found, clock, 1, 30)  # resumed: no exam of the test split was heard
    assert found.left() is None
