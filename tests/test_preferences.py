"""Preference learning has an anchor: how sure a pair is, and beta, change where the weights end, not only how
fast they get there.

The methods' own learners, with the steps they take by default, on a table where each pair has a row of its
own. For such a pair the optimum of c l(z) + (1 - c) l(-z) with l(z) = -log sigmoid(beta z) is known: z =
log(c / (1 - c)) / beta, infinite at c = 1.
"""

from __future__ import annotations

import importlib
import math

import numpy as np
import pytest
import torch

from small_methods import small
from surpass.alarms import alarms
from surpass.engines import TabularEngine
from surpass.loop import improve
from surpass.models import Models
from surpass.needs import snapshots
from surpass.parts import Method
from surpass.types import Example, Memory, Problem, Tree
from tiny import copy_letter, table

METHODS = ("cream", "self_rewarding", "iterative_dpo", "mcts_dpo")
LR = 0.3  # moves a table by some nats a pair in a round
PROMPTS = [a + b for a in "ab" for b in "ab"]


def made(name: str, **knobs) -> Method:
    """The method as it is by default, but for some knobs."""
    return getattr(importlib.import_module(f"surpass.methods.{name}"), name)(**knobs)


def learnt(method: Method, confidence: float = 1.0, rounds: int = 1) -> tuple[list[float], dict[str, float]]:
    """(z per pair against the start, the last round's figures) after the method's updates on the same pairs
    of one letter each.
    """
    models = Models(policy=TabularEngine("ab", size=4096, scale=0.3))
    models.weights.remember(snapshots(method))
    engine, examples, figures = models.engine("policy"), [], {}
    for prompt in PROMPTS:
        tree = Tree(Problem(prompt, prompt), 0)
        root = models.open("policy", tree, prompt)
        nodes = [models.put("policy", tree, root, letter, "policy") for letter in "ab"]
        examples.append(Example(tree, tuple(nodes), confidence=confidence))

    def z() -> np.ndarray:
        rows = [
            engine.module["table"][engine.row(engine.text.encode(prompt))].log_softmax(-1)
            for prompt in PROMPTS
        ]
        return np.array([float((row[0] - row[1]).detach()) for row in rows])

    start = z()
    for round in range(rounds):
        report = models.run(method.learn[0].learner(models, method.learn[0], examples, Memory(), round))
        figures = {name: m["mean"] for name, m in report.metrics.items()}
    return list(z() - start), figures


def apart(a: list[float], b: list[float]) -> float:
    """The difference of two mean z, as a share of the larger."""
    return abs(np.mean(a) - np.mean(b)) / max(abs(np.mean(a)), abs(np.mean(b)))


@pytest.mark.parametrize("name", METHODS)
def test_by_default_trust_and_beta_change_where_the_weights_end(name):
    sure, figures = learnt(made(name, lr=LR))
    unsure, _ = learnt(made(name, lr=LR), confidence=0.7)
    stiff, _ = learnt(made(name, lr=LR, beta=1.0))
    assert apart(sure, unsure) > 0.05 and apart(sure, stiff) > 0.05
    assert figures["rewards/abs_margins"] > 0.02


@pytest.mark.parametrize("name", METHODS)
def test_one_step_knows_neither(name):
    """What makes the test above able to fail: with a single step all three are the same update, and the alarm
    says so.
    """
    once = {"lr": LR, "epochs": 1, "updates": 1}
    sure, figures = learnt(made(name, **once))
    assert apart(sure, learnt(made(name, **once), confidence=0.7)[0]) < 0.01
    assert apart(sure, learnt(made(name, beta=1.0, **once))[0]) < 0.01
    assert figures["rewards/abs_margins"] == 0.0 and figures["loss"] == pytest.approx(math.log(2), abs=1e-6)


def test_soft_pairs_end_at_their_optimum_and_sure_ones_go_on():
    """z = log(.7 / .3) / beta, at beta 1 within reach."""
    optimum = math.log(0.7 / 0.3)
    knobs = {"lr": 0.03, "beta": 1.0}
    first, anchored = (learnt(made("mcts_dpo", **knobs), 0.7, rounds)[0] for rounds in (1, 12))
    assert abs(np.mean(first) - optimum) > 0.05 * optimum
    np.testing.assert_allclose(anchored, optimum, rtol=0.02)
    assert min(learnt(made("mcts_dpo", **knobs), 1.0, 12)[0]) > 2 * optimum


@pytest.mark.parametrize("epochs", [1, 8])
def test_a_run_that_stays_at_the_start_is_told_so(epochs):
    """Rounds of one step end with the alarm, rounds of several passes at an lr that moves do not."""
    method = small("iterative_dpo", lr=0.1, epochs=epochs, updates=1, n=8, every=2)
    models = table()
    result = models.run(improve(method, copy_letter(shared=True), models, rounds=2))
    assert any("Preferences stayed" in words for words in alarms(result.events)) == (epochs == 1)


def test_creams_score_does_not_pay_for_length():
    """Of attempts whose every token gained equally, the sum of log-ratios prefers the longest; the mean, the
    default, none.
    """
    models, lengths = Models(policy=TabularEngine("ab", size=4096)), np.arange(1, 7)
    engine = models.engine("policy")
    models.weights.remember(["policy@0", "policy@-1"])
    with torch.no_grad():
        engine.module["table"][:, 0] += 1.0  # every a is likelier than at the start, by the same amount
    tree = Tree(Problem("p", "b"), 0)
    root = models.open("policy", tree, "b")
    for length in lengths:
        node = tree.add(
            root,
            "policy",
            models.encode("policy", "a" * int(length)),
            logp=np.zeros(length, np.float32),
            key=int(length),
        )
        assert tree.length(node) == length
    mean, total = (
        models.run(made("cream", per_token=per).scores["reward"](models, None, [tree]))[0].values
        for per in (True, False)
    )
    gain = total[0]
    assert gain > 0.1
    np.testing.assert_allclose(mean, gain, atol=1e-6)
    np.testing.assert_allclose(total, gain * lengths, atol=1e-5)
