"""A method without labels has a gate without labels, and nothing that it does depends on an answer: with
every answer garbage its run is the same to the byte, but for what exams report to people.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass

import numpy as np
import pytest

from small_methods import LEARNING, small
from surpass import rewards
from surpass.identity import weights_digest
from surpass.loop import improve
from surpass.parts import demands
from surpass.store import Store
from tiny import copy_letter, nano_models


def reads_labels(method) -> bool:
    """Whether a part that proposes, scores or selects asks the task for a judgement or an answer."""
    parts = [
        part
        for part, _, _ in demands(
            (method.curriculum, method.search, tuple(method.scores.values()), method.learn)
        )
    ]
    asks = any(
        isinstance(part, (rewards.check, rewards.outcome)) or getattr(part, "outcome", False)
        for part in parts
    )
    named = any(
        {"prefer", "trial", "against", "proposing"} & set(getattr(part, "of_task", ())) for part in parts
    )
    return asks or named or any("oracle" in getattr(part, "needs", ()) for part in parts)


LABEL_FREE = [name for name in LEARNING if not reads_labels(small(name))]


def test_who_learns_without_labels():
    """By name, so that a method that begins to read labels is noticed."""
    assert set(LABEL_FREE) == {"co_reward", "cream", "self_rewarding", "tree_sharpen", "tree_vote", "ttrl"}


@pytest.mark.parametrize("name", LABEL_FREE)
def test_a_method_that_learns_without_labels_decides_without_them(name):
    assert not small(name).gate.labels


@dataclass(frozen=True)
class garbage(copy_letter):
    """The same problems with answers that mean nothing, and a check that says anything."""

    def problems(self, split, seed):
        for problem in super().problems(split, seed):
            yield dataclasses.replace(problem, answer=hashlib.sha256(problem.id.encode()).hexdigest())

    async def check(self, models, problem, text):
        return int(hashlib.sha256((problem.id + text).encode()).hexdigest(), 16) % 1000 / 999


def record(name: str, task, folder):
    """(all that a run leaves, but its configuration, its problems' answers and its exams' reports; those
    reports).
    """
    store, models = Store(folder), nano_models()
    models.run(improve(small(name), task, models, rounds=2, seed=0, store=store))
    left: dict[str, object] = {"weights": weights_digest(models.engine("policy").weights())}
    for round in (1, 2):
        for i, tree in enumerate(store.read_trees(round)[0]):
            arrays = (
                tree.tokens,
                tree.logp,
                tree.parent,
                tree.cause,
                tree.stop,
                *(tree.get(c).values for c in sorted(tree.columns)),
            )
            left[f"tree {round} {i}"] = [sorted(tree.columns), *(np.asarray(a).tobytes() for a in arrays)]
    for path in sorted([*folder.glob("examples/*"), *folder.glob("texts/*")]):
        left[path.name + path.parent.name] = path.read_bytes()
    events = store.read_events()
    left["events"] = json.dumps([event for event in events if event["event"] != "exam"])
    store.close()
    return left, [event["metrics"] for event in events if event["event"] == "exam"]


@pytest.mark.parametrize("name", LABEL_FREE)
def test_garbage_answers_change_nothing_but_what_exams_report(name, tmp_path):
    left, reported = record(name, copy_letter(), tmp_path / "right")
    other, noise = record(name, garbage(), tmp_path / "garbage")
    assert set(left) == set(other) and len(left) > 8
    assert [key for key in left if left[key] != other[key]] == []
    assert reported != noise, "the exams did look at the answers"


def test_a_method_with_labels_is_noticed(tmp_path):
    """The test can fail: GRPO reads the check."""
    assert (
        record("grpo", copy_letter(), tmp_path / "right")[0]
        != record("grpo", garbage(), tmp_path / "garbage")[0]
    )
