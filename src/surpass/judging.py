"""What a task says of an attempt, and what it means that it could not read one."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

from surpass.errors import SurpassError
from surpass.types import Problem


async def value_of(task: Any, models: Any, problem: Problem, text: str) -> float:
    """task.check, awaited if it is to be; nan for None. 0 where a task of surpass's own cannot read the
    attempt and raises.
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
    """task.final_answer, the whole attempt for a task without one; None where nothing is stated, or surpass's
    own task cannot read it.
    """
    try:
        return getattr(task, "final_answer", str.strip)(text) or None
    except Exception as error:
        if not unreadable(task, "final_answer", error):
            raise
        return None


def unreadable(task: Any, name: str, error: Exception) -> bool:
    """Whether an exception means that a task of surpass's own could not read an attempt, which is then wrong
    and ends nothing: what parsers raise on nonsense. It is told of once, being a fault of the task. What a
    user's own code raises is never that, nor what says that the machine, not the attempt, is at fault
    (SurpassError, OSError).
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
