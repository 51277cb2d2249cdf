"""A reward function that a model, or anybody, wrote. It runs in the sandbox."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surpass import sandbox
from surpass.errors import RunBroken, SurpassError
from surpass.models import Models
from surpass.parts import Task
from surpass.types import FAILED, Column, Tree

LARGEST = 1e6  # the largest size of a reward


@dataclass(frozen=True)
class code:
    """Per leaf: what `function`(prompt, completion) of the `program` returns, called in the sandbox with two
    texts: what the players were asked, and the attempt. nan if it raises, takes longer than `seconds`, or
    returns anything but a number from -LARGEST to LARGEST.

    Each attempt is judged in a process of its own: one that the program executes, or hangs on, changes no
    other attempt's reward. It may change its own, because a program that executes an attempt in its own
    process believes what that says. RunBroken if no attempt at all could be judged. Uses no labels.
    """

    program: str
    function: str = "reward"
    seconds: float = 5.0
    voice: str = "policy"

    def __post_init__(self) -> None:
        if self.seconds <= 0:
            raise SurpassError(f"a reward's program needs seconds > 0; found {self.seconds}")

    async def __call__(self, models: Models, task: Task, trees: Sequence[Tree]) -> list[Column]:
        asked = [
            (i, leaf) for i, tree in enumerate(trees) for leaf in tree.leaves() if tree.stop[leaf] != FAILED
        ]
        calls = [(trees[i].problem.asks, models.said(self.voice, trees[i], leaf)) for i, leaf in asked]
        limits = sandbox.Limits(self.seconds, processor=math.ceil(self.seconds))
        ran = [
            one
            for (one,) in await asyncio.gather(
                *(sandbox.call(self.program, self.function, [call], limits) for call in calls)
            )
        ]
        values = [math.nan if error else _number(value) for value, error in ran]
        if values and all(map(math.isnan, values)):
            raise RunBroken(
                f"the reward's program judged none of {len(values)} attempts; the first: "
                f"{ran[0].error or repr(ran[0].value)[:80]}"
            )
        found = dict(zip(asked, values, strict=True))
        return [
            Column("leaf", np.array([found.get((i, leaf), math.nan) for leaf in tree.leaves()], float))
            for i, tree in enumerate(trees)
        ]


def _number(value: object) -> float:
    if isinstance(value, (int, float)) and abs(value) <= LARGEST:  # an int may be larger than any float
        return float(value)
    return math.nan
