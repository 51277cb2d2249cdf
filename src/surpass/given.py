"""Checks of what parts return: a message names the part, what was wanted and what was found."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from surpass.errors import RunBroken
from surpass.parts import shown
from surpass.types import Column, Example, Figures, Problem, Tree, Verdict

T = TypeVar("T")


def cancelled(task: asyncio.Task | None) -> bool:
    """Whether somebody asked this task to end; any other CancelledError comes from a part."""
    return task is not None and task.cancelling() > 0


@contextlib.contextmanager
def raising(part: Any) -> Iterator[None]:
    """RunBroken for anything a part raises that would end the process or the event loop silently: SystemExit,
    GeneratorExit, a CancelledError that nobody asked for, a panic of native code. An Exception passes as it
    is, and so does Ctrl-C.
    """
    task = asyncio.current_task() if asyncio._get_running_loop() else None
    try:
        yield
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError) and cancelled(task):
            raise
        raise RunBroken(f"{named(part)} raised {what(error)}") from error


def what(error: BaseException) -> str:
    """An exception on one line, e.g. "SystemExit: 3"."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".rstrip(": ")


def named(part: Any) -> str:
    """The name of a part or a task; of a user's own, with its module."""
    cls = type(part)
    if inspect.isfunction(part) or inspect.ismethod(part):
        return str(part.__qualname__)
    return (
        cls.__qualname__ if cls.__module__.startswith("surpass.") else f"{cls.__module__}.{cls.__qualname__}"
    )


def wrong(part: Any, wanted: str, found: Any) -> RunBroken:
    """The error for a part that returned something else than was wanted."""
    if inspect.iscoroutine(found):
        found.close()
        return RunBroken(f"{named(part)} has to give {wanted}, and is no coroutine: write def, not async def")
    words = " ".join(repr(found).split())
    return RunBroken(
        f"{named(part)} has to give {wanted}; it gave "
        f"{type(found).__name__}{'' if found is None else f': {words:.80}'}"
    )


async def asked(part: Any, *given: Any) -> Any:
    """Await a part: a curriculum, a search, a reward, a learner, a measure or an adapt."""
    with raising(part):
        found = part(*given)
        if not inspect.isawaitable(found):
            raise RunBroken(
                f"{named(part)} is awaited, so write async def __call__; it gave {type(found).__name__} "
                "at once"
            )
        return await found


def told(part: Any, *given: Any) -> Any:
    """Call a part that is not awaited: an advantage, a selector, a gate or a choose."""
    with raising(part):
        return part(*given)


def one(part: Any, kind: type[T], found: Any) -> T:
    """Check what a learner or a measure (a Report) or an adapt (a Method) returned."""
    if not isinstance(found, kind):
        raise wrong(part, f"a {kind.__name__}", found)
    return found


def grown(part: Any, found: Any) -> Tree:
    """Check what a search returned: a tree of at least one node."""
    if not isinstance(found, Tree) or not len(found):
        raise wrong(part, "a Tree with at least an opening", found)
    return found


def verdict(part: Any, found: Any) -> Verdict:
    """Check what a gate returned. `keep` must be True or False: nan would count as true."""
    if not isinstance(found, Verdict) or not isinstance(found.keep, (bool, np.bool_)):
        raise wrong(part, "a Verdict(keep, why) whose keep is True or False", found)
    return found._replace(keep=bool(found.keep), p=float(found.p))


def several(part: Any, kind: type[T], found: Any, wanted: str) -> list[T]:
    """Check a list of examples, problems or trees, of any length."""
    items = (
        list(found) if isinstance(found, Iterable) and not isinstance(found, (str, bytes, Mapping)) else None
    )
    if items is None:
        raise wrong(part, wanted, found)
    for item in items:
        if not isinstance(item, kind):
            raise wrong(part, f"{wanted} and nothing else", item)
    return items


def joined(part: Any, found: Any) -> tuple[list[Problem], list[Tree]]:
    """Check what a curriculum returned: problems, and trees that join the round."""
    wanted = "two lists, of problems to search and of trees that join the round"
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        raise wrong(part, wanted, found)
    return several(part, Problem, found[0], wanted), several(part, Tree, found[1], wanted)


def columns(part: Any, trees: Sequence[Tree], found: Any) -> list[Column]:
    """Check what a reward returned: a column of numbers for every tree."""
    wanted = f"a list of one Column(axis, values) for each of {len(trees)} trees"
    items = several(part, tuple, found, wanted)
    if len(items) != len(trees):
        raise RunBroken(f"{named(part)} has to give {wanted}; it gave {len(items)}")
    return [_column(part, wanted, item) for item in items]


async def score_all(scores: Mapping[str, Any], models: Any, task: Any, trees: Sequence[Tree]) -> None:
    """Compute every score in order and put its columns on the trees. Each score may read those before it; it
    sees the task as surpass.parts.shown allows.
    """
    for name, reward in scores.items():
        found = await asked(reward, models, shown(task, reward), trees)
        for tree, column in zip(trees, columns(reward, trees, found), strict=True):
            tree.put(name, column)


def _column(part: Any, wanted: str, found: Any) -> Column:
    if not isinstance(found, Column) or not isinstance(found.axis, str):
        raise wrong(part, wanted, found)
    try:
        values = np.asarray(found.values)
        return found if values.dtype.kind in "biuf" else Column(found.axis, np.asarray(found.values, float))
    except (TypeError, ValueError) as error:
        raise wrong(part, f"{wanted}, whose values are numbers", found.values) from error


def credits(part: Any, trees: Sequence[Tree], found: Any) -> list[dict[str, Column]]:
    """Check what an advantage returned: columns by name for every tree."""
    wanted = (
        "a list of one dict of columns, such as {'advantage': Column(axis, values)}, for each of "
        f"{len(trees)} trees"
    )
    items = several(part, dict, found, wanted)
    if len(items) != len(trees):
        raise RunBroken(f"{named(part)} has to give {wanted}; it gave {len(items)}")
    return [{str(name): _column(part, wanted, column) for name, column in item.items()} for item in items]


def examples(part: Any, found: Any) -> list[Example]:
    """Check what a selector returned: examples, each with nodes of its own tree."""
    items = several(part, Example, found, "a list of Examples")
    for item in items:
        if (
            not isinstance(item.tree, Tree)
            or not item.nodes
            or not all(0 <= node < len(item.tree) for node in item.nodes)
        ):
            raise wrong(part, "Examples that name nodes of their trees", item.nodes)
    return items


def sums(part: Any, found: Any) -> tuple[dict[str, Any], Figures]:
    """Check what an objective returned: sums by normaliser, and figures."""
    if (
        not isinstance(found, tuple)
        or len(found) != 2
        or not all(isinstance(some, Mapping) for some in found)
        or not found[0]
    ):
        raise wrong(part, "two dicts, of sums by normaliser (tokens, paths, examples) and of figures", found)
    if not all(isinstance(figure, tuple) and len(figure) == 2 for figure in found[1].values()):
        raise wrong(part, "figures as pairs, {name: (a sum, over how many)}", found[1])
    return found


def problems(task: Any, split: str, seed: int) -> Iterator[Problem]:
    """The problems of a task's split, each checked as it comes."""
    part = getattr(task, "_task", task)
    found = told(task.problems, split, seed)
    if not isinstance(found, Iterable):
        raise wrong(part, "problems: what problems(split, seed) gives", found)
    for problem in found:
        if not isinstance(problem, Problem):
            raise wrong(part, "Problems from problems(split, seed)", problem)
        yield problem


def leaf(part: Any, tree: Tree, found: Any) -> int:
    """Check what a choose returned: a node of the tree."""
    if isinstance(found, bool) or not isinstance(found, (int, np.integer)) or not 0 <= found < len(tree):
        raise wrong(part, f"a node of the tree, from 0 to {len(tree) - 1}", found)
    return int(found)
