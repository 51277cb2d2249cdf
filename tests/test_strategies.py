"""Strategies at equal tokens: a random choice gets the pool's mean, a perfect one whether any attempt is
right, and nobody overspends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest

from surpass import measures, rewards, searches
from surpass.engines import ScriptedEngine
from surpass.measures.strategies import _scaled
from surpass.models import Models
from surpass.searches import values
from surpass.tasks import arithmetic
from surpass.types import Column, fold

P = 0.3


def guess(text: str, key: int) -> str:
    line = [line for line in text.split("\n") if line.endswith(" =")][-1]
    right = eval(line.removeprefix("user: ").removesuffix(" ="))
    return f"Answer: {right + (0 if np.random.default_rng(key).random() < P else 1):+04d}".replace("+", "")


@dataclass(frozen=True)
class noise:
    """A score that knows nothing."""

    async def __call__(self, models, task, trees):
        return [
            Column("leaf", np.array([fold(tree.key, leaf) / 2**63 for leaf in tree.leaves()]))
            for tree in trees
        ]


@dataclass(frozen=True)
class lenient(arithmetic):
    def final_answer(self, text):
        return text.strip()

    async def check(self, models, problem, text):
        return float(int(text.rpartition(" ")[2]) == int(problem.answer))


@pytest.fixture(scope="module")
def report():
    models = Models(policy=ScriptedEngine(guess))
    measure = measures.strategies(
        budget=60,
        pool=8,
        temperature=1.0,
        max_tokens=20,
        scores={"noise": noise(), "perfect": rewards.check()},
        searches={"beam": searches.beam(values.constant(), width=1, n=2, token_budget=60, max_tokens=20)},
        n={"test": 400},
    )
    return models.run(measure(models, lenient(terms=3, digits=1, shots=0), "test", 0))


def test_known_choices_get_what_is_known(report):
    m = report.metrics
    count = m["tokens/mean"]["mean"] / m["tokens/single"]["mean"]  # attempts within the budget
    assert 3 < count < 8, "the budget cuts the pool"
    for name in ("single", "random", "best/noise", "mean"):
        assert abs(m[f"accuracy/{name}"]["mean"] - P) < 4 * max(m[f"accuracy/{name}"]["stderr"], 0.01), name
    assert m["accuracy/best/perfect"]["mean"] == m["accuracy/any"]["mean"]
    assert abs(m["accuracy/any"]["mean"] - (1 - (1 - P) ** count)) < 0.08
    assert report.info["efficiency"]["best/perfect"] == pytest.approx(1.0)
    assert abs(report.info["efficiency"]["best/noise"]) < 0.2
    assert m["accuracy/weighted/perfect"]["mean"] == m["accuracy/any"]["mean"]


def test_the_budget_holds_for_every_strategy(report):
    tokens = {row.metric: [] for row in report.rows if row.metric.startswith("tokens/")}
    for row in report.rows:
        if row.metric in tokens:
            tokens[row.metric].append(row.value)
    for name, spent in tokens.items():
        limit = 60 + (2 * 20 if name == "tokens/beam" else 0)  # a search begins no step beyond it
        assert max(spent) <= limit, name


def test_scaling():
    np.testing.assert_allclose(_scaled([2.0, 4.0, math.nan, 3.0]), [0, 1, math.nan, 0.5])
    np.testing.assert_allclose(_scaled([2.0, 2.0]), [1, 1])
