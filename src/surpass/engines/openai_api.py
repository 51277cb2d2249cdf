"""A frozen model behind an OpenAI-compatible chat API: it answers, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import queue
import re
import threading
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from surpass.engines import network
from surpass.engines.asking import Asked, Draw, Round
from surpass.engines.ledger import Cache, Purse
from surpass.engines.messages import ANSWER, MessageText
from surpass.engines.replies import Lost
from surpass.engines.requests import Drawn, Generate
from surpass.errors import BudgetSpent, EngineError, SurpassError
from surpass.files import at_home
from surpass.types import FAILED

OURS = {
    "model",
    "messages",
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "seed",
    "n",
    "stream",
}


class OpenAIEngine:
    """`model` is its name at the server `url`. `key` (default: the environment variable OPENAI_API_KEY) is
    sent to that server and never written anywhere. A query in the url, such as ?api-version=..., is part of
    every request.

    Each draw is one request: at most `concurrency` at once, each at most `timeout` seconds. Temporary
    failures are tried again up to `retries` times, after about `delay`, 2 delay, 4 delay ... seconds. A busy
    server (429, or any reply that names a time) is asked again at that time, else after such pauses, until
    nothing was answered for `wait` seconds (0: it counts as any failure). If some draws of a request fail
    they are FAILED; if all fail, it is an EngineError. A parameter that the server refuses by name is left
    out from then on, with one warning.

    `tokens` and `dollars` (with `price`: dollars per million prompt and completion tokens) are budgets for
    the life of the engine, 0 for none. A request is sent only if its worst case fits. What the server does
    not report (no usage, a lost answer) costs its worst case. `cache`, a folder, keeps all answers but
    empty ones: the same request then costs nothing. `extra` adds JSON fields to every request.

    If the server honours seeds, draws repeat. The API cuts stop strings away and cannot say whether one ended
    the draw: such a draw is DONE. SurpassError for settings that make no sense, and for proxies and
    certificates of the environment that cannot be used.
    """

    can = frozenset({"text"})

    def __init__(
        self,
        model: str,
        url: str = "https://api.openai.com/v1",
        key: str | None = None,
        concurrency: int = 16,
        timeout: float = 120.0,
        retries: int = 6,
        tokens: int = 0,
        dollars: float = 0.0,
        price: tuple[float, float] = (0.0, 0.0),
        cache: str | Path | None = None,
        extra: Mapping[str, Any] | None = None,
        delay: float = 0.5,
        wait: float = 300.0,
    ):
        key = (os.environ.get("OPENAI_API_KEY", "") if key is None else key).strip()
        at = re.fullmatch(r"(https?://[^/@?#\s]+(?:/[^@?#\s]*)?)(\?[^#\s]*)?", url)
        if not at:
            raise SurpassError(
                'an API\'s url must be like "https://HOST/v1", without a user name or password in it'
            )
        if not re.fullmatch(r"[!-~]*", key):
            raise SurpassError(
                "the API key holds characters that no key has, such as spaces; look at OPENAI_API_KEY"
            )
        if concurrency < 1 or timeout <= 0 or min(retries, delay, wait, tokens, dollars, *price) < 0:
            raise SurpassError(
                "an API engine needs concurrency >= 1, timeout > 0, and retries, delay, wait, budgets "
                "and prices >= 0"
            )
        if dollars and not any(price):
            raise SurpassError(
                "a budget in dollars needs price: dollars per million prompt tokens, per million "
                "completion tokens"
            )
        if OURS & set(extra or {}):
            raise SurpassError(
                f"extra cannot set {', '.join(sorted(OURS & set(extra or {})))}: the engine does"
            )
        self.name, self.url, self.text = (
            model,
            at[1].rstrip("/").removesuffix("/chat/completions"),
            MessageText(),
        )
        self.query = at[2] or ""
        self.address = f"{self.url}/chat/completions{self.query}"  # where requests go, after redirections
        self.concurrency, self.timeout, self.retries, self.delay = concurrency, timeout, retries, delay
        self.wait, self.extra = wait, dict(extra or {})
        self.purse = Purse(tokens, dollars, price)
        self.cache = Cache(at_home(cache)) if cache is not None else None
        self.refused: set[str] = set()  # parameters that this server refuses
        self.counts = dict.fromkeys(("prefilled", "calls_made", "retries", "waits", "cached", "failed"), 0)
        self._key, self._told = key, False
        self._trusted = network.certificates()
        network.client(self._trusted, self.url)  # raises at once if proxies or certificates cannot be used
        self._give_up = lambda: None

    def serve(self, requests: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        """(request, list[Drawn]), or (request, EngineError) if it cannot be served, each as soon as it is
        complete. A draw that failed among others is FAILED; its text is the reason.

        BudgetSpent, after all finished answers, if the next request could cost more than is left.
        """
        draws: list[Draw] = []
        for request in requests:
            why = self._cannot(request)
            if why:
                yield request, EngineError(why)
            else:
                draws += self._draws(request)
        over: BudgetSpent | None = None
        with contextlib.closing(self._answers(draws)) as answers:
            for draw, answer in answers:
                asked = draw.asked
                if isinstance(answer, BudgetSpent):
                    over = answer
                    continue
                asked.replies[draw.place] = answer
                if len(asked.replies) == len(asked.request.keys):
                    asked.done = True
                    yield asked.request, self._reply([asked.replies[i] for i in range(len(asked.replies))])
        if over is not None:
            raise over
        for asked in dict.fromkeys(draw.asked for draw in draws):
            if not asked.done:
                yield asked.request, EngineError(f"the request to {self.url} was given up")

    def _reply(self, answers: Sequence[Drawn | SurpassError]) -> list[Drawn] | SurpassError:
        """The reply to a request: its draws, some of which may have failed, or the reason if all did."""
        errors = [answer for answer in answers if not isinstance(answer, Drawn)]
        self.counts["failed"] += len(errors)
        if len(errors) == len(answers):
            return errors[0]
        if errors and not self._told:
            self._told = True
            warnings.warn(
                f"{len(errors)} of {len(answers)} draws failed, and are failed attempts: {errors[0]}",
                stacklevel=2,
            )
        return [answer if isinstance(answer, Drawn) else _failed(answer) for answer in answers]

    def stop(self) -> None:
        """Stop serving, from any thread: whoever waits gets an EngineError at once."""
        self._give_up()

    def fresh(self) -> None:
        """Does nothing: only the answers on disk are remembered."""

    def counters(self) -> dict[str, int]:
        """Counts since the engine was made: prompt tokens as billed (four bytes count as one if the server
        does not say), requests sent, how many of them were retries, how often a busy server asked to wait,
        answers from the cache, and failed draws.
        """
        return dict(self.counts)

    def _cannot(self, request: Any) -> str | None:
        """Why a request cannot be served; None if it can."""
        if not isinstance(request, Generate):
            return "a chat API draws; it cannot score. Use a local engine for log-probabilities"
        if not len(request.tokens) or request.tokens[-1] != ANSWER:
            return (
                "continue=..., going on with an answer that has begun, is not possible with a chat "
                "API; use searches that begin whole answers, such as samples, or a local engine"
            )
        try:
            self.text.messages(request.tokens)
        except SurpassError as error:
            return str(error)
        return None

    def _draws(self, request: Generate) -> list[Draw]:
        """What to send for each key of a request."""
        messages, s = self.text.messages(request.tokens)[:-1], request.sampling
        body = {"model": self.name, "messages": messages, "temperature": s.temperature, "top_p": s.top_p}
        body |= {"max_tokens": s.max_tokens, "top_k": s.top_k, "min_p": s.min_p, "stop": list(s.stop)}
        body = {
            name: value for name, value in body.items() if value or name not in ("top_k", "min_p", "stop")
        }
        size = sum(len(message["content"].encode()) for message in messages)
        cost = np.array([size + 16 * len(messages), s.max_tokens])  # a token has at least one byte
        asked = Asked(request)
        bodies = [body | {"seed": key % 2**31} | self.extra for key in request.keys]
        return [Draw(asked, i, key, bodies[i], size, cost) for i, key in enumerate(request.keys)]

    def _answers(self, draws: Sequence[Draw]) -> Generator[tuple[Draw, Drawn | SurpassError]]:
        """Every draw with its answer, in the order in which they come. The requests run on an event loop in a
        thread of its own, where waiting requests can be cancelled: closing this generator ends both.
        """
        missing = []
        for draw in draws:
            reply = self.cache.get(self.identity(draw)) if self.cache else None
            if reply is None:
                missing.append(draw)
            else:
                self.counts["cached"] += 1
                yield draw, reply.drawn()
        if not missing:
            return
        ready: queue.SimpleQueue[tuple[Draw, Drawn | SurpassError] | None] = queue.SimpleQueue()
        loop = asyncio.new_event_loop()
        work = loop.create_task(Round(self).answer(missing, ready))

        def run() -> None:
            with contextlib.closing(loop), contextlib.suppress(asyncio.CancelledError):
                loop.run_until_complete(work)

        def give_up() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has already ended
                loop.call_soon_threadsafe(work.cancel)

        thread = threading.Thread(target=run, name="surpass-openai", daemon=True)
        thread.start()
        self._give_up = give_up
        try:
            while (answer := ready.get()) is not None:
                yield answer
        finally:
            give_up()
            thread.join()

    def identity(self, draw: Draw) -> str:
        """A draw's name in the cache: a hash of everything asked for (before a server's refusals change its
        form) and of the draw's key, so that servers that ignore seeds give different draws, too.
        """
        whole = {"url": f"{self.url}/chat/completions{self.query}", "body": draw.body, "key": draw.key}
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def _failed(error: SurpassError) -> Drawn:
    """A failed draw, with the reason as its text."""
    none = np.zeros(0, np.float32)
    return Drawn(
        np.zeros(0, np.int32), none, none, FAILED, str(error), error.used if isinstance(error, Lost) else None
    )
