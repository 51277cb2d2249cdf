"""Unit tests of a program that a model wrote: it runs in the sandbox; its results are compared outside."""

from __future__ import annotations

import ast
import re
import symtable
import warnings
from collections.abc import Mapping
from typing import Any

from surpass import sandbox
from surpass.answers import blocks, said, unix
from surpass.errors import SurpassError

LONGEST = 10_000  # characters of a program
_MOST_LINES = 300  # of a text in which a program without a fence is looked for
_CODE = re.compile(r"(?:async def|def|class|import|@)\b|from [\w.]+ import\b|@")


def program(text: str, function: str = "") -> str:
    """The program in an attempt: the last fenced block that defines `function` ("": any), else the last
    block; the whole text where there is no block.

    Only the function is judged. So what follows its definition in the block, such as calls that print, is
    left out unless the function needs it, and what the function needs from other blocks (imports, helpers) is
    added. A block that does not parse is taken as it is.
    """
    found = [content for _, content in blocks(text)]
    if not found:
        return _in_words(unix(said(text)), function)
    parsed = [_parsed(content) for content in found]
    at = next((i for i in range(len(found) - 1, -1, -1) if _defines(found[i], parsed[i], function)), None)
    if at is None:
        whole = _in_words(unix(said(text)), function)
        return whole if _defines(whole, _parsed(whole), function) else found[-1]
    tree = parsed[at]
    if tree is None:
        return found[at]
    end = max(i for i, part in enumerate(tree.body) if _binds(part, function)) + 1
    before = [part for other in parsed[:at] if other for part in other.body]
    after = [*tree.body[end:], *(part for other in parsed[at + 1 :] if other for part in other.body)]
    body = tree.body[:end]
    needed = _needed(body, [*before, *after])
    if not needed and end == len(tree.body):
        return found[at]
    kept = [*(part for part in before if part in needed), *body, *(part for part in after if part in needed)]
    try:
        return ast.unparse(ast.Module(kept, []))
    except RecursionError:
        return found[at]


def _parsed(source: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings(action="ignore"):  # about "\\d", which is the program's affair
            return ast.parse(source) if len(source) <= LONGEST else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _defines(source: str, tree: ast.Module | None, function: str) -> bool:
    """Whether a block defines a function of this name ("": any); a guess where the block does not parse."""
    if tree is None:
        pattern = rf"^(?:async )?def {re.escape(function) or '[A-Za-z_]'}"
        return re.search(pattern, source, re.MULTILINE) is not None
    return any(_binds(part, function) for part in tree.body)


def _binds(part: ast.stmt, function: str) -> bool:
    """Whether a statement defines a function of this name ("": any), by def or by assigning a lambda."""
    made = isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef))
    made |= isinstance(part, ast.Assign) and isinstance(part.value, ast.Lambda)
    return made and (not function or function in _bound(part))


def _bound(part: ast.stmt) -> set[str]:
    """The names that a statement binds."""
    if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {part.name}
    if isinstance(part, (ast.Import, ast.ImportFrom)):
        return {(name.asname or name.name).partition(".")[0] for name in part.names}
    return {
        node.id for node in ast.walk(part) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def _needed(body: list[ast.stmt], others: list[ast.stmt]) -> list[ast.stmt]:
    """The statements out of `others` that bind a name which the body uses and does not bind, and those that
    these need in turn; of several that bind a name the last.
    """
    made = set().union(*map(_bound, body))
    wanted = [name for part in body for name in _used(part)]
    found: list[ast.stmt] = []
    while wanted:
        name = wanted.pop()
        if name in made:
            continue
        made.add(name)
        maker = next((part for part in reversed(others) if name in _bound(part)), None)
        if maker is not None and maker not in found:
            found.append(maker)
            wanted += _used(maker)
    return found


def _used(part: ast.stmt) -> list[str]:
    """The names that a statement reads from its module, without the local variables of its functions."""
    try:
        tables = [symtable.symtable(ast.unparse(part), "program", "exec")]
    except (SyntaxError, RecursionError):
        return []
    used = [symbol.get_name() for symbol in tables[0].get_symbols() if symbol.is_referenced()]
    while tables:
        inner = tables.pop().get_children()
        used += [symbol.get_name() for table in inner for symbol in table.get_symbols() if symbol.is_global()]
        tables += inner
    return used


def _in_words(text: str, function: str) -> str:
    """The longest run of lines, from the first that looks like code, that is a program; else the text."""
    if _parsed(text) is not None:
        return text
    lines = text.split("\n")
    start = next((i for i, line in enumerate(lines) if _CODE.match(line)), None)
    for end in range(len(lines), start, -1) if start is not None and len(lines) <= _MOST_LINES else ():
        source = "\n".join(lines[start:end])
        if (tree := _parsed(source)) is not None and _defines(source, tree, function):
            return source
    return text


def normal(text: str, function: str = "") -> str | None:
    """The program in one layout, without comments, so that votes count programs as equal that differ only in
    these; None where there is no program.
    """
    tree = _parsed(program(text, function))
    try:
        return (ast.unparse(tree) or None) if tree else None
    except RecursionError:
        return None


def refused(tests: Any) -> str:
    """What is wrong with the form of some tests; "" if nothing is."""
    wanted = 'tests are {"function": NAME, "calls": [[ARGUMENT, ...], ...], "results": [VALUE, ...]}'
    if not (isinstance(tests, Mapping) and isinstance(tests.get("function"), str)):
        return f"{wanted}; found {tests!r:.80}"
    calls, results = tests.get("calls"), tests.get("results")
    if not (isinstance(calls, list) and isinstance(results, list)) or not all(
        isinstance(call, list) for call in calls
    ):
        return f"{wanted}; found {tests!r:.80}"
    if not calls or len(calls) != len(results):
        return (
            f"{wanted}, one result for each call and at least one; found {len(calls)} calls and "
            f"{len(results)} results"
        )
    return ""


async def passed(text: str, tests: Mapping[str, Any], limits: sandbox.Limits | None = None) -> float:
    """The share in [0, 1] of tests that the program in `text` passes. The program is given only arguments,
    and its results are compared here, so that it cannot know what is wanted.
    """
    if wrong := refused(tests):
        raise SurpassError(wrong)
    source = program(text, tests["function"])
    if len(source) > LONGEST:
        return 0.0
    ran = await sandbox.call(source, tests["function"], tests["calls"], limits)
    right = [
        not error and same(value, wanted)
        for (value, error), wanted in zip(ran, tests["results"], strict=True)
    ]
    return sum(right) / len(right)


def same(a: Any, b: Any) -> bool:
    """Whether two JSON values are equal; true is not 1, and 2.0 is 2.

    >>> same([2.0], [2]), same(True, 1)
    (True, False)
    """
    if isinstance(a, bool) or isinstance(b, bool) or not isinstance(a, (int, float)):
        if isinstance(a, list) and isinstance(b, list):
            return len(a) == len(b) and all(map(same, a, b))
        if isinstance(a, dict) and isinstance(b, dict):
            return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
        return type(a) is type(b) and a == b
    return isinstance(b, (int, float)) and a == b
