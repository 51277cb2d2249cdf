"""What a task or a model says of an attempt, and what happens if a task cannot read it."""

from __future__ import annotations

import asyncio
import inspect
import warnings
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from surpass.errors import SurpassError
from surpass.types import FAILED, Column, Problem, Tree

if TYPE_CHECKING:
    from surpass.models import Models


async def per_leaf(trees: Sequence[Tree], of: Callable[[Tree, int], Awaitable[float]]) -> list[Column]:
    """A leaf column for every tree: of(tree, leaf), for all leaves at once; nan for a failed attempt."""

    async def value(tree: Tree, leaf: int) -> float:
        return float("nan") if tree.stop[leaf] == FAILED else await of(tree, leaf)

    async def column(tree: Tree) -> Column:
        values = await asyncio.gather(*(value(tree, leaf) for leaf in tree.leaves()))
        return Column("leaf", np.array(values, float))

    return list(await asyncio.gather(*map(column, trees)))


def words_of(models: Models, role: str, yes: str, no: str) -> list[int]:
    """The first token of each of two verdict words. SurpassError if they are the same."""
    tokens = [models.encode(role, word)[0] for word in (yes, no)]
    if tokens[0] == tokens[1]:
        raise SurpassError(
            f'this model\'s "{yes}" and "{no}" begin with the same token; give the verdict two words that '
            'do not, e.g. yes="Yes", no="No", and an `ask` that names them'
        )
    return tokens


async def yes_no(models: Models, role: str, tree: Tree, node: int, ask: str, words: Sequence[int]) -> float:
    """p(yes) / (p(yes) + p(no)), in [0, 1], for the next token of `role` when it is asked `ask` right after a
    node, in the same conversation. `words` are the tokens of yes and no. The question is added aside.
    """
    asked = models.tell(role, tree, node, ask, aside=True)
    yes, no = (await models.next(role, tree, asked, words)).astype(float)
    return float(1 / (1 + np.exp(no - yes)))


async def value_of(task: Any, models: Any, problem: Problem, text: str) -> float:
    """The value that task.check gives, awaited if it is a coroutine; nan for None. 0 if one of surpass's own
    tasks cannot read the attempt and raises.
    """
    try:
        value = task.check(models, problem, text)
        value = await value if inspect.isawaitable(value) else value
    except Exception as error:
        if not unreadable(task, "check", error):
            raise
        return 0.0
    try:
        return float("nan") if value is None else float(value)
    except (TypeError, ValueError) as error:
        raise SurpassError(
            f"{type(getattr(task, '_task', task)).__name__}.check has to give a number, True, False or "
            f"None; it gave {value!r:.60}"
        ) from error


def answer_of(task: Any, text: str) -> str | None:
    """The answer that task.final_answer finds; the whole attempt if the task has no such method. None if
    there is no answer, or if one of surpass's own tasks cannot read the attempt.
    """
    try:
        return getattr(task, "final_answer", str.strip)(text) or None
    except Exception as error:
        if not unreadable(task, "final_answer", error):
            raise
        return None


def unreadable(task: Any, name: str, error: Exception) -> bool:
    """Whether an exception means that one of surpass's own tasks cannot read an attempt: parsers raise on
    nonsense. The attempt is then wrong, the run goes on, and a warning reports the task's fault once. False
    for whatever a user's own code raises, and for SurpassError and OSError, which blame the machine.
    """
    method: Any = getattr(getattr(task, "_task", task), name, None)
    own = str(getattr(method, "__module__", "")).startswith("surpass.tasks.")
    if not own or method.__module__ == "surpass.tasks.rewarded" or isinstance(error, (SurpassError, OSError)):
        return False
    warnings.warn(
        f"{method.__qualname__} raised {type(error).__name__}: the attempt counts as wrong; please report it",
        stacklevel=3,
    )
    return True
