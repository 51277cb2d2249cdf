"""What requests to a chat API may cost and have cost, and their answers on disk."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from surpass.engines.replies import ENDS, Reply, count
from surpass.errors import BudgetSpent, SurpassError


class Purse:
    """The budgets, what was spent, and what requests under way may still cost. A cost is int64[2]: prompt and
    completion tokens.
    """

    def __init__(self, tokens: int, dollars: float, price: tuple[float, float]):
        self.tokens, self.dollars, self.price = tokens, dollars, np.array(price, float)
        self.spent, self.held = np.zeros(2, np.int64), np.zeros(2, np.int64)
        # how much more than its worst case a prompt has cost, because of the server's template
        self.excess = 0

    def worst(self, cost: np.ndarray) -> np.ndarray:
        """The worst case of a request, int64[2], corrected by the bills so far."""
        return cost + [self.excess, 0]

    def fits(self, worst: np.ndarray) -> bool:
        """Whether the budgets hold this on top of what was spent and what is under way."""
        whole = self.spent + self.held + worst
        return not (self.tokens and whole.sum() > self.tokens) and not (
            self.dollars and self._dollars(whole) > self.dollars
        )

    def hold(self, worst: np.ndarray) -> None:
        """Reserve the worst case of a request that is sent now."""
        self.held += worst

    def settle(self, worst: np.ndarray, bill: np.ndarray) -> None:
        """Replace the worst case of a request by its bill."""
        self.held -= worst
        self.spent += bill
        self.excess += max(0, int(bill[0] - worst[0]))

    def _dollars(self, cost: np.ndarray) -> float:
        return float(cost @ self.price) / 1e6

    def empty(self, worst: np.ndarray, cache: Cache | None) -> BudgetSpent:
        """The exception for a request that does not fit."""
        found = []
        if self.tokens:
            found.append(
                f"{self.spent.sum():,} of {self.tokens:,} tokens are spent and the next request may "
                f"need {worst.sum():,}"
            )
        if self.dollars:
            spent, more = self._dollars(self.spent), self._dollars(worst)
            found.append(
                f"{spent:.4g} of {self.dollars:.4g} dollars are spent and the next request may cost "
                f"{more:.2g}"
            )
        kept = "nothing was kept: give a cache folder"
        if cache is not None:
            kept = (
                f"what was answered is in the cache ({cache.folder}), so a higher budget goes on from there"
            )
        return BudgetSpent(f"the budget does not hold the next request: {'; '.join(found)}; {kept}")


@dataclass(frozen=True)
class Cache:
    """One JSON file per reply in a folder; a file that cannot be read counts as missing."""

    folder: Path

    def __post_init__(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SurpassError(f"the cache folder {self.folder} cannot be made: {error.strerror}") from None

    def _path(self, name: str) -> Path:
        return self.folder / name[:2] / f"{name}.json"

    def get(self, name: str) -> Reply | None:
        """The reply of this name, if there is one."""
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError, RecursionError):
            data = json.loads(self._path(name).read_bytes())
            if isinstance(data["text"], str) and data["finish"] in ENDS:
                reply = Reply(data["text"], data["finish"], count(data, "used"))
                return None if reply.hollow else reply  # an older version kept hollow ones
        return None

    def put(self, name: str, reply: Reply) -> None:
        """Keep a reply, unless it is hollow, which may be a hiccup. If the disk is full, only a warning
        follows: the answer is paid for.
        """
        if reply.hollow:
            return
        path = self._path(name)
        # runs may share a folder
        partial = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.partial")
        try:
            path.parent.mkdir(exist_ok=True)
            partial.write_text(json.dumps(vars(reply)), encoding="utf-8")
            os.replace(partial, path)
        except OSError as error:
            warnings.warn(
                f"answers are not kept: the cache {self.folder} cannot be written: {error.strerror}",
                stacklevel=2,
            )
