"""What an answer is: where a text states it, in which form it is compared, what are only thoughts, what
stands in fences.
"""

from __future__ import annotations

import asyncio
import json
import math
import time

import numpy as np
import pytest

import surpass
from sandboxes import missing
from surpass.answers import blocks, final_answer, folded, normal, of_gold, plain, said, stated
from surpass.engines import ScriptedEngine
from surpass.engines.bytes import ByteText
from surpass.methods.self_consistency import self_consistency
from surpass.models import Models
from surpass.rewards import check, duels, judge, preferred, vote
from surpass.searches import samples
from surpass.searches.round import search_all
from surpass.tasks import arithmetic, code, data, kgqa, reasoning_gym, rewarded, suite
from surpass.tasks.judge import said as verdict
from surpass.tasks.maths import equal
from surpass.tasks.question import question
from surpass.tasks.sql_sandbox import statement_of
from surpass.tasks.unit_tests import normal as normal_program
from surpass.tasks.unit_tests import passed, program
from surpass.types import Problem


def run(work):
    return asyncio.run(work)


# -- where an answer is stated

STATED = [
    ("Answer: 42", "42"),
    ("**Answer:** 42", "42"),
    ("Answer: **42**", "42"),
    ("Answer: $42$", "42"),
    (r"Answer: \boxed{42}", "42"),
    (r"\boxed{42}", "42"),
    ("<answer>42</answer>", "42"),
    ("The answer is Paris", "Paris"),
    ("The answer is Paris.", "Paris"),
    ("Final answer (42)", "42"),
    ("#### 42", "42"),
    ("so 3+4\n#### 1,234", "1,234"),
    ("Answer: 42\nIf you would like a longer answer: just ask.", "42"),
    ("Answer:42", "42"),
    ("Answer: 1 000", "1 000"),
    ("Answer: ½", "1/2"),
    ("Answer: x²", "x^2"),
    ("Answer: 2½", "2 1/2"),
    ("It may be 10. It may be 12.", None),
    ("6*7 = 42", "42"),
    ("that makes 42 in all", "42"),
    ("it is 1000", "1000"),
    ("no idea", None),
    (r"\boxed{", None),
    ("Answer:", None),
    ("", None),
    ("Answer: 1\nAnswer: 2", "2"),
    ("Answer: 42\nAnswer:", "42"),
    ("The answer is: 3 apples", "3 apples"),
    ("x\nanswer: -7.\n", "-7"),
    (r"\boxed{5} Answer: 6", "6"),
    ("Answer:\n\\boxed{6}", "6"),
    ("**Final Answer**\n\n$$42$$", "42"),
    ("## Answer\n42", "42"),
    ("Answer: 10\nor\nAnswer: 12", None),
    (r"\boxed{10} or \boxed{12}", "10, 12"),
    ("\\boxed{\n\\frac{1}{2}\n}", r"\frac{1}{2}"),
    (r"\boxed{\{1,2\}}", r"\{1,2\}"),
    (r"\boxed{\boxed{42}}", "42"),
    (r"\boxed{\text{Paris}}", "Paris"),
    (r"The final answer is $\boxed{42}$. I hope it is correct.", "42"),
    ("So the answer is 42 because 6*7 is 42.", "42"),
    ("Answer: Paris. It is the capital of France.", "Paris"),
    ("Answer: St. Petersburg in Russia now", "St. Petersburg in Russia now"),
    ("Answer: 42 (since 6 * 7 is 42)", "42"),
    ("Answer: 5 (mod 7)", "5 (mod 7)"),
    ('{"answer": 42}', "42"),
    ('```json\n{"reason": "x", "answer": "Paris"}\n```', "Paris"),
    ("答案：42", "42"),
    ("答案是：42。", "42"),
    ("【答案】42", "42"),
    ("Réponse : 42", "42"),
    ("Ответ: 42", "42"),
    ("The answer is not 41. It is 42", None),
    ("Answer: `42`", "42"),
    ('Answer: "Paris"', "Paris"),
    ("> **Answer:** 42", "42"),
    ("- Answer - 42", "42"),
    ("Answer → 42", "42"),
    ("Answer = 42", "42"),
    (r"\textbf{Answer:} 42", "42"),
    ("**Answer: 42**", "42"),
    ("***Answer:*** ***42***", "42"),
    ("__Answer:__ 42", "42"),
    ("Answer (in dollars): $42", "$42"),
    ("The answer to the question is: 42", "42"),
    ("Answer: x = 42", "x = 42"),
    ("Therefore, the final answer is:\n\n\\[ 42 \\]", "42"),
    ("Answer: ...", None),
    ("Answer: <answer>", None),
    ("5 + 3 = 8", "8"),
    ("I have 5 apples and buy 3: 5 + 3 = 8", "8"),
    ("I have 5 and buy 3. So I have 8.", "8"),
    ("I have 5 and buy 3. It may be 8.", None),
    ("3 + 4 = 7\n7 * 2 = 14", "14"),
    ("x + 1", "x + 1"),
    ("(3, 4]", "(3, 4]"),
    ("42 cm", "42 cm"),
    ("so 72, and then 24.", None),
    ("The answer is either 10 or 12.", None),
    ("Answer: 2**10", "2**10"),
    ("Answer: 5!", "5!"),
    ("Answer: (B)", "(B)"),
    ("Answer: B) Paris", "B) Paris"),
    ("[ANSWER]42[/ANSWER]", "42"),
    ("Answer : 42", "42"),
    ("Answer: 5. Wait, Answer: 6", "6"),
    ("2+2=4 Answer: 4", "4"),
    (r"<think>A first guess: Answer: 7</think> The result is \boxed{42}", "42"),
    (r"<think>perhaps \boxed{42}", None),
    ("Answer: 42\n\nNote: The answer is rounded.", "42"),
    ("hm <answer>\n42\n</answer>", "42"),
    ("<answer>The answer is 42.</answer>", "42"),
    ("Put it in <answer> tags.\nAnswer: 42", "42"),
    (r"Answer: \(42\)", "42"),
    ("Answer: ４２", "42"),
    ("Answer: ٤٢", "42"),
    ("Answer: 42 dollars", "42 dollars"),
    ("the correct option is (B)", "(B)"),
    (r"x is $\frac{3}{4}$ then", r"\frac{3}{4}"),
    (r"we get \frac34 now", None),
    ("Answer: - 7", "- 7"),
    ("ANSWER: 42", "42"),
    ("answer is 42", "42"),
    (r"\boxed 42", "42"),
    ("Let's compute.\n\n$6 \\times 7 = 42$\n\n**Final Answer:** $\\boxed{42}$", "42"),
    ("### Final Answer:\n\n**42**", "42"),
    ("Final Answer: The final answer is $42$. I hope it is correct.", "42"),
    ("The answer is (B).", "(B)"),
    ("The correct answer is B) Paris", "B) Paris"),
    ("**Answer**\n\n42", "42"),
    ("Answer:** 42", "42"),
    ("**Answer:\n42**", "42"),
    ("Answer: 42.0.", "42.0"),
    (r"So, the answer is $\frac{1}{2}$.", r"\frac{1}{2}"),
    (r"<answer> \boxed{42} </answer>", "42"),
    ('answer: "42"', "42"),
    ("Answer: 42\n\n---\nExplanation: six times seven.", "42"),
    ("My answer: 42", "42"),
    (r"Answer = \boxed{42}", "42"),
    ("\\[\n\\boxed{42}\n\\]", "42"),
    ("Answer: 42\r\nthanks\r\n", "42"),
    ("Answer\r\n42\r\n", "42"),
    ("The answer is **42**.", "42"),
    ("**The answer is 42**", "42"),
    ("The answer is 42\nThe answer is 42\nThe answer is 42", "42"),
    ("I think the answer might be 42.", "42"),
    ("The answer is 10 or the answer is 12.", None),
    ("Maybe the answer is 10, maybe the answer is 12.", None),
    ("Answer: 42 (option C)", "42"),
    ('{"reasoning": "The answer: 7", "answer": 42}', "42"),
    (r"Answer: $\text{Paris}$", "Paris"),
    ("answer:42", "42"),
    ("ANSWER IS 42", "42"),
    ("Final answer — 42", "42"),
    ("Answer: 42 ✅", "42"),
    ("🎯 Answer: 42", "42"),
    ("🟢 **Answer**: 42", "42"),
    ("(Answer: 42)", "42"),
    ('"Answer: 42"', "42"),
    ("The value of x is 42", "42"),
    ("x = 5 and y = 7", None),
    ("Thus, 2 + 2 = 4 and the answer is 4.", "4"),
    ("Answer:\t42", "42"),
    ("Answer: 42<|im_end|>", "42"),
    ("Answer: 42</s>", "42"),
    ("[Answer]: 42", "42"),
    ("[Final Answer] 42", "42"),
    ("The answer, therefore, is 42.", "42"),
    ("Is the answer 41? No. The answer is 42.", "42"),
    ("The answer to 6*7 is 42.", "42"),
    ("La réponse est 42.", "42"),
    ("Die Antwort lautet 42.", "42"),
    ("La respuesta es 42.", "42"),
    ("答案是42。", "42"),
    ("答えは42", "42"),
    ("Die Antwort: 42", "42"),
    ("Réponse finale : 42", "42"),
    ("Answer:\nLet's think step by step.\n\n6*7 = 42", "42"),
    ("Answer:\n\nParis\n", "Paris"),
    ("Answer:\n42\nBecause 6*7 is 42.", "42"),
    ("The temperature is -5.", "-5"),
    ("6 * 7 is 42", "42"),
    ("6*7 equals 42.", "42"),
    ("It is not 42.", None),
    ("42", "42"),
    ("**42**", "42"),
    ("$42$", "42"),
    ("`42`", "42"),
    ("```\n42\n```", "42"),
    ("I guess 10, or 12", None),
    ("between 10 and 12", None),
    ("10\n12", None),
    ("1. First\n2. Second", None),
    ("The result is 42.", "42"),
    ("She has $5.00 left.", "$5.00"),
    ("so the total is 1,234.", "1,234"),
    ("Answer: 1,234.50", "1,234.50"),
    ("Answer: 10/2 = 5", "10/2 = 5"),
    ("Answer:42 and Answer:42", "42"),
    ("The answer is x = 5.", "x = 5"),
    ("Answer:\n```python\n42\n```", "42"),
    (r"Answer: 7 \text{ cm}", r"7 \text{ cm}"),
    ("Answer: 5%", "5%"),
    ("The answer is 3.14.", "3.14"),
    ("The answer is 3. That is all we need to know", "3"),
    ("We know the answer: Paris", "Paris"),
    ("Answer: Yes, because it is even.", "Yes"),
    ("Answer: No", "No"),
    ("The final answer is 42\n\nIf you want a longer answer: ask me.", "42"),
    ("Answer: 42. Note: the answer is rounded", "42"),
    (r"\boxed{42} is the final answer.", "42"),
    (r"$\boxed{\text{(B)}}$", "(B)"),
    (r"\boxed{(3, 4]}", "(3, 4]"),
    (r"\boxed{3} and then \boxed{4}", "4"),
    (r"\boxed{3}, \boxed{4}", "3, 4"),
    ("Answer: ____", None),
    ("Answer: [your answer here]", None),
    ("**Answer:** **Paris**, the capital", "Paris, the capital"),
    ("<ANSWER>42</ANSWER>", "42"),
    ("<answer>42", "42"),
    ("answer\n======\n42", "42"),
    ("Final answer:42 km", "42 km"),
    ("The answer is: **B**", "B"),
    (r"Answer : $\dfrac{3}{4}$", r"\dfrac{3}{4}"),
    ("Answer: − 7", "- 7"),
    ("Answer: 3½", "3 1/2"),
    ("Answer: ²", "^2"),
    ("Ａｎｓｗｅｒ：４２", "42"),
    ("答案：４２", "42"),
    ("Answer: Ⅳ", "IV"),
    ("Answer: 1\u202f000", "1 000"),
    ("It may be 10. It may be 12. Answer: 12", "12"),
    ("Answer\u200b: 42", "42"),
]


@pytest.mark.parametrize("text, answer", STATED)
def test_where_a_text_states_its_answer(text, answer):
    assert stated(text) == answer


@pytest.mark.parametrize(
    "text, answer",
    [
        ("42", None),
        ("6*7 = 42", None),
        ("that makes 42 in all", None),
        ("Answer: 42", "42"),
        (r"so \boxed{42}", "42"),
        ("The answer is Paris.", "Paris"),
    ],
)
def test_a_task_that_asks_for_a_mark_gets_nothing_without_one(text, answer):
    assert final_answer(text) == answer == surpass.tasks.final_answer(text)


@pytest.mark.parametrize(
    "gold, answer",
    [
        ("42", "42"),
        ("9*8=72 boxes.\n#### 72", "72"),
        ("<think>#### 7</think>Add.\n#### 72", "72"),
        (r"So $\boxed{\frac{3}{4}}$.", r"\frac{3}{4}"),
        ("Paris", "Paris"),
        ("4 red balls", "4 red balls"),
        ("x = 5", "x = 5"),
        ("The answer = 3 halves.\n#### 1,234", "1,234"),
    ],
)
def test_the_answer_in_a_solution(gold, answer):
    assert of_gold(gold) == answer


@pytest.mark.parametrize(
    "text",
    [
        r"\boxed{" * 5000,
        "answer: " * 5000,
        "*" * 20_000 + "Answer: 4",
        "`" * 20_000,
        "~~~" * 7000,
        "Answer:" + " " * 30_000 + "x",
        "the answer to " * 5000,
        "1," * 10_000,
        "<think>" * 5000,
        "```\n" * 5000,
        "**a" * 5000,
        "[answer]" * 3000,
    ],
)
def test_long_nonsense_is_read_in_seconds(text):
    began = time.process_time()
    for read in (stated, normal, blocks, said):
        read(text)
    assert time.process_time() - began < 10


# -- one form


@pytest.mark.parametrize(
    "form, forms",
    [
        (
            "42",
            [
                "**42**",
                "$42$",
                r"\(42\)",
                r"\text{42}",
                "`42`",
                "42.",
                "42.0",
                "x = 42",
                "(42)",
                "42",
                "٤٢",
                '"42"',
                "+42",
                r"\boxed{42}"[7:-1],
            ],
        ),
        (
            "1000",
            [
                "1,000",
                "1 000",
                "1\u202f000",
                "1\xa0000",
                "1'000",
                "1_000",
                "1000.0",
                "$1000",
                "$1,000.00",
                r"\$1,000",
                r"1{,}000",
                r"1\,000",
                "1000 €",
                "1e3",
            ],
        ),
        ("1/2", ["0.5", "½", r"\frac12", r"\frac{1}{2}", r"\dfrac{1}{2}", ".5", "2/4", "1⁄2"]),
        ("-7", ["−7", "-7", "–7", "-7.0", "- 7", "$-7$"]),
        ("paris", ["Paris", "PARIS.", "**Paris**", r"\text{Paris}", '"Paris"', " Paris ", "Ｐａｒｉｓ"]),
        ("x^2", ["x²", "x^2", "$x^2$"]),
        ("b", ["(B)", "B", "b.", "**(B)**"]),
        ("0", ["-0", "0.00"]),
        ("1000000", ["1.000.000", "1,000,000", "10,00,000"]),
    ],
)
def test_one_form_for_all_ways_of_writing(form, forms):
    assert [normal(text) for text in forms] == [form] * len(forms)


@pytest.mark.parametrize(
    "one, other",
    [
        ("42", "41"),
        ("1,000", "1,001"),
        ("4 red balls", "4 blue balls"),
        ("12 cm", "12 m"),
        ("5%", "5"),
        ("1e-7", "2e-7"),
        ("-7", "7"),
        ("2 1/2", "3/2"),
        ("x^2", "x2"),
        ("1/2^99", "1/2^98"),
        ("(1,2)", "12"),
        ("10", "1 0"),
        ("2½", "21/2"),
        ("", "0"),
    ],
)
def test_what_differs_has_another_form(one, other):
    assert normal(one) != normal(other)


def test_text_is_compared_as_text_and_numbers_stay_as_written():
    assert plain("**1,000**") == "1,000" != plain("1000") and plain("Yes.") == plain(" yES ")
    assert folded("ｘ＝１") == "x=1" and folded("Answer: x²") == "Answer: x^2"


VOTES = {
    "bold": (
        [
            "**Answer:** 42",
            "Answer: **42**",
            "Answer: $42$",
            r"Answer: \boxed{42}",
            "Answer: 41",
            "Answer: 41",
        ],
        4,
    ),
    "comma": (
        ["Answer: 1,000", "Answer: 1000", "Answer: 1000.0", "Answer: $1000", "Answer: 999", "Answer: 999"],
        4,
    ),
    "kinds": (
        [
            "<answer>42</answer>",
            "The answer is 42.",
            "Final answer (42)",
            "#### 42",
            "Answer: 41",
            "Answer: ４２",
        ],
        5,
    ),
    "unicode": (
        [
            "Answer：１０００",
            "Answer: 1 000",
            "Answer: 1\u202f000",
            "<think>Answer: 7</think>Answer: 1000",
            "Answer: 7",
            "Answer: 7",
        ],
        4,
    ),
}


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"CASE {i}", "answer": "42"}) + "\n" for i in range(20)))
    return data(str(path))


@pytest.mark.parametrize("texts, most", VOTES.values(), ids=VOTES)
def test_votes_fold_what_checks_fold_in_every_task(rows, texts, most):
    for task in (
        question("What is 6*7?"),
        rows,
        arithmetic(),
        suite("arithmetic"),
        reasoning_gym("chain_sum"),
    ):
        said_ = iter(texts)
        models = Models(policy=ScriptedEngine(lambda text, key, said_=said_: next(said_)))
        problem = Problem("p", "What?", "42") if task is rows else next(task.problems("test", 0))
        (tree,) = models.run(search_all(samples(len(texts)), models, task, [problem], 1))
        (shares,) = models.run(vote()(models, task, [tree]))
        assert max(shares.values) == pytest.approx(most / len(texts)), type(task).__name__


@pytest.mark.parametrize(
    "text",
    [
        "**Answer:** 42",
        "Answer: **42**",
        "Answer: 42.0",
        r"\boxed{42}",
        "Final answer (42)",
        "<think>Answer: 7</think>Answer: 42",
    ],
)
def test_arithmetic_is_judged_by_what_is_stated(text):
    assert run(arithmetic().check(None, Problem("p", "?", "42"), text)) == 1
    assert run(arithmetic().check(None, Problem("p", "?", "7"), text)) == 0


@pytest.mark.parametrize(
    "gold, text",
    [
        ("42", "Answer: 42\nIf you would like a longer answer: just ask."),
        ("42", "Answer：４２"),
        ("1000", "Answer: 1 000"),
        ("0.5", "Answer: ½"),
        ("x^2", "Answer: x²"),
        ("42", "Final answer (42)"),
        ("42", "<answer>42</answer>"),
        ("Paris", "The answer is Paris"),
        ("42", r"<think>A first guess: Answer: 7</think> The result is \boxed{42}"),
        ("2 1/2", "Answer: 2½"),
    ],
)
def test_strangers_forms_are_right(rows, gold, text):
    assert run(rows.check(None, Problem("p", "?", gold), text)) == 1


@pytest.mark.parametrize(
    "gold, text",
    [
        ("12", "It may be 10. It may be 12."),
        ("12", "10 or 12"),
        ("12", "Answer: 10\nor\nAnswer: 12"),
        ("12", r"\boxed{10} or \boxed{12}"),
        ("12", "The answer is either 10 or 12."),
        ("42", r"<think>perhaps \boxed{42}"),
        ("7", r"<think>A first guess: Answer: 7</think> The result is \boxed{42}"),
        ("12", "10\n12"),
        ("42", "It is not 42."),
        ("41", "The answer is not 41. It is 42."),
    ],
)
def test_alternatives_denials_and_thoughts_are_wrong(rows, gold, text):
    assert run(rows.check(None, Problem("p", "?", gold), text)) == 0 and not equal(gold, text)


@pytest.mark.parametrize(
    "text, word",
    [
        ("<yes>", "yes"),
        ("**Yes**, it is", "yes"),
        ("Answer: no", "no"),
        ("<think>yes</think>No.", "no"),
        ("A", "a"),
        ("", ""),
    ],
)
def test_a_verdict_is_read_alike(text, word):
    assert verdict(text) == word


def test_a_name_is_compared_as_it_is_judged():
    task = kgqa()
    forms = ["Answer: Ada Lum", "**Answer:** ada lum.", "<answer>Ada Lum</answer>", "The answer is Ada  Lum."]
    assert {task.final_answer(text) for text in forms} == {"ada lum"}


# -- thoughts

THOUGHTS = [
    ("Answer: 42", "Answer: 42"),
    ("<think>7</think>42", "42"),
    ("<think>\n7\n</think>\n\n42", "42"),
    ("<thinking>7</thinking> 42", "42"),
    ("<thought>7</thought>42", "42"),
    ("<reasoning>7</reasoning><answer>42</answer>", "<answer>42</answer>"),
    ("<THINK>7</THINK>42", "42"),
    ("<think>perhaps 42", ""),
    ("42 <think>or 7", "42"),
    ("so 7\n</think>\n42", "42"),
    ("</think>42", "42"),
    ("<think>a</think>b<think>c</think>d", "bd"),
    ("<think>a <think> b</think>42", "42"),
    ("<think><think>a</think>7</think>42", "42"),
    ("[THINK]7[/THINK]42", "42"),
    ("◁think▷7◁/think▷42", "42"),
    ("<seed:think>7</seed:think>42", "42"),
    ("<|begin_of_thought|>7<|end_of_thought|>42", "42"),
    ("<|START_THINKING|>7<|END_THINKING|>42", "42"),
    ("<|inner_prefix|>7<|inner_suffix|>42", "42"),
    ("<|channel|>analysis<|message|>7<|end|><|start|>assistant<|channel|>final<|message|>42<|return|>", "42"),
    ("<|channel|>analysis<|message|>42", ""),
    (
        "<|channel|>analysis<|message|>7<|end|><|start|>assistant<|channel|>commentary to=functions.f "
        "<|constrain|>json<|message|>{}<|call|>",
        "",
    ),
    ("<|channel|>final<|message|>42", "42"),
    ("analysisWe need 7.assistantfinal42", "42"),
    ("analysisWe need 42", ""),
    ("analysis of 42", "analysis of 42"),
    ("Use `<think>` tags. Answer: 42", "Use `<think>` tags. Answer: 42"),
    ("<think>```\nx\n```</think>```\n42\n```", "```\n42\n```"),
    ("Here is my thought process: 7 Here is my response: 42", "42"),
    ('<think time="3">7</think>42', "42"),
    ("a < b and b > think", "a < b and b > think"),
]


@pytest.mark.parametrize("text, rest", THOUGHTS)
def test_what_is_said_is_what_is_not_thought(text, rest):
    assert said(text) == rest and said(said(text)) == rest


def test_a_template_may_begin_the_thought_and_name_its_own_marks():
    assert said("so 42", begun=True) == "" and said("so 7</think>42", begun=True) == "42"
    assert said("«7»42", marks=[("«", "»")]) == "42" and said("«42", marks=[("«", "»")]) == ""


def tree_of(task, problem, *texts, **roles):
    said_ = iter(texts)
    models = Models(policy=ScriptedEngine(lambda text, key: next(said_)), **roles)
    (tree,) = models.run(search_all(samples(len(texts)), models, task, [problem], 1))
    return models, tree


class own(surpass.Task):
    """A user's task that notes what it is given."""

    def __init__(self):
        self.seen = []

    def problems(self, split, seed):
        yield Problem("p", "6*7?", "42")

    def check(self, models, problem, text):
        self.seen.append(text)
        return "42" in text

    async def step(self, models, state, text):
        self.seen.append(text)
        return await super().step(models, state, text)

    def final_answer(self, text):
        self.seen.append(text)
        return text

    def prefer(self, models, problem, a, b):
        self.seen += [a, b]
        return 0.5


def test_no_reader_is_given_thoughts():
    task, shown = own(), []

    def judging(text, key):
        shown.append(text)
        return "<think>Score: 1</think>Score: 5"

    models, tree = tree_of(
        task,
        Problem("p", "6*7?", "42"),
        "<think>42</think>7",
        "42<think>7",
        "<think>42",
        judge=ScriptedEngine(judging),
    )
    values = models.run(check()(models, task, [tree]))[0].values
    assert values.tolist() == [0, 1, 0]
    models.run(vote()(models, task, [tree]))
    models.run(preferred()(models, task, [tree]))
    assert set(task.seen) == {"7", "42", ""}, "step, check, final_answer and prefer"
    scores = models.run(
        judge("Grade an answer: {question} {answer}", role="judge", n=1)(models, task, [tree])
    )[0].values
    assert scores.tolist() == [1, 1, 0], (
        "the judge's own thoughts are no verdict, and who only thinks says nothing"
    )
    assert len(shown) == 2 and not any("<think>" in text for text in shown)
    assert models.text("policy", tree, tree.leaves()[0]) == "<think>42</think>7", (
        "the tree keeps what was drawn"
    )


class Opening(ByteText):
    """A template that begins a thought where an answer is to begin."""

    def open(self, messages):
        return [*super().open(messages), *b"<think>\n"]

    def tell(self, message, last):
        return [*super().tell(message, last), *b"<think>\n"]


def test_a_thought_that_the_template_began_is_one():
    texts = iter(["so 42", "so 7</think>42", "hm 42"])
    engine = ScriptedEngine(lambda text, key: next(texts))
    engine.text = Opening()
    models, task = Models(policy=engine), own()
    (tree,) = models.run(search_all(samples(2), models, task, [Problem("p", "6*7?", "42")], 1))
    assert [models.said("policy", tree, leaf) for leaf in tree.leaves()] == ["", "42"]
    assert models.run(check()(models, task, [tree]))[0].values.tolist() == [0, 1]
    told = models.tell("policy", tree, tree.leaves()[1], "again")
    (new,) = models.run(models.generate("policy", tree, told))
    assert models.said("policy", tree, new) == "", "after the task's words, too"


def test_a_duel_shows_no_thoughts():
    shown = []

    class Duellist(ScriptedEngine):
        can = frozenset({"text", "tokens", "logprobs"})

        def serve(self, requests):
            for request in requests:
                shown.append(self.text.decode(request.context.tokens))
                yield request, np.zeros(2, np.float32)

    models, tree = tree_of(
        own(),
        Problem("p", "6*7?", "42"),
        "<think>7</think>42",
        "<think>42</think>7",
        judge=Duellist(lambda text, key: ""),
    )
    models.run(duels("{question} {a} or {b}", role="judge")(models, own(), [tree]))
    assert shown and not any("<think>" in text for text in shown)


def test_solve_answers_without_thoughts_and_shows_them():
    texts = iter(
        [
            "<think>A first guess: Answer: 7</think> **Answer:** 42",
            "<think>hm</think>Answer: $42$",
            "Answer: 7",
            "<think>Answer: 7",
        ]
    )
    found = surpass.solve(
        "6*7?", self_consistency(n=4, max_tokens=100), ScriptedEngine(lambda text, key: next(texts))
    )
    assert [attempt[1] for attempt in found.attempts] == ["42", "42", "7", None]
    assert found.answer == "**Answer:** 42" and found.attempts[0][0].startswith("<think>")


def test_a_call_in_a_thought_calls_nothing():
    task = kgqa()
    problem = next(task.problems("train", 0))
    _, tree = tree_of(task, problem, "<think>I could <call>search Ost</call></think>Answer: Ost")
    assert tree.state[tree.leaves()[0]]["said"] == "ost" and tree.state[tree.leaves()[0]]["seen"] == []


def test_a_function_written_for_trl_is_given_what_trl_gives(tmp_path):
    (tmp_path / "reward.py").write_text(
        "def f(completions, **kw):\n    return [float('</think>' in c) for c in completions]\n"
    )
    task = rewarded(own(), f"{tmp_path / 'reward.py'}:f")
    models, tree = tree_of(task, Problem("p", "6*7?", "42"), "<think>7</think>42", "42")
    assert models.run(check()(models, task, [tree]))[0].values.tolist() == [1, 0]


# -- programs

F = "```"
DOUBLE = "def f(x):\n    return 2 * x\n"
TESTS = {"function": "f", "calls": [[1], [2], [5]], "results": [2, 4, 10]}
PROGRAMS = {
    "plain": f"{F}python\n{DOUBLE}{F}",
    "no fence": DOUBLE,
    "no language": f"{F}\n{DOUBLE}{F}",
    "tilde": f"~~~python\n{DOUBLE}~~~",
    "unclosed": f"Here:\n{F}python\n{DOUBLE}",
    "use": f"{F}python\n{DOUBLE}{F}\n\nExample usage:\n{F}python\nprint(f(3))\n{F}",
    "output": f"{F}python\n{DOUBLE}{F}\nOutput:\n{F}\n6\n{F}",
    "json": f'{F}python\n{DOUBLE}{F}\nOutput:\n{F}json\n{{"x": 6}}\n{F}',
    "repl": f"{F}python\n{DOUBLE}{F}\n{F}\n>>> f(3)\n6\n{F}",
    "second": f"{F}python\ndef f(x):\n    return x\n{F}\nNo, better:\n{F}python\n{DOUBLE}{F}\n{F}python\nassert "  # noqa: E501
    f"f(2) == 4\n{F}",
    "crlf": f"{F}python\n{DOUBLE}{F}\nUse:\n{F}python\nprint(f(3))\n{F}\n".replace("\n", "\r\n"),
    "cr": f"{F}python\n{DOUBLE}{F}".replace("\n", "\r"),
    "helper before": f"{F}python\nimport math\ndef g(x):\n    return int(math.pow(2, 1)) * x\n{F}\nthen\n{F}python\ndef "  # noqa: E501
    f"f(x):\n    return g(x)\n{F}",
    "helper after": f"{F}python\ndef f(x):\n    return g(x)\n{F}\nwhere\n{F}python\ndef g(x):\n    return 2 * x\n{F}",  # noqa: E501
    "words around": f"Sure! Here it is:\n\n{DOUBLE}\nThis doubles x.",
    "only output fenced": f"Sure!\n{DOUBLE}\nOutput:\n{F}\n6\n{F}",
    "reads input": f"{F}python\n{DOUBLE}x = int(input())\nprint(f(x))\n{F}",
    "ends": f"{F}python\nimport sys\n{DOUBLE}sys.exit(0)\n{F}",
    "constant after": f"{F}python\ndef f(x):\n    return K * x\nK = 2\nprint(f(input()))\n{F}",
    "main": f"{F}python\n{DOUBLE}if __name__ == '__main__':\n    print(f(int(input())))\n{F}",
    "indented": f"1. Do:\n   {F}python\n   def f(x):\n       return 2 * x\n   {F}",
    "quoted": f"> {F}python\n> def f(x):\n>     return 2 * x\n> {F}",
    "lambda": f"{F}python\nf = lambda x: 2 * x\n{F}\n{F}python\nwith open('a') as f:\n    print(f)\n{F}",
    "one line": f"{F}python def f(x): return 2 * x{F}",
    "fence at the end of a line": f"{F}python\ndef f(x):\n    return 2 * x{F}",
    "four": f"{F}`python\n{DOUBLE}{F}`",
    "blank": f"{F} python\n{DOUBLE}{F}",
    "title": f'{F}python title="a.py"\n{DOUBLE}{F}',
    "after a mark": f"Answer: {F}python\n{DOUBLE}{F}",
    "docstring": f'{F}python\ndef f(x):\n    """Double.\n\n    >>> f(2)\n    4\n    """\n    return 2 * x\n{F}',  # noqa: E501
    "thought": f"<think>{F}python\ndef f(x): return 3\n{F}</think>{F}python\n{DOUBLE}{F}",
    "thought after": f"{F}python\n{DOUBLE}{F}\n<think>{F}python\ndef f(x): return 3\n{F}",
}


@pytest.mark.skipif(bool(missing()), reason=missing())
@pytest.mark.parametrize("text", PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_is_judged_by_its_function(text):
    assert run(passed(text, TESTS)) == 1
    assert (
        run(passed(text.replace("2 * x", "3 * x").replace("return K * x", "return 3"), TESTS)) < 1
        or "pow" in text
    )


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_the_code_task_reads_blocks_alike():
    task = code()
    problem = next(task.problems("test", 0))
    text = task.oracle.act(problem, {}, None) + f"\n\n{F}python\nprint(f([1]))\n{F}\nprints\n{F}\n[1]\n{F}"
    assert run(task.check(None, problem, text)) == 1
    assert task.final_answer(text) == task.final_answer(task.oracle.act(problem, {}, None)) is not None


def test_what_is_no_program_stays_as_it_is():
    assert program("I do not know", "f") == "I do not know" and program(f"{F}\n6\n{F}", "f") == "6\n"
    assert program(f"{F}python\ndef f(x:\n{F}", "f") == "def f(x:\n" and normal_program("hm hm") is None
    for bomb in ("(" * 9000, "[" * 150 + "]" * 150, "def f():" * 900, "\0", f"{F}\n" * 500):
        program(bomb, "f")


@pytest.mark.parametrize(
    "text",
    [
        "```sql\nSELECT 1\n```\ngives\n```\n1\n```",
        "```sql SELECT 1```",
        "~~~\r\nSELECT 1;\r\n~~~",
        "<think>SELECT 2</think>SELECT 1",
        "```sql\nSELECT 2\n```\nNo:\n```sql\n-- better\nSELECT 1\n```",
        "SELECT 1",
    ],
)
def test_a_statement_is_the_last_that_is_written(text):
    assert statement_of(text) == "SELECT 1"


def test_nan_is_still_not_judged():
    assert math.isnan(run(question("?").check(None, Problem("p", "?"), "Answer: 4")))


def test_a_letter_of_the_mark_is_no_closing_bracket():
    for text, answer in (
        ("Answer: A", "A"),
        ("Answer: BANANA", "BANANA"),
        ("(Answer: A)", "A"),
        ("'Answer: A'", "A"),
        (r"Answer: \mathbb{R}", r"\mathbb{R}"),
    ):
        assert final_answer(text) == answer, text
