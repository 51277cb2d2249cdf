"""Which split a problem belongs to: a hash of what the player sees decides, so that none is in two."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from surpass.errors import SurpassError
from surpass.types import Problem

SHARES = {"test": 20, "gate": 15, "train": 65}  # percent


def problem_id(text: str) -> str:
    """A problem's id: sixteen hexadecimal digits, a hash of what the player sees."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def split_of(id: str) -> str:
    """ "test", "gate" or "train", a fixed function of the problem's id.

    >>> split_of(problem_id("What is 2 + 2?"))
    'train'
    """
    at = int(hashlib.blake2b(f"split:{id}".encode(), digest_size=4).hexdigest(), 16) % 100
    for split, share in SHARES.items():
        if at < share:
            return split
        at -= share
    raise AssertionError("shares add up to 100")


def unique(make: Callable[[int], Problem], split: str, patience: int = 2000) -> Iterator[Problem]:
    """Those of make(0), make(1), ... that belong to a split, without repeats, until `patience` calls in a row
    give no new one.
    """
    if split not in SHARES:
        raise SurpassError(f'there is no split "{split}"; there are: {", ".join(SHARES)}')
    seen: set[str] = set()
    index = since = 0
    while since < patience:
        problem = make(index)
        index += 1
        since += 1
        if split_of(problem.id) == split and problem.id not in seen:
            seen.add(problem.id)
            since = 0
            yield problem
