"""Unit tests of a program that a model wrote: it runs in the sandbox, its results are compared out here."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from surpass import sandbox
from surpass.errors import SurpassError

LONGEST = 10_000  # characters of a program
_FENCE = re.compile(r"```[\w+-]*[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)


def program(text: str) -> str:
    """The last fenced block of a text, or all of it."""
    found = _FENCE.findall(text)
    return found[-1] if found else text


def normal(text: str) -> str | None:
    """The program without comments, in one layout, so that votes count programs that differ in no more as one; None for what is none."""
    source = program(text)
    if len(source) > LONGEST:
        return None
    try:
        return ast.unparse(ast.parse(source)) or None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def refused(tests: Any) -> str:
    """What is wrong with the form of some tests: "" if nothing."""
    wanted = 'tests are {"function": NAME, "calls": [[ARGUMENT, ...], ...], "results": [VALUE, ...]}'
    if not (isinstance(tests, Mapping) and isinstance(tests.get("function"), str)):
        return f"{wanted}; found {tests!r:.80}"
    calls, results = tests.get("calls"), tests.get("results")
    if not (isinstance(calls, list) and isinstance(results, list) and all(isinstance(call, list) for call in calls)):
        return f"{wanted}; found {tests!r:.80}"
    if not calls or len(calls) != len(results):
        return f"{wanted}, one result for each call and at least one; found {len(calls)} calls and {len(results)} results"
    return ""


async def passed(text: str, tests: Mapping[str, Any], limits: sandbox.Limits | None = None) -> float:
    """The share in [0, 1] of tests that the program in `text` passes. The job gets the arguments alone, so it cannot know what is
    wanted, and whatever it returns is compared here."""
    if wrong := refused(tests):
        raise SurpassError(wrong)
    source = program(text)
    if len(source) > LONGEST:
        return 0.0
    ran = await sandbox.call(source, tests["function"], tests["calls"], limits)
    right = [not error and same(value, wanted) for (value, error), wanted in zip(ran, tests["results"], strict=True)]
    return sum(right) / len(right)


def same(a: Any, b: Any) -> bool:
    """Whether two JSON values are equal; true is not 1, and 2.0 is 2."""
    if isinstance(a, bool) or isinstance(b, bool) or not isinstance(a, (int, float)):
        if isinstance(a, list) and isinstance(b, list):
            return len(a) == len(b) and all(map(same, a, b))
        if isinstance(a, dict) and isinstance(b, dict):
            return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
        return type(a) is type(b) and a == b
    return isinstance(b, (int, float)) and a == b
