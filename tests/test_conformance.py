"""Every method, found in methods/, must keep the promises the core makes."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from small_methods import CHECKED, LEARNING, NAMES, SIZES, digest, small, task_of
from surpass import measures, searches
from surpass.demands import SIGNED
from surpass.engines import ScriptedEngine
from surpass.errors import SurpassError, UnmetNeed
from surpass.loop import credited, improve, rescored
from surpass.models import Models
from surpass.needs import require, snapshots
from surpass.part_json import RENAMED
from surpass.parts import from_json, needs_of, to_json
from surpass.searches.round import search_all
from surpass.store import Store
from surpass.types import Column, Memory
from tiny import copy_letter, nano_models, table

GIVEN = {
    "surpass.searches.beam": lambda: searches.beam(searches.values.truth()),
    "surpass.searches.best_first": lambda: searches.best_first(searches.values.truth()),
    "surpass.searches.refine": lambda: searches.refine("{question}{answer}", "{question}{answer}{feedback}"),
    "surpass.searches.stepwise": lambda: searches.stepwise(searches.values.graded()),
    "surpass.measures.agreement": lambda: measures.agreement(searches.samples(2)),
}
"""Parts that have no defaults for all their fields."""


def go(name: str, folder: Path, seed: int = 0, rounds: int = 2, models=nano_models):
    store = Store(folder)
    models = models()
    result = models.run(improve(small(name), task_of(name), models, rounds=rounds, seed=seed, store=store))
    store.close()
    return result, models


@pytest.mark.parametrize("name", NAMES)
def test_json_gives_the_method_back(name):
    method = small(name)
    assert from_json(to_json(method)) == method


@pytest.mark.parametrize("part", sorted(RENAMED))
def test_fields_are_read_under_the_names_that_earlier_versions_gave_them(part):
    """Any value will do: a whole number, or the tree's several."""
    made = {"voice": "policy", "margin": 2} if part.endswith("overlong") else {}
    made |= {"max_tokens": 5} if part.endswith("overlong") else {}
    now = to_json(from_json({"part": part, **made}) if made or part not in GIVEN else GIVEN[part]())
    old = {new: old for old, new in RENAMED[part].items()}
    was = {old.get(key, key): value for key, value in now.items()}
    assert was.keys() != now.keys()
    assert to_json(from_json(json.loads(json.dumps(was)))) == json.loads(json.dumps(now))


@pytest.mark.parametrize("name", NAMES)
def test_knobs_out_of_range_are_refused_where_the_method_is_made(name):
    function = getattr(importlib.import_module(f"surpass.methods.{name}"), name)
    for knob, standard in inspect.signature(function).parameters.items():
        number = type(standard.default) if type(standard.default) in (int, float) else None
        for wrong in () if number is None else (number(-1), *((float("nan"),) if number is float else ())):
            if wrong == -1 and knob in SIGNED:
                continue
            with pytest.raises(SurpassError):
                function(**{knob: wrong})
    for knob in {"n", "problems", "max_tokens", "updates", "epochs", "turns"} & set(
        inspect.signature(function).parameters
    ):
        with pytest.raises(SurpassError, match="at least 1"):
            function(**{knob: 0})


def test_a_part_of_ones_own_may_hold_any_number():
    @dataclasses.dataclass(frozen=True)
    class own:
        n: int = -1

    assert dataclasses.replace(small("grpo"), search=own()).search.n == -1
    with pytest.raises(SurpassError, match=r"top_p above 0 and at most 1; found top_p=1.5"):
        dataclasses.replace(small("grpo"), search=own(searches.samples(top_p=1.5)))


@pytest.mark.parametrize("name", NAMES)
def test_file_has_the_heads_the_catalogue_reads(name):
    text = importlib.import_module(f"surpass.methods.{name}").__doc__
    for head in ("Idea", "Search", "Needs", "Differs", "Works"):
        assert f"\n{head:8} " in text, f"methods/{name}.py has no line {head}"


@pytest.mark.parametrize("name", LEARNING)
def test_two_rounds_change_the_weights_and_repeat_to_the_byte(name, tmp_path):
    result, models = go(name, tmp_path / "a")
    go(name, tmp_path / "b")
    go(name, tmp_path / "c", seed=1, rounds=1)
    a, b, c = (digest(tmp_path / folder) for folder in "abc")
    assert len(a) >= 8
    assert a == b, "same seed, other bytes"
    assert a["trees/0001.parquet"] != c["trees/0001.parquet"], "another seed, same trees"
    assert [event["round"] for event in result.events if event["event"] == "search"] == [1, 2]
    if result.kept_round:
        start = nano_models().engine("policy").weights()
        now = models.engine("policy").weights()
        assert any(not torch.equal(start[k], now[k]) for k in start)


@pytest.mark.parametrize("name", LEARNING)
def test_zero_advantage_gives_zero_gradient(name):
    """With every reward equal, a method that learns from differences must leave the weights exactly as they
    are.
    """
    models, method, task = table(), small(name), copy_letter(shared=True)
    models.cast(method.cast)
    models.weights.remember(snapshots(method))
    trees = models.run(search_all(method.search, models, task, list(task.problems("train", 0)), 1))
    for name, reward in method.scores.items():
        for tree, column in zip(trees, models.run(reward(models, task, trees)), strict=True):
            tree.put(name, column)
    learn = [row for row in method.learn if row.role == "policy"][-1]
    trees = models.run(rescored(trees, learn, models, task))
    for tree in trees:
        for name in {*method.scores, *learn.scores, "step", "q"} & {*tree.columns}:
            column = tree.get(name)
            tree.put(name, Column(column.axis, np.where(np.isnan(column.values), np.nan, 0.0)))
    before = models.engine("policy").weights()
    memory = Memory()
    examples = learn.select(credited(trees, learn, memory), memory, 0)
    models.run(learn.learner(models, learn, examples, memory, 0))
    after = models.engine("policy").weights()
    assert all(torch.equal(before[k], after[k]) for k in before)


@pytest.mark.parametrize("name", LEARNING)
def test_learning_needs_are_refused_before_the_first_token(name):
    asked = []
    models = Models(policy=ScriptedEngine(lambda text, key: asked.append(text) or "a"))
    with pytest.raises(UnmetNeed, match=r"train|log-prob|copied"):
        models.run(improve(small(name), task_of(name), models, rounds=1))
    assert not asked


@pytest.mark.parametrize("name", CHECKED)
def test_solves_the_identity_task(name):
    """Every learner raises the chance of the right letter on a table it can represent exactly."""
    models, task = table(scale=0.5), copy_letter(shared=True)
    n = (4, 4) if isinstance(SIZES.get(name, {}).get("n"), tuple) else 16
    # from the start each round: more passes
    method = small(name, lr=0.1, n=n, every=100, epochs=15, oversample=1)
    result = models.run(improve(method, task, models, rounds=25))
    rewards = [event["reward"] for event in result.events if event["event"] == "search"]
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.2
    assert result.after.mean("accuracy") == 1.0


def test_inference_methods_are_evaluated_not_run():
    models = table()
    with pytest.raises(SurpassError, match="eval"):
        models.run(improve(small("self_consistency"), copy_letter(), models, rounds=1))


def test_needs_are_found_inside_parts():
    assert "train" in needs_of(small("grpo").learn)
    require(small("self_consistency"), copy_letter(), Models(policy=ScriptedEngine(lambda text, key: "a")))


@pytest.mark.parametrize(
    "name, wanted",
    [
        ("spo_minimax", "prefer"),
        ("co_reward", "reworded"),
        ("search_self_play", "proposing"),
        ("spiral_games", "against"),
    ],
)
def test_what_a_task_does_not_have_is_missed_before_the_first_token(name, wanted):
    from surpass.tasks import maze

    models = nano_models()
    with pytest.raises(UnmetNeed, match=rf"asks the task for {wanted}"):
        models.run(improve(small(name), maze(), models, rounds=1))
    assert not models.cost
