"""STaR and ReST-EM fit the start to everything that was right so far: which attempts these are, in how many
steps, and from where they are read.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from small_methods import digest, small
from surpass import gates, learners, objectives, rewards, selectors
from surpass.errors import SurpassError, UnmetNeed
from surpass.loop import improve
from surpass.parts import Learn
from surpass.store import Store, columns_from
from surpass.types import Column, Memory, Problem, Tree
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
    assert [e.tree for e in selectors.so_far(selectors.correct())(first, Memory(), 0)] == [
        first[0],
        first[1],
        first[1],
    ]


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
    """A learner that notes in SEEN, before it learns as another does, the weights it begins from and what it
    learns from.
    """

    of: learners.gradient
    needs = frozenset({"train"})

    async def __call__(self, models, learn, examples, memory, rng):
        start = models.engine("policy").weights()
        report = await self.of(models, learn, examples, memory, rng)
        steps = len([row for row in report.rows if row.metric == "loss"])
        SEEN.append((start, [(e.tree.problem.id, e.tree.key) for e in examples], steps))
        return report


def spied(name: str, rounds: int, **knobs):
    """(the weights it began from, (problem, tree) of every example, steps) of every round, and the weights at
    the start.
    """
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
    """Three rounds are the six problems once; a fourth asks the first two again. No folder: the trees stay in
    memory.
    """
    seen, start = spied(name, 4, updates=2)
    problems = [{problem for problem, _ in examples} for _, examples, _ in seen]
    assert [len(some) for some in problems] == [2, 4, 6, 6]
    assert problems[0] < problems[1] < problems[2] == problems[3]
    assert all(torch.equal(start[key], begun[key]) for begun, _, _ in seen for key in start), (
        "from the start in every round"
    )
    assert [steps for _, _, steps in seen] == [2, 4, 6, 6], "steps grow with the problems"
    again = problems[0]
    old, new = (set(examples) for _, examples, _ in seen[2:])
    assert old - new and {problem for problem, _ in old ^ new} == again, (
        "of a problem asked again the last attempts"
    )


@pytest.mark.parametrize("name", NAMES)
def test_without_the_past_a_round_stands_alone(name):
    seen, start = spied(name, 3, updates=2, past=False)
    problems = [{problem for problem, _ in examples} for _, examples, _ in seen]
    assert [len(some) for some in problems] == [2, 2, 2] and len(set.union(*problems)) == 6
    assert all(torch.equal(start[key], begun[key]) for begun, _, _ in seen for key in start)


def go(name: str, store: Store | None, rounds: int = 3) -> dict:
    models = nano_models()
    models.run(
        improve(small(name, problems=2, n=8, every=2), copy_letter(), models, rounds=rounds, store=store)
    )
    if store:
        store.close()
    return models.engine("policy").weights()


@pytest.mark.parametrize("name", NAMES)
def test_a_run_in_memory_is_the_run_in_a_folder(name, tmp_path):
    kept, stored = go(name, None), go(name, Store(tmp_path))
    assert all(torch.equal(kept[key], stored[key]) for key in kept)


class Killed(BaseException):
    pass


@pytest.fixture(scope="module", params=[*NAMES, "b_star", "omegaprm"])
def undisturbed(request, tmp_path_factory):
    """(a method's name, the folder of a run that nobody cut off)."""
    folder = tmp_path_factory.mktemp(request.param)
    go(request.param, Store(folder), rounds=5)
    return request.param, folder


@pytest.mark.parametrize("phase, round", [("search", 2), ("learn", 3), ("learn", 4), ("exam gate", 4)])
def test_a_run_that_is_cut_off_goes_on_to_the_same_bytes(undisturbed, phase, round, tmp_path):
    name, whole = undisturbed

    class Dying(Store):
        def timed(self, what, at):
            if (what, at) == (phase, round):
                raise Killed
            return super().timed(what, at)

    dying = Dying(tmp_path / "parts")
    with pytest.raises(Killed):
        go(name, dying, rounds=5)
    dying.close()
    go(name, Store(tmp_path / "parts"), rounds=5)
    assert digest(tmp_path / "parts") == digest(whole)


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


# -- scores that a Learn row takes when its turn comes: OmegaPRM


def prm_run(tmp_path, **knobs):
    """OmegaPRM for one round on the nano model: what each row learnt from, the scores the policy's row saw,
    the models, the round's trees.
    """
    knobs = {"problems": 6, "n": 4, "k": 4, "max_tokens": 1, **knobs}
    method = dataclasses.replace(small("omegaprm", **knobs), gate=gates.always())
    models, store = nano_models(), Store(tmp_path)
    result = models.run(improve(method, copy_letter(), models, rounds=1, store=store))
    trees, _ = store.read_trees(1)
    store.close()
    learnt = {event["role"]: event["examples"] for event in result.events if event["event"] == "learn"}
    credit = pq.read_table(tmp_path / "credit" / "0001.parquet").to_pylist()
    seen = [columns_from(row["columns"])["prm"].values for row in credit if row["role"] == "policy"]
    return learnt, seen, models, trees


def test_nothing_is_imitated_while_the_reward_model_has_not_learnt(tmp_path):
    """Every score is 1/2 then, and what is best of equals is chance."""
    learnt, seen, *_ = prm_run(tmp_path, lr_value=0.0)
    assert learnt["prm"] > 0 and all((row[~np.isnan(row)] == 0.5).all() for row in seen)
    assert learnt["policy"] == 0


def test_attempts_are_judged_by_the_reward_model_as_it_is_after_its_update(tmp_path):
    learnt, seen, models, trees = prm_run(tmp_path)
    assert learnt["prm"] > 0
    # the policy's own update moves no other weights
    now = models.run(rewards.process("prm")(models, copy_letter(), trees))
    for row, column in zip(seen, now, strict=True):
        np.testing.assert_allclose(row, column.values, atol=1e-6)
    differ = [len({v for v in row if v == v}) > 1 and np.nanmax(row) > 0.5 for row in seen]
    assert learnt["policy"] == sum(differ)
    assert not any(tree.has("prm") for tree in trees), "the columns are that row's alone"


@pytest.mark.parametrize(
    "values, wanted",
    [([0.5, 0.5], []), ([0.5, 0.4], []), ([0.6, 0.6], []), ([0.5, 0.51], [2]), ([0.9, 0.7], [1])],
)
def test_the_best_is_above_and_not_one_of_equals(values, wanted):
    found = selectors.top("reward", 1, 0.5, above=True)([tree_of("a", values)], Memory(), 0)
    assert [e.nodes[0] for e in found] == wanted
    assert len(selectors.top("reward", 1, 0.5)([tree_of("a", values)], Memory(), 0)) == 1


def test_needs_of_a_row_s_own_scores_are_refused_before_the_first_token():
    method = small("star")
    (learn,) = method.learn
    method = dataclasses.replace(
        method, learn=(dataclasses.replace(learn, scores={"v": rewards.process("policy")}),)
    )
    models = nano_models()
    with pytest.raises(UnmetNeed, match="value head"):
        models.run(improve(method, copy_letter(), models, rounds=1))
    assert not models.cost
