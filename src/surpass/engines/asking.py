"""The HTTP requests behind a chat API's draws: sent, repeated, put off, and each given an answer."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import difflib
import math
import queue
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx2 as httpx
import numpy as np

from surpass.engines import network
from surpass.engines.refusals import refused
from surpass.engines.replies import (
    Fault,
    Hopeless,
    Lost,
    Reply,
    read_json,
    read_reply,
    read_usage,
    said,
    short,
    words_of,
)
from surpass.engines.requests import Drawn, Generate, uniforms
from surpass.engines.waits import asked_to_wait
from surpass.errors import BudgetSpent, EngineError, SurpassError

if TYPE_CHECKING:
    from surpass.engines.openai_api import OpenAIEngine

LONGEST_PAUSE = 60.0  # seconds between two tries, where the server names none
WORTH_SAYING = 2.0  # seconds of waiting that a person is told of
LEAST_BYTES, BYTES_A_TOKEN, MOST_BYTES = 2**20, 2**12, 2**25
"""Bytes of an answer at most: so many, and so many more a token that was asked for (log-probabilities of
twenty others and all), never above the last. What is longer is no answer.
"""
MOST_HOPS = 3  # redirections that are followed
NOTHING = np.zeros(2, np.int64)
ADVICE = {
    401: "set the environment variable OPENAI_API_KEY",
    403: "this key may not use this model",
    404: "is the model's name right, and the url, which mostly ends in /v1?",
}


@dataclass(eq=False)
class Asked:
    """A request, its replies so far by place, and whether it was answered."""

    request: Generate
    replies: dict[int, Drawn | SurpassError] = field(default_factory=dict)
    done: bool = False


@dataclass(frozen=True, eq=False)
class Draw:
    """One draw: which of its request's, what is sent, bytes of the prompt, and what it costs at worst
    (Purse).
    """

    asked: Asked
    place: int
    key: int
    body: dict[str, Any]
    size: int
    cost: np.ndarray


@dataclass
class Round:
    """The HTTP requests of one call of `serve`, in an event loop of their own."""

    engine: OpenAIEngine
    over: SurpassError | None = None  # why no more requests are sent
    heard: float = 0.0  # when the server last said anything
    told: bool = False  # that it cannot be reached
    busy: float | None = None  # since when it has been too busy to answer anything
    until: float = 0.0  # when it asks to be left alone no longer
    said: float = 0.0  # until when a person knows that it is waited for

    async def answer(self, draws: Sequence[Draw], ready: queue.SimpleQueue) -> None:
        """Put every draw with its answer, as they come, and None at the end."""
        engine, todo = self.engine, iter(draws)
        self.settled = asyncio.Event()
        limits = httpx.Limits(
            max_connections=engine.concurrency, max_keepalive_connections=engine.concurrency
        )
        timeout = httpx.Timeout(None, connect=min(10.0, engine.timeout))  # a whole try is timed in _post
        headers = {"Authorization": f"Bearer {engine._key}"} if engine._key else {}
        if engine._key and "api-version=" in engine.query:
            headers["api-key"] = engine._key  # what Azure calls it

        async def work():
            for draw in todo:  # all share one iterator
                ready.put((draw, await self._until_answered(draw)))

        try:
            settings = {"headers": headers, "limits": limits, "timeout": timeout}
            async with (
                network.client(engine._trusted, engine.url, **settings) as self.client,
                asyncio.TaskGroup() as group,
            ):
                for _ in range(min(engine.concurrency, len(draws))):
                    group.create_task(work())
        except SurpassError as error:  # the environment has changed
            for draw in todo:
                ready.put((draw, error))
        finally:
            ready.put(None)

    async def _until_answered(self, draw: Draw) -> Drawn | SurpassError:
        """The answer of the first try that gets one, or why there is none."""
        engine, began = self.engine, time.monotonic()
        last, deaf, pause, tries, faults = "", True, 0.0, 0, 0
        try:
            while faults <= engine.retries:
                await asyncio.sleep(pause)
                while (left := self.until - time.monotonic()) > 0 and not self.over:
                    await asyncio.sleep(left + pause % 1)  # not all at once
                if self.over:
                    return self.over
                engine.counts["retries"] += tries > 0
                tries += 1
                try:
                    reply = await self._try(draw)
                except Fault as fault:
                    last, deaf, jitter = str(fault), deaf and fault.deaf, float(uniforms(draw.key, tries)[-1])
                    longest = (
                        min(LONGEST_PAUSE, engine.wait / 4) if fault.busy and engine.wait else LONGEST_PAUSE
                    )
                    pause = min(engine.delay * 2 ** (tries - 1), longest)
                    asked = (
                        fault.wait if engine.wait or fault.wait is None else min(fault.wait, LONGEST_PAUSE)
                    )
                    pause = (pause if asked is None else asked) + engine.delay * jitter
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
            if deaf and self.heard < began:
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

    def _put_off(self, fault: Fault, pause: float) -> None:
        """The server is too busy for a request for `pause` seconds: others wait too, where it said so.
        Hopeless where it has been for too long.
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
        """Send a draw once. Fault where another try may help, EngineError where none will, BudgetSpent."""
        engine = self.engine
        worst = bill = await self._room(draw)  # what the server does not tell is charged at its worst
        try:
            response = await self._post(draw)
            if not response.is_success:
                bill = NOTHING
                raise await self._refusal(response)
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
        """What a draw costs at worst, once the budget holds that; BudgetSpent where waiting for others will
        not help.
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

    async def _post(self, draw: Draw) -> httpx.Response:
        """What the server says, of whatever status; a parameter that it refuses is said otherwise or left
        out, from then on where that helps.
        """
        engine, left, hops = self.engine, dict.fromkeys(self.engine.refused, ""), 0
        while True:
            body = _body(draw.body, left)
            response = await self._send(body)
            target = (
                response.headers.get("location") if response.status_code in (301, 302, 307, 308) else None
            )
            if target and hops < MOST_HOPS:
                engine.address = self._followed(response.url, response.url.join(target))
                hops += 1
                continue
            if response.status_code in (400, 422, 500, 501):
                error, words = words_of(response)
                name = (
                    refused(error, words, body)
                    if response.status_code < 500 or "support" in words.lower()
                    else None
                )
                if name is not None and name not in left:
                    left[name] = short(words, engine._key)
                    continue
            if response.is_success:
                self._learnt(left)
            return response

    async def _send(self, body: dict[str, Any]) -> httpx.Response:
        """One request, whole. Fault where none got through."""
        engine = self.engine
        engine.counts["calls_made"] += 1
        try:
            async with asyncio.timeout(engine.timeout):
                most = min(
                    LEAST_BYTES
                    + BYTES_A_TOKEN * body.get("max_tokens", body.get("max_completion_tokens", 0)),
                    MOST_BYTES,
                )
                response = await network.fetched(
                    self.client, "POST", engine.address, most, engine._key, json=body
                )
        except network.Oversized as error:
            raise Lost(f"{engine.url} sends {error}", None) from None
        except TimeoutError:
            raise Fault(f"no whole answer within {engine.timeout:g} seconds") from None
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise Hopeless(
                    f"the certificate of {engine.url} is not trusted "
                    f"({short(str(error), engine._key)}); SSL_CERT_FILE names a file of further "
                    "certificates to trust"
                ) from None
            raise Fault(
                f"no connection{network.by_way_of(engine.url)}: {short(str(error), engine._key)}", deaf=True
            ) from None
        except httpx.HTTPError as error:
            raise Fault(f"{type(error).__name__}: {short(str(error), engine._key)}") from None
        self.heard = time.monotonic()
        return response

    def _followed(self, source: httpx.URL, target: httpx.URL) -> str:
        """Where a redirection leads; Hopeless for another server, which is not sent the key."""
        if network.same_server(source, target):
            return str(target)
        base = short(
            str(target.copy_with(query=None, fragment=None)).removesuffix("/chat/completions"),
            self.engine._key,
        )
        if target.scheme not in ("http", "https"):
            raise Hopeless(f"{self.engine.url} sends requests on to {base}, which is no server")
        raise Hopeless(
            f"{self.engine.url} sends requests on to another server, which is not given the key; if "
            f"that is the right one: --url {base}"
        )

    def _learnt(self, left: Mapping[str, str]) -> None:
        """Parameters that an answer was got without are left out from now on; what that changes is said
        once.
        """
        engine = self.engine
        for name in left.keys() - engine.refused:
            engine.refused.add(name)
            means = {"seed": "draws will not repeat", "stop": "answers are cut here instead"}.get(
                name, "the server's own takes its place"
            )
            if name not in ("max_tokens", "stream", "stream_options"):
                warnings.warn(
                    f'{engine.url} takes no {name} ("{left[name]}"); it is left out: {means}', stacklevel=2
                )

    async def _refusal(self, response: httpx.Response) -> Exception:
        """What to raise for a status that is no success."""
        engine, status, words = self.engine, response.status_code, said(response, self.engine._key)
        broke = "insufficient_quota" in response.text  # a 429 that no waiting cures
        if (status in (408, 409, 429) or status >= 500) and not broke:
            wait = asked_to_wait(response.headers, response.text[:10_000])
            return Fault(f"HTTP {status}: {words}", wait, busy=status in (429, 529) or wait is not None)
        advice = f"; {ADVICE[status]}" if status in ADVICE else ""
        offered = await self._offered() if status == 404 else ""
        kind = Hopeless if status in (401, 404) or broke else EngineError
        return kind(f"{engine.url} answered HTTP {status}: {words}{advice}{offered}")

    async def _offered(self) -> str:
        """The names nearest to the model's that the server offers, as words; none where it does not tell."""
        engine = self.engine
        with contextlib.suppress(
            httpx.HTTPError,
            network.Oversized,
            TimeoutError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            RecursionError,
        ):
            async with asyncio.timeout(10):
                response = await network.fetched(
                    self.client, "GET", f"{engine.url}/models{engine.query}", LEAST_BYTES, engine._key
                )
            names = [str(model["id"])[:100] for model in response.json()["data"][:1000]]
            near = ", ".join(difflib.get_close_matches(engine.name, names, 3, 0))
            return f" The nearest of its {len(names)} models: {short(near, engine._key)}" if names else ""
        return ""


def _body(asked: Mapping[str, Any], left: Mapping[str, str]) -> dict[str, Any]:
    """What is sent in place of what is asked for, given the parameters that the server refused."""
    body = {name: value for name, value in asked.items() if name not in left or name == "max_tokens"}
    if "max_tokens" in left:
        body["max_completion_tokens"] = body.pop("max_tokens")
    if "stream" in left:
        body |= {"stream": True} | (
            {} if "stream_options" in left else {"stream_options": {"include_usage": True}}
        )
    return body


def _cut(reply: Reply, stops: Sequence[str]) -> Reply:
    """A reply up to the first stop string in it."""
    found = [at for stop in stops if (at := reply.text.find(stop)) >= 0]
    return dataclasses.replace(reply, text=reply.text[: min(found)], finish="stop") if found else reply
