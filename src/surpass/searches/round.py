"""All searches of a round at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from surpass import given
from surpass.errors import BudgetSpent, RunBroken, SurpassError, UnmetNeed
from surpass.models import Models
from surpass.parts import Search, Task, shown
from surpass.types import FAILED, Problem, Tree, fold

LIVE = 512  # searches under way at once
MOST_FAILED = 0.5  # share of failed searches above which a round is given up


def failure(tree: Tree) -> str | None:
    """Why nothing came of a search: what a failed one says, or the first of attempts that all failed; None
    where one did not.
    """
    stop = tree.stop
    if FAILED not in stop:
        return None
    ends = [0] if stop[0] == FAILED else tree.leaves()
    return str(tree.text[ends[0]]) if all(stop[i] == FAILED for i in ends) else None


async def search_all(
    search: Search,
    models: Models,
    task: Task,
    problems: Sequence[Problem],
    key: int,
    done: Callable[[], None] = lambda: None,
) -> list[Tree]:
    """One tree per problem, in order. Whatever a search raises, and what it gives that is no tree, becomes a
    FAILED tree that holds the message; RunBroken where more than half fail, those among them whose every
    attempt failed. Ctrl-C, and whoever cancels this call, end it.
    """
    task, whole = shown(task, search), asyncio.current_task()
    places = asyncio.Semaphore(LIVE)

    async def one(problem: Problem) -> Tree:
        async with places:
            try:
                tree = given.grown(
                    search, await given.asked(search, models, task, problem, fold(key, problem.id))
                )
            except (UnmetNeed, BudgetSpent, KeyboardInterrupt):
                raise
            except BaseException as error:
                if isinstance(error, asyncio.CancelledError) and given.cancelled(whole):
                    raise
                tree, known = Tree(problem, fold(key, problem.id)), isinstance(error, SurpassError)
                tree.add(
                    -1,
                    "task",
                    stop=FAILED,
                    text=str(error) if known else f"{type(error).__name__}: {error}".rstrip(": "),
                )
            done()
            return tree

    trees = list(await asyncio.gather(*(one(problem) for problem in problems)))
    failed = [why for tree in trees if (why := failure(tree)) is not None]
    if len(failed) > MOST_FAILED * len(trees):
        raise RunBroken(f"{len(failed)} of {len(trees)} searches failed; the first: {failed[0]}")
    return trees
