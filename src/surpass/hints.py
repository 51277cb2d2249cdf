"""Whether values fit the type hints of a part's fields: JSON of a part may come from somebody else."""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
import inspect
import types
import typing
from typing import Any

MOST = 2**53  # larger whole numbers are no counts, and floats do not hold them exactly
KINDS = {
    "Search": "searches",
    "Curriculum": "curricula",
    "Reward": "rewards",
    "Advantage": "advantages",
    "Selector": "selectors",
    "Objective": "objectives",
    "Learner": "learners",
    "Measure": "measures",
    "Choose": "choose",
    "Gate": "gates",
}
"""The folder of each kind of part."""
_BARE = (bool, int, float, str, type(None), list, tuple, dict)


@functools.cache
def hints(cls: type) -> dict[str, Any]:
    """The type hints of a dataclass's fields; Any for all if one of them cannot be resolved at run time."""
    try:
        found = typing.get_type_hints(cls)
    except Exception:  # a hint may be any expression
        found = {}
    return {field.name: found.get(field.name, Any) for field in dataclasses.fields(cls)}


def misfit(value: Any, hint: Any) -> str:
    """What a hint wants, in words, if the value does not fit it; "" if it fits, or nobody can tell."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or isinstance(hint, (str, typing.TypeVar)):
        return ""
    if origin in (typing.Union, types.UnionType):
        found = [misfit(value, one) for one in inside]
        return "" if "" in found else " or ".join(dict.fromkeys(found))
    if origin is typing.Literal:
        return "" if value in inside else " or ".join(map(str, inside))
    if hint in (None, type(None)):
        return "" if value is None else "nothing"
    if hint is bool:
        return "" if isinstance(value, bool) else "true or false"
    if hint in (int, float):
        good = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MOST
        return (
            ""
            if good or (hint is float and isinstance(value, float))
            else "a whole number"
            if hint is int
            else "a number"
        )
    if hint is str:
        return "" if isinstance(value, str) else "text"
    return _structure(value, origin or hint, inside)


def _structure(value: Any, kind: Any, inside: tuple[Any, ...]) -> str:
    if kind in (tuple, list, collections.abc.Sequence):
        if not isinstance(value, (tuple, list)):
            return "a list"
        each = (
            inside[:1] * len(value)
            if kind is not tuple or inside[1:] == (...,)
            else inside or (Any,) * len(value)
        )
        if len(each) != len(value):
            return f"a list of {len(each)}" if each else ""
        return next(
            (
                f"a list of {words}"
                for item, hint in zip(value, each, strict=True)
                if (words := misfit(item, hint))
            ),
            "",
        )
    if kind in (dict, collections.abc.Mapping):
        if not isinstance(value, dict):
            return "an object"
        return next(
            (
                f"an object of {words}"
                for item in value.values()
                if len(inside) == 2 and (words := misfit(item, inside[1]))
            ),
            "",
        )
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return "" if isinstance(value, kind) else f"a {kind.__name__}"
    # whether a part does its job cannot be seen, but whether it can be one
    if isinstance(kind, type) and getattr(kind, "_is_protocol", False):
        return "" if _serves(value, kind) else f"a part, a {kind.__name__}"
    return ""


def _serves(value: Any, kind: Any) -> bool:
    """Whether a value may be a part of a kind: it takes as many arguments, and a part of surpass must stand
    in that kind's folder.
    """
    wanted = kind.__dict__.get("__call__")
    if isinstance(value, _BARE) or (wanted is not None and not callable(value)):
        return False
    module = type(value).__module__.split(".")
    if module[0] == "surpass" and module[1] in KINDS.values() and kind.__name__ in KINDS:
        return module[1] == KINDS[kind.__name__]
    if wanted is None:
        return True
    try:
        inspect.signature(type(value).__call__).bind(*inspect.signature(wanted).parameters)
    except TypeError:
        return False
    except ValueError:  # it has no signature to inspect
        return True
    return True
