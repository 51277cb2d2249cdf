"""What a part gave, compared with what its protocol says: one message that names the part, what was wanted
and what was found.
"""

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
    """Whether somebody wants this task to end: a CancelledError is otherwise one that a part made itself."""
    return task is not None and task.cancelling() > 0


@contextlib.contextmanager
def raising(part: Any) -> Iterator[None]:
    """RunBroken for what would end the process, or the event loop, without a word: SystemExit, GeneratorExit,
    a CancelledError that nobody asked for, a panic of native code. An Exception passes as it is, and so does
    Ctrl-C.
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
    """ "SystemExit: 3": an exception on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".rstrip(": ")


def named(part: Any) -> str:
    """A part's or a task's name, with its module's where it is a user's own."""
    cls = type(part)
    if inspect.isfunction(part) or inspect.ismethod(part):
        return str(part.__qualname__)
    return (
        cls.__qualname__ if cls.__module__.startswith("surpass.") else f"{cls.__module__}.{cls.__qualname__}"
    )


def wrong(part: Any, wanted: str, found: Any) -> RunBroken:
    """The message about a part that gave something else than was wanted."""
    if inspect.iscoroutine(found):
        found.close()
        return RunBroken(f"{named(part)} has to give {wanted}, and is no coroutine: write def, not async def")
    words = " ".join(repr(found).split())
    return RunBroken(
        f"{named(part)} has to give {wanted}; it gave "
        f"{type(found).__name__}{'' if found is None else f': {words:.80}'}"
    )


async def asked(part: Any, *given: Any) -> Any:
    """What a part gives that is awaited: a curriculum, a search, a reward, a learner, a measure, an adapt."""
    with raising(part):
        found = part(*given)
        if not inspect.isawaitable(found):
            raise RunBroken(
                f"{named(part)} is awaited, so write async def __call__; it gave {type(found).__name__} "
                "at once"
            )
        return await found


def told(part: Any, *given: Any) -> Any:
    """What a part gives that is not awaited: an advantage, a selector, a gate, a choose."""
    with raising(part):
        return part(*given)


def one(part: Any, kind: type[T], found: Any) -> T:
    """The report of a learner or a measure, the method of an adapt."""
    if not isinstance(found, kind):
        raise wrong(part, f"a {kind.__name__}", found)
    return found


def grown(part: Any, found: Any) -> Tree:
    """What a search gave: a tree of one node at least."""
    if not isinstance(found, Tree) or not len(found):
        raise wrong(part, "a Tree with an opening at least", found)
    return found


def verdict(part: Any, found: Any) -> Verdict:
    """What a gate gave. Its word has to be True or False: nan counts as true wherever nobody looks."""
    if not isinstance(found, Verdict) or not isinstance(found.keep, (bool, np.bool_)):
        raise wrong(part, "a Verdict(keep, why) whose keep is True or False", found)
    return found._replace(keep=bool(found.keep), p=float(found.p))


def several(part: Any, kind: type[T], found: Any, wanted: str) -> list[T]:
    """Any number of examples, problems or trees."""
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
    """What a curriculum gave: problems, and trees that join the round."""
    wanted = "two lists, of problems to search and of trees that join the round"
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        raise wrong(part, wanted, found)
    return several(part, Problem, found[0], wanted), several(part, Tree, found[1], wanted)


def columns(part: Any, trees: Sequence[Tree], found: Any) -> list[Column]:
    """What a reward gave: a column of numbers for every tree."""
    wanted = f"a list of one Column(axis, values) for each of {len(trees)} trees"
    items = several(part, tuple, found, wanted)
    if len(items) != len(trees):
        raise RunBroken(f"{named(part)} has to give {wanted}; it gave {len(items)}")
    return [_column(part, wanted, item) for item in items]


async def score_all(scores: Mapping[str, Any], models: Any, task: Any, trees: Sequence[Tree]) -> None:
    """Put a column of every score on the trees, in order; each may read those before it, and knows the task
    as it may (surpass.parts.shown).
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
    """What an advantage gave: columns by name for every tree."""
    wanted = (
        "a list of one dict of columns, such as {'advantage': Column(axis, values)}, for each of "
        f"{len(trees)} trees"
    )
    items = several(part, dict, found, wanted)
    if len(items) != len(trees):
        raise RunBroken(f"{named(part)} has to give {wanted}; it gave {len(items)}")
    return [{str(name): _column(part, wanted, column) for name, column in item.items()} for item in items]


def examples(part: Any, found: Any) -> list[Example]:
    """What a selector gave: examples, each with nodes of its own tree."""
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
    """What an objective gave: sums by normaliser, and figures."""
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
    """The problems of a task's split, each looked at as it comes."""
    part = getattr(task, "_task", task)
    found = told(task.problems, split, seed)
    if not isinstance(found, Iterable):
        raise wrong(part, "problems: what problems(split, seed) gives", found)
    for problem in found:
        if not isinstance(problem, Problem):
            raise wrong(part, "Problems from problems(split, seed)", problem)
        yield problem


def leaf(part: Any, tree: Tree, found: Any) -> int:
    """What a choose gave: a node of the tree."""
    if isinstance(found, bool) or not isinstance(found, (int, np.integer)) or not 0 <= found < len(tree):
        raise wrong(part, f"a node of the tree, from 0 to {len(tree) - 1}", found)
    return int(found)
