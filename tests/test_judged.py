"""What nobody judged, what failed and what was cut off: none of them makes a figure look better than it is."""

from __future__ import annotations

import dataclasses
import math
import string

import numpy as np
import pytest

from surpass import choose, measures, rewards, searches
from surpass.alarms import alarms
from surpass.engines import ScriptedEngine, TabularEngine
from surpass.engines.replies import read_reply
from surpass.figures import exam_event, round_figures
from surpass.means import bounds, measured
from surpass.measures.skills import any_right
from surpass.models import Models
from surpass.parts import Task
from surpass.progress import exam_words
from surpass.result import Result
from surpass.types import DONE, FAILED, LENGTH, Column, Problem, Report, Row, Tree, Turn
from tiny import copy_letter, nano_models

NAN = math.nan


def report(values, metric="accuracy") -> Report:
    return Report("exam", [Row(f"p{i}", 0, metric, float(v)) for i, v in enumerate(values)])


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
    for values, metric in (([1, 0], "accuracy"), ([NAN], "accuracy"), ([5.0, NAN], "reward")):
        assert bounds(metric, report(values, metric).metrics[metric]) is None
    assert "1 not judged" in measured("reward", report([5.0, NAN], "reward").metrics["reward"])


def test_a_result_counts_what_was_judged_once_only_as_wrong_the_other_time():
    """Before 16 of 20; after 12 of the 12 judged. Over both times' problems nothing changed, over all -0.2."""
    before = report([1] * 12 + [1, 0] * 4)
    words = str(Result(before, report(HALF), [], {}, 0)).splitlines()[0]
    assert "0.800 +- 0.092  ->  0.600 to 1.000: 8 of 20 not judged, 1.000 +- 0.000 of the other 12" in words
    assert (
        "change -0.200 +- 0.092 (paired, n=20, what was not judged at one time counts as wrong then; +0.000 +- 0.000 over the 12"
        in words
    )
    assert "(paired, n=20)" in str(Result(before, before, [], {}, 0))


def test_an_exam_s_event_names_the_problems_that_nobody_judged():
    rows = exam_event(1, "gate", report(HALF))["rows"]["accuracy"]
    assert len(rows) == 20 and sum(math.isnan(value) for _, value in rows) == 8


def test_alarms_where_more_is_not_judged():
    events = [{"event": "search", "round": 1, "leaves": 10, "unjudged": 0, "reward": 0.5}, exam_event(0, "gate", report([1.0] * 20)),
              {"event": "search", "round": 2, "leaves": 10, "unjudged": 3, "reward": 1.0}, exam_event(2, "gate", report(HALF))]  # fmt: skip
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
        leaf = models.put("policy", tree, root, "42" if i < right else "", "policy", stop=DONE if i < right else LENGTH)
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
    drawn = read_reply({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 64}}, "").drawn()
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
    (tree,) = models.run(searches.round.search_all(searches.samples(2, 1.0, 4), models, talk(), [Problem("p", "a", "a")], 1))
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
