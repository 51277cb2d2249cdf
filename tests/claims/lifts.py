"""The suite is of use: some rounds of GRPO and of STaR each lift the tiny model on at least six of its tasks.

What is lifted is what they optimise, the share of right attempts at temperature 1, by three standard errors
over problems; accuracy at temperature 0 stands beside it. What is decided depends on the work, never on a
clock.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from surpass import gates, measures, searches
from surpass.engines import LocalEngine
from surpass.find import find_method, make_method
from surpass.loop import improve
from surpass.models import Models
from surpass.tasks.suite import suite

# kgqa and rooms take longer
TASKS = ("arithmetic", "countdown", "maze", "instructions", "tictactoe", "kuhn", "judge", "sql")
KNOBS = {
    "grpo": (7, {"problems": 64, "n": 8, "temperature": 1.0, "lr": 2e-4, "updates": 4}),
    "star": (2, {"problems": 768, "n": 4, "temperature": 1.0, "lr": 3e-4, "updates": 48, "past": False}),
}
N, TOKENS, SEED = 512, 96, 1


def accuracy(models: Models, task, n: int, temperature: float, problems: int = N) -> dict[str, float]:
    """Per test problem the share of n attempts that are right."""
    exams = []
    for i in range(n):
        exam = measures.sized(
            measures.answers(searches.samples(1, temperature, TOKENS)), {"gate": 1, "test": problems}
        )
        exams.append(models.run(exam(models, task, "test", i)).by_problem("accuracy"))
    return {
        problem: float(np.mean([exam[problem] for exam in exams]))
        for problem in exams[0]
        if all(problem in e for e in exams)
    }


def lift(method: str, name: str) -> tuple[dict[str, tuple[float, float, float]], int]:
    """{"sampled" | "greedy": (before, after, the gain in standard errors)}, and the tokens that the run drew
    to learn from.
    """
    models, task = Models(policy=LocalEngine("tiny", "mixed")), suite(name).parts[name]
    rounds, knobs = KNOBS[method]
    part = make_method(find_method(method), {**knobs, "max_tokens": TOKENS, "every": 10**6})
    exam = measures.sized(part.exam, {"gate": 1, "test": 1})
    part = dataclasses.replace(part, gate=gates.always(every=10**6), exam=exam)
    figures = {"sampled": (2, 1.0), "greedy": (1, 0.0)}
    before = {key: accuracy(models, task, *how) for key, how in figures.items()}
    models.run(improve(part, task, models, rounds=rounds, seed=SEED))
    tokens = models.cost["search"]["generated"]
    found = {}
    for key, how in figures.items():
        after = accuracy(models, task, *how)
        both = [problem for problem in after if problem in before[key]]
        old, new = (np.array([values[problem] for problem in both]) for values in (before[key], after))
        error = (new - old).std(ddof=1) / math.sqrt(len(both))
        found[key] = float(old.mean()), float(new.mean()), float((new - old).mean() / error) if error else 0.0
    return found, tokens


def line(name: str, found, tokens: int) -> str:
    return (
        f"{name} {found['sampled'][0]:.3f} -> {found['sampled'][1]:.3f} ({found['sampled'][2]:+.1f} SE; "
        f"greedy {found['greedy'][0]:.3f} -> {found['greedy'][1]:.3f}, {found['greedy'][2]:+.1f} SE; "
        f"{tokens / 1000:.0f} thousand tokens)"
    )


def lifts(claims, method: str) -> None:
    """The claim of one method."""
    all_ = {}
    for name in TASKS:
        all_[name] = lift(method, name)
        print(" ", method, line(name, *all_[name]), flush=True)
    lifted = [name for name, (found, _) in all_.items() if found["sampled"][2] >= 3]
    claims.exact(
        "lifts the tiny model's share of right attempts by three standard errors on six of the suite's "
        "tasks or more",
        len(lifted) >= 6,
        f"{len(lifted)} of {len(TASKS)}: " + "; ".join(line(name, *one) for name, one in all_.items()),
        kind="one seed, over problems",
    )
