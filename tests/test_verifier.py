"""The verifier: it never takes a wrong answer of the suite for right, and takes all but a few right ones
(tests/verifier_pairs.jsonl).
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surpass import verifier
from surpass.tasks import maths
from surpass.verifier import canonical as votes

PAIRS = [
    json.loads(line) for line in (Path(__file__).parent / "verifier_pairs.jsonl").read_text().splitlines()
]
NAMED = {
    ("C_6H_{12}O_6", "C6H12O6"),
    ("three quarters", "3/4"),
    ("first", "1st"),
    ("5th", "fifth"),
    (r"\vec{v} = (1,2)", "(1,2)"),
    ("|x|<2", "(-2,2)"),
}
"""Right answers that are refused; docs/verifier.md names them."""


def texts(equal):
    return [(pair["gold"], pair["answer"]) for pair in PAIRS if pair["equal"] == equal]


def test_the_suite_is_large_balanced_and_of_many_kinds():
    kinds = {pair["kind"] for pair in PAIRS}
    assert len(PAIRS) >= 300 and 0.4 < len(texts(True)) / len(PAIRS) < 0.6 and len(kinds) >= 20
    assert len({(pair["gold"], pair["answer"]) for pair in PAIRS}) == len(PAIRS)
    assert sum(pair["made"] != "during" for pair in PAIRS) >= len(PAIRS) / 3, (
        "written before the verifier was tried on them"
    )


def test_no_wrong_answer_is_right():
    assert [pair for pair in texts(False) if verifier.equal(*pair)] == []
    assert [pair for pair in texts(False) if verifier.equal(*pair[::-1])] == [], "nor the other way round"


def test_right_answers_are_right_but_for_those_named():
    assert {pair for pair in texts(True) if not verifier.equal(*pair)} == NAMED


def test_the_suite_holds_for_what_an_attempt_states():
    """The same through surpass.tasks.maths: an attempt that states the answer, the worker, its limits."""
    wrong = [
        (g, a)
        for g, a in texts(False)
        if maths.equal(g, f"Answer: {a}") or maths.equal(g, rf"So it is $\boxed{{{a}}}$.")
    ]
    assert wrong == []
    missed = {(g, a) for g, a in texts(True) if not maths.equal(g, f"Answer: {a}")}
    assert missed == NAMED


def test_every_answer_equals_itself():
    every = {
        text
        for pair in PAIRS
        for text in (pair["gold"], pair["answer"])
        if verifier.read(text).kind != "nothing"
    }
    assert [text for text in every if not verifier.equal(text, text)] == []


ISSUE = [
    ("1/2^99", "1/2^98"),
    ("1e-7", "2e-7"),
    ("1-1/e", "1+1/e"),
    ("July 4, 1776", "May 9, 1776"),
    ("4 red balls", "4 blue balls"),
    ("12 cm", "12 m"),
    ("2 1/2", "3/2"),
]


@pytest.mark.parametrize("gold, text", ISSUE)
def test_what_math_verify_takes_for_equal_is_not(gold, text):
    for given_text in (text, f"Answer: {text}", rf"\boxed{{{text}}}"):
        assert not maths.equal(gold, given_text) and not maths.equal(text, gold)
    assert maths.equal(gold, f"Answer: {gold}") and maths.canonical(f"Answer: {gold}") != maths.canonical(
        f"Answer: {text}"
    )


@pytest.mark.parametrize(
    "gold, text",
    [("5 km/h", "5 km/h"), ("5 km/h", "5 km/h."), ("9.8 m/s^2", "9.8 m/s^2"), ("9.8 m/s^2", "9.8 m/s²")],
)
def test_units_equal_themselves(gold, text):
    for given_text in (text, f"Answer: {text}", rf"\boxed{{{text}}}"):
        assert maths.equal(gold, given_text)
    assert maths.canonical(f"Answer: {gold}") == maths.canonical(f"Answer: {text}")


@pytest.mark.parametrize(
    "gold",
    [
        ".",
        "$",
        "$$",
        r"\text{}",
        r"\boxed{}",
        "",
        " ",
        "{}",
        r"\,",
        r"\left.\right.",
        r"\mathrm{ }",
        ",",
        ":",
    ],
)
def test_nothing_equals_a_gold_answer_that_holds_nothing(gold):
    for text in ("", ".", "$", gold, "Answer:", r"\boxed{}", "Answer: .", "0", "no idea"):
        assert not maths.equal(gold, text), text


# -- votes


def test_votes_fold_what_checks_fold():
    """All but a stated few: what one side leaves out, decimals of six to nine digits beside an irrational
    number, and lists without brackets.
    """
    apart = [
        pair
        for pair in texts(True)
        if verifier.equal(*pair) and votes.canonical(pair[0]) != votes.canonical(pair[1])
    ]
    assert len(apart) <= 40, apart
    together = [
        pair for pair in texts(False) if votes.canonical(pair[0]) == votes.canonical(pair[1]) is not None
    ]
    assert len(together) <= 20, together


@pytest.mark.parametrize(
    "text, found",
    [
        ("1,000", "1000"),
        ("0.333333", "1/3"),
        ("50%", "1/2"),
        ("120 cm", "6/5 m"),
        ("1.2 m", "6/5 m"),
        ("$18", "18"),
        (r"\sqrt8", "2.828427125"),
        ("2, 1", "{1, 2}"),
        ("(2, 1)", "(2, 1)"),
        ("x^2-1", "x**2 - 1"),
        ("(x-1)(x+1)", "x**2 - 1"),
        ("b", "B"),
        ("Paris", "paris"),
        ("", None),
        ("x > 3", "(3, infinity)"),
        ("2x > 6", "(3, infinity)"),
        ("July 4, 1776", "date 1776 7 4"),
        ("3 pm", "time 15 0 0"),
        ("4:6", "2/3"),
    ],
)
def test_one_text_for_all_forms(text, found):
    assert votes.canonical(text) == found


# -- anything a model may write


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet=r"0123456789.,+-*/^_=<>(){}[]|\$%!:;'xyzaei πm°²½ " + "\n", max_size=40))
def test_any_text_is_read_and_equals_itself_or_nothing(text):
    assert verifier.equal(text, text) == (verifier.read(text).kind != "nothing")
    votes.canonical(text)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 900,
        "{" * 900,
        "|" * 900,
        "-" * 900,
        r"\sqrt" * 190,
        "1+" * 400 + "1",
        "x^" * 400 + "x",
        "9^{9^{9^9}}",
        "x!" * 300,
        r"\frac{" * 180,
        "1,000" * 180,
        "a " * 450,
        "1 2/" * 200,
        "(x+y+z)^{30}",
        "10^{10^{10}}+1",
        "((((x+1)^{30}+1)^{30}+1)^{30}+1)^{30}",
        r"\binom{10^9}{10^8}",
        "1e999999999",
        "2:" * 400,
        "x=" * 400,
    ],
)
def test_hostile_answers_cost_little(text):
    began = time.process_time()
    verifier.equal("x^2 + 7", text)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "gold, text, right",
    [
        ("4 blue balls", "There are 4 red balls in the box, I am sure.", False),
        ("12 cm", "The rod must then be 12 m long, I am sure.", False),
        ("4", "There are 4 red balls in the box, I am sure.", True),
        ("12 cm", "Answer: 12", True),
        ("12 cm", "12 cm", True),
        ("12", "It may be 10. It may be 12.", False),
        ("Paris", "Paris", True),
        ("", "", False),
    ],
)
def test_a_number_in_a_sentence_answers_only_what_has_no_unit(gold, text, right):
    """What stands beside a number in a sentence is not read, so it may be of anything."""
    assert maths.equal(gold, text) == right
