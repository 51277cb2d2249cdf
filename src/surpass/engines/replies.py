"""What a chat API answers: read out of HTTP, within a budget, kept on disk."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx  # what huggingface_hub speaks HTTP with
import numpy as np

from surpass.engines.bytes import END
from surpass.engines.requests import Drawn
from surpass.errors import BudgetSpent, EngineError, SurpassError
from surpass.types import DONE, LENGTH

STOPS = {"stop": DONE, "length": LENGTH}
_NO = re.compile(r"not support|unsupported|unexpected|unknown|unrecognized|extra|not permitted|not allowed|instead", re.I)


class Fault(Exception):
    """A try failed for a reason that may pass. `wait`: seconds that the server asks for; `deaf`: nobody could be reached."""

    def __init__(self, reason: str, wait: float | None = None, deaf: bool = False):
        super().__init__(reason)
        self.wait, self.deaf = wait, deaf


@dataclass(frozen=True)
class Reply:
    """The text, its finish_reason, and its tokens as the server counted them (None where it does not say)."""

    text: str
    finish: str
    used: int | None

    def drawn(self) -> Drawn:
        """The text's bytes. Where the server does not say how many tokens it drew, four bytes count as one."""
        tokens = list(self.text.encode("utf-8", "replace"))
        used = math.ceil(len(tokens) / 4) if self.used is None else self.used
        tokens += [END] if STOPS[self.finish] == DONE else []
        unknown = np.full(len(tokens), np.nan, np.float32)
        return Drawn(np.array(tokens, np.int32), unknown, unknown, STOPS[self.finish], used=used)


def read_json(response: httpx.Response) -> Any:
    """A response's JSON; Fault where it is broken."""
    try:
        return response.json()
    except (ValueError, RecursionError) as error:
        raise Fault(f"broken JSON: {error}") from None


def read_usage(data: Any) -> tuple[int | None, int | None]:
    """Prompt and completion tokens as billed; None for what is not told."""
    usage = data.get("usage") if isinstance(data, dict) else None
    return _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")


def read_reply(data: Any, key: str) -> Reply:
    """The reply in a response's JSON; Fault for JSON of another shape, EngineError for an answer that is no whole attempt."""
    try:
        choice = data["choices"][0]
        finish, text = choice["finish_reason"], choice["message"].get("content")
        if not isinstance(finish, str) or not isinstance(text, str | None):
            raise TypeError
        text = (
            "" if text is None and finish == "length" else text
        )  # its thoughts took all it had: cut off before it said anything
    except (LookupError, TypeError, AttributeError):
        raise Fault(f"JSON of the wrong shape: {short(json.dumps(data), key)}") from None
    if finish not in STOPS or text is None:
        hint = "; a larger max_tokens may leave some for an answer" if finish == "length" else ""
        what = "no text" if text is None else "text that is no whole answer"
        raise EngineError(f'the model gave {what}: finish_reason is "{short(finish, key)}"{hint}')
    return Reply(text, finish, _count(data.get("usage"), "completion_tokens"))


def said(response: httpx.Response, key: str) -> str:
    """A server's own message, in one short line."""
    try:
        found = response.json()
        for name in ("error", "message", "detail"):
            found = found.get(name) or found if isinstance(found, dict) else found
    except (ValueError, RecursionError):
        found = response.text
    return short(found if isinstance(found, str) else json.dumps(found), key) or response.reason_phrase


def short(text: str, key: str) -> str:
    """At most 300 characters of somebody else's words, on one line, without the API key."""
    return " ".join((text.replace(key, "[key]") if key else text).split())[:300]


def retry_after(response: httpx.Response) -> float | None:
    """The seconds that a server asks to wait; None where it names none (or a date)."""
    value = response.headers.get("retry-after", "")
    return float(value) if re.fullmatch(r"\d{1,9}(\.\d*)?", value) else None


def spare(name: str, value: Any) -> bool:
    """Whether a parameter can be left out: nothing changes then but what repeats."""
    return name == "seed" or (name in ("temperature", "top_p") and value == 1)


def refused(words: str, body: Mapping[str, Any]) -> str | None:
    """The parameter that a server's refusal names, if it can be said otherwise or left out; else None."""
    if _NO.search(words):
        for name, value in body.items():
            if (name == "max_tokens" or spare(name, value)) and re.search(rf"\b{name}\b", words):
                return name
    return None


def _count(usage: Any, name: str) -> int | None:
    """A number of tokens out of JSON; None where there is none."""
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and 0 <= value < 2**53 else None


class Purse:
    """Budgets, what was spent, and what requests under way may cost yet. Costs are int64[2]: prompt and completion tokens."""

    def __init__(self, tokens: int, dollars: float, price: tuple[float, float]):
        self.tokens, self.dollars, self.price = tokens, dollars, np.array(price, float)
        self.spent, self.held = np.zeros(2, np.int64), np.zeros(2, np.int64)
        self.excess = 0  # by how much a prompt cost more than its worst case: a template that says a lot by itself

    def worst(self, cost: np.ndarray) -> np.ndarray:
        """The worst case of a request, int64[2], by what was learnt so far."""
        return cost + [self.excess, 0]

    def fits(self, worst: np.ndarray) -> bool:
        """Whether the budgets hold what was spent, what is under way, and this."""
        whole = self.spent + self.held + worst
        return not (self.tokens and whole.sum() > self.tokens) and not (self.dollars and self._dollars(whole) > self.dollars)

    def hold(self, worst: np.ndarray) -> None:
        """A request goes under way."""
        self.held += worst

    def settle(self, worst: np.ndarray, bill: np.ndarray) -> None:
        """A request that was under way has cost this."""
        self.held -= worst
        self.spent += bill
        self.excess += max(0, int(bill[0] - worst[0]))

    def _dollars(self, cost: np.ndarray) -> float:
        return float(cost @ self.price) / 1e6

    def empty(self, worst: np.ndarray, cache: Cache | None) -> BudgetSpent:
        """What to raise for a request that does not fit."""
        found = []
        if self.tokens:
            found.append(
                f"{self.spent.sum():,} of {self.tokens:,} tokens are spent and the next request may need {worst.sum():,}"
            )
        if self.dollars:
            spent, more = self._dollars(self.spent), self._dollars(worst)
            found.append(f"{spent:.4g} of {self.dollars:.4g} dollars are spent and the next request may cost {more:.2g}")
        kept = "nothing was kept: give a cache folder"
        if cache is not None:
            kept = f"what was answered is in the cache ({cache.folder}), so a higher budget goes on from there"
        return BudgetSpent(f"the budget does not hold the next request: {'; '.join(found)}; {kept}")


@dataclass(frozen=True)
class Cache:
    """One JSON file per reply in a folder; a file that cannot be read is as good as none."""

    folder: Path

    def __post_init__(self):
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
            if isinstance(data["text"], str) and data["finish"] in STOPS:
                return Reply(data["text"], data["finish"], _count(data, "used"))
        return None

    def put(self, name: str, reply: Reply) -> None:
        """Keep a reply. A disk that is full costs a warning, not the answer, which is paid for."""
        path = self._path(name)
        partial = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.partial")  # runs may share a folder
        try:
            path.parent.mkdir(exist_ok=True)
            partial.write_text(json.dumps(vars(reply)))
            os.replace(partial, path)
        except OSError as error:
            warnings.warn(f"answers are not kept: the cache {self.folder} cannot be written: {error.strerror}", stacklevel=2)
