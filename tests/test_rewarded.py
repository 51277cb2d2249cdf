"""A user's own reward: TRL's and verl's kinds, sync and async, one call for many checks, and sentences for
what goes wrong.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import threading
import time

import pytest

from surpass.engines import ScriptedEngine
from surpass.errors import RunBroken, SurpassError
from surpass.models import Models
from surpass.parts import Task, from_json, to_json
from surpass.rewards import check
from surpass.searches import samples
from surpass.searches.round import search_all
from surpass.tasks import arithmetic, data, rewarded
from surpass.types import Problem

CALLS = "calls = []\n"


@pytest.fixture
def sums(tmp_path):
    """A data set with columns; its prompts are text."""
    rows = [
        {"question": f"{i} + {i}", "answer": str(2 * i), "level": i % 3, "data_source": "sums"}
        for i in range(40)
    ]
    (tmp_path / "sums.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return data(str(tmp_path / "sums.jsonl"))


@pytest.fixture
def judged(tmp_path, sums):
    """A task with a reward out of the source text of its function `f`."""

    def make(source, task=sums, **more):
        (tmp_path / "reward.py").write_text(CALLS + source)
        return rewarded(task, f"{tmp_path}/reward.py:f", **more)

    return make


def calls(task):
    """What the function remembered."""
    return sys.modules[task._judge.function.__module__].calls


def values(task, texts, problems=None):
    """The values of texts that are checked at once, the i-th of the i-th problem."""
    problems = problems or list(task.problems("train", 0))[: len(texts)]

    async def every():
        return await asyncio.gather(*(task.check(None, p, t) for p, t in zip(problems, texts, strict=True)))

    return asyncio.run(every())


def broken(task, texts):
    with pytest.raises(RunBroken) as error:
        values(task, texts)
    assert "\n" not in str(error.value)
    return str(error.value)


def refused(make, *given):
    with pytest.raises(SurpassError) as error:
        make(*given)
    assert "\n" not in str(error.value)
    return str(error.value)


# -- what a function is given


TRL = (
    "def f(prompts, completions, **columns):\n    calls.append((prompts, completions, columns))\n    "
    "return [{}]\n"
)


def test_trls_kind_gets_prompts_completions_and_columns(judged):
    task = judged(TRL.format("float(len(c)) for c in completions"))
    problems = list(task.problems("train", 0))[:3]
    assert values(task, ["a", "bb", ""], problems) == [1.0, 2.0, 0.0]
    ((prompts, completions, columns),) = calls(task)
    assert prompts == [p.prompt for p in problems] and completions == ["a", "bb", ""], (
        "text prompts, text completions"
    )
    assert columns["answer"] == [p.answer for p in problems] and columns["level"] == [
        p.meta["level"] for p in problems
    ]
    assert columns["trainer_state"] is None and columns["completion_ids"] is None
    columns["log_metric"]("x", 1.0), columns["log_extra"]("x", [1])


def test_messages_are_answered_with_messages(judged):
    task = judged(
        TRL.format("float(c[0]['content'] == a) for c, a in zip(completions, columns['answer'])"),
        arithmetic(),
    )
    problem = next(task.problems("train", 0))
    assert values(task, [problem.answer, "?"], [problem, problem]) == [1.0, 0.0]
    ((prompts, completions, columns),) = calls(task)
    assert prompts[0] == [dict(turn) for turn in problem.prompt] and completions[1] == [
        {"role": "assistant", "content": "?"}
    ]
    assert columns["expression"] == [problem.meta["expression"]] * 2


@pytest.mark.parametrize(
    "source, expected",
    [
        ("def f(completions):\n    return [1] * len(completions)\n", [1.0, 1.0]),
        (
            "def f(completions, level, completion_ids=3):\n    assert completion_ids is None\n    "
            "return level\n",
            None,
        ),
        ("def f(prompts, completions, other='x'):\n    return [len(other)] * 2\n", [1.0, 1.0]),
        (
            "def f(completions, *, log_metric):\n    log_metric('a', 1.0)\n    return [True, False]\n",
            [1.0, 0.0],
        ),
        (
            "async def f(completions, **kwargs):\n    import asyncio\n    await asyncio.sleep(0.01)\n  "
            "  return [2, 3]\n",
            [2.0, 3.0],
        ),
        (
            "class F:\n    async def __call__(self, completions):\n        return [4, 5]\nf = F()\n",
            [4.0, 5.0],
        ),
        ("import numpy\ndef f(completions):\n    return numpy.array([0.5, 1], numpy.float32)\n", [0.5, 1.0]),
        ("import torch\ndef f(completions):\n    return torch.tensor([0.5, 1])\n", [0.5, 1.0]),
        ("def f(solution_str, ground_truth):\n    return len(ground_truth) and 7\n", [7.0, 7.0]),
        (
            "def f(data_source, solution_str, ground_truth, extra_info=None):\n    return {'score': "
            "len(solution_str), 'why': data_source}\n",
            [1, 2],
        ),
        (
            "async def f(data_source, solution_str, ground_truth, extra_info, **more):\n    return "
            "extra_info == {} and data_source == 'sums'\n",
            [1, 1],
        ),
    ],
    ids=range(11),
)
def test_functions_get_what_their_signature_has(judged, source, expected):
    task = judged(source)
    problems = list(task.problems("train", 0))[:2]
    assert values(task, ["a", "bb"], problems) == (expected or [float(p.meta["level"]) for p in problems])


@pytest.mark.parametrize(
    "source",
    [
        "def f(completions):\n    return [None, float('nan'), 1]\n",
        "def f(solution_str):\n    return {'a': None, 'b': float('nan'), 'c': 1}[solution_str]\n",
    ],
    ids=["trl", "verl"],
)
def test_none_and_nan_are_not_judged(judged, source):
    found = values(judged(source), ["a", "b", "c"])
    assert math.isnan(found[0]) and math.isnan(found[1]) and found[2] == 1


def test_a_column_that_only_some_problems_have(judged, sums):
    task = judged("def f(completions, level):\n    calls.append(level)\n    return [0] * len(completions)\n")
    values(task, ["a", "b"], [Problem("p", "?", None, {"level": 5}), Problem("q", "?")])
    values(task, ["a"], [Problem("q", "?")])
    assert calls(task) == [[5, None], [None]]


# -- one call for many checks


def test_checks_that_wait_at_once_are_one_call(judged):
    task = judged(TRL.format("float(c) for c in completions"))
    problem = next(task.problems("train", 0))
    assert values(task, [str(i) for i in range(200)], [problem] * 200) == [float(i) for i in range(200)]
    assert len(calls(task)) == 1

    async def twice():
        first = await asyncio.gather(*(task.check(None, problem, "1") for _ in range(3)))
        return first + await asyncio.gather(*(task.check(None, problem, "2") for _ in range(2)))

    assert asyncio.run(twice()) == [1, 1, 1, 2, 2]
    assert [len(texts) for _, texts, _ in calls(task)] == [200, 3, 2]


def test_a_round_is_one_call(judged):
    task = judged(TRL.format("float(len(c[0]['content'])) for c in completions"), arithmetic())
    models = Models(policy=ScriptedEngine(lambda text, key: "x" * (key % 5)))
    problems = list(zip(range(6), task.problems("train", 0), strict=False))
    trees = models.run(search_all(samples(4), models, task, [p for _, p in problems], 0))
    columns = models.run(check()(models, task, trees))
    assert len(calls(task)) == 1 and len(calls(task)[0][1]) == 24
    for tree, column in zip(trees, columns, strict=True):
        assert column.values.tolist() == [len(models.text("policy", tree, leaf)) for leaf in tree.leaves()]


def test_every_loop_has_its_own_calls(judged):
    task = judged(
        "import time\ndef f(completions):\n    time.sleep(0.02)\n    return [float(c) for c in completions]\n"
    )
    problem, found = next(task.problems("train", 0)), {}

    def work(i):
        found[i] = values(task, [str(i), str(i + 1)], [problem] * 2)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert found == {i: [i, i + 1] for i in range(4)} and not task._judge.waiting and not task._judge.serving


def test_a_slow_sync_function_does_not_stop_the_loop(judged, monkeypatch):
    monkeypatch.delitem(
        sys.modules, "math_verify", raising=False
    )  # another test may have brought it: a function may then need signals
    task = judged("import time\ndef f(completions):\n    time.sleep(0.3)\n    return [1]\n")
    problem = next(task.problems("train", 0))

    async def ticking():
        ticks, waits = 0, asyncio.ensure_future(task.check(None, problem, "a"))
        while not waits.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return ticks

    assert asyncio.run(ticking()) > 5


def test_a_function_with_signals_runs_where_they_work(judged):
    task = judged(
        "import signal, threading\ndef f(completions):\n"
        "    signal.signal(signal.SIGALRM, signal.SIG_DFL)\n    return [1.0] * len(completions)\n"
    )
    assert values(task, ["a"]) == [1.0]
    task = judged(
        "def f(completions):\n    from math_verify import parse, verify\n"
        "    return [float(verify(parse('$42$'), parse(c))) for c in completions]\n"
    )
    assert values(task, ["so 42", "so 43"]) == [1.0, 0.0]


# -- what it does wrong


@pytest.mark.parametrize(
    "body, message",
    [
        ("return [1.0, 2.0, 3.0]", "returned 3 rewards for 4 completions"),
        ("return []", "returned 0 rewards for 4 completions"),
        ("return 1.0", "returned 1.0; wanted a list"),
        ("return None", "returned None; wanted a list"),
        ("return ['1', 1, 1, 1]", "returned '1' as a reward; wanted a finite number"),
        ("return [1, 1, 1, [2]]", "returned [2] as a reward"),
        ("return [1, 1, 1, float('inf')]", "returned inf as a reward"),
        ("return [1, 1, 1, -10**400]", "as a reward; wanted a finite number"),
        ("return [1, 1, 1, 10**5000]", "returned a value of the type int as a reward"),
        ("raise ValueError('no\\nluck')", "raised ValueError in line 3: no luck"),
        (
            "return helper()\ndef helper():\n    return 1 / 0",
            "raised ZeroDivisionError in line 5: division by zero",
        ),
        ("raise KeyError", "raised KeyError in line 3"),
    ],
)
def test_trls_kind_breaks_the_run_with_a_sentence(judged, body, message):
    for kind in ("def", "async def"):
        task = judged(f"{kind} f(completions, **columns):\n    {body}\n")
        said = broken(task, ["a", "b", "c", "d"])
        assert message in said and "the reward f of" in said and "reward.py" in said


@pytest.mark.parametrize(
    "body, message",
    [
        ("return 'good'", "returned 'good' as a reward"),
        ("return {'value': 1}", "returned {'value': 1} as a reward"),
        ("return {'score': float('-inf')}", "returned -inf as a reward"),
        ("raise OSError('gone')", "failed for 4 of the latest 4 attempts, here with OSError in line 3: gone"),
    ],
)
def test_verls_kind_breaks_the_run_with_a_sentence(judged, body, message):
    for kind in ("def", "async def"):
        assert message in broken(
            judged(f"{kind} f(solution_str, ground_truth):\n    {body}\n"), ["a", "b", "c", "d"]
        )


FRAGILE = "def f(solution_str):\n    return 1 / int(solution_str)\n"


def test_a_few_failures_of_verls_kind_are_not_judged_and_counted(judged):
    task = judged(FRAGILE)
    found = values(task, ["1", "0", "2", "x"])
    assert (
        found[0] == 1
        and found[2] == 0.5
        and math.isnan(found[1])
        and math.isnan(found[3])
        and task.failed == 2
    )
    assert "failed for 3 of the latest 5 attempts" in broken(task, ["0"])
    assert task.failed == 3


def test_failures_one_at_a_time_break_the_run_only_when_they_are_many(judged):
    task = judged(FRAGILE)
    assert math.isnan(values(task, ["0"])[0]), "one failure proves nothing"
    for text in ["1", "2", "0", "1"] * 20:
        values(task, [text])
    assert task.failed == 21
    for _ in range(5):
        values(task, ["0"])
    assert "failed for 9 of the latest 16" in broken(task, ["0"])


HANGS = "import asyncio, time\n{} f({}):\n    {}\n    return {}\n"


def test_a_call_that_never_ends_breaks_the_run_or_fails_for_its_attempt(judged, monkeypatch):
    monkeypatch.delitem(sys.modules, "math_verify", raising=False)
    for kind, wait in (("def", "time.sleep(30)"), ("async def", "await asyncio.sleep(30)")):
        task = judged(HANGS.format(kind, "completions", wait, "[1]"), reward_seconds=0.2)
        begin = time.perf_counter()
        assert "took longer than 0.2 seconds; --task.reward_seconds gives it more" in broken(task, ["a"])
        task = judged(
            HANGS.format(kind, "solution_str", f"if solution_str == 'x': {wait}", "1"), reward_seconds=0.2
        )
        found = values(task, list("abcxdefghi"))
        assert math.isnan(found[3]) and sum(value == 1 for value in found) == 9 and task.failed == 1
        assert time.perf_counter() - begin < 10


@pytest.mark.parametrize(
    "body", ["time.sleep(30)", "while True: pass", "try: time.sleep(30)\n    except Exception: pass"]
)
def test_one_that_never_ends_in_the_main_thread_is_stopped_too(judged, body):
    task = judged(
        f"import signal, time\ndef f(solution_str):\n    if solution_str != 'x': return 1\n    {body}\n",
        reward_seconds=0.2,
    )
    begin = time.perf_counter()
    found = values(task, list("abcxdefghi"))
    assert (
        math.isnan(found[3]) and sum(value == 1 for value in found) == 9 and time.perf_counter() - begin < 10
    )


def test_a_function_that_wants_to_exit_breaks_the_run(judged):
    assert "RuntimeError: it raised SystemExit" in broken(judged("def f(completions):\n    exit()\n"), ["a"])


# -- which file, which function


def test_wrong_names_are_helped(tmp_path, judged, sums):
    judged("def accuracy(completions):\n    return [1]\nf = accuracy\n")
    file = tmp_path / "reward.py"
    assert "there is no file" in refused(
        rewarded, sums, f"{tmp_path}/rewards.py:f"
    ) and "did you mean reward.py" in refused(rewarded, sums, f"{tmp_path}/rewards.py:f")
    assert 'has no "acuracy"; did you mean accuracy?' in refused(rewarded, sums, f"{file}:acuracy")
    assert 'has no "q"; there are: accuracy' in refused(rewarded, sums, f"{file}:q")
    assert "is no function" in refused(rewarded, sums, f"{file}:calls"), "what is there is no function"
    for name in (str(file), f"{file}:", "accuracy", ":f", ""):
        assert "FILE.py:FUNCTION" in refused(rewarded, sums, name)


@pytest.mark.parametrize(
    "source, message",
    [
        ("x = 1 / 0\n", "could not be run: ZeroDivisionError in line 2: division by zero"),
        (
            "import no_such_package\n",
            "could not be run: ModuleNotFoundError in line 2: No module named 'no_such_package'",
        ),
        ("def f(:\n", "could not be run: SyntaxError in line 2"),
        ("raise SystemExit(3)\n", "could not be run: SystemExit in line 2: 3"),
        ("def f(a, b):\n    pass\n", "wants the parameters (prompts, completions, **columns) as for TRL"),
        ("def f():\n    pass\n", "found ()"),
        (
            "def f(completions, colour):\n    pass\n",
            'wants "colour", which is not among what it can be given: answer, completion_ids',
        ),
        (
            "def f(solution_str, prompt):\n    pass\n",
            'wants "prompt", which is not among what it can be given: data_source, extra_info',
        ),
    ],
)
def test_functions_that_cannot_be_used_are_refused_before_the_run(judged, source, message):
    assert message in refused(judged, source)


def test_a_file_may_import_its_neighbours(tmp_path, judged):
    (tmp_path / "my_neighbour_of_rewards.py").write_text("def value(c):\n    return 3.0\n")
    task = judged(
        "from my_neighbour_of_rewards import value\ndef f(completions):\n    return [value(c) for c in "
        "completions]\n"
    )
    assert values(task, ["a"]) == [3.0]


def test_a_file_that_changed_is_run_again(tmp_path, judged, sums):
    task = judged("def f(completions):\n    return [1]\n")
    assert rewarded(sums, to_json(task)["reward"]) == task
    (tmp_path / "reward.py").write_text("def f(completions):\n    return [2]\n")
    assert values(rewarded(sums, task.reward), ["a"]) == [2.0], "the new file is what a new run gets"
    assert values(task, ["a"]) == [1.0], "a run under way keeps what it began with"


def test_code_that_a_runs_folder_names_is_run_only_if_it_is_allowed(judged, sums):
    config = json.loads(json.dumps(to_json(judged("def f(completions):\n    return [1]\n"))))
    with pytest.raises(SurpassError, match="--code"):
        from_json(config)
    assert from_json(config, ["reward"]) == rewarded(sums, config["reward"])


def test_it_is_its_task_in_everything_else(judged, sums):
    task = judged("def f(completions):\n    return [1]\n")
    assert (task.players, task.branches, task.counts) == (sums.players, sums.branches, sums.counts)
    assert list(task.problems("gate", 3)) == list(sums.problems("gate", 3))
    assert task.final_answer("Answer: 1,000") == "1000"
    problem = next(task.problems("train", 0))
    assert asyncio.run(task.start(None, problem)) == asyncio.run(sums.start(None, problem))
    assert asyncio.run(task.step(None, {"a": 1}, "x")).state == {"a": 1}

    class bare(Task):
        def problems(self, split, seed):
            return iter([Problem("p", "?")])

    task = judged("def f(completions):\n    return [1]\n", bare())
    assert not hasattr(task, "final_answer") and not hasattr(task, "needs") and task.players == ("policy",)
    assert values(task, ["x"], [Problem("p", "?")]) == [1.0]
