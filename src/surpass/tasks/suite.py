"""The tasks that every method is tried on, each at one standard difficulty, alone or mixed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from surpass.answers import final_answer, normal, said
from surpass.errors import SurpassError
from surpass.models import Models
from surpass.parts import Task
from surpass.tasks.arithmetic import arithmetic
from surpass.tasks.countdown import countdown
from surpass.tasks.instructions import instructions
from surpass.tasks.judge import judge
from surpass.tasks.kgqa import kgqa
from surpass.tasks.kuhn import kuhn
from surpass.tasks.maze import maze
from surpass.tasks.rooms import rooms
from surpass.tasks.sql import sql
from surpass.tasks.tictactoe import tictactoe
from surpass.types import Problem, Turn

STANDARD: dict[str, dict[str, Any]] = {
    "arithmetic": {"terms": 4, "digits": 1, "operators": "+-*", "shots": 0},
    "countdown": {"numbers": 3, "limit": 99, "largest": 12},
    "maze": {"size": 4},
    "instructions": {"fewest": 1, "constraints": 2, "words": 4},
    "tictactoe": {"opening": 4},
    "kuhn": {"pays": "win"},
    "kgqa": {"hops": 2, "min_hops": 1},
    "rooms": {},
    "judge": {"kind": "all"},
    "sql": {"tables": 1, "level": 4},
}
"""One difficulty for each task; what the tiny model makes of it stands in docs/tiny.md."""
FIT = {"tiny": ("arithmetic", "sql")}
"""The tasks at which a model is neither too good nor too bad to show what methods do, by its name."""
_TASKS = {
    t.__name__: t
    for t in (arithmetic, countdown, maze, instructions, tictactoe, kuhn, kgqa, rooms, judge, sql)
}


@dataclass(frozen=True)
class suite(Task):
    """The tasks of the suite, each at its standard difficulty, mixed: one problem of each in turn.

    `names` chooses some of them, separated by blanks or commas ("" or "all": all; "tiny": those that suit the
    model tiny).
    """

    names: str = ""

    def __post_init__(self) -> None:
        for name in self._chosen():
            if name not in STANDARD:
                raise SurpassError(
                    f'the suite has no task "{name}"; there are: {", ".join(STANDARD)}; and '
                    f"{', '.join(FIT)}, all"
                )
        object.__setattr__(self, "_parts", {name: _TASKS[name](**STANDARD[name]) for name in self._chosen()})

    def _chosen(self) -> list[str]:
        groups = {**FIT, "all": tuple(STANDARD)}
        chosen = [
            name for word in re.findall(r"[^\s,]+", self.names or "all") for name in groups.get(word, (word,))
        ]
        return list(dict.fromkeys(chosen))

    @classmethod
    def fitting(cls, model: str) -> str:
        """The group of tasks that suits a model, by its name; "" for a model that has none."""
        return model if model in FIT else ""

    def alone(self) -> Task:
        """Its one task, if it has only one: by itself that gives all it has, such as an oracle."""
        parts = list(self.parts.values())
        return parts[0] if len(parts) == 1 else self

    @property
    def parts(self) -> dict[str, Any]:
        """The tasks that are mixed, by name."""
        return dict(self._parts)  # type: ignore[attr-defined]

    def problems(self, split: str, seed: int) -> Iterator[Problem]:
        """One problem of each task in turn, as long as it has more; meta["task"] names the task."""
        waiting = {name: task.problems(split, seed) for name, task in self.parts.items()}
        while waiting:
            for name in list(waiting):
                problem = next(waiting[name], None)
                if problem is None:
                    del waiting[name]
                    continue
                yield Problem(problem.id, problem.prompt, problem.answer, {**problem.meta, "task": name})

    async def start(self, models: Models, problem: Problem) -> Turn:
        name = problem.meta["task"]
        return _within(name, await self.parts[name].start(models, problem))

    async def step(self, models: Models, state: Any, text: str) -> Turn:
        return _within(state["task"], await self.parts[state["task"]].step(models, state["state"], text))

    async def check(self, models: Models, problem: Problem, text: str) -> float:
        return await self.parts[problem.meta["task"]].check(models, problem, text)

    def final_answer(self, text: str) -> str | None:
        """What votes compare: what the attempt states with a mark, in one form, else the whole attempt."""
        found = final_answer(text)
        return (said(text).strip() if found is None else normal(found)) or None


def _within(name: str, turn: Turn) -> Turn:
    return turn._replace(state={"task": name, "state": turn.state})
