"""Eureka with a scripted writer of rewards on a grid with a key and a door (needs bubblewrap)."""

from __future__ import annotations

import asyncio
import random
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from conftest import listed
from surpass import choose, searches
from surpass.engines import ScriptedEngine
from surpass.models import Models
from surpass.searches.round import search_all
from surpass.tasks import reward_code

sys.path.insert(0, str(Path(__file__).parents[1]))
from sandboxes import missing
from writer import writer

TASK = reward_code(size=8, episodes=60, agents=8)
N, ITERATIONS, PROBLEMS, SEEDS = 4, 6, 5, (1, 2, 3)
SPARSE = """```python
def reward(world, before, action, after):
    found = float([after["row"], after["column"]] == world["goal"])
    return found, {"goal": found}
```"""


def found(search, seed: int):
    """(trial, exam) of the best program for every problem."""
    models = Models(policy=ScriptedEngine(writer))
    problems = list(islice(TASK.problems("train", seed), PROBLEMS))
    trees = models.run(search_all(search, models, TASK, problems, seed))
    best = [choose.best("trial")(tree) for tree in trees]
    trials = [tree.get("trial").values[leaf] for tree, leaf in zip(trees, best, strict=True)]
    texts = [models.text("policy", tree, leaf) for tree, leaf in zip(trees, best, strict=True)]
    exams = [
        asyncio.run(TASK.check(None, problem, text)) for problem, text in zip(problems, texts, strict=True)
    ]
    return np.array(trials), np.array(exams)


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_claims(claims):
    knobs = {"max_tokens": 8192}
    guided = [found(searches.evolve(N, ITERATIONS, **knobs), seed) for seed in SEEDS]
    alone = [found(searches.evolve(N * ITERATIONS, 1, **knobs), seed) for seed in SEEDS]
    blind = [found(searches.evolve(N, ITERATIONS, guided=False, **knobs), seed) for seed in SEEDS]
    exams = [np.mean([pair[1].mean() for pair in some]) for some in ([g] for g in guided)]
    independent, unguided = ([pair[1].mean() for pair in some] for some in (alone, blind))
    claims.primary(
        f"edits of the best beat as many independent programs ({N * ITERATIONS} trials, exam success)",
        np.array(exams) - independent,
        f"{listed(exams)} against {listed(independent)}",
        least=0.05,
    )
    claims.secondary(
        "with the record of training rather than the worth alone",
        np.array(exams) - unguided,
        f"{listed(exams)} against {listed(unguided)}",
        least=0.05,
    )
    kept = [
        float(np.mean([exam / trial for trial, exam in zip(*pair, strict=True) if trial > 0] or [0]))
        for pair in guided
    ]
    claims.secondary(
        "a found reward keeps at least 80% of its trial when agents train anew",
        np.array(kept) - 0.8,
        listed(kept),
        least=0.05,
    )
    sparse, good = [], []
    for seed in SEEDS:
        problems = list(islice(TASK.problems("train", seed), PROBLEMS))
        sparse.append(np.mean([asyncio.run(TASK.check(None, p, SPARSE)) for p in problems]))
        good.append(
            np.mean(
                [
                    asyncio.run(TASK.check(None, p, TASK.oracle.act(p, None, random.Random(0))))
                    for p in problems
                ]
            )
        )
    claims.secondary(
        "the budget is one where a sparse reward teaches fewer than 20% of the agents",
        0.2 - np.array(sparse),
        listed(sparse),
        least=0.02,
    )
    claims.secondary("and a good one more than 80%", np.array(good) - 0.8, listed(good), least=0.02)
