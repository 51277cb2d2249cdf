"""The HTTP requests for draws from a chat API: each sent once, in the form that the server takes."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2 as httpx

from surpass.engines import network
from surpass.engines.refusals import refused
from surpass.engines.replies import Fault, Hopeless, Lost, said, short, words_of
from surpass.engines.waits import asked_to_wait
from surpass.errors import EngineError

if TYPE_CHECKING:
    from surpass.engines.asking import Draw
    from surpass.engines.openai_api import OpenAIEngine

LEAST_BYTES, BYTES_A_TOKEN, MOST_BYTES = 2**20, 2**12, 2**25
"""The most bytes of an answer: LEAST_BYTES and BYTES_A_TOKEN for each token asked for (log-probabilities of
twenty others may come with it), but never above MOST_BYTES. What is longer is no answer.
"""
MOST_HOPS = 3  # redirections that are followed
ADVICE = {
    401: "set the environment variable OPENAI_API_KEY",
    403: "this key may not use this model",
    404: "is the model's name right, and the url, which mostly ends in /v1?",
}


@dataclass
class Post:
    """Sends draws to a server. Parameters that the server refuses are said otherwise or left out."""

    engine: OpenAIEngine
    client: httpx.AsyncClient
    heard: float = 0.0  # when the server last answered anything

    async def sent(self, draw: Draw) -> httpx.Response:
        """The server's response to a draw, of any status. A parameter that it refuses is said otherwise or
        left out; if that helps, from now on.
        """
        engine, left, hops = self.engine, dict.fromkeys(self.engine.refused, ""), 0
        while True:
            body = _body(draw.body, left)
            response = await self._send(body)
            moved = response.status_code in (301, 302, 307, 308)
            if moved and hops < MOST_HOPS and (target := response.headers.get("location")):
                engine.address = self._followed(response.url, response.url.join(target))
                hops += 1
                continue
            if response.status_code in (400, 422, 500, 501):
                error, words = words_of(response)
                about = response.status_code < 500 or "support" in words.lower()
                name = refused(error, words, body) if about else None
                if name is not None and name not in left:
                    left[name] = short(words, engine._key)
                    continue
            if response.is_success:
                self._learnt(left)
            return response

    async def _send(self, body: dict[str, Any]) -> httpx.Response:
        """The whole response to one request. Fault where there is none."""
        engine = self.engine
        engine.counts["calls_made"] += 1
        tokens = body.get("max_tokens", body.get("max_completion_tokens", 0))
        most = min(LEAST_BYTES + BYTES_A_TOKEN * tokens, MOST_BYTES)
        try:
            async with asyncio.timeout(engine.timeout):
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
        """The address of a redirection; Hopeless for another server, which must not get the key."""
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
        """Leave out from now on the parameters `left` without which an answer came, and warn of it once."""
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

    async def refusal(self, response: httpx.Response) -> Exception:
        """The exception for a status that is no success."""
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
        """A sentence that names the nearest of the models that the server offers, if it tells them."""
        engine = self.engine
        failures = (httpx.HTTPError, network.Oversized, TimeoutError)
        misshapen = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
        with contextlib.suppress(*failures, *misshapen):
            async with asyncio.timeout(10):
                response = await network.fetched(
                    self.client, "GET", f"{engine.url}/models{engine.query}", LEAST_BYTES, engine._key
                )
            names = [str(model["id"])[:100] for model in response.json()["data"][:1000]]
            near = ", ".join(difflib.get_close_matches(engine.name, names, 3, 0))
            return f" The nearest of its {len(names)} models: {short(near, engine._key)}" if names else ""
        return ""


def _body(asked: Mapping[str, Any], left: Mapping[str, str]) -> dict[str, Any]:
    """The body to send instead of `asked`, given the parameters that the server refuses."""
    body = {name: value for name, value in asked.items() if name not in left or name == "max_tokens"}
    if "max_tokens" in left:
        body["max_completion_tokens"] = body.pop("max_tokens")
    if "stream" in left:
        body |= {"stream": True} | (
            {} if "stream_options" in left else {"stream_options": {"include_usage": True}}
        )
    return body
