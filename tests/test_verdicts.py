"""Scores and verdicts in the forms that models write them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from surpass import rewards, searches
from surpass.api import solve
from surpass.engines import ScriptedEngine
from surpass.errors import SurpassError
from surpass.figures import round_figures
from surpass.methods.best_of_n import best_of_n
from surpass.methods.self_rewarding import RUBRIC
from surpass.methods.slate import GRADE
from surpass.models import Models
from surpass.tasks.judge import said
from surpass.types import DONE, LENGTH, Problem, Tree
from surpass.verdicts import asking, score_of, unread, word_of

FOUR = [
    "Score: 4",
    "score: 4",
    "SCORE: 4",
    "Score:4",
    "Score = 4",
    "Score - 4",
    "Score – 4",
    "Score -4",
    "Score: - 4",
    "Score 4",
    "Score is 4",
    "Score: 4.",
    "Score: 4.0",
    "**Score:** 4",
    "**Score**: 4",
    "**Score: 4**",
    "Score: **4**",
    "__Score:__ 4",
    "### Score: 4",
    "*Score:* `4`",
    'Score: "4"',
    "Score: (4)",
    "Score: [4]",
    "Score: 4/5",
    "Score: 4 / 5",
    "Score: **4**/5",
    "Score: 4 out of 5",
    "Score: 4 out of a possible 5",
    "Score: 4 of 5",
    "Score: 4 points",
    "Score: four",
    "Score: four out of five",
    "Score: 8/10",
    "Score: 80%",
    "Score: 80 %",
    "Score: 80/100",
    "Score (0-5): 4",
    "Score (out of 5): 4",
    "Score on a scale of 0 to 5: 4",
    "Score for the answer: 4",
    "Rating: 4",
    "Final rating: 4/5",
    "Overall score: 4",
    "Grade: 4",
    "Rating: [[4]]",
    "[[4]]",
    "\\boxed{4}",
    "Score: $4$",
    "Score: \\boxed{4}",
    "My score is 4.",
    "I'd give a score of 4.",
    '{"score": 4}',
    '{"score": 4.0}',
    '{"score": "4"}',
    '{"score": "4/5"}',
    '{"Score": 4, "reason": "it loses 1 point; score: 3 elsewhere"}',
    '```json\n{"score": 4}\n```',
    '```json\n{\n  "reason": "good",\n  "score": 4\n}\n```',
    "{'score': 4}",
    '{"overall_score": 4}',
    '{"rating": 4, "max_score": 5}',
    'Here: {"score": 4} as asked.',
    "<score>4</score>",
    "<rating>4</rating>",
    "| Score | 4 |",
    "Score:\n4",
    "**Score**\n\n4/5",
    "It is good.\nScore: 4\n",
    "Score: 2? No.\nScore: 4",
    "4",
    "4.",
    "**4**",
    "4/5",
    "4 out of 5",
    "Good work.\n4",
    "4\nIt misses a unit.",
    "I give it a 4.",
    "I would rate this 4 out of 5.",
    "This deserves a 4.",
    "I'd award 4 points.",
    "Points: 4",
    "Total: 4/5",
    "<think>Score: 1? No, it gets 2.</think>Score: 4",
    "It is fine. </think>\n\n**Score:** 4",
    "Score：４",
    "Score: 4 (maximum score: 5)",
    'The line "Score: N".\nScore: 4',
    "It earns a point for each of 4 things and misses 1.\nScore: 4",
    "This answer scores 4.",
    "【Score】: 4",
    "Score: 4, since 6*7 is 42.",
    "6*7 is 42, so 5 of 5 are met but one.\nScore: 4",
]
NONE = [
    "",
    "I cannot grade this.",
    "6*7 is 42.",
    "Score: N",
    "Score: N/A",
    "Score: ?",
    "Score: none",
    "Score: 9",
    "Score: 6",
    "Score: -1",
    "Score: 3-4",
    "Score: 3 to 4",
    "Score: 11/10",
    "Score: 0 to 5",
    '{"score": null}',
    '{"score": true}',
    '{"score": 9}',
    "<think>Score: 4",
    "It gets 2 things wrong.",
    "There are 3 steps, and 42 is right.",
    "Maximum score: 5",
    "Score: 1,000",
    "Points 1 and 2 hold.",
    "3/4 of the steps are right, 2 are not.",
    "Score: 120%",
    "1\n2\n3",
]


@pytest.mark.parametrize("text", FOUR)
def test_four_of_five_in_every_form(text):
    assert score_of(text, 0, 5) == pytest.approx(4)


@pytest.mark.parametrize("text", NONE)
def test_what_states_no_score_on_the_scale_is_none(text):
    assert math.isnan(score_of(text, 0, 5))


@pytest.mark.parametrize(
    "text, worst, best, score",
    [
        ("Score: 9/10", 0, 5, 4.5),
        ("Score: 9/10", 1, 5, 1 + 8 / 9 * 4),
        ("Score: 9/10", 0, 10, 9),
        ("Score: 9", 0, 10, 9),
        ("Score: 0/5", 1, 5, math.nan),
        ("Score: 4.5", 0, 5, 4.5),
        ("Score: 4,5", 0, 5, 4.5),
        ("Score: 4½", 0, 5, 4.5),
        ("Score: .5", 0, 1, 0.5),
        ("0.85", 0, 1, 0.85),
        ("Score: 85", 0, 100, 85),
        ("Score: -1", -1, 1, -1),
        ("Score: −1", -1, 1, -1),
        ("Score: 0", -1, 1, 0),
        ("**Score:** -1", -1, 1, -1),
        ("Score -1", -1, 1, -1),
        ("Score: 1/2", -1, 1, math.nan),
        ("Score: 2", -1, 1, math.nan),
        ("Score: +1", -1, 1, 1),
        ('{"score": -1}', -1, 1, -1),
    ],
)
def test_other_scales(text, worst, best, score):
    assert score_of(text, worst, best) == pytest.approx(score, nan_ok=True)


A = [
    "A",
    "A.",
    "**A**",
    "[[A]]",
    "(A)",
    "Answer A",
    "Answer A is better.",
    "Verdict: A",
    "**Verdict:** A",
    "The better answer is A.",
    "Winner: Answer A",
    '{"winner": "A"}',
    "A is better, because B is wrong.",
    "B has a mistake, so A is better.",
    "I prefer A.",
    "<think>B?</think>A",
    "A\nIt is complete.",
    "A, because it is complete.",
    "\\boxed{A}",
    "Option A",
]


@pytest.mark.parametrize("text", A)
def test_verdicts_in_letters(text):
    assert word_of(text, ("A", "B")) == "A"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A good answer would be short.",
        "Both are fine.",
        "I cannot say.",
        "A is better and B is better.",
        "a",
        "Neither A nor B.",
    ],
)
def test_what_is_no_verdict_in_letters(text):
    assert word_of(text, ("A", "B")) is None


def test_the_task_of_judging_reads_verdicts_in_all_forms():
    for text in ("<yes>", "Yes", "yes.", "**Yes**, it is.", "Answer: yes", "[[yes]]", "YES"):
        assert said(text) == "yes", text
    assert (
        said("No, 7 is wrong") == "no" and said("(B)") == "b" and said("") == "" and said("Hm, yes") == "hm"
    )


# -- judges


def test_the_scale_is_said_in_the_prompt():
    assert asking("{question} from {worst} to {best}", 0, 10) == "{question} from 0 to 10"
    assert asking("{question} {answer}", 1, 4.5).endswith('"Score: N", where N is a number from 1 to 4.5.')
    assert "with 0 to 5 points" in asking(RUBRIC, 0, 5) and asking(RUBRIC, 0, 5).count("Score: N") == 1
    assert '"Score: 1" for good' in asking(GRADE, -1, 1) and '"Score: -1" for bad' in asking(GRADE, -1, 1)
    with pytest.raises(SurpassError, match="worst"):
        rewards.judge(RUBRIC, best=1.0, worst=2.0)


def attempts(models, words) -> Tree:
    tree = Tree(Problem("p", "what?"), 1)
    root = models.open("policy", tree, "what?")
    tree.end(root, 0, {})
    for word in words:
        models.put("policy", tree, root, word, "policy", stop=DONE if word else LENGTH)
    return tree


def test_unread_verdicts_are_counted_and_an_attempt_that_says_nothing_is_the_worst_without_being_asked_about():  # noqa: E501
    seen = []

    def answer(text, key):
        seen.append(text)
        return (
            "**Score:** 9/10" if "<good>" in text else "Score: 3/10" if "<bad>" in text else "I cannot say."
        )

    models = Models(policy=ScriptedEngine(answer))
    tree = attempts(models, ["good", "bad", "mute", ""])
    (column,) = models.run(rewards.judge("{question} <{answer}>", n=2)(models, None, [tree]))
    np.testing.assert_allclose(column.values, [0.9, 0.3, np.nan, 0.0])
    assert unread([tree]) == (2, 6) and all("a number from 0 to 5" in text for text in seen)
    figures = round_figures([tree], None)
    assert (figures["verdicts"], figures["verdicts_unread"]) == (6, 2)
    (column,) = models.run(
        rewards.judge("{question} <{answer}>", n=1, worst=-1.0, best=1.0)(
            models, None, [attempts(models, ["good"])]
        )
    )
    assert np.isnan(column.values).all(), "a tenth says nothing on a scale below 0"


def test_what_a_judge_of_steps_says_is_read_on_its_scale():
    models = Models(
        policy=ScriptedEngine(lambda text, key: ""),
        judge=ScriptedEngine(lambda text, key: "**Score:** -1" if "bad" in text else "Score: 7"),
    )
    tree = attempts(models, ["bad", "odd"])
    part = searches.values.spoken("{question} {answer}")
    np.testing.assert_allclose(models.run(part.values(models, None, tree, tree.leaves())), [-1, np.nan])
    assert unread([tree]) == (1, 2)


@pytest.mark.parametrize(
    "form",
    [
        "Fine.\n**Score:** {n}",
        "Fine.\nScore: {n}/10",
        '```json\n{{"score": "{n}/10"}}\n```',
        "Fine.\nSCORE: {n} out of 10",
    ],
)
def test_solve_tells_the_better_attempt_by_whatever_form_the_judge_writes(form):
    def answer(text, key):
        if "Grade an answer" not in text:
            return "Answer: 42" if key % 2 else "Answer: 41"
        n = 9 if "Answer: 42" in text else 6
        return form.format(n=n if "10" in form else n / 2)

    for seed in range(3):
        found = solve(
            "What is 6*7?", best_of_n(6, max_tokens=64), Models(policy=ScriptedEngine(answer)), seed=seed
        )
        scores = {round(scores["score"], 6) for _, _, scores, _ in found.attempts}
        assert scores <= {0.6, 0.9} and (found.answer == "Answer: 42" or scores == {0.6})
        assert not found.notes()


def test_solve_says_what_could_not_be_read():
    mute = Models(
        policy=ScriptedEngine(
            lambda text, key: "I cannot grade this." if "Grade an answer" in text else "Answer: 41"
        )
    )
    notes = solve("What is 6*7?", best_of_n(4, max_tokens=64), mute).notes()
    assert notes == [
        "12 of 12 verdicts hold no score that could be read",
        "no attempt could be judged, so the first one is shown as the answer",
    ]
