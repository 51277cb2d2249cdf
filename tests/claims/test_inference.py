"""best_of_n and self_refine against what can be computed by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from surpass import measures
from surpass.engines import ScriptedEngine
from surpass.loop import evaluate
from surpass.methods.best_of_n import best_of_n
from surpass.methods.self_refine import self_refine
from surpass.models import Models
from surpass.tasks import arithmetic

P = 0.3


def sum_of(text: str) -> int:
    """The right answer to the sum a prompt asks for last."""
    lines = [line for line in text.split("\n") if line.endswith(" =")]
    return eval(lines[-1].removeprefix("user: ").removesuffix(" ="))


def accuracy(method, answer, n: int = 400) -> dict:
    models = Models(policy=ScriptedEngine(answer))
    method = dataclasses.replace(method, exam=measures.sized(method.exam, {"test": n}))
    return models.run(evaluate(method, arithmetic(), models)).metrics["accuracy"]


def guess(text: str, key: int) -> str:
    return f"Answer: {sum_of(text) + (0 if np.random.default_rng(key).random() < P else 1)}"


@pytest.mark.parametrize("n", [1, 2, 4, 8])
def test_best_of_n_by_a_verifier_is_the_closed_form(n):
    m = accuracy(best_of_n(n, "check"), guess)
    wanted = 1 - (1 - P) ** n
    print(f"n={n}: {m['mean']:.3f} +- {m['stderr']:.3f}, 1 - (1 - p)^n = {wanted:.3f}")
    assert m["mean"] == pytest.approx(wanted, abs=3.5 * m["stderr"])


def refining(useful: bool):
    """A writer that is right with P, and mends its answer with probability 1/2 if the feedback names a
    mistake.
    """

    def answer(text: str, key: int) -> str:
        u, right = np.random.default_rng(key).random(2), sum_of(text)
        if "Name the first mistake" in text:
            said = int(text.split("Proposed answer:\nAnswer: ")[1].split("\n")[0])
            return (
                ("NO CHANGE" if said == right else "The last step is wrong.")
                if useful
                else "It might be better."
            )
        if "What was said about it:" in text:
            before = int(text.split("An earlier answer was:\nAnswer: ")[1].split("\n")[0])
            return f"Answer: {right if 'step is wrong' in text and u[0] < 0.5 else before}"
        return f"Answer: {right + (0 if u[0] < P else 1)}"

    return answer


def test_self_refine_mends_what_the_feedback_finds_and_nothing_else():
    found = {times: accuracy(self_refine(times), refining(True)) for times in (0, 1, 2)}
    for times, m in found.items():
        wanted = 1 - (1 - P) * 0.5**times
        print(f"{times} refinements: {m['mean']:.3f} +- {m['stderr']:.3f}, expected {wanted:.3f}")
        assert m["mean"] == pytest.approx(wanted, abs=3.5 * m["stderr"])
    blind = accuracy(self_refine(2), refining(False))
    assert blind["mean"] == pytest.approx(P, abs=3.5 * blind["stderr"])
