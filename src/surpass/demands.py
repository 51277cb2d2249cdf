"""What parts declare: needs, roles, numbers in range, and whether they may ask the oracle."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from surpass.errors import SurpassError, UnmetNeed

COUNTS = frozenset(
    "n k answer_tokens batch branch budget depth dev epochs every expansions held in_flight iterations "
    "max_tokens period pool searches simulations turns updates width".split()
)
SIGNED = frozenset({"enough", "margin", "threshold", "worst"})  # compared with rewards, which may be negative


def check_numbers(part: Any) -> None:
    """SurpassError if a number in one of surpass's own parts is out of range. Each name has the same range in
    every part: COUNTS at least 1, top_p in (0, 1], SIGNED any number, all others at least 0.
    """
    if not dataclasses.is_dataclass(part) or not type(part).__module__.startswith("surpass."):
        return
    for field in dataclasses.fields(part):
        value, name = getattr(part, field.name), field.name
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        least = 1 if name in COUNTS else -math.inf if name in SIGNED else 0
        if not value >= least:  # true of nan, too
            raise SurpassError(
                f"{type(part).__name__} needs {name} "
                f"{'to be a number' if least < 0 else f'of at least {least}'}; found {name}={value}"
            )
        if name == "top_p" and not 0 < value <= 1:
            raise SurpassError(
                f"{type(part).__name__} needs top_p above 0 and at most 1; found top_p={value}"
            )


def demands(part: Any, role: str = "policy") -> Iterator[tuple[Any, str, frozenset[str]]]:
    """(part, the role it asks, its own needs) for a part and all parts inside it. A part without a role of
    its own asks that of the part around it.
    """
    role = getattr(part, "role", role) or role
    yield part, role, frozenset(getattr(part, "needs", ()))
    children: Iterable[Any] = ()
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        children = [getattr(part, f.name) for f in dataclasses.fields(part)]
    elif isinstance(part, Mapping):
        children = part.values()
    elif isinstance(part, (list, tuple)):
        children = part
    for child in children:
        yield from demands(child, role)


def needs_of(part: Any) -> frozenset[str]:
    """The needs of a part and of all parts inside it."""
    return frozenset().union(*(needs for _, _, needs in demands(part)))


class _NoOracle(UnmetNeed, AttributeError):
    """A part asked for an oracle that it does not declare."""


class _Veiled:
    """A task without its oracle, and without those of the tasks inside it."""

    def __init__(self, task: Any):
        self._task = task

    def __getattr__(self, name: str) -> Any:
        if name == "oracle":
            raise _NoOracle('only a part that declares needs = {"oracle"} may ask the task\'s oracle')
        value = getattr(self._task, name)
        if isinstance(value, Mapping):
            return {key: _Veiled(part) if hasattr(part, "oracle") else part for key, part in value.items()}
        return _Veiled(value) if hasattr(value, "oracle") else value


def shown(task: Any, part: Any) -> Any:
    """The task as `part` may see it: with its oracle only if it, or a part inside it, needs "oracle".
    UnmetNeed if the task has none.
    """
    if "oracle" in needs_of(part):
        if getattr(task, "oracle", None) is None:
            raise UnmetNeed(
                f"{type(part).__name__} needs a task with exact knowledge, and {type(task).__name__} "
                "has no oracle"
            )
        return task
    return task if isinstance(task, _Veiled) else _Veiled(task)
