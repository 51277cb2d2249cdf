"""Tasks: disjoint splits, exact answers, prompts that never show an exam's problem; and turns."""

from __future__ import annotations

from importlib import import_module
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surpass.answers import final_answer
from surpass.engines import ScriptedEngine
from surpass.errors import SurpassError
from surpass.models import Models
from surpass.rewards import check, vote
from surpass.searches import samples
from surpass.searches.round import search_all
from surpass.tasks import arithmetic, reasoning_gym
from surpass.tasks.arithmetic import worked
from surpass.tasks.splits import SHARES, split_of
from surpass.types import DONE, INVALID, Problem, Turn

CHAIN = {"min_terms": 3, "max_terms": 3, "min_digits": 1, "max_digits": 1}


@pytest.mark.parametrize(
    "make", [arithmetic, lambda: reasoning_gym("chain_sum", CHAIN)], ids=["arithmetic", "reasoning_gym"]
)
def test_splits_are_disjoint_repeat_and_show_no_example(make):
    task = make()
    seen = {split: list(islice(task.problems(split, 3), 150)) for split in SHARES}
    ids = {split: {p.id for p in problems} for split, problems in seen.items()}
    assert all(len(found) == 150 for found in ids.values()), "no repeats"
    assert not ids["train"] & ids["test"] and not ids["train"] & ids["gate"] and not ids["gate"] & ids["test"]
    for split, problems in seen.items():
        assert all(split_of(p.id) == split for p in problems)
        assert [p.id for p in islice(task.problems(split, 3), 20)] == [p.id for p in problems[:20]]
        assert [p.id for p in islice(task.problems(split, 4), 20)] != [p.id for p in problems[:20]]
        for p in problems:
            shown = {turn["content"] for turn in p.prompt[:-1]}
            assert p.prompt[-1]["content"] not in shown
            assert [turn["role"] for turn in p.prompt] == ["user", "assistant"] * 3 + ["user"]


def test_the_demo_task_has_about_four_thousand_problems():
    """Three digits 0 to 9 and two signs: at most 10^3 x 4. Counting them by drawing finds nearly all."""
    task = reasoning_gym("chain_sum", CHAIN)
    found = {split: len(list(task.problems(split, 0))) for split in SHARES}
    assert 3900 <= sum(found.values()) <= 4000
    assert found["test"] >= 256 and found["gate"] >= 96


@given(st.lists(st.integers(0, 99), min_size=2, max_size=6), st.data())
def test_worked_solutions_are_exact(numbers, data):
    signs = [data.draw(st.sampled_from("+-")) for _ in numbers[1:]]
    expression = str(numbers[0]) + "".join(f" {s} {n}" for s, n in zip(signs, numbers[1:], strict=True))
    solution = worked(expression)
    assert final_answer(solution) == str(eval(expression))  # the expression is ours: digits and signs
    assert solution.count("\n") == len(numbers) - 1
    for line in solution.split("\n")[:-1]:
        left, right = line.split(" = ")
        assert eval(left) == int(right)


def test_first_wrong_step_of_arithmetic():
    task = arithmetic()
    problem = next(task.problems("train", 0))
    right = worked(problem.meta["expression"])
    assert task.first_wrong_step(problem, right) is None
    lines = right.split("\n")
    lines[1] = lines[1].replace("=", "= 9")
    assert task.first_wrong_step(problem, "\n".join(lines)) == 1


@pytest.mark.parametrize(
    "text, answer",
    [
        ("Answer: 4", "4"),
        ("x\nanswer: -7.\n", "-7"),
        ("The answer is: 3 apples", "3 apples"),
        ("Answer: 1\nAnswer: 2", "2"),
        ("nothing", None),
        ("", None),
    ],
)
def test_final_answer(text, answer):
    assert final_answer(text) == answer


def test_reasoning_gyms_own_scorer_is_used():
    task = reasoning_gym("chain_sum", CHAIN)
    models = Models(policy=ScriptedEngine(lambda text, key: ""))
    for problem in islice(task.problems("train", 0), 20):
        right = problem.answer["answer"]
        assert models.run(task.check(models, problem, f"so\nAnswer: {right}")) == 1
        assert models.run(task.check(models, problem, f"Answer: {int(right) + 1}")) < 1
        assert models.run(task.check(models, problem, right)) == 0, "an answer that is not stated"


def test_curated_sets_make_problems():
    curated = import_module("surpass.tasks.reasoning_gym").CURATED
    models = Models(policy=ScriptedEngine(lambda text, key: ""))
    for name, parameters in curated.items():
        task = reasoning_gym(name, parameters)
        problem = next(task.problems("train", 0))
        assert task._maker.score_answer(problem.answer["answer"], problem.answer) == 1
        assert len(list(islice(task.problems("gate", 0), 64))) == 64, (
            f"{name} has too few problems for an exam"
        )
        for junk in ("1 ∘ 3", "×", "{", "nan", "[1, ", "yes no", "1/0", "-" * 300):
            assert models.run(task.check(models, problem, f"Answer: {junk}")) < 1, (
                "a scorer that cannot read an answer gives nothing"
            )


def test_other_data_sets_work_and_wrong_names_are_helped():
    problem = next(reasoning_gym("leg_counting").problems("test", 0))
    assert problem.prompt[1]["content"].startswith("Answer: ")
    with pytest.raises(SurpassError, match="chain_sum"):
        reasoning_gym("chain_sums")
    with pytest.raises(SurpassError, match=r"could not make a problem with.*number of weights"):
        next(reasoning_gym("simple_equations", {"operators": ["+", "-"]}).problems("test", 0))
    with pytest.raises(SurpassError, match="refused its parameters"):
        reasoning_gym("chain_sum", {"min_term": 3})
    with pytest.raises(SurpassError, match="terms >= 2"):
        arithmetic(terms=1)


class guess:
    """Three turns: the task says higher or lower; a turn that is no number is illegal."""

    players, branches = ("policy",), True

    async def start(self, models, problem):
        return Turn({"asked": 0}, {"policy": "guess"}, "policy")

    async def step(self, models, state, text):
        state = {"asked": state["asked"] + 1}
        if not text.isdigit():
            return Turn(state, valid=False)
        if int(text) == 7:
            return Turn(state, reward={"policy": 0.5})
        return Turn(state, {"policy": "higher" if int(text) < 7 else "lower"}, "policy", {"policy": 0.1})

    async def check(self, models, problem, text):
        return float(text == "7")


def test_turns_are_played_to_the_end_and_paid():
    replies = {"guess": "3", "higher": "9", "lower": "7"}
    models = Models(
        policy=ScriptedEngine(lambda text, key: replies[text.strip().split("\n")[-2].split(": ")[-1]])
    )
    (tree,) = models.run(search_all(samples(1, turns=5), models, guess(), [Problem("p", "guess")], 0))
    (leaf,) = tree.leaves()
    assert [tree.author[i] for i in tree.path(leaf)] == ["task", "policy", "task", "policy", "task", "policy"]
    assert tree.state[leaf] == {"asked": 3} and tree.state[1] == {"asked": 1}
    (column,) = models.run(check()(models, guess(), [tree]))
    assert column.values.tolist() == pytest.approx([1 + 0.1 + 0.1 + 0.5])


def test_illegal_moves_and_too_many_turns_are_marked():
    models = Models(policy=ScriptedEngine(lambda text, key: "what?"))
    (tree,) = models.run(search_all(samples(1), models, guess(), [Problem("p", "guess")], 0))
    assert tree.stop[tree.leaves()[0]] == INVALID
    models = Models(policy=ScriptedEngine(lambda text, key: "1"))
    (tree,) = models.run(search_all(samples(1, turns=2), models, guess(), [Problem("p", "guess")], 0))
    assert tree.stop[tree.leaves()[0]] == INVALID and len(tree) == 4


def test_votes_count_equal_answers():
    models = Models(
        policy=ScriptedEngine(lambda text, key: f"Answer: {[4, 4, 5][key % 3]}" if key % 4 else "no idea")
    )
    (tree,) = models.run(
        search_all(samples(12), models, arithmetic(), [next(arithmetic().problems("train", 0))], 1)
    )
    (column,) = models.run(vote()(models, arithmetic(), [tree]))
    answers = [final_answer(models.text("policy", tree, leaf)) for leaf in tree.leaves()]
    for answer, share in zip(answers, column.values, strict=True):
        assert (share != share) if answer is None else share == pytest.approx(answers.count(answer) / 12)
    assert set(tree.stop[tree.leaves()]) == {DONE}


def test_reworded_sums_have_the_same_value_and_another_text():
    task, changed = arithmetic(terms=4, operators="+-*", shots=1), 0
    for problem in islice(task.problems("train", 3), 60):
        other = task.reworded(problem, 5)
        if other is None:
            continue
        assert other[:-1] == problem.prompt[:-1]
        text = other[-1]["content"].removesuffix(" =")
        assert text != problem.meta["expression"] and str(eval(text)) == problem.answer
        changed += 1
    assert changed > 50
