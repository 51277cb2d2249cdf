"""tree_vote, ttrl, self_rewarding: they learn what is agreed on or praised, which is worth what the votes and
the judge are worth.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from modes import letter, sampled_accuracy, start

from surpass import rewards, selectors
from surpass.engines import ScriptedEngine
from surpass.loop import improve
from surpass.methods.self_rewarding import self_rewarding
from surpass.methods.tree_vote import tree_vote
from surpass.methods.ttrl import ttrl
from surpass.models import Models
from surpass.searches.round import search_all
from surpass.tasks import arithmetic
from surpass.types import Memory

METHODS = {
    "tree_vote": lambda trust: tree_vote(
        problems=32, n=(8,), max_tokens=2, temperature=1.0, trust=trust, lr=0.1, every=10
    ),
    "ttrl": lambda trust: ttrl(
        problems=32, n=8, max_tokens=2, temperature=1.0, trust=trust, lr=0.1, every=10
    ),
}


def loosened(method):
    """The method with a gate that limits nothing but the vote: this table is meant to move far."""
    return dataclasses.replace(method, gate=dataclasses.replace(method.gate, drift=100.0, change=1.0))


def learnt(name, right, trust=0.0, top=0.6):
    task, models = letter(right), start(top, 0.2)
    before = sampled_accuracy(models, task)
    result = models.run(improve(loosened(METHODS[name](trust)), task, models, rounds=30, seed=0))
    return before, sampled_accuracy(models, task), result


@pytest.mark.parametrize("name", METHODS)
def test_accuracy_follows_the_votes_up_and_down(name):
    before, after, _ = learnt(name, right=1.0)
    wrong_before, wrong_after, _ = learnt(name, right=0.0)
    print(
        f"{name}: votes right {before:.3f} -> {after:.3f}, votes wrong {wrong_before:.3f} -> "
        f"{wrong_after:.3f}"
    )
    assert after > before + 0.2
    assert wrong_after < wrong_before - 0.1


@pytest.mark.parametrize("name", METHODS)
def test_the_gate_refuses_weak_votes_without_a_label_and_the_run_says_so(name):
    before, after, result = learnt(name, right=0.0, trust=0.5, top=0.3)
    assert not [event for event in result.events if event["event"] in ("search", "gate")], (
        "nothing is trained in vain"
    )
    assert "the vote is too weak" in result.events[-1]["why"] and "the vote is too weak" in str(result)
    assert after == before, "a refused update is undone"
    assert result.kept_round == 0
    _, _, result = learnt(name, right=1.0, trust=0.5, top=0.7)
    assert any(event["keep"] for event in result.events if event["event"] == "gate")


def judged_pairs(sees: float) -> tuple[int, int]:
    """(pairs in the right order, pairs where exactly one side is right) of self_rewarding with a judge that
    knows with probability `sees` and guesses otherwise.
    """

    def answer(text: str, key: int) -> str:
        u = np.random.default_rng(key).random(2)
        if "Grade an answer" in text:
            right = eval(text.split("Question:\n")[1].split(" =")[0]) == int(
                text.split("Answer: ")[1].split("\n")[0]
            )
            points = (5 if right else 1) if u[0] < sees else 1 + int(4.999 * u[1])
            return f"It is what it is.\nScore: {points}"
        right = eval(text.strip().split("\n")[-2].removeprefix("user: ").removesuffix(" ="))
        return f"Answer: {right + (0 if u[0] < 0.5 else 1 + int(5 * u[1]))}"

    method, models, task = self_rewarding(), Models(policy=ScriptedEngine(answer)), arithmetic()
    problems = [p for p, _ in zip(task.problems("train", 0), range(150), strict=False)]
    trees = models.run(search_all(method.search, models, task, problems, 0))
    for name, reward in (("truth", rewards.check()), ("reward", method.scores["reward"])):
        for tree, column in zip(trees, models.run(reward(models, task, trees)), strict=True):
            tree.put(name, column)
    pairs = selectors.best_worst()(trees, Memory(), 0)
    values = [
        [dict(zip(e.tree.leaves(), e.tree.get("truth").values, strict=True))[node] for node in e.nodes]
        for e in pairs
    ]
    return sum(a > b for a, b in values), sum(a != b for a, b in values)


def test_pairs_are_as_right_as_the_judge():
    shares = {sees: (lambda right, n: (right / n, n))(*judged_pairs(sees)) for sees in (1.0, 0.5, 0.0)}
    print({sees: f"{share:.2f} of {n}" for sees, (share, n) in shares.items()})
    assert shares[1.0][0] == 1.0
    assert 0.7 < shares[0.5][0] < 1.0
    share, n = shares[0.0]
    assert abs(share - 0.5) < 3 * 0.5 / n**0.5
