"""Instructions: the checkers against a judge that reads the prompt alone, right and wrong texts, exact values
of unfinished ones.
"""

from __future__ import annotations

import asyncio
import copy
import json
import random
import re
import time
from itertools import islice, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surpass.errors import SurpassError
from surpass.tasks.constraints import FAMILIES, WORDS, read
from surpass.tasks.instructions import compose, instructions
from surpass.tasks.splits import SHARES
from surpass.types import Problem

TASKS = {
    "default": instructions(),
    "one": instructions(constraints=1, fewest=1),
    "five": instructions(constraints=5, fewest=5),
    "many": instructions(constraints=7, fewest=6, words=12),
    "tiny": instructions(constraints=2, fewest=1, words=2),
}
POOL = {name: list(islice(task.problems("train", 5), 200)) for name, task in TASKS.items()}
ALL = [(TASKS[name], problem) for name, problems in POOL.items() for problem in problems]


def judge(prompt: str, text: str) -> list[bool]:
    """Which sentences of the prompt a text obeys, read off the prompt with regular expressions."""
    while text.endswith("\n"):
        text = text[:-1]
    marks = re.escape("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
    words = [w for w in (re.sub(f"^[{marks}]+|[{marks}]+$", "", part) for part in text.split()) if w]
    low = [w.lower() for w in words]
    full = [any(re.sub(f"[{marks}]", "", part) for part in line.split()) for line in text.split("\n")]
    line = "".join(f"{w} " for w in low)
    obeys = {
        "Write": lambda number: len(words) == number,
        "Use exactly": lambda number: len(full) == number and all(full),
        "Make a list": lambda number, dash: (
            len(full) == number and all(full) and all(x[:2] == dash for x in text.split("\n"))
        ),
        "Start": lambda word: low[0] == word,
        "Include": lambda word: word in low,
        "Say": lambda number, word: sum(w == word for w in low) == number,
        'Use "': lambda one, two: re.search(rf"^(?:(?!{two} )\S+ )*{one} (?:\S+ )*{two} ", line) is not None,
        "Put": lambda: low == sorted(low),
        "Do not repeat": lambda: not any(w in low[:i] for i, w in enumerate(low)),
        "Do not use": lambda letter: not re.search(letter, text, re.IGNORECASE),
        "Use only words": lambda number: {len(w) for w in words} == {number} and "".join(words).isalpha(),
        "Use only lower": lambda: all(not c.isupper() for c in text),
        "Use only upper": lambda: all(not c.islower() for c in text),
        "End": lambda mark: text[-1] == mark,
    }
    sentences = [sentence.strip() for sentence in re.findall(r'(?:"[^"]*"|[^".])+\.', prompt)]
    out = []
    for sentence in sentences[sentences[0] == "Write words." :]:
        (found,) = [check for begins, check in obeys.items() if sentence.startswith(begins)]
        out.append(
            bool(words) and found(*map(int, re.findall(r"\d+", sentence)), *re.findall('"([^"]*)"', sentence))
        )
    return out


def value(task, problem, text):
    return asyncio.run(task.check(None, problem, text))


def test_the_oracle_is_right_by_start_step_and_the_judge():
    for i, (task, problem) in enumerate(ALL):
        turn = asyncio.run(task.start(None, problem))
        assert turn.say == {"policy": problem.prompt} and turn.player == "policy"
        for seed in range(2):
            text = task.oracle.act(problem, turn.state, random.Random(seed * 10000 + i))
            assert all(judge(problem.prompt, text)), (problem.prompt, text)
            assert task.broken(problem, text) == [] and value(task, problem, text + "\n\n") == 1
            end = asyncio.run(task.step(None, turn.state, text))
            assert end.player is None and not end.reward
            assert 0 < len(text) <= 90 and set(text) <= set(map(chr, range(32, 127))) | {"\n"}
            assert len(text.split()) <= task.words + text.count("- "), "the words knob is the largest count"


def test_texts_differ_from_one_attempt_to_the_next():
    task, problem = TASKS["default"], POOL["default"][0]
    assert len({task.oracle.act(problem, {}, random.Random(i)) for i in range(20)}) > 5


def test_slips_are_near_misses_in_every_family():
    missed = dict.fromkeys(FAMILIES, 0)
    single = 0
    for i, (task, problem) in enumerate(ALL):
        text = task.oracle.slip(problem, {}, random.Random(i))
        verdicts = judge(problem.prompt, text)
        assert text and not all(verdicts), (problem.prompt, text)
        assert value(task, problem, text) == verdicts.count(True) / len(verdicts) / 2
        single += verdicts.count(False) == 1
        for name in task.broken(problem, text):
            missed[name] += 1
    assert single > 0.9 * len(ALL), "mostly one constraint is broken"
    assert min(missed.values()) >= 10, missed


@pytest.mark.parametrize(
    "spec, right, wrong",
    [
        (["words", 3], "cat, dog - sun", "cat,dog sun"),
        (["lines", 2], "cat\ndog\n", "cat\n\ndog"),
        (["lines", 2], "cat\ndog", "cat\n!"),
        (["list", 2], "- cat\n- dog", "- cat\n-dog"),
        (["list", 2], "- cat\n- dog", "- cat\n- "),
        (["start", "cat"], "- Cat dog", "dog cat"),
        (["include", "cat"], 'the "Cat".', "cats"),
        (["times", "cat", 2], "cat dog CAT", "cat cat cat"),
        (["order", "red", "blue"], "red blue red", "blue red blue"),
        (["order", "red", "blue"], "red red blue", "red"),
        (["sorted"], "ant Bed bed cat", "bed ant"),
        (["distinct"], "cat cats", "cat Cat"),
        (["avoid", "e"], "cat", "RED"),
        (["length", 3], "cat, dog!", "cat doge"),
        (["length", 3], "cat", "123"),
        (["case", "lower"], "cat dog", "Cat dog"),
        (["case", "upper"], "CAT DOG", "CAT dOG"),
        (["end", "!"], "cat!\n", "cat! "),
    ],
)
def test_every_checker_by_hand(spec, right, wrong):
    task, problem = TASKS["one"], Problem("p", "", [spec])
    assert task.broken(problem, right) == [] and value(task, problem, right) == 1
    assert task.broken(problem, wrong) == [spec[0]] and value(task, problem, wrong) == 0


def test_half_the_share_is_paid_and_nothing_for_no_word():
    task = TASKS["default"]
    problem = Problem("p", "", [["words", 2], ["sorted"], ["end", "!"], ["avoid", "e"]])
    assert [
        value(task, problem, text) for text in ("cat dog!", "cat dog", "dog cat", "red cow", "", "!")
    ] == [1, 0.375, 0.25, 0.125, 0, 0]


PIECES = st.sampled_from(
    [*WORDS, "Cat", "RED", "- ", "-", " ", "\n", "\n- ", "!", "?", ".", "cats", "a", "\t", "7"]
)


@settings(max_examples=400, deadline=None)
@given(
    st.integers(0, len(ALL) - 1),
    st.one_of(st.lists(PIECES, max_size=14).map(" ".join), st.lists(PIECES, max_size=14).map("".join)),
)
def test_checkers_agree_with_the_judge(which, text):
    task, problem = ALL[which]
    verdicts = judge(problem.prompt, text)
    families = problem.meta["families"]
    assert task.broken(problem, text) == [
        name for name, fine in zip(families, verdicts, strict=True) if not fine
    ]


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(ALL) - 1), st.text())
def test_junk_never_raises(which, text):
    task, problem = ALL[which]
    assert 0 <= value(task, problem, text) <= 1
    assert asyncio.run(task.step(None, {}, text)).player is None
    assert task.oracle.value(problem, {}, text) in (0, 1) or text


def test_huge_and_odd_texts_are_judged_and_never_right():
    task = TASKS["default"]
    for text in (
        "cat " * 50_000,
        "\n" * 50_000,
        "!" * 50_000,
        "\x00\x0b\x1c\u2028\r\n",
        "\ud800",
        "\u0130" * 9,
    ):
        for problem in POOL["default"][:15]:
            assert value(task, problem, text) < 1
            assert not task.oracle.value(problem, {}, text) > 1


def continuations(problem, words):
    """Nothing, or up to `words` words of a small choice in every layout, in lines below what stands
    already.
    """
    named = [arg for _, *args in problem.answer for arg in args if arg in WORDS]
    choice = [*dict.fromkeys([*named, "ant", "cup", "wolf", "water"])][:6]
    mark = next((args[0] for name, *args in problem.answer if name == "end"), "")
    upper = ["case", "upper"] in problem.answer
    bullet = "- " if "list" in problem.meta["families"] else ""
    yield ""
    for count in range(words + 1):
        for picked in product(choice, repeat=count):
            for gaps in product((" ", "\n" + bullet), repeat=max(count - 1, 0)):
                text = "".join(word + gap for word, gap in zip(picked, [*gaps, ""], strict=False))
                yield "\n" + bullet + (text.upper() if upper else text) + mark


def test_values_of_unfinished_texts_against_brute_force():
    rng = random.Random(3)
    counts = {0.0: 0, 1.0: 0}
    lost_right = 0
    for task, problem in ALL[::4]:
        whole = rng.choice([task.oracle.act, task.oracle.slip])(problem, {}, rng)
        text = rng.choice(
            [whole, "\n".join(whole.split("\n")[:-1]) or whole, whole.rpartition(" ")[0] or whole]
        )
        worth = task.oracle.value(problem, {}, text)
        found = any(all(judge(problem.prompt, text + more)) for more in continuations(problem, 2))
        if worth == 0:
            assert not found, (problem.prompt, text)
        if found:
            lost_right += worth != 1
        if worth == 1 and task.broken(problem, text):
            more = compose(problem.answer, task.words, random.Random(9), read(text))
            assert all(judge(problem.prompt, f"{text}\n{more}")), (problem.prompt, text, more)
        if worth == worth:
            counts[worth] += 1
    assert lost_right <= 3, "what can be saved is seen to be"
    assert min(counts.values()) >= 60, counts


@pytest.mark.parametrize(
    "specs, text, worth",
    [
        ([["words", 2]], "cat", 1),
        ([["words", 2]], "cat dog sun", 0),
        ([["words", 1], ["end", "!"]], "cat", 1),
        ([["avoid", "e"]], "red", 0),
        ([["order", "red", "blue"]], "blue", 0),
        ([["order", "red", "blue"]], "red", 1),
        ([["sorted"], ["words", 3]], "dog cat", 0),
        ([["sorted"], ["include", "ant"]], "bed", 0),
        ([["lines", 2]], "cat\ndog\nsun", 0),
        ([["lines", 2], ["words", 2]], "cat dog", 0),
        ([["list", 2]], "- cat\n", 1),
        ([["list", 2]], "cat", 0),
        ([["times", "cat", 2]], "cat cat cat", 0),
        ([["times", "cat", 2], ["words", 2]], "dog", 0),
        ([["case", "upper"]], "cat", 0),
        ([["sorted"], ["times", "cat", 2]], "cat", 1),
        ([["sorted"], ["include", "ant"], ["include", "cat"]], "ant", 1),
        ([["start", "cat"]], "dog", 0),
        ([["distinct"], ["words", 3]], "dog dog", 0),
        ([["length", 3], ["words", 2]], "frog", 0),
    ],
)
def test_values_by_hand(specs, text, worth):
    assert TASKS["default"].oracle.value(Problem("p", "", specs), {}, text) == worth


def test_what_only_other_words_could_save_is_not_known():
    oracle = TASKS["default"].oracle
    # one word of the inventory comes after "water"
    rare = Problem("p", "", [["words", 4], ["sorted"], ["distinct"]])
    assert oracle.value(rare, {}, "water") != oracle.value(rare, {}, "water")
    assert oracle.value(rare, {}, "water\nxenon yes zoo") == 1


def test_every_problem_is_worth_one_before_the_first_word():
    assert all(task.oracle.value(problem, {}) == 1 for task, problem in ALL)


def test_splits_are_disjoint_by_what_is_shown_and_large():
    task = TASKS["default"]
    seen = {split: list(islice(task.problems(split, 3), 600)) for split in SHARES}
    prompts = {split: {p.prompt for p in problems} for split, problems in seen.items()}
    assert all(len(found) == 600 for found in prompts.values()), "no repeats"
    assert (
        not prompts["train"] & prompts["test"]
        | prompts["train"] & prompts["gate"]
        | prompts["gate"] & prompts["test"]
    )
    other = {p.prompt for p in islice(task.problems("train", 4), 600)}
    assert not other & (prompts["test"] | prompts["gate"]) and other != prompts["train"]
    assert [p.id for p in islice(task.problems("test", 3), 50)] == [p.id for p in seen["test"][:50]]
    assert {name for p in seen["train"] for name in p.meta["families"]} == set(FAMILIES)
    assert {len(p.answer) for p in seen["train"]} == {2, 3}


def test_problems_survive_json_and_are_not_changed():
    for task, problem in ALL[::20]:
        before = copy.deepcopy(problem)
        again = Problem(
            problem.id,
            problem.prompt,
            json.loads(json.dumps(problem.answer)),
            json.loads(json.dumps(problem.meta)),
        )
        assert again == problem
        for do in (task.oracle.act, task.oracle.slip):
            assert do(problem, {}, random.Random(1)) == do(again, {}, random.Random(1))
        task.oracle.value(problem, {}, "cat\n")
        assert problem == before
    turn = asyncio.run(TASKS["default"].start(None, POOL["default"][0]))
    assert json.loads(json.dumps(turn.state)) == turn.state
    asyncio.run(TASKS["default"].step(None, turn.state, "cat"))
    assert turn.state == {}


def test_knobs_reach_from_one_constraint_to_many():
    assert {p.prompt for p in instructions(1, 1, 3, "words").problems("train", 0)} <= {
        "Write 2 words.",
        "Write 3 words.",
    }
    few = instructions(2, 2, 6, "words,avoid")
    assert all(p.meta["families"] == ["words", "avoid"] for p in few.problems("train", 0))
    assert {len(p.answer) for p in POOL["many"]} == {6, 7}


@pytest.mark.parametrize(
    "knobs, says",
    [
        ({"families": "words rhyme"}, "found 'rhyme'"),
        ({"fewest": 4}, "fewest <= constraints"),
        ({"words": 1}, "words from 2"),
        ({"families": ["words"]}, "separated by blanks"),
        ({"families": "lines list"}, "do not fit together"),
        ({"words": "6"}, "whole numbers"),
        (
            {"constraints": 5, "words": 2, "families": "words include times order start"},
            "do not fit together in 2 words",
        ),
    ],
)
def test_wrong_knobs_are_explained(knobs, says):
    with pytest.raises(SurpassError, match=says):
        instructions(**knobs)


def test_the_oracle_is_fast():
    task, problems = TASKS["five"], POOL["five"]
    began, rng = time.process_time(), random.Random(0)
    for problem in problems:
        task.oracle.act(problem, {}, rng)
    assert (time.process_time() - began) / len(problems) < 1e-3
