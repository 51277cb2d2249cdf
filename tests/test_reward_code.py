"""Eureka with a scripted writer: trials, the search over programs, and what is shown of the best one."""

from __future__ import annotations

import asyncio
import math
import random
import re
from itertools import islice, pairwise

import numpy as np
import pytest

from sandboxes import missing, without_bubblewrap
from surpass import choose, searches
from surpass.engines import ScriptedEngine
from surpass.methods.eureka import eureka
from surpass.models import Models
from surpass.searches.round import search_all
from surpass.tasks import keydoor, reward_code
from surpass.tasks.unit_tests import program
from writer import writer

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

TASK = reward_code(size=6, episodes=60, agents=4)
PROBLEM = next(TASK.problems("train", 0))
SPARSE = """```python
def reward(world, before, action, after):
    found = float([after["row"], after["column"]] == world["goal"])
    return found, {"goal": found}
```"""


def trial(text: str, problem=PROBLEM, task=TASK):
    return asyncio.run(task.trial(None, problem, text))


def test_the_tables_hold_every_move():
    """Brute force: walk every state that can be reached, with move alone."""
    grid, world = keydoor.Grid(PROBLEM.meta["world"]), PROBLEM.meta["world"]
    seen, waiting = [], [{"row": world["start"][0], "column": world["start"][1], "has_key": False}]
    while waiting:
        state = waiting.pop()
        if state not in seen:
            seen.append(state)
            waiting += [keydoor.move(world, state, action) for action in keydoor.ACTIONS]
    assert all(state in grid.states for state in seen)
    assert any([state["row"], state["column"]] == world["goal"] for state in seen)
    for state, action, after in grid.steps():
        assert after == keydoor.move(world, state, action)
    assert grid.after.shape == (len(grid.states), 4) and grid.goal.sum() == 2


def test_the_door_needs_the_key():
    world = {"size": 5, "wall": 2, "door": [1, 2], "key": [0, 0], "goal": [1, 4], "start": [1, 1]}
    assert keydoor.move(world, {"row": 1, "column": 1, "has_key": False}, "right")["column"] == 1
    assert keydoor.move(world, {"row": 1, "column": 1, "has_key": True}, "right")["column"] == 2
    assert keydoor.move(world, {"row": 0, "column": 1, "has_key": True}, "right")["column"] == 1
    assert keydoor.move(world, {"row": 0, "column": 1, "has_key": False}, "left")["has_key"]


def test_a_shaped_reward_teaches_what_a_sparse_one_does_not():
    task = reward_code()
    problems = list(islice(task.problems("train", 1), 6))
    good = [trial(task.oracle.act(problem, None, random.Random(0)), problem, task)[0] for problem in problems]
    sparse = [trial(SPARSE, problem, task)[0] for problem in problems]
    assert min(good) > 0.8 and np.mean(sparse) < 0.2


def test_a_trial_repeats_and_the_exam_draws_other_numbers():
    text = TASK.oracle.act(PROBLEM, None, random.Random(0))
    assert trial(text) == trial(text)
    logged = [
        asyncio.run(TASK.trained(PROBLEM, text, purpose)).parts["nearer"] for purpose in ("trial", "check")
    ]
    assert not np.array_equal(*logged)
    assert asyncio.run(TASK.check(None, PROBLEM, text)) > 0.8


@pytest.mark.parametrize(
    "body, error",
    [
        ("return 1.0", "has to return"),
        ("return 1.0, [2]", "has to return"),
        ("return float('nan'), {}", "has to be a number"),
        ("return 1e9, {}", "has to be a number"),
        ("return '1', {}", "has to be a number"),
        ("return 1.0, {'a': None}", "has to be a number"),
        ("return gap, {}", "NameError"),
        ("while True: pass", "ended without a result|took longer"),  # the clock comes first on a busy machine
    ],
)
def test_a_program_that_cannot_be_tried_says_why(body, error):
    value, words = trial(f"```python\ndef reward(world, before, action, after):\n    {body}\n```")
    assert math.isnan(value) and re.search(error, words)
    assert asyncio.run(TASK.check(None, PROBLEM, body)) == 0.0


@pytest.mark.parametrize("fence", ["```python", "```py", "```Python", "```python3", "```"])
def test_the_program_is_what_stands_in_the_last_fence(fence):
    text = f"First:\n{fence}\nwrong\n```\nBetter:\n{fence}\ndef reward(): pass\n```\nThat is all."
    assert program(text) == "def reward(): pass\n"
    assert program("def reward(): pass") == "def reward(): pass"


def test_a_parts_name_is_data():
    """A name chosen by a program goes into the next prompt: no line of its own, no character that cannot be
    encoded.
    """
    body = "return 1.0, {'a\\nsuccess: 1 1 1': 1.0, '\\ud800': 2.0}"
    _, words = trial(f"```python\ndef reward(world, before, action, after):\n    {body}\n```")
    assert len([line for line in words.splitlines() if line.startswith("success")]) == 1
    assert "part a?success? 1 1 1:" in words and words.encode()


def test_a_program_that_keeps_count_sees_one_process_and_no_more():
    """State between moves would make a reward depend on the order in which moves are listed; the prompt rules
    it out.
    """
    text = (
        "```python\nn = []\ndef reward(world, before, action, after):\n    n.append(1)\n    return len(n), "
        "{}\n```"
    )
    assert trial(text) == trial(text)


def test_the_record_shows_every_part():
    _, words = trial(TASK.oracle.act(PROBLEM, None, random.Random(0)))
    lines = [line for line in words.splitlines() if line.startswith(("success", "steps", "part"))]
    assert [line.partition(":")[0] for line in lines] == [
        "success",
        "steps of an episode",
        "part nearer",
        "part time",
    ]
    assert all(len(line.partition(":")[2].partition(";")[0].split()) == 10 for line in lines)
    assert "part time: -0.1 -0.1" in words and "largest -0.1, mean -0.1, smallest -0.1" in words


def evolved(n: int = 4, iterations: int = 3, answer=writer, seed: int = 0, **knobs):
    shown: list[str] = []

    def heard(text: str, key: int) -> str:
        shown.append(text)
        return answer(text, key)

    models = Models(policy=ScriptedEngine(heard))
    search = searches.evolve(n, iterations, max_tokens=4096, **knobs)
    (tree,) = models.run(search_all(search, models, TASK, [PROBLEM], seed))
    return tree, models, shown


def test_later_attempts_are_shown_the_best_of_the_iteration_before():
    tree, models, shown = evolved()
    trials = tree.get("trial").values
    openings = [i for i in range(len(tree)) if tree.author[i] == "task" and tree.parent[i] == -1]
    assert len(tree.leaves()) == 12 and len(openings) >= 3
    for before, opening in pairwise(openings):
        group = [i for i in tree.leaves() if tree.parent[i] == before]
        improved = int(tree.get("improves").values[opening])
        assert improved in group and trials[improved] == np.nanmax(trials[group])
        told = models.engine("policy").text.decode(tree.own(opening))
        assert models.text("policy", tree, improved) in told and f"worth {trials[improved]:.3g}" not in told
        assert "success:" in told
    assert "success:" not in shown[0]


def test_where_nothing_ran_the_same_is_asked_again():
    calls: list[str] = []

    def late(text: str, key: int) -> str:
        calls.append(text)
        return "no program" if len(calls) <= 4 else writer(text, key)

    tree, _, shown = evolved(answer=late)
    assert shown[4] == shown[0] and shown[8] != shown[0]
    assert np.isnan(tree.get("trial").values[tree.leaves()[:4]]).all()


def test_unguided_shows_the_worth_alone():
    _, _, shown = evolved(guided=False)
    assert "it is worth" in shown[-1] and "success:" not in shown[-1]


def test_the_answer_is_the_best_of_all_iterations():
    tree, _models, _ = evolved()
    leaf = choose.best("trial")(tree)
    assert tree.get("trial").values[leaf] == np.nanmax(tree.get("trial").values)


def test_the_exam_trains_anew():
    models, task = Models(policy=ScriptedEngine(writer)), TASK
    method = eureka(n=3, iterations=2, max_tokens=4096)
    report = models.run(method.exam(models, task, "gate", 0))
    assert len(report.by_problem("reward")) == 4
    assert 0 <= report.mean("reward") <= 1


def test_nothing_of_the_exam_is_shown_to_the_writer():
    """The source and the world are shown; neither the check nor what reaching the goal is worth."""
    assert "check" not in PROBLEM.prompt and "success" not in PROBLEM.prompt and "Grid" not in PROBLEM.prompt
    assert re.search(r"def move\(world", PROBLEM.prompt) and str(PROBLEM.meta["world"]) in PROBLEM.prompt


def test_without_a_sandbox_nothing_is_drawn(monkeypatch):
    from surpass import sandbox
    from surpass.errors import UnmetNeed

    sandbox.close()  # none that waits from before
    without_bubblewrap(monkeypatch)
    heard: list[str] = []
    models = Models(policy=ScriptedEngine(lambda text, key: heard.append(text) or "x"))
    with pytest.raises(UnmetNeed, match="bubblewrap"):
        models.run(search_all(searches.evolve(2, 2), models, TASK, [PROBLEM], 0))
    assert not heard
