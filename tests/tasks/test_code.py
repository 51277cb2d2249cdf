"""Programs and their tests: the task code, data sets of programming problems, and written rewards."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import math
import random
from itertools import islice

import pytest

from sandboxes import missing, without_bubblewrap
from surpass import sandbox
from surpass.engines import ScriptedEngine
from surpass.errors import RunBroken, SurpassError
from surpass.models import Models
from surpass.parts import from_json, to_json
from surpass.rewards import code as written
from surpass.searches import samples
from surpass.searches.round import search_all
from surpass.store import Store
from surpass.tasks import code, data
from surpass.tasks.code import STEPS, _run, _source, hidden
from surpass.tasks.splits import SHARES, split_of
from surpass.tasks.unit_tests import normal, passed, refused, same
from surpass.types import fold

code_module = importlib.import_module("surpass.tasks.code")
LONG = sandbox.Limits(seconds=20, processor=15)
pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


def run(work):
    return asyncio.run(work)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_problems_repeat_and_share_nothing_and_their_tests_tell(steps):
    task, rng = code(steps=steps, partial=1), random.Random(0)
    n = 5 if steps == 1 else 25
    found = {split: list(islice(task.problems(split, 3), n)) for split in SHARES}
    ids = [problem.id for problems in found.values() for problem in problems]
    assert len(set(ids)) == len(ids) and all(
        split_of(p.id) == split for split, problems in found.items() for p in problems
    )
    for problem in found["test"][:8]:
        assert run(task.check(None, problem, task.oracle.act(problem, {}, rng))) == 1
        for _ in range(3):
            assert run(task.check(None, problem, task.oracle.slip(problem, {}, rng))) < 1
        constant = f"def f(x):\n    return {problem.answer['results'][0]!r}"
        assert run(task.check(None, problem, constant)) < 1


def test_every_step_does_what_its_source_does():
    lists, texts = [[], [3, -2, 3, 0, 7, -9], [4]], ["", "a Bold idea", "xyz oooo a"]
    for at, step in enumerate(STEPS):
        inputs = lists if step.takes == "list" else texts
        tests = {
            "function": "f",
            "calls": [[x] for x in inputs],
            "results": [_run([at], [3], x) for x in inputs],
        }
        assert run(passed(_source([at], [3]), tests)) == 1, step.words


def test_the_prompt_shows_two_results_and_not_the_others():
    problem = next(code().problems("train", 0))
    assert sum(f"f({x!r}) returns" in problem.asks for (x,) in problem.answer["calls"]) == 2


def test_all_or_nothing_and_shares():
    problem = next(code(steps=1).problems("train", 0))
    half = f"{problem_source(problem)}\ng = f\ndef f(x): return g(x) if sum(map(ord, str(x))) % 2 else None"
    assert run(code(steps=1).check(None, problem, half)) == 0
    assert 0 < run(code(steps=1, partial=1).check(None, problem, half)) < 1


def problem_source(problem) -> str:
    return _source(problem.meta["plan"], problem.meta["k"]).replace("```python\n", "").replace("\n```", "")


def test_hidden_tests_are_the_runs_own_and_stay_while_it_lasts(tmp_path):
    """Two runs of one seed ask for the same function and try it on other arguments; a run that goes on, on
    the same ones.
    """
    task = code(steps=2)
    some = list(islice(task.problems("train", 0), 8))
    assert some == list(islice(task.problems("train", 0), 8))

    def made(secret: bytes):
        return [hidden(p.id, tuple(p.meta["plan"]), tuple(p.meta["k"]), secret) for p in some]

    stores = [Store(tmp_path / name) for name in "ab"]
    first, other = (made(store.secret()) for store in stores)
    stores[0].close()
    assert made(Store(tmp_path / "a").secret()) == first
    assert all(
        one["calls"][1:] != two["calls"][1:] and one["calls"][1:] != p.answer["calls"][1:]
        for one, two, p in zip(first, other, some, strict=True)
    )
    assert Models().secret() != Models().secret()


@pytest.mark.parametrize("split", SHARES)
def test_a_program_that_makes_the_problems_again_does_not_find_its_tests(split):
    """It carries the generator along, tries small seeds until the arguments match, and returns what is wanted
    there. That was worth 1.
    """
    source = inspect.getsource(code_module)
    kept = (
        source[source.index("TESTS, SHOWN") : source.index("@dataclass")]
        + source[source.index("def _plan") : source.index("def _source")]
    )
    kept = kept.replace("@functools.lru_cache(512)\n", "").replace(
        "_alone = functools.cache(functools.partial(secrets.token_bytes, 16))", "_alone = 0"
    )
    attack = f"""
import random, hashlib, functools
from typing import NamedTuple, Any, Callable, Sequence
{kept}
found = {{}}
def f(x):
    if not found:
        for seed in range(3):
            for i in range(40):
                rng = random.Random(fold(seed, "code", i))
                while True:
                    plan = _plan(rng, 2); ks = [rng.randint(2, 5) for _ in range(2)]
                    tests = _tests(rng, plan, ks)
                    if tests: break
                for call, result in zip(tests["calls"], tests["results"]): found[repr(call[0])] = result
    return found[repr(x)]
"""
    attack = f"from __future__ import annotations\nimport hashlib\n{inspect.getsource(fold)}{attack}"
    problems = list(islice(code().problems(split, 1), 6))
    for problem in problems:
        assert run(passed(f"```python\n{attack}\n```", problem.answer, LONG)) > 0.9, (
            "it finds the examples, but what an empty argument gives"
        )
        assert run(code().check(None, problem, f"```python\n{attack}\n```")) == 0


@pytest.mark.parametrize(
    "a, b, equal",
    [
        (1, 1.0, True),
        (1, True, False),
        (True, True, True),
        ("1", 1, False),
        ([1, [2]], [1, [2.0]], True),
        ([1], [1, 1], False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1}, {"b": 1}, False),
        (None, None, True),
        (None, 0, False),
        (float("nan"), float("nan"), False),
    ],
)
def test_values_are_equal_as_json(a, b, equal):
    assert same(a, b) is equal and same(b, a) is equal


TESTS = {"function": "f", "calls": [[1], [2]], "results": [2, 4]}


@pytest.mark.parametrize(
    "program",
    [
        "def f(x):\n    class Equal(int):\n        __eq__ = lambda *a: True\n    return Equal(0)",
        'import sys, json, os\nfor fd in range(64):\n    try: os.write(fd, b\'[[2, ""], [4, ""]]\')\n  '
        "  except OSError: pass\ndef f(x): return 0",
        "import json\njson.dumps = lambda *a, **k: '[[2, \"\"]]'\ndef f(x): return 0",
        "import gc\ndef f(x):\n    return [o for o in gc.get_objects() if isinstance(o, dict) and "
        "'results' in o][0]['results'][x - 1]",
        "import sys\ndef f(x):\n    return sys._getframe(1).f_globals['job']['results'][x - 1]",
        "class D:\n    def __del__(self): raise SystemExit(0)\nd = D()\ndef f(x): return 0",
    ],
)
def test_a_program_cannot_forge_its_verdict(program):
    assert run(passed(program, TESTS)) == 0


def test_a_program_may_write_its_results_itself_but_has_to_know_them():
    assert run(passed('import os\nos.write(3, b\'[[2, ""], [4, ""]]\'); os._exit(0)', TESTS)) <= 1
    assert run(passed("def f(x): return 2 * x", TESTS)) == 1


@pytest.mark.parametrize(
    "tests",
    [
        None,
        [],
        {},
        {"function": "f"},
        {"function": "f", "calls": [], "results": []},
        {"function": 1, "calls": [[1]], "results": [1]},
        {"function": "f", "calls": [1], "results": [1]},
        {"function": "f", "calls": [[1]], "results": []},
    ],
)
def test_tests_of_another_form_are_refused(tests):
    assert refused(tests).startswith("tests are {")
    with pytest.raises(SurpassError):
        run(passed("", tests))


@pytest.mark.parametrize(
    "bomb",
    [
        "(" * 5000,
        "-" * 9000 + "1",
        "[" * 150 + "]" * 150,
        "x." * 4000 + "x",
        "a" * 20_000,
        "\0",
        "f'" + "{" * 100,
    ],
)
def test_a_program_that_is_no_program_has_no_normal_form(bomb):
    assert normal(bomb) is None or isinstance(normal(bomb), str)


def test_programs_that_differ_in_layout_alone_are_one_vote():
    assert (
        normal("```python\ndef f(x): # double\n    return x*2\n```")
        == normal("def f( x ):\n\n  return (x * 2)")
        is not None
    )
    assert normal("def f(") is None


def test_a_data_set_of_programming_problems(tmp_path):
    rows = [{"prompt": f"double, please ({i})", "answer": TESTS} for i in range(40)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = data(str(path), compare="tests")
    problem = next(task.problems("train", 0))
    assert run(task.check(None, problem, "```python\ndef f(x):\n    return x + x\n```")) == 1
    assert run(task.check(None, problem, "def f(x): return 2")) == 0
    path.write_text(json.dumps({"prompt": "a", "answer": "4"}) + "\n")
    with pytest.raises(SurpassError, match="tests are"):
        data(str(path), compare="tests")


SELF = (
    "import builtins\ndef reward(prompt, completion):\n    exec(completion, globals())\n    return "
    "float(f(2) == 4)"
)


@pytest.mark.parametrize(
    "attack",
    [
        "global reward\ndef reward(p, c): return 1.0",
        "import builtins\nbuiltins.float = lambda x: 1.0",
        "while True: pass",
        "import os; os._exit(0)",
        "import re; re.match('(a+)+$', 'a' * 40 + 'b')",
        "import os\nos.write(3, b'[[1e9, \"\"]] ')\nos._exit(0)",
        'import os\nos.write(3, b\'[[1.0, ""], [-1e9, ""], [-1e9, ""]]\')\nos._exit(0)',
        "x = [0] * 10**9",
        "import sys; sys.setrecursionlimit(10**9)\ndef g(): g()\ng()",
        "import threading\nfor _ in range(100): threading.Thread(target=lambda: [0 for _ in iter(int, "
        "1)]).start()",
        "raise SystemExit(0)",
        "def f(x): return x",
    ],
)
def test_an_attempt_that_a_written_reward_runs_judges_no_other(attack):
    """The program runs every attempt beside itself; all of a round once shared one process, and its fate."""
    found = scored(
        written(SELF, seconds=1),
        ["def f(x): return x * 2", attack, "def f(x): return x + 1", "def f(x): return 2 * x"],
    )
    assert [found[i] for i in (0, 2, 3)] == [1, 0, 1]
    assert math.isnan(found[1]) or abs(found[1]) <= 1


LENGTH = (
    "def reward(prompt, completion):\n    if completion == 'x': raise ValueError\n    return "
    "len(completion) + (prompt == 'p')"
)


def scored(reward, said):
    words = iter(said)
    models = Models(policy=ScriptedEngine(lambda text, key: next(words)))
    problem = next(iter(code().problems("train", 0)))
    trees = models.run(search_all(samples(len(said)), models, code(), [problem], 0))
    return models.run(reward(models, code(), trees))[0].values.tolist()


def test_a_written_reward_runs_over_attempts_in_the_sandbox():
    found = scored(written(LENGTH), ["aaa", "x", "a"])
    assert found[0] == 3 and math.isnan(found[1]) and found[2] == 1
    assert from_json(to_json(written(LENGTH))) == written(LENGTH)


@pytest.mark.parametrize(
    "program, why",
    [
        ("def reward(p, c): return 'good'", "'good'"),
        ("def r(p, c): return 1", "no function reward"),
        ("def reward(p, c): return float('nan')", "nan"),
        ("def reward(p, c): return 10**400", "1000"),
    ],
)
def test_a_written_reward_that_judges_nothing_ends_the_run(program, why):
    with pytest.raises(RunBroken, match="judged none of 2 attempts") as error:
        scored(written(program), ["a", "b"])
    assert why in str(error.value)


def test_a_written_reward_sees_no_answer_and_no_machine():
    peek = (
        "import os\ndef reward(prompt, completion):\n    return float(os.path.exists('/etc/passwd')) + "
        "len(os.environ)"
    )
    assert scored(written(peek), ["a"])[0] <= 2


def test_without_a_sandbox_nothing_is_drawn(monkeypatch):
    sandbox.close()
    without_bubblewrap(monkeypatch)
    models = Models(policy=ScriptedEngine(lambda text, key: "x"))
    try:
        with pytest.raises(SurpassError, match="bubblewrap is not installed"):
            models.run(search_all(samples(1), models, code(), [next(code().problems("train", 0))], 0))
    finally:
        sandbox.ready.cache_clear()
    assert not models.cost
