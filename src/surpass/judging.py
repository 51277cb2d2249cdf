"""A task's verdict on an attempt, also where the task cannot read it."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

from surpass.errors import SurpassError
from surpass.types import Problem


async def value_of(task: Any, models: Any, problem: Problem, text: str) -> float:
    """The value of task.check, awaited if it is a coroutine; nan for None. 0 where one of surpass's own tasks
    cannot read the attempt and raises.
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
    """The answer by task.final_answer; of a task without that, the whole attempt. None where it states no
    answer, and where one of surpass's own tasks cannot read it.
    """
    try:
        return getattr(task, "final_answer", str.strip)(text) or None
    except Exception as error:
        if not unreadable(task, "final_answer", error):
            raise
        return None


def unreadable(task: Any, name: str, error: Exception) -> bool:
    """Whether an exception means that one of surpass's own tasks cannot read an attempt, as parsers raise on
    nonsense. The attempt is then wrong, and the run goes on; a warning reports it once, as a fault of the
    task. False for whatever a user's own code raises, and for SurpassError and OSError, which blame the
    machine and not the attempt.
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
