"""Write a reward function: it runs in the sandbox, agents learn with it, and its worth is their success."""

from __future__ import annotations

import asyncio
import inspect
import math
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from surpass import sandbox
from surpass.errors import SurpassError
from surpass.models import Models
from surpass.parts import Task
from surpass.tasks import keydoor
from surpass.tasks.splits import problem_id, unique
from surpass.tasks.unit_tests import program
from surpass.types import Problem, Turn, fold

LARGEST = 1e6  # of a reward

ASKED = '''An agent learns to walk through a grid: it has to fetch a key, go through a door, and reach the goal. This is its world:

```python
{source}```

world = {world}

Write a Python function that rewards each of its moves so that it soon learns to reach the goal:

```python
def reward(world, before, action, after):
    """before and after are states like {{"row": 0, "column": 1, "has_key": False}}, action is "up", "down", "left" or "right"."""
    parts = {{"name": 0.0}}
    return sum(parts.values()), parts
```

It returns the total and its parts by name, all of them numbers. It remembers nothing between moves; math may be imported. A part may be
transformed, for instance by math.exp(-x / temperature), with a temperature of its own. Answer with one block of Python.'''  # noqa: E501

TRIED = """Agents were trained with this reward. At {n} equally spaced moments, then the largest, mean and smallest value:

{lines}

Read them part by part. If success stays near 0, write the whole function anew. A part that hardly changes is not learnt from: rescale it, change its
temperature, write it anew or leave it out. A part that is much larger than the others drowns them: rescale it. First say what each part does, then
write a better function in one block of Python."""  # noqa: E501


@dataclass(frozen=True)
class reward_code(Task):
    """Write a reward function, given an environment's source; it is worth what agents learn from it.

    The environment is a `size` x `size` grid with a key, a door and a goal. The sandbox computes the
    program's rewards for every possible move, and `agents` tabular learners train with them for `episodes`.
    check is the share of agents that reach the goal, over the last three of ten checkpoints, in [0, 1]; 0 for
    a program that does not run.
    """

    size: int = 8
    episodes: int = 100
    agents: int = 8

    def __post_init__(self) -> None:
        if not (4 <= self.size <= 16 and 10 <= self.episodes <= 10_000 and 1 <= self.agents <= 256):
            raise SurpassError(
                f"reward_code needs size 4 to 16, episodes 10 to 10000, agents 1 to 256; found {self}"
            )

    def problems(self, split: str, seed: int) -> Iterator[Problem]:
        return unique(lambda i: self._problem(random.Random(fold(seed, "reward_code", i))), split)

    def _problem(self, rng: random.Random) -> Problem:
        world = keydoor.make(self.size, rng)
        prompt = ASKED.format(source=inspect.getsource(keydoor.move), world=dict(world))
        return Problem(problem_id(f"reward_code {world}"), prompt, None, {"world": world})

    async def start(self, models: Models, problem: Problem) -> Turn:
        sandbox.ready()  # better now than after the first programs are written
        return await super().start(models, problem)

    async def check(self, models: Models, problem: Problem, text: str) -> float:
        record = await self.trained(problem, text, "check")
        return 0.0 if isinstance(record, str) else _worth(record)

    async def trial(self, models: Models, problem: Problem, text: str) -> tuple[float, str]:
        """(what a program is worth, what was seen while agents learned with it), with other random numbers
        than in check; (nan, the error) for a program that does not run.
        """
        record = await self.trained(problem, text, "trial")
        return (math.nan, record) if isinstance(record, str) else (_worth(record), _told(record))

    async def trained(self, problem: Problem, text: str, purpose: str) -> keydoor.Record | str:
        """The record of training with a program, or why there is none. `purpose` names the random numbers."""
        world = problem.meta["world"]
        grid = keydoor.Grid(world)
        ran = await sandbox.call(program(text, "reward"), "reward", [(world, *step) for step in grid.steps()])
        found = _tables(ran)
        if isinstance(found, str):
            return found
        total = found[0].reshape(-1, 4)
        parts = {name: values.reshape(-1, 4) for name, values in found[1].items()}
        seed = fold(0, purpose, problem.id)
        return await asyncio.to_thread(keydoor.learn, grid, total, parts, self.episodes, self.agents, seed)

    @property
    def oracle(self) -> RewardCodeOracle:
        """A reward function that is known to work."""
        return RewardCodeOracle(self)


def _tables(ran: list[sandbox.Ran]) -> tuple[np.ndarray, dict[str, np.ndarray]] | str:
    """(total, parts by name) of every move, or what is wrong with the values that a program returned."""
    totals, rows = [], []
    for value, error in ran:
        if error:
            return error
        if not (isinstance(value, list) and len(value) == 2 and isinstance(value[1], dict)):
            return f"reward has to return (total, parts); it returned {value!r:.80}"
        numbers = [value[0], *value[1].values()]
        if not all(isinstance(x, (int, float)) and abs(x) <= LARGEST for x in numbers):  # false for nan, too
            return (
                f"every reward has to be a number between -{LARGEST:g} and {LARGEST:g}; found {value!r:.80}"
            )
        totals.append(float(value[0]))
        rows.append(value[1])
    names = sorted({name for row in rows for name in row})[:32]
    return np.array(totals), {name: np.array([float(row.get(name, 0.0)) for row in rows]) for name in names}


def _worth(record: keydoor.Record) -> float:
    """The mean success over the last three checkpoints; the best checkpoint would be optimistic."""
    return float(record.success[-3:].mean())


def _told(record: keydoor.Record) -> str:
    def line(name: str, values: np.ndarray) -> str:
        shown = " ".join(f"{x:.3g}" for x in values)
        return (
            f"{name}: {shown}; largest {values.max():.3g}, mean {values.mean():.3g}, smallest "
            f"{values.min():.3g}"
        )

    lines = [line("success", record.success), line("steps of an episode", record.length)]
    # the program chooses these names: none may pass for a line of this record
    lines += [
        line("part " + re.sub(r"[^\w .-]", "?", name, flags=re.ASCII)[:40], values)
        for name, values in record.parts.items()
    ]
    return TRIED.format(n=len(record.success), lines="\n".join(lines))


_GOOD = '''```python
def distance(world, state):
    """Steps to the goal by way of what comes next: the key, the door, the goal."""
    stops = [] if state["has_key"] else [world["key"]]
    if state["column"] < world["wall"]:
        stops.append(world["door"])
    steps, row, column = 0, state["row"], state["column"]
    for there in [*stops, world["goal"]]:
        steps += abs(there[0] - row) + abs(there[1] - column)
        row, column = there
    return steps

def reward(world, before, action, after):
    parts = {"nearer": 1.0 * (distance(world, before) - distance(world, after)), "time": -0.1}
    return sum(parts.values()), parts
```'''
_BAD = (
    '```python\ndef reward(world, before, action, after):\n    parts = {"goal": 0.0}\n    return 0.0, '
    "parts\n```",
    '```python\ndef reward(world, before, action, after):\n    parts = {"left": float(action == '
    '"left")}\n    return parts["left"], parts\n```',
    '```python\ndef reward(world, before, action, after):\n    parts = {"near": 1.0 / (1 + gap)}\n    '
    'return parts["near"], parts\n```',
)


@dataclass(frozen=True)
class RewardCodeOracle:
    """The oracle of reward_code: a reward that is known to work, the steps saved on the way by key
    and door.
    """

    task: reward_code

    def act(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """The same program for every problem; it reads the world."""
        return _GOOD

    def slip(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """A reward of 0, one for the wrong thing, or a program that does not run."""
        return rng.choice(_BAD)

    def value(self, problem: Problem, state: Any, text: str = "") -> float:
        """1, because until a turn ends the program can be written anew."""
        return 1.0
