"""Reads a chat API's answers out of HTTP: whole or as a stream, in the various shapes that servers use."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2 as httpx  # what huggingface_hub speaks HTTP with
import numpy as np

from surpass.engines.bytes import END
from surpass.engines.hiding import hidden
from surpass.engines.requests import Drawn
from surpass.errors import EngineError
from surpass.types import DONE, LENGTH

ENDS = {"stop": DONE, "length": LENGTH}
_CUT = re.compile(
    r"length|max(imum)?_?(output_?)?tokens|model_context_window_exceeded|token_limit|truncat", re.I
)
_BROKEN = re.compile(
    r"filter|safety|refus|block|prohibit|recit|error|abort|cancel|spii|malformed|insufficient|fail|timeout|moderat|sensitive",
    re.I,
)
_READ = 20_000  # characters that are read of a server's message about a fault
_THOUGHTS = ("thinking", "reasoning", "redacted_thinking", "reasoning_content", "summary")


class Fault(Exception):
    """A try failed for a reason that may pass. `wait`: the seconds that the server asks to wait; `deaf`: the
    server could not be reached; `busy`: the server works, but has too much to do.
    """

    def __init__(self, reason: str, wait: float | None = None, deaf: bool = False, busy: bool = False):
        super().__init__(reason)
        self.wait, self.deaf, self.busy = wait, deaf, busy


class Hopeless(EngineError):
    """Why no request to this server can succeed."""


class Lost(EngineError):
    """A draw that gave nothing, and the tokens that it cost."""

    def __init__(self, reason: str, used: int | None):
        super().__init__(reason)
        self.used = used


@dataclass(frozen=True)
class Reply:
    """The text, how it ended ("stop" or "length"), and how many tokens the server counted (None:
    not told).
    """

    text: str
    finish: str
    used: int | None

    @property
    def hollow(self) -> bool:
        """Whether it is empty although it was not cut off."""
        return self.finish == "stop" and not self.text.strip()

    def drawn(self) -> Drawn:
        """The bytes of the text. Where the server does not tell its tokens, four bytes count as one."""
        tokens = list(self.text.encode("utf-8", "replace"))
        used = math.ceil(len(tokens) / 4) if self.used is None else self.used
        tokens += [END] if ENDS[self.finish] == DONE else []
        unknown = np.full(len(tokens), np.nan, np.float32)
        return Drawn(np.array(tokens, np.int32), unknown, unknown, ENDS[self.finish], used=used)


def read_json(response: httpx.Response, key: str) -> Any:
    """A response's JSON. A stream of events, which some servers send unasked, becomes one whole answer. Fault
    where it is broken or cut off, Hopeless for a web page.
    """
    kind = response.headers.get("content-type", "")
    text = response.text.lstrip("\ufeff \t\r\n")
    if "event-stream" in kind or re.match(r"(data|event|id|retry)?:", text):
        return _whole(text, key)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        if is_page(response):
            raise Hopeless(
                f"{response.url.copy_with(query=None)} answered with a web page instead of JSON: "
                f'"{said(response, key)}"; is the url right? It mostly ends in /v1'
            ) from None
        found = f': "{short(text, key)[:100]}"' if text else ""
        raise Fault(f"broken JSON: {error}{found}" if text else "an empty answer") from None


def _whole(text: str, key: str) -> Any:
    """The one answer whose parts are the events of a stream (chat.completion.chunk)."""
    said_, thought, refusal, finish, usage, over = "", "", "", None, None, False
    for event in re.split(r"\r?\n\r?\n|\r\r", text):
        data = "\n".join(
            line[5:].removeprefix(" ") for line in re.split(r"\r?\n|\r", event) if line.startswith("data:")
        )
        if data.strip() == "[DONE]":
            over = True
        if not data.strip() or data.strip() == "[DONE]":
            continue
        try:
            chunk = json.loads(data)
            usage = chunk.get("usage") or usage
            if chunk.get("error"):
                return chunk
            for choice in chunk.get("choices") or ():
                if choice.get("index"):
                    continue
                delta = choice.get("delta") or choice.get("message") or {}
                said_ += text_of(delta.get("content")) or ""
                thought += delta.get("reasoning_content") or delta.get("reasoning") or ""
                refusal += delta.get("refusal") or ""
                finish = choice.get("finish_reason") or finish
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise Fault(f'a broken stream: {error}: "{short(data, key)[:100]}"') from None
    if not over and finish is None:
        raise Fault("a stream that broke off")
    message = {"content": said_ if said_ or not thought else None, "refusal": refusal or None}
    return {"choices": [{"message": message, "finish_reason": finish}], "usage": usage}


def text_of(content: Any) -> str | None:
    """The text of a message's content: itself, or its parts of text joined, without thoughts; None where
    there is none. TypeError where it is no content.

    >>> text_of([{"type": "thinking", "text": "hm"}, {"type": "text", "text": "42"}])
    '42'
    """
    if content is None or isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    found = []
    for part in parts:
        if isinstance(part, str):
            found.append(part)
        elif not isinstance(part, Mapping):
            raise TypeError("no content")
        elif part.get("type") not in _THOUGHTS and isinstance(part.get("text"), str):
            found.append(part["text"])
    return "".join(found) if found or not parts else None


def read_usage(data: Any) -> tuple[int | None, int | None]:
    """Prompt and completion tokens as billed; None for each that is not told."""
    usage = data.get("usage") if isinstance(data, dict) else None
    return count(usage, "prompt_tokens"), count(usage, "completion_tokens")


def read_reply(data: Any, key: str, most: int) -> Reply:
    """The reply in a response's JSON, to a request for `most` tokens. An answer that was cut off before it
    said anything has the text "". Fault for JSON of another shape. Lost for an answer that is no whole
    attempt: a refusal, one that a filter removed, a call of a tool, or thoughts alone.
    """
    if isinstance(data, dict) and data.get("error") and not data.get("choices"):
        raise Fault(f"an error instead of an answer: {short(_message(data), key)}")
    try:
        choice = data["choices"][0]
        message = choice.get("message") or choice.get("delta") or {"content": choice["text"]}
        text, finish = text_of(message.get("content")), choice.get("finish_reason")
        finish = finish if finish is None else str(finish)
        refusal = message.get("refusal") or _refused(message.get("content"))
        if not (text or finish or refusal or message.get("tool_calls")):
            raise TypeError("nothing was said, nor why")
    except (LookupError, TypeError, AttributeError):
        raise Fault(f"JSON of the wrong shape: {short(json.dumps(data), key)}") from None
    if choice.get("error"):
        raise Fault(f"an error instead of an answer: {short(_message(choice), key)}")
    used = count(data.get("usage"), "completion_tokens")
    cut = _CUT.search(finish) if finish else used is not None and used >= most
    if cut:
        return Reply(hidden(text or "", key), "length", used)
    why = f'finish_reason is "{short(finish or "null", key)}"'
    if finish and _BROKEN.search(finish):
        raise Lost(f"the model gave {'text that is no whole answer' if text else 'no text'}: {why}", used)
    if refusal and not text:
        raise Lost(f'the model refused: "{short(str(refusal), key)}"', used)
    if text is None or (not text and (message.get("tool_calls") or message.get("function_call"))):
        raise Lost(f"the model gave no text{_instead(message)}: {why}", used)
    return Reply(hidden(text, key), "stop", used)


def _refused(content: Any) -> str:
    """The refusal among the parts of a content; "" where there is none."""
    parts = content if isinstance(content, list) else ()
    return next(
        (str(part["refusal"]) for part in parts if isinstance(part, Mapping) and part.get("refusal")), ""
    )


def _instead(message: Mapping[str, Any]) -> str:
    """What a message holds in place of text, in words for a message; "" if nothing."""
    if message.get("tool_calls") or message.get("function_call"):
        return " but a call of a tool"
    thoughts = message.get("reasoning_content") or message.get("reasoning") or message.get("content")
    return " but thoughts" if thoughts else ""


def is_page(response: httpx.Response) -> bool:
    """Whether a response is a web page."""
    return "html" in response.headers.get("content-type", "") or bool(
        re.match(r"\s*<(!doctype html|html)", response.text[:200], re.I)
    )


def _message(found: Any) -> str:
    """The message of an error, in whichever field it is."""
    for name in ("error", "message", "detail", "msg"):
        found = (found.get(name) or found) if isinstance(found, dict) else found
    # FastAPI's list of errors, without the request's own values
    if isinstance(found, list) and found and all(isinstance(item, Mapping) for item in found):
        return "; ".join(
            f"{'.'.join(map(str, _steps(item)))}: {_message(dict(item))}".strip(": ") for item in found
        )
    return found if isinstance(found, str) else json.dumps(found)


def _steps(item: Mapping[str, Any]) -> list[Any]:
    return item["loc"] if isinstance(item.get("loc"), list) else []


def words_of(response: httpx.Response) -> tuple[Any, str]:
    """(the JSON or None, the message) of a server's refusal; for a web page, its text is the message."""
    try:
        found = json.loads(response.text)
    except (ValueError, RecursionError):
        text = response.text[:_READ]
        return None, html.unescape(
            re.sub(r"(?is)<(script|style)\b.*?</\1>|<[^>]*>", " ", text) if is_page(response) else text
        )
    return found, _message(found)[:_READ]


def said(response: httpx.Response, key: str) -> str:
    """A server's own message, on one short line."""
    return short(words_of(response)[1], key) or response.reason_phrase


def short(text: str, key: str) -> str:
    """The first 300 characters of a foreign text, on one line, without the API key."""
    # half a surrogate pair can be neither printed nor stored
    text = text[:_READ].encode("utf-8", "replace").decode()
    return " ".join(hidden(text, key).split())[:300]


def count(usage: Any, name: str) -> int | None:
    """A number of tokens out of JSON; None where there is none."""
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and 0 <= value < 2**40 else None
