"""Draws from a chat API: each is tried, repeated or put off until it has an answer, within the budget."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import queue
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx2 as httpx
import numpy as np

from surpass.engines import network
from surpass.engines.posting import Post
from surpass.engines.replies import Fault, Hopeless, Reply, read_json, read_reply, read_usage, short
from surpass.engines.requests import Drawn, Generate, uniforms
from surpass.errors import BudgetSpent, EngineError, SurpassError

if TYPE_CHECKING:
    from surpass.engines.openai_api import OpenAIEngine

LONGEST_PAUSE = 60.0  # seconds between two tries, where the server names none
WORTH_SAYING = 2.0  # a person is told of a wait of so many seconds
NOTHING = np.zeros(2, np.int64)


@dataclass(eq=False)
class Asked:
    """A request, its replies so far by the number of the draw, and whether it was answered."""

    request: Generate
    replies: dict[int, Drawn | SurpassError] = field(default_factory=dict)
    done: bool = False


@dataclass(frozen=True, eq=False)
class Draw:
    """One draw of a request: its number and key, the body to send, the bytes of its prompt, and its cost at
    worst (Purse).
    """

    asked: Asked
    place: int
    key: int
    body: dict[str, Any]
    size: int
    cost: np.ndarray


@dataclass
class Round:
    """All draws of one call of `serve`, in an event loop of their own."""

    engine: OpenAIEngine
    over: SurpassError | None = None  # why no more requests are sent
    told: bool = False  # whether a person was told that the server cannot be reached
    busy: float | None = None  # since when the server has been too busy for any answer
    until: float = 0.0  # until when the server asks for no requests
    said: float = 0.0  # until when a person expects to wait
    post: Post = field(init=False)
    settled: asyncio.Event = field(init=False, default_factory=asyncio.Event)  # a draw under way was paid for

    async def answer(
        self, draws: Sequence[Draw], ready: queue.SimpleQueue[tuple[Draw, Drawn | SurpassError] | None]
    ) -> None:
        """Put each draw with its answer into the queue when it is answered, and None at the end."""
        engine, todo = self.engine, iter(draws)
        limits = httpx.Limits(
            max_connections=engine.concurrency, max_keepalive_connections=engine.concurrency
        )
        timeout = httpx.Timeout(None, connect=min(10.0, engine.timeout))  # a whole try is timed in Post
        headers = {"Authorization": f"Bearer {engine._key}"} if engine._key else {}
        if engine._key and "api-version=" in engine.query:
            headers["api-key"] = engine._key  # what Azure calls it

        async def work() -> None:
            for draw in todo:  # all workers share one iterator
                ready.put((draw, await self._until_answered(draw)))

        try:
            settings = {"headers": headers, "limits": limits, "timeout": timeout}
            async with (
                network.client(engine._trusted, engine.url, **settings) as client,
                asyncio.TaskGroup() as group,
            ):
                self.post = Post(engine, client)
                for _ in range(min(engine.concurrency, len(draws))):
                    group.create_task(work())
        except SurpassError as error:  # the proxies or certificates of the environment have changed
            for draw in todo:
                ready.put((draw, error))
        finally:
            ready.put(None)

    async def _until_answered(self, draw: Draw) -> Drawn | SurpassError:
        """The answer of the first try that succeeds, or why none did."""
        engine, began = self.engine, time.monotonic()
        last, deaf, pause, tries, faults = "", True, 0.0, 0, 0
        try:
            while faults <= engine.retries:
                await asyncio.sleep(pause)
                while (left := self.until - time.monotonic()) > 0 and not self.over:
                    await asyncio.sleep(left + pause % 1)  # so that not all ask at once
                if self.over:
                    return self.over
                engine.counts["retries"] += tries > 0
                tries += 1
                try:
                    reply = await self._try(draw)
                except Fault as fault:
                    last, deaf, jitter = str(fault), deaf and fault.deaf, float(uniforms(draw.key, tries)[-1])
                    pause = self._pause(fault, tries) + engine.delay * jitter
                    if fault.busy and engine.wait:
                        self._put_off(fault, pause)
                        continue
                    faults += 1
                    if fault.deaf and not self.told and faults <= engine.retries:
                        self.told = True
                        warnings.warn(
                            f"{engine.url}: {last}; trying again, up to {engine.retries} times", stacklevel=2
                        )
                else:
                    self.busy = None
                    if engine.cache:
                        engine.cache.put(engine.identity(draw), reply)
                    return reply.drawn()
            error = EngineError(
                f"no answer from {engine.url} after {tries} tries over {time.monotonic() - began:.1f} "
                f"seconds; the last reason: {last}"
            )
            if deaf and self.post.heard < began:
                self.over = self.over or error
            return error
        except SurpassError as error:
            if isinstance(error, (BudgetSpent, Hopeless)):
                self.over = self.over or error
            return error
        except Exception as error:
            return EngineError(
                f"{type(error).__name__} while asking {engine.url}: {short(str(error), engine._key)}"
            )

    def _pause(self, fault: Fault, tries: int) -> float:
        """Seconds to wait before another try: what the server asks for, else twice as long after each try."""
        wait, delay = self.engine.wait, self.engine.delay
        if fault.wait is not None:
            return fault.wait if wait else min(fault.wait, LONGEST_PAUSE)
        longest = min(LONGEST_PAUSE, wait / 4) if fault.busy and wait else LONGEST_PAUSE
        return min(delay * 2 ** (tries - 1), longest)

    def _put_off(self, fault: Fault, pause: float) -> None:
        """A busy server gets this request again after `pause` seconds; if it asked to wait, the others wait
        too. Hopeless where it has been busy for too long.
        """
        engine, now = self.engine, time.monotonic()
        self.busy = now if self.busy is None else self.busy
        engine.counts["waits"] += 1
        if now + pause - self.busy > engine.wait:
            asks = (
                f"asks to wait {fault.wait:.0f} seconds"
                if fault.wait is not None
                else f"is busy for {now - self.busy:.0f} seconds"
            )
            raise Hopeless(
                f"{engine.url} {asks}, and {engine.wait:g} without an answer are the limit (--wait): {fault}"
            )
        if fault.wait is not None:
            self.until = max(self.until, now + pause)
        if pause >= WORTH_SAYING and now + pause > self.said + WORTH_SAYING:
            self.said = now + pause
            warnings.warn(
                f"{engine.url} is busy ({fault}): asking again in {pause:.0f} seconds", stacklevel=2
            )

    async def _try(self, draw: Draw) -> Reply:
        """Send a draw once. Fault where another try may help, EngineError where none will; BudgetSpent."""
        engine = self.engine
        worst = bill = await self._room(draw)  # charged in full where the server does not tell the cost
        try:
            response = await self.post.sent(draw)
            if not response.is_success:
                bill = NOTHING
                raise await self.post.refusal(response)
            data = read_json(response, engine._key)
            prompt, used = read_usage(data)
            bill = np.where([prompt is None, used is None], worst, [prompt or 0, used or 0])
            engine.counts["prefilled"] += prompt or 0
            reply = read_reply(data, engine._key, draw.body["max_tokens"])
            engine.counts["prefilled"] += math.ceil(draw.size / 4) if prompt is None else 0
            return (
                _cut(reply, draw.body["stop"]) if "stop" in engine.refused and "stop" in draw.body else reply
            )
        except Fault as fault:
            bill = NOTHING if fault.deaf else bill
            raise
        except (RecursionError, LookupError, TypeError, ValueError, AttributeError) as error:
            nested = isinstance(error, RecursionError)
            raise Fault(
                "JSON that is nested too deeply"
                if nested
                else f"JSON of the wrong shape ({type(error).__name__})"
            ) from None
        finally:
            engine.purse.settle(worst, bill)
            self.settled.set()

    async def _room(self, draw: Draw) -> np.ndarray:
        """Wait until the budget holds what a draw costs at worst, and return that cost. BudgetSpent where no
        draw under way could leave enough.
        """
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


def _cut(reply: Reply, stops: Sequence[str]) -> Reply:
    """A reply up to the first stop string in it."""
    found = [at for stop in stops if (at := reply.text.find(stop)) >= 0]
    return dataclasses.replace(reply, text=reply.text[: min(found)], finish="stop") if found else reply
