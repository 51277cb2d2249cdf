"""What nobody judged, what failed and what was cut off: none of them makes a figure look better than it
is.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
import string

import numpy as np
import pytest

from lines import lines, writer
from surpass import choose, measures, rewards, searches, selectors
from surpass.alarms import alarms
from surpass.engines import ScriptedEngine, TabularEngine
from surpass.engines.replies import read_reply
from surpass.errors import RunBroken
from surpass.figures import exam_event, round_figures
from surpass.means import bounds, measured
from surpass.measures.skills import any_right
from surpass.models import Models
from surpass.parts import Task
from surpass.progress import exam_words
from surpass.result import Result
from surpass.searches import values
from surpass.searches.prompts import _Plan
from surpass.searches.steps import Steps
from surpass.types import DONE, FAILED, LENGTH, OPEN, Column, Memory, Problem, Report, Row, Tree, Turn
from tiny import copy_letter, nano_models

NAN = math.nan


def report(numbers, metric="accuracy") -> Report:
    return Report("exam", [Row(f"p{i}", 0, metric, float(v)) for i, v in enumerate(numbers)])


HALF = [1.0] * 12 + [NAN] * 8


# -- figures over fewer than all problems


def test_an_accuracy_over_fewer_problems_says_first_between_what_it_lies():
    """12 right of 12 judged, 8 not: 12/20 if these are wrong, 20/20 if they are right."""
    assert bounds("accuracy", report(HALF).metrics["accuracy"]) == pytest.approx((0.6, 1.0))
    said = "0.600 to 1.000: 8 of 20 not judged, 1.000 +- 0.000 of the other 12"
    assert str(report(HALF)).split(maxsplit=1)[1] == said
    assert said in exam_words(report(HALF).metrics)
    assert str(report([1, 0, 1, 1])).endswith("0.750 +- 0.250   (n=4)")
    assert str(report([NAN] * 4)).endswith("not known   (n=0, 4 not judged)")


def test_no_bounds_where_all_was_judged_or_nothing_or_the_metric_is_no_share():
    for numbers, metric in (([1, 0], "accuracy"), ([NAN], "accuracy"), ([5.0, NAN], "reward")):
        assert bounds(metric, report(numbers, metric).metrics[metric]) is None
    assert "1 not judged" in measured("reward", report([5.0, NAN], "reward").metrics["reward"])


def test_a_result_counts_what_was_judged_once_only_as_wrong_the_other_time():
    """Before 16 of 20; after 12 of the 12 judged. Over both times' problems nothing changed, over all
    -0.2.
    """
    before = report([1] * 12 + [1, 0] * 4)
    words = str(Result(before, report(HALF), [], {}, 0)).splitlines()[0]
    assert "0.800 +- 0.092  ->  0.600 to 1.000: 8 of 20 not judged, 1.000 +- 0.000 of the other 12" in words
    assert (
        "change -0.200 +- 0.092 (paired, n=20, what was not judged at one time counts as wrong then; "
        "+0.000 +- 0.000 over the 12" in words
    )
    assert "(paired, n=20)" in str(Result(before, before, [], {}, 0))


def test_an_exam_s_event_names_the_problems_that_nobody_judged():
    rows = exam_event(1, "gate", report(HALF))["rows"]["accuracy"]
    assert len(rows) == 20 and sum(math.isnan(value) for _, value in rows) == 8


def test_alarms_where_more_is_not_judged():
    events = [
        {"event": "search", "round": 1, "leaves": 10, "unjudged": 0, "reward": 0.5},
        exam_event(0, "gate", report([1.0] * 20)),
        {"event": "search", "round": 2, "leaves": 10, "unjudged": 3, "reward": 1.0},
        exam_event(2, "gate", report(HALF)),
    ]
    found = alarms(events)
    assert any("30% of the last round's attempts could not be judged" in words for words in found)
    assert any("gate exam of round 2 8 of 20 problems could not be judged" in words for words in found)
    assert not alarms(events[:2])


# -- attempts that were cut off or failed


@dataclasses.dataclass(frozen=True)
class picky(Task):
    """A check that cannot judge an attempt that says nothing."""

    answer: str | None = "42"

    def problems(self, split, seed):
        yield from (Problem(f"{split}{i}", f"what? {i}", self.answer) for i in range(20))

    async def check(self, models, problem, text):
        return float(text == "42") if text.strip() and self.answer else NAN


def cut(n: int, right: int, task: Task) -> tuple[Models, list[Tree]]:
    """Trees of one attempt each: `right` say 42, the others were cut off before they said anything."""
    models, trees = Models(policy=ScriptedEngine(lambda text, key: "")), []
    for i, problem in enumerate(task.problems("test", 0)):
        tree = Tree(problem, i)
        root = models.open("policy", tree, problem.prompt)
        leaf = models.put(
            "policy", tree, root, "42" if i < right else "", "policy", stop=DONE if i < right else LENGTH
        )
        tree.end(leaf, int(tree.stop[leaf]), {})
        trees.append(tree)
    return models, trees[:n]


@dataclasses.dataclass(frozen=True)
class grown:
    """A search that finds what was made before."""

    right: int
    role: str = "policy"

    async def __call__(self, models, task, problem, rng):
        _, trees = cut(20, self.right, task)
        return trees[[p.id for p in task.problems("test", 0)].index(problem.id)]


def test_an_attempt_that_was_cut_off_before_it_said_anything_is_wrong_and_counted_as_cut_off():
    models, _ = cut(20, 12, picky())
    found = models.run(measures.answers(grown(12), {"test": 20})(models, picky(), "test", 0)).metrics
    assert (found["accuracy"]["mean"], found["accuracy"]["n"]) == (pytest.approx(0.6), 20)
    assert found["completions/clipped_ratio"]["mean"] == pytest.approx(0.4)
    unlabelled = models.run(measures.answers(grown(12), {"test": 20})(models, picky(None), "test", 0)).metrics
    assert unlabelled["accuracy"]["n"] == 0, "without a label nobody can know that either"


@pytest.mark.parametrize("content", ["", None])
def test_an_api_s_empty_and_null_content_at_the_limit_are_one_attempt_that_was_cut_off(content):
    choice = {
        "index": 0,
        "finish_reason": "length",
        "message": {"role": "assistant", "content": content, "reasoning_content": "so"},
    }
    drawn = read_reply(
        {"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 64}}, "", 64
    ).drawn()
    assert drawn.stop == LENGTH and drawn.used == 64 and not len(drawn.tokens)


def test_what_failed_is_in_no_mean_of_lengths_and_is_chosen_last():
    tree = Tree(Problem("p", "q"), 1)
    root = tree.add(-1, "task", [1], state={})
    for tokens, stop in (([], FAILED), ([2, 3], DONE), ([2, 3, 4, 5], LENGTH)):
        tree.add(root, "policy", tokens, stop=stop, state={})
    figures = round_figures([tree], None)
    assert figures["completions/mean_length"] == 3 and figures["completions/clipped_ratio"] == 0.5
    assert choose.first()(tree) == 2
    tree.put("s", Column("leaf", np.array([1.0, NAN, NAN])))
    assert choose.best("s")(tree) == 2
    tree.put("s", Column("leaf", np.array([NAN, NAN, 0.1])))
    assert choose.best("s")(tree) == 3


@dataclasses.dataclass(frozen=True)
class talk(copy_letter):
    """A task that never ends a dialogue by itself."""

    async def step(self, models, state, text):
        return Turn({"n": state.get("n", 0) + 1}, {"policy": "more " * 20}, "policy")


def test_an_attempt_that_outgrows_the_context_is_cut_off_and_not_failed():
    models = nano_models()
    models.engine("policy").context = models.engine("policy").decoder.context = 150
    (tree,) = models.run(
        searches.round.search_all(searches.samples(2, 1.0, 4), models, talk(), [Problem("p", "a", "a")], 1)
    )
    assert [int(tree.stop[leaf]) for leaf in tree.leaves()] == [LENGTH] * 2
    assert not any(tree.unfinished(leaf) for leaf in tree.leaves())
    (column,) = models.run(rewards.check()(models, talk(), [tree]))
    assert not np.isnan(column.values).any()


# -- measures over several attempts


def test_any_right_knows_three_states():
    assert any_right(np.array([1, NAN, 0])) == 1 and any_right(np.array([0, 0.0])) == 0
    assert math.isnan(any_right(np.array([0, NAN]))) and math.isnan(any_right(np.array([NAN, NAN])))


@dataclasses.dataclass(frozen=True)
class sure(copy_letter):
    """A check that says 1, or that it does not know."""

    def problems(self, split, seed):
        yield from (Problem(prompt, prompt, prompt) for prompt in ("a", "b", "ab", "ba", "aa", "bb"))

    async def check(self, models, problem, text):
        return 1.0 if text < "P" else NAN


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_skills_of_a_check_that_knows_only_what_is_right_are_not_perfect():
    models = Models(policy=TabularEngine(string.printable, size=512, seed=0, scale=0.1))
    found = models.run(measures.skills(6, 4, 1, more=1)(models, sure(), "train", 0))
    metrics = found.metrics
    assert metrics["greedy"]["missing"] > 0, "else this shows nothing"
    assert metrics["pass@1"]["missing"] == 6 - metrics["pass@1"]["n"] > 0
    assert bounds("pass@1", metrics["pass@1"]) is None or bounds("pass@1", metrics["pass@1"])[0] < 1
    assert any("could not be judged" in words for words in measures.fit(found, 4))
    assert " to 1.000" in measures.table({"sure": found}, 4)


# -- what nobody judged is never worse than what somebody did, nor better


@dataclasses.dataclass(frozen=True)
class half:
    """A task whose check is passed on where it says 1, and else says that it does not know."""

    of: object

    def __getattr__(self, name):
        return getattr(object.__getattribute__(self, "of"), name)

    async def check(self, models, problem, text):
        value = await self.of.check(models, problem, text)
        return value if value == 1 else NAN


LINES = lines(4)
TREES = [
    searches.mcts(
        values.constant(), 12, 4, choice, backup, outcome=True, to_end=to_end, depth=LINES.n, moves=to_end
    )
    for choice, backup, to_end in (
        ("puct", "all", True),
        ("ucb", "visits", False),
        ("ucb", "mean", False),
        ("greedy", "max", False),
    )
]


def grow(search, task) -> list[Tree]:
    models = writer(LINES)
    trees = models.run(searches.round.search_all(search, models, task, list(task.problems("train", 0)), 0))
    for tree, column in zip(trees, models.run(rewards.check()(models, task, trees)), strict=True):
        tree.put("reward", column)
    return trees


@pytest.mark.parametrize("search", TREES, ids=lambda search: search.backup)
def test_steps_are_preferred_by_what_was_judged_alone(search):
    """Where all that is known is that some attempts are right, no step is known to be worse than another.
    With the whole check, the mean of what was judged below the better step is above that below the worse.
    """
    pairs = [
        e
        for tree in grow(search, half(LINES))
        for e in selectors.siblings("q", visits="visits")([tree], Memory(), 0)
    ]
    assert not pairs
    trees = grow(search, LINES)
    pairs = [e for tree in trees for e in selectors.siblings("q", visits="visits")([tree], Memory(), 0)]
    assert pairs
    for pair in pairs:
        tree, below = pair.tree, []
        for node in pair.nodes:
            rewards_below = [
                v
                for leaf, v in zip(tree.leaves(), tree.get("reward").values, strict=True)
                if node in tree.path(leaf)
            ]
            below.append([v for v in rewards_below if v == v])
            assert tree.get("visits").values[node] > 0
        assert below[0] and below[1] and max(below[0]) > min(below[1])


def test_a_step_s_q_is_none_where_only_guesses_stand_below_it():
    for tree in grow(dataclasses.replace(TREES[1], simulations=3), LINES):
        q, ends = tree.get("q").values, [leaf for leaf in tree.leaves() if not tree.unfinished(leaf)]
        above = {node for leaf in ends for node in tree.path(leaf)}
        assert all(math.isnan(q[node]) for node in range(len(tree)) if node not in above)


def test_siblings_do_not_prefer_over_a_step_that_was_not_visited():
    tree = Tree(Problem("p", ""))
    root = tree.add(-1, "task", [1])
    a, b, c = (tree.add(root, "policy", [token]) for token in (2, 3, 4))
    tree.put("q", Column("node", np.array([0.5, 0.6, 0.1, 0.4])))
    tree.put("visits", Column("node", np.array([4.0, 3, 0, 1])))
    (pair,) = selectors.siblings("q", visits="visits")([tree], Memory(), 0)
    assert pair.nodes == (a, c) and pair.confidence == 0.75
    tree.put("visits", Column("node", np.array([3.0, 3, 0, 0])))
    assert not selectors.siblings("q", visits="visits")([tree], Memory(), 0)
    tree.put("q", Column("node", np.array([0.5, 0.6, NAN, NAN])))
    assert not selectors.siblings("q")([tree], Memory(), 0) and b


@dataclasses.dataclass(frozen=True)
class listed:
    """Values by the order of the nodes."""

    numbers: tuple[float, ...]

    async def values(self, models, task, tree, nodes):
        return np.array([self.numbers[node % len(self.numbers)] for node in nodes], float)


def test_searches_take_a_step_that_nobody_judged_for_as_good_as_those_beside_it():
    """With a guide below 0 a step without a value was the best of all as 0.0; with one above it was the
    worst.
    """
    for numbers in ((-0.9, NAN, -0.2), (0.9, NAN, 0.2)):
        for search in (
            searches.beam(listed(numbers), width=2, n=4, depth=LINES.n),
            searches.best_first(listed(numbers), depth=LINES.n, n=4),
        ):
            for tree in grow(search, LINES):
                worth = tree.get("worth").values
                said = [i for i in range(len(tree)) if tree.author[i] == "policy" and not tree.aside[i]]
                assert [math.isnan(worth[i]) for i in said] == [math.isnan(numbers[i % 3]) for i in said]
    kept = searches.stepwise(listed((0.0,)), 3)._kept
    assert {kept(np.array([-1.0, NAN, 1.0]), seed) for seed in range(20)} == {2}
    assert {kept(np.array([0.5, NAN, 0.5]), seed) for seed in range(20)} == {0, 1, 2}
    soft = dataclasses.replace(searches.stepwise(listed((0.0,)), 3), softness=0.2)._kept
    drawn = [soft(np.array([-1.0, NAN, 1.0]), seed) for seed in range(400)]
    assert drawn.count(0) < drawn.count(1) < drawn.count(2)


def test_the_imputed_worth_is_the_mean_of_the_known_beside_it():
    steps = Steps(
        None, LINES, Tree(Problem("p", "")), "policy", listed((0.2, NAN, 0.6)), False, {}, "\n", 0, 9, 4
    )

    asyncio.run(steps._judge([0, 1, 2], 0.7))
    assert steps.worth == pytest.approx({0: 0.2, 1: 0.4, 2: 0.6}) and steps.unknown == {1}
    asyncio.run(steps._judge([4], 0.7))
    assert steps.worth[4] == 0.7


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_completions_that_nobody_judged_make_no_prefix_wrong():
    """Of a check that says 1 or nothing every judged completion is right: MC is 1 or not known, and no first
    error is looked for.
    """
    for tree in grow(searches.first_error(n=4, searches=3), half(LINES)):
        mc = tree.get("mc").values
        assert set(mc[~np.isnan(mc)].tolist()) <= {1.0}
        assert np.isnan(tree.get("wrong_step").values).all()
    models, (tree,) = cut(1, 0, picky(None))
    tree.end(0, OPEN, {})
    assert np.isnan(models.run(values.completions(2).values(models, picky(None), tree, [0]))).all()


# -- votes


def voted(letters, weights, final=None) -> np.ndarray:
    """Shares of attempts that say these letters ("-": no answer), by these weights."""
    models, tree = Models(policy=ScriptedEngine(lambda text, key: "")), Tree(Problem("p", ""))
    root = models.open("policy", tree, "what?")
    for letter in letters:
        models.put("policy", tree, root, letter, "policy", stop=DONE)
    tree.put("w", Column("leaf", np.array(weights, float)))
    (column,) = models.run(rewards.vote(weight="w")(models, stating(), [tree]))
    return column.values


class stating:
    def final_answer(self, text):
        return None if text == "-" else text


def test_weightless_votes_count_heads():
    np.testing.assert_allclose(voted("abb", [0, 0, 0]), [1 / 3, 2 / 3, 2 / 3])
    # the weight is where no answer is
    np.testing.assert_allclose(voted("abb-", [0, 0, 0, 5]), [1 / 4, 2 / 4, 2 / 4, NAN])
    np.testing.assert_allclose(voted("abb", [-2, -1, -1]), [1 / 3, 2 / 3, 2 / 3])
    np.testing.assert_allclose(voted("abb", [NAN] * 3), [1 / 3, 2 / 3, 2 / 3])
    # nan counts not at all
    np.testing.assert_allclose(voted("abbb", [0, 0, NAN, NAN]), [1 / 2, 1 / 2, 1 / 2, 1 / 2])
    np.testing.assert_allclose(voted("abb", [0.5, 0, 0]), [1, 0, 0])


def test_attempts_without_an_answer_have_no_rank():
    """The surest states nothing: it comes last of the four, and the others have 4, 3 and 2 by their
    certainty.
    """
    models, tree = Models(policy=ScriptedEngine(lambda text, key: "")), Tree(Problem("p", ""))
    root = models.open("policy", tree, "what?")
    for letter in "-abb":
        models.put("policy", tree, root, letter, "policy", stop=DONE)
    tree.put("certainty", Column("leaf", np.array([0.9, 0.3, 0.5, 0.1])))
    (column,) = models.run(rewards.ranks("certainty", 1.0)(models, stating(), [tree]))
    np.testing.assert_allclose(column.values, [NAN, 3, 4, 2])


def test_a_prompt_does_not_win_by_making_answers_that_nobody_can_judge():
    """Four held problems, judged under the first prompt; a second one leaves but the right answer judged."""

    def planned():
        plan = _Plan(searches.prompts(), None, None, Tree(Problem("p", "")), 0, 1, 0)
        plan.answer, plan.problems = answer, lambda name, n: []
        return plan

    found = {0: [1.0, 0.0, 0.0, NAN], 1: [1.0, NAN, NAN, 1.0]}

    async def answer(node, problems):
        return [(value, None, "") for value in found[node]]

    plan = planned()
    for node in found:
        asyncio.run(plan.visit(node))
    assert plan.reward == pytest.approx({0: 1 / 3, 1: 1 / 3})
    found[0] = [NAN] * 4
    with pytest.raises(RunBroken, match="none of the held problems"):
        asyncio.run(planned().visit(0))
