"""self_consistency: accuracy rises with the number of attempts as plurality voting says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from surpass.engines import ScriptedEngine
from surpass.loop import evaluate
from surpass.methods.self_consistency import self_consistency
from surpass.models import Models
from surpass.tasks import arithmetic

P_RIGHT, WRONG = 0.4, 6  # right with 0.4, else one of six wrong answers with 0.1 each


def attempt(text: str, key: int) -> str:
    expression = text.strip().split("\n")[-2].removeprefix("user: ").removesuffix(" =")
    right = eval(expression)  # ours: digits and signs
    u = np.random.default_rng(key).random()
    return f"Answer: {right if u < P_RIGHT else right + 1 + int((u - P_RIGHT) / 0.1)}"


def plurality(n: int, trials: int = 200_000) -> float:
    """The chance that the right answer has the most votes, the first attempt among equals deciding; by
    simulation.
    """
    rng = np.random.default_rng(1)
    votes = rng.choice(WRONG + 1, size=(trials, n), p=[P_RIGHT] + [0.1] * WRONG)
    counts = np.stack([(votes == a).sum(1) for a in range(WRONG + 1)], 1)
    best = counts.max(1)[:, None] == counts
    first = np.argmax(np.take_along_axis(best, votes, 1), 1)
    return float((votes[np.arange(trials), first] == 0).mean())


def test_accuracy_follows_the_closed_form_of_plurality():
    accuracies = []
    for n in (1, 4, 16):
        models = Models(policy=ScriptedEngine(attempt))
        method = self_consistency(n)
        method = dataclasses.replace(method, exam=dataclasses.replace(method.exam, n={"test": 512}))
        measured = models.run(evaluate(method, arithmetic(), models)).metrics["accuracy"]
        print(f"n={n:2}: {measured['mean']:.3f} +- {measured['stderr']:.3f}, expected {plurality(n):.3f}")
        assert measured["mean"] == pytest.approx(plurality(n), abs=3.5 * measured["stderr"])
        accuracies.append(measured["mean"])
    assert accuracies[0] < accuracies[1] < accuracies[2]
