"""Whatever a model writes, every task judges it: a finite value, no exception, soon. `SURPASS_FUZZ` tries
more.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import re
import signal
import time

import pytest

from attempts import FULL, MARKS, nasty, sql
from surpass.errors import SurpassError
from surpass.judging import answer_of, value_of
from surpass.parts import shown
from surpass.tasks import data, question, reasoning_gym, suite
from surpass.tasks.reasoning_gym import evaluates
from surpass.types import Problem, fold

TIMES = int(os.environ.get("SURPASS_FUZZ", "1"))
SECONDS = 2.0  # of processor time for one attempt
SUITE = suite()
FIRST: dict[str, Problem] = {}
for problem in SUITE.problems("test", 0):
    FIRST.setdefault(problem.meta["task"], problem)
    if len(FIRST) == len(SUITE.parts):
        break


async def judged(task, problem: Problem, text: str) -> float:
    """What an attempt is worth after it was played, as a vote and a check read it."""
    turn = await task.start(None, problem)
    await task.step(None, turn.state, text)
    final = task.final_answer(text) if hasattr(task, "final_answer") else None
    assert final is None or isinstance(final, str)
    return await value_of(task, None, problem, text)


def soon(name: str, task, problem: Problem, text: str) -> float:
    """Its value, got within the time."""

    def late(*_):
        raise TimeoutError(name)

    before, began = signal.signal(signal.SIGALRM, late), time.process_time()
    signal.setitimer(signal.ITIMER_REAL, 20)
    try:
        value = asyncio.run(judged(task, problem, text))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.process_time() - began < SECONDS, name
    return value


def wrapped(name: str, text: str, times: int) -> list[str]:
    """The text bare and in some of the marks that an answer may have."""
    return [
        text,
        *(mark.format(text) for mark in random.Random(fold(0, name)).sample(MARKS, min(times, len(MARKS)))),
    ]


@pytest.mark.parametrize("name", SUITE.parts)
def test_every_task_of_the_suite_judges_any_attempt(name):
    task, problem = SUITE.parts[name], FIRST[name]
    table = next(iter(problem.answer["tables"])) if name == "sql" else "x"
    for what, text in nasty().items():
        for written in wrapped(what, text.replace("{t}", table), TIMES):
            value = soon(f"{name}: {what}", task, problem, written)
            # games and rooms are paid on the way: nan, where a check has nothing to add
            assert math.isfinite(value) or (math.isnan(value) and name in ("kuhn", "tictactoe", "rooms")), (
                what
            )


def test_nothing_but_the_shown_tables_is_read_and_nothing_is_written(tmp_path):
    task, problem = SUITE.parts["sql"], FIRST["sql"]
    written = tmp_path / "was-here"
    for what, text in sql().items():
        statement = text.replace("{t}", next(iter(problem.answer["tables"]))).replace(
            "/tmp/surpass-was-here", str(written)
        )
        assert soon(what, task, problem, statement) < 0.3, (
            "a database answers with the rows it was asked for, or not at all"
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["math", "text", "question", "reasoning_gym"])
def test_data_of_ones_own_is_judged_whatever_is_written(name, tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_text('{"prompt": "What is six times seven?", "answer": "42"}\n')
    made = {"question": lambda: question("What?"), "reasoning_gym": lambda: reasoning_gym("gcd")}
    task = made.get(name, lambda: data(str(file), compare=name))()
    split = "train" if name in ("math", "text") else "test"
    problem, rng = next(task.problems(split, 0)), random.Random(0)
    for what, text in nasty().items():
        short = text[:240] + text[-240:]  # so long that it is read as mathematics
        for written in (
            (text, short, f"Answer: {short}") if FULL else (rng.choice((text, short, f"Answer: {short}")),)
        ):
            value = soon(what, task, problem, written)
            right = name == "reasoning_gym"  # the answer is 1, which some of them say
            assert 0 <= value <= right or (value != value and name == "question"), what


PROGRAMS = [
    "__import__('os').system('touch {f}')",
    "[__import__('os').system('touch {f}')]",
    'S(\'__import__("os").system("touch {f}")\')',
    "(lambda: open('{f}', 'w'))()",
    "x.func.__globals__",
    "sympify('x')",
    "24 # 1 2 3 4",
    "open('{f}', 'w')",
    "exec('x')",
    "''.join(open('{f}', 'w').name)",
    "lambdify(x, 'open')",
]


@pytest.mark.parametrize(
    "name",
    [
        "string_insertion",
        "spiral_matrix",
        "binary_matrix",
        "n_queens",
        "countdown",
        "puzzle24",
        "simple_integration",
        "intermediate_integration",
        "polynomial_multiplication",
    ],
)
def test_a_scorer_that_evaluates_answers_runs_none_of_them(name, tmp_path):
    task = reasoning_gym(name)
    problem = next(task.problems("test", 0))
    for program in PROGRAMS:
        for text in (program, program.replace("'", '"')):
            assert asyncio.run(task.check(None, problem, f"Answer: {text.format(f=tmp_path / 'x')}")) < 0.1, (
                program
            )
    assert not list(tmp_path.iterdir())


def test_every_scorer_that_evaluates_answers_is_known():
    import inspect

    from reasoning_gym.factory import DATASETS

    for name in DATASETS:
        source = inspect.getsource(DATASETS[name][0].score_answer)
        runs = re.search(r"\b(eval|exec|compile|sympify|parse_expr|lambdify)\(", source)
        module = inspect.getmodule(DATASETS[name][0])
        assert not runs or evaluates(name) or module.__dict__.get("eval") or 'entry["answer"]' in source, name


@pytest.mark.parametrize(
    "name", ["string_insertion", "spiral_matrix", "countdown", "puzzle24", "simple_integration"]
)
def test_a_scorer_that_evaluates_answers_knows_a_right_one(name):
    task = reasoning_gym(name)
    problem = next(task.problems("test", 0))
    assert asyncio.run(task.check(None, problem, f"Answer: {problem.answer['answer']}")) == 1.0


ERRORS = [
    RecursionError(),
    MemoryError(),
    OverflowError(),
    ZeroDivisionError(),
    ValueError("4300 digits"),
    UnicodeError(),
    re.error("x"),
    KeyError("x"),
    TypeError(),
]


def raising(error: Exception, module: str):
    """A task that cannot read any attempt: surpass's own or a user's, by the module that its methods are
    of.
    """

    class Raises:
        async def check(self, models, problem, text):
            raise error

        def final_answer(self, text):
            raise error

    Raises.check.__module__ = Raises.final_answer.__module__ = module
    return Raises()


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_what_a_task_of_our_own_cannot_read_is_wrong_and_ends_nothing(error):
    task, problem = raising(error, "surpass.tasks.new"), Problem("x", "x", "x")
    with pytest.warns(UserWarning, match="counts as wrong"):
        assert asyncio.run(value_of(task, None, problem, "(")) == 0.0
    with pytest.warns(UserWarning, match="counts as wrong"):
        assert answer_of(shown(task, None), "(") is None


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_what_a_users_own_check_raises_is_heard(error):
    for module in ("mytask", "surpass.tasks.rewarded"):  # the latter calls a user's reward
        task = raising(error, module)
        with pytest.raises(type(error)):
            asyncio.run(value_of(task, None, Problem("x", "x", "x"), "("))
        with pytest.raises(type(error)):
            answer_of(task, "(")


@pytest.mark.parametrize(
    "error", [SurpassError("no sandbox"), OSError("disk full")], ids=lambda error: type(error).__name__
)
def test_what_is_the_machines_fault_is_heard(error):
    with pytest.raises(type(error)):
        asyncio.run(value_of(raising(error, "surpass.tasks.new"), None, Problem("x", "x", "x"), "("))
