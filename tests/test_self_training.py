"""STaR and ReST-EM fit the start to everything that was right so far: which attempts these are, in how many steps, and from where they are read."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from surpass import gates, learners, objectives, selectors
from surpass.errors import SurpassError
from surpass.loop import improve
from surpass.parts import Learn
from surpass.store import Store
from surpass.types import Column, Memory, Problem, Tree
from test_conformance import digest, small
from tiny import copy_letter, nano_models, table

NAMES = ("star", "rest_em")


def tree_of(problem: str, rewards) -> Tree:
    tree = Tree(Problem(problem, ""))
    root = tree.add(-1, "task", [1])
    for i, _ in enumerate(rewards):
        tree.add(root, "policy", [2 + i])
    tree.put("reward", Column("leaf", np.array(rewards, float)))
    return tree


def test_so_far_takes_all_rounds_and_of_a_problem_the_last_that_gave_anything():
    first = [tree_of("a", [1, 0]), tree_of("b", [1, 1]), tree_of("c", [0, 0])]
    second = [tree_of("a", [0, 1]), tree_of("d", [1, 0])]
    now = [tree_of("b", [0, 0]), tree_of("e", [0, 1]), tree_of("c", [1, 0])]
    memory = Memory(read={1: first, 2: second}.__getitem__, round=2)
    found = selectors.so_far(selectors.correct())(now, memory, 0)
    assert [(e.tree.problem.id, e.nodes) for e in found] == [
        ("a", (2,)),
        ("b", (1,)),
        ("b", (2,)),
        ("d", (1,)),
        ("e", (2,)),
        ("c", (1,)),
    ]
    assert found[0].tree is second[0] and found[1].tree is first[1] and found[-1].tree is now[2]
    assert [e.tree for e in selectors.so_far(selectors.correct())(first, Memory(), 0)] == [first[0], first[1], first[1]]


@pytest.mark.parametrize("batch, wanted", [(8, 3), (20, 1), (7, 3), (1, 20)])
def test_steps_grow_with_the_trees(batch, wanted):
    models, trees = table(), [tree_of(str(i), [1]) for i in range(20)]
    learner = learners.gradient(objectives.sft(), batch=batch, updates=99)
    learn = Learn("policy", selectors.correct(), learner)
    report = models.run(learner(models, learn, learn.select(trees, Memory(), 0), Memory(), 0))
    assert len([row for row in report.rows if row.metric == "loss"]) == wanted


SEEN: list = []


@dataclass(frozen=True)
class Spy:
    """A learner that notes in SEEN, before it learns as another does, the weights it begins from and what it learns from."""

    of: learners.gradient
    needs = frozenset({"train"})

    async def __call__(self, models, learn, examples, memory, rng):
        start = models.engine("policy").weights()
        report = await self.of(models, learn, examples, memory, rng)
        steps = len([row for row in report.rows if row.metric == "loss"])
        SEEN.append((start, [(e.tree.problem.id, e.tree.key) for e in examples], steps))
        return report


def spied(name: str, rounds: int, **knobs):
    """(the weights it began from, (problem, tree) of every example, steps) of every round, and the weights at the start."""
    method = dataclasses.replace(small(name, problems=2, n=8, max_tokens=1, **knobs), gate=gates.always())
    (learn,) = method.learn
    method = dataclasses.replace(method, learn=(dataclasses.replace(learn, learner=Spy(learn.learner)),))
    models = nano_models()
    start = models.engine("policy").weights()
    SEEN.clear()
    models.run(improve(method, copy_letter(), models, rounds=rounds))
    return list(SEEN), start


@pytest.mark.parametrize("name", NAMES)
def test_the_start_is_fitted_to_all_that_was_right_so_far(name):
    """Three rounds are the six problems once; a fourth asks the first two again. No folder: the trees stay in memory."""
    seen, start = spied(name, 4, updates=2)
    problems = [{problem for problem, _ in examples} for _, examples, _ in seen]
    assert [len(some) for some in problems] == [2, 4, 6, 6]
    assert problems[0] < problems[1] < problems[2] == problems[3]
    assert all(torch.equal(start[key], begun[key]) for begun, _, _ in seen for key in start), "from the start in every round"
    assert [steps for _, _, steps in seen] == [2, 4, 6, 6], "steps grow with the problems"
    again = problems[0]
    old, new = (set(examples) for _, examples, _ in seen[2:])
    assert old - new and {problem for problem, _ in old ^ new} == again, "of a problem asked again the last attempts"


@pytest.mark.parametrize("name", NAMES)
def test_without_the_past_a_round_stands_alone(name):
    seen, start = spied(name, 3, updates=2, past=False)
    problems = [{problem for problem, _ in examples} for _, examples, _ in seen]
    assert [len(some) for some in problems] == [2, 2, 2] and len(set.union(*problems)) == 6
    assert all(torch.equal(start[key], begun[key]) for begun, _, _ in seen for key in start)


def go(name: str, store: Store | None, rounds: int = 3) -> dict:
    models = nano_models()
    models.run(improve(small(name, problems=2, n=8, every=2), copy_letter(), models, rounds=rounds, store=store))
    if store:
        store.close()
    return models.engine("policy").weights()


@pytest.mark.parametrize("name", NAMES)
def test_a_run_in_memory_is_the_run_in_a_folder(name, tmp_path):
    kept, stored = go(name, None), go(name, Store(tmp_path))
    assert all(torch.equal(kept[key], stored[key]) for key in kept)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("name", [*NAMES, "b_star", "omegaprm"])
@pytest.mark.parametrize("phase, round", [("search", 2), ("learn", 3), ("learn", 4), ("exam gate", 4)])
def test_a_run_that_is_cut_off_goes_on_to_the_same_bytes(name, phase, round, tmp_path):
    class Dying(Store):
        def timed(self, what, at):
            if (what, at) == (phase, round):
                raise Killed
            return super().timed(what, at)

    go(name, Store(tmp_path / "whole"), rounds=5)
    dying = Dying(tmp_path / "parts")
    with pytest.raises(Killed):
        go(name, dying, rounds=5)
    dying.close()
    go(name, Store(tmp_path / "parts"), rounds=5)
    assert digest(tmp_path / "parts") == digest(tmp_path / "whole")


@dataclass(frozen=True)
class Undeclared:
    """Reads the past and does not say so."""

    def __call__(self, trees, memory, rng):
        return selectors.every()([*memory.trees(memory.round), *trees], memory, rng)


def test_a_part_that_reads_the_past_has_to_say_so():
    """Silently it would have learnt from this round alone in a run without a folder."""
    method = small("star")
    method = dataclasses.replace(method, learn=(dataclasses.replace(method.learn[0], select=Undeclared()),))
    models = nano_models()
    with pytest.raises(SurpassError, match=r'needs = \{"past"\}'):
        models.run(improve(method, copy_letter(), models, rounds=2))
