"""A frozen model behind any OpenAI-compatible chat API: it answers, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import hashlib
import json
import math
import os
import queue
import re
import threading
import time
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np

from surpass.engines.messages import ANSWER, MessageText
from surpass.engines.replies import (
    Cache,
    Fault,
    Purse,
    Reply,
    read_json,
    read_reply,
    read_usage,
    refused,
    retry_after,
    said,
    short,
    spare,
)
from surpass.engines.requests import Drawn, Generate, uniforms
from surpass.errors import BudgetSpent, EngineError, SurpassError

LONGEST_WAIT = 60.0  # seconds between two tries
OURS = {"model", "messages", "temperature", "top_p", "max_tokens", "max_completion_tokens", "seed", "n", "stream"}
NOTHING = np.zeros(2, np.int64)
ADVICE = {
    401: "set the environment variable OPENAI_API_KEY",
    403: "this key may not use this model",
    404: "is the model's name right, and the url, which mostly ends in /v1?",
}


class OpenAIEngine:
    """`model` is the name that the server at `url` knows it by; `key` (default: the environment variable OPENAI_API_KEY) is
    sent to that server and never written anywhere.

    One request per draw, at most `concurrency` at once, each of at most `timeout` seconds; what fails for a passing reason is
    tried again up to `retries` times, after about `delay`, 2 delay, 4 delay ... seconds, or when the server says. `tokens` and
    `dollars` (with `price`: dollars per million prompt and completion tokens) are budgets for the life of the engine, 0 for
    none: a request is sent only if its worst case fits. What the server does not tell (no usage, an answer that got lost) is
    charged at its worst. `cache`, a folder, keeps every answer: what was asked before costs nothing. `extra`: more JSON fields
    of every request.

    Where the server honours seeds, draws repeat. A stop string is cut away by the API, which cannot say whether it stopped
    there: such a draw is DONE. Raises SurpassError for settings that make no sense.
    """

    can = frozenset({"text"})

    def __init__(
        self, model: str, url: str = "https://api.openai.com/v1", key: str | None = None, concurrency: int = 16,
        timeout: float = 120.0, retries: int = 6, tokens: int = 0, dollars: float = 0.0,
        price: tuple[float, float] = (0.0, 0.0), cache: str | Path | None = None, extra: Mapping[str, Any] | None = None,
        delay: float = 0.5,
    ):  # fmt: skip
        key = (os.environ.get("OPENAI_API_KEY", "") if key is None else key).strip()
        if not re.fullmatch(r"https?://[^/@?#\s]+(/[^@?#\s]*)?", url):
            raise SurpassError('an API\'s url must be like "https://HOST/v1", without a user name or password in it')
        if not re.fullmatch(r"[!-~]*", key):
            raise SurpassError("the API key holds characters that no key has, such as spaces; look at OPENAI_API_KEY")
        if concurrency < 1 or timeout <= 0 or min(retries, delay, tokens, dollars, *price) < 0:
            raise SurpassError("an API engine needs concurrency >= 1, timeout > 0, and retries, delay, budgets and prices >= 0")
        if dollars and not any(price):
            raise SurpassError(
                "a budget in dollars needs price: dollars per million prompt tokens, per million completion tokens"
            )
        if OURS & set(extra or {}):
            raise SurpassError(f"extra cannot set {', '.join(sorted(OURS & set(extra or {})))}: the engine does")
        self.name, self.url, self.text = model, url.rstrip("/"), MessageText()
        self.concurrency, self.timeout, self.retries, self.delay = concurrency, timeout, retries, delay
        self.extra = dict(extra or {})
        self.purse = Purse(tokens, dollars, price)
        self.cache = Cache(Path(cache).expanduser()) if cache is not None else None
        self.refused: set[str] = set()  # parameters that this server does not take
        self.counts = dict.fromkeys(("prefilled", "calls_made", "retries", "cached"), 0)
        self._key = key
        self._give_up = lambda: None

    def serve(self, requests: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        """(request, list[Drawn]), or (request, EngineError) where one cannot be served, each when it is complete.

        Raises BudgetSpent when what is answered was given and the next request could cost more than is left.
        """
        draws: list[_Draw] = []
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
                elif isinstance(answer, Drawn):
                    asked.replies[draw.place] = answer
                    if not asked.done and len(asked.replies) == len(asked.request.keys):
                        asked.done = True
                        yield asked.request, [asked.replies[i] for i in range(len(asked.replies))]
                elif not asked.done:
                    asked.done = True
                    yield asked.request, answer
        if over is not None:
            raise over
        for asked in dict.fromkeys(draw.asked for draw in draws):
            if not asked.done:
                yield asked.request, EngineError(f"the request to {self.url} was given up")

    def stop(self) -> None:
        """Give up what is being served, from any thread: whoever waits for it gets an EngineError at once."""
        self._give_up()

    def fresh(self) -> None:
        """Nothing is remembered between requests but the answers on disk."""

    def counters(self) -> dict[str, int]:
        """Since the engine was made: prompt tokens as billed (four bytes count as one where the server does not say), requests
        sent, how many of these were repetitions, and answers taken from the cache."""
        return dict(self.counts)

    def _cannot(self, request: Any) -> str | None:
        """Why a request cannot be served; None if it can."""
        if not isinstance(request, Generate):
            return "a chat API draws; it cannot score. Use a local engine for log-probabilities"
        if not len(request.tokens) or request.tokens[-1] != ANSWER:
            return ("continue=..., going on with an answer that has begun, is not possible with a chat API; use searches that "
                    "begin whole answers, such as samples, or a local engine")  # fmt: skip
        try:
            self.text.messages(request.tokens)
        except SurpassError as error:
            return str(error)
        return None

    def _draws(self, request: Generate) -> list[_Draw]:
        """What is to be sent for each key of a request."""
        messages, s = self.text.messages(request.tokens)[:-1], request.sampling
        body = {"model": self.name, "messages": messages, "temperature": s.temperature, "top_p": s.top_p}
        body |= {"max_tokens": s.max_tokens, "top_k": s.top_k, "min_p": s.min_p, "stop": list(s.stop)}
        body = {name: value for name, value in body.items() if value or name not in ("top_k", "min_p", "stop")}
        size = sum(len(message["content"].encode()) for message in messages)
        cost = np.array([size + 16 * len(messages), s.max_tokens])  # a token has a byte at least
        asked = _Asked(request)
        bodies = [body | {"seed": key % 2**31} | self.extra for key in request.keys]
        return [_Draw(asked, i, key, bodies[i], size, cost) for i, key in enumerate(request.keys)]

    def _answers(self, draws: Sequence[_Draw]) -> Generator[tuple[_Draw, Drawn | SurpassError]]:
        """Every draw with its answer, as they come. An event loop in a thread of its own makes the requests, because a request
        that waits can be given up there: when this generator is closed, neither is left."""
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
        ready: queue.SimpleQueue[tuple[_Draw, Drawn | SurpassError] | None] = queue.SimpleQueue()
        loop = asyncio.new_event_loop()
        work = loop.create_task(_Round(self).answer(missing, ready))

        def run():
            with contextlib.closing(loop), contextlib.suppress(asyncio.CancelledError):
                loop.run_until_complete(work)

        def give_up():
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
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

    def identity(self, draw: _Draw) -> str:
        """A draw's name in the cache: a hash of all that is asked for (before a server's refusals change its form) and of the
        draw's key, so that servers that ignore seeds give different draws too."""
        whole = {"url": f"{self.url}/chat/completions", "body": draw.body, "key": draw.key}
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


@dataclass(eq=False)
class _Asked:
    """A request, its replies so far by place, whether one of its draws failed, and whether the request was answered."""

    request: Generate
    replies: dict[int, Drawn] = field(default_factory=dict)
    failed: bool = False
    done: bool = False


@dataclass(frozen=True, eq=False)
class _Draw:
    """One draw: which of its request's, what is sent, bytes of the prompt, and what it costs at worst (Purse)."""

    asked: _Asked
    place: int
    key: int
    body: dict[str, Any]
    size: int
    cost: np.ndarray


@dataclass
class _Round:
    """The HTTP requests of one call of `serve`, in an event loop of their own."""

    engine: OpenAIEngine
    over: SurpassError | None = None  # why no more requests are sent
    heard: float = 0.0  # when the server last said anything
    told: bool = False  # that it cannot be reached

    async def answer(self, draws: Sequence[_Draw], ready: queue.SimpleQueue) -> None:
        """Put every draw with its answer, as they come, and None at the end."""
        engine, todo = self.engine, iter(draws)
        self.settled = asyncio.Event()
        headers = {"Authorization": f"Bearer {engine._key}"} if engine._key else {}
        limits = httpx.Limits(max_connections=engine.concurrency, max_keepalive_connections=engine.concurrency)
        timeout = httpx.Timeout(None, connect=min(10.0, engine.timeout))  # a whole try is timed in _post

        async def work():
            for draw in todo:  # all share one iterator
                if not draw.asked.failed:
                    answer = await self._until_answered(draw)
                    draw.asked.failed |= not isinstance(answer, Drawn)
                    ready.put((draw, answer))

        try:
            async with httpx.AsyncClient(headers=headers, limits=limits, timeout=timeout) as self.client:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(engine.concurrency, len(draws))):
                        group.create_task(work())
        finally:
            ready.put(None)

    async def _until_answered(self, draw: _Draw) -> Drawn | SurpassError:
        """The answer of the first try that gets one, or why there is none."""
        engine, began = self.engine, time.monotonic()
        jitter = uniforms(draw.key, engine.retries + 1)
        last, deaf, wait = "", True, 0.0
        try:
            for k in range(engine.retries + 1):
                await asyncio.sleep(wait)
                if self.over:
                    return self.over
                engine.counts["retries"] += k > 0
                try:
                    reply = await self._try(draw)
                except Fault as fault:
                    last, deaf = str(fault), deaf and fault.deaf
                    if fault.deaf and not self.told and k < engine.retries:
                        self.told = True
                        warnings.warn(f"{engine.url}: {last}; trying again, up to {engine.retries} times", stacklevel=2)
                    wait = fault.wait if fault.wait is not None else engine.delay * 2**k
                    wait = min(wait + engine.delay * jitter[k], LONGEST_WAIT)
                else:
                    if engine.cache:
                        engine.cache.put(engine.identity(draw), reply)
                    return reply.drawn()
            tries = f"{engine.retries + 1} tries over {time.monotonic() - began:.1f} seconds"
            error = EngineError(f"no answer from {engine.url} after {tries}; the last reason: {last}")
            if deaf and self.heard < began:
                self.over = self.over or error
            return error
        except BudgetSpent as error:
            self.over = error
            return error
        except SurpassError as error:
            return error
        except Exception as error:
            return EngineError(f"{type(error).__name__} while asking {engine.url}: {short(str(error), engine._key)}")

    async def _try(self, draw: _Draw) -> Reply:
        """Send a draw once. Fault where another try may help, EngineError where none will, BudgetSpent."""
        engine = self.engine
        worst = bill = await self._room(draw)  # what the server does not tell is charged at its worst
        try:
            response = await self._post(draw)
            if not response.is_success:
                bill = NOTHING
                raise await self._refusal(response)
            data = read_json(response)
            prompt, used = read_usage(data)
            bill = np.where([prompt is None, used is None], worst, [prompt or 0, used or 0])
            engine.counts["prefilled"] += prompt or 0
            reply = read_reply(data, engine._key)
            engine.counts["prefilled"] += math.ceil(draw.size / 4) if prompt is None else 0
            return reply
        except Fault as fault:
            bill = NOTHING if fault.deaf else bill
            raise
        finally:
            engine.purse.settle(worst, bill)
            self.settled.set()

    async def _room(self, draw: _Draw) -> np.ndarray:
        """What a draw costs at worst, once the budget holds that; BudgetSpent where waiting for others will not help."""
        purse = self.engine.purse
        while not purse.fits(worst := purse.worst(draw.cost)):
            if not purse.held.any():
                raise purse.empty(worst, self.engine.cache)
            self.settled.clear()
            await self.settled.wait()
            if self.over:
                raise self.over
        purse.hold(worst)
        return worst

    async def _post(self, draw: _Draw) -> httpx.Response:
        """What the server says, of whatever status; a parameter that it refuses is said otherwise or left out from then on."""
        engine = self.engine
        while True:
            body = {name: value for name, value in draw.body.items() if name not in engine.refused or not spare(name, value)}
            if "max_tokens" in engine.refused:
                body["max_completion_tokens"] = body.pop("max_tokens")
            engine.counts["calls_made"] += 1
            try:
                async with asyncio.timeout(engine.timeout):
                    response = await self.client.post(f"{engine.url}/chat/completions", json=body)
            except TimeoutError:
                raise Fault(f"no whole answer within {engine.timeout:g} seconds") from None
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                raise Fault(f"no connection: {error}", deaf=True) from None
            except httpx.HTTPError as error:
                raise Fault(f"{type(error).__name__}: {error}") from None
            self.heard = time.monotonic()
            name = refused(response.text, body) if response.status_code in (400, 422) else None
            if name is None:
                return response
            if name == "seed" and name not in engine.refused:
                warnings.warn(f"{engine.url} takes no seed: draws will not repeat", stacklevel=1)
            engine.refused.add(name)

    async def _refusal(self, response: httpx.Response) -> Exception:
        """What to raise for a status that is no success."""
        engine, status, words = self.engine, response.status_code, said(response, self.engine._key)
        broke = "insufficient_quota" in response.text  # a 429 that no waiting cures
        if (status in (408, 409, 429) or status >= 500) and not broke:
            return Fault(f"HTTP {status}: {words}", retry_after(response))
        advice = f"; {ADVICE[status]}" if status in ADVICE else ""
        offered = await self._offered() if status == 404 else ""
        error = EngineError(f"{engine.url} answered HTTP {status}: {words}{advice}{offered}")
        if status in (401, 404) or broke:  # as true for every other request
            self.over = self.over or error
        return error

    async def _offered(self) -> str:
        """The names nearest to the model's that the server offers, as words; none where it does not tell."""
        engine = self.engine
        with contextlib.suppress(httpx.HTTPError, ValueError, LookupError, TypeError, AttributeError):
            response = await self.client.get(f"{engine.url}/models", timeout=10)
            names = [str(model["id"]) for model in response.json()["data"]]
            near = ", ".join(difflib.get_close_matches(engine.name, names, 3, 0))
            return f" The nearest of its {len(names)} models: {short(near, engine._key)}" if names else ""
        return ""
