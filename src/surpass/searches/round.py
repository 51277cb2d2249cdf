"""All searches of a round at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from surpass import given
from surpass.errors import BudgetSpent, RunBroken, SurpassError, UnmetNeed
from surpass.models import Models
from surpass.parts import Search, Task, shown
from surpass.types import FAILED, Problem, Tree, fold

LIVE = 512  # the most searches at once
MOST_FAILED = 0.5  # share of failed searches above which a round is given up


def failure(tree: Tree) -> str | None:
    """Why a search came to nothing: the message of a failed one, or of the first attempt if all failed; None
    if it succeeded.
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
    """One tree per problem, in order. If a search raises, or returns something that is no tree, its tree is
    FAILED and holds the message. RunBroken if more than half fail; a search whose attempts all failed counts.
    Ctrl-C, or a caller that cancels, ends it.
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
