"""A chat API that means harm: answers without end, packed, nested, slow, elsewhere; and one that says the key
back.
"""

from __future__ import annotations

import base64
import codecs
import contextlib
import functools
import html
import json
import os
import time
import tracemalloc
import urllib.parse
import warnings
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chat_api import KEY, Handler, ask, completion, engine, only, texts
from surpass.engines.hiding import hidden
from surpass.engines.openai_api import OpenAIEngine
from surpass.engines.waits import asked_to_wait
from surpass.errors import EngineError, SurpassError

TIMES = int(os.environ.get("SURPASS_FUZZ", "1"))
MB = 2**20


def headed(*headers, code=200, reason=None):
    """The head of a response of which the body follows as it likes."""

    def head(handler):
        handler.send_response(code, reason)
        for name, value in headers:
            handler.send_header(name, value)
        handler.end_headers()
        handler.close_connection = True

    return head


def pieces(head, *found, times=1):
    """A response without a length: each piece, so many times, until the client goes."""

    def answer(handler, body):
        head(handler)
        for _ in range(times):
            for piece in found:
                handler.wfile.write(piece)

    return answer


JSON = ("Content-Type", "application/json")


@functools.cache
def packed(wbits, times=1):
    """200 MB in two hundred kilobytes, or in less."""
    found = [b'{"choices": [{"message": {"content": "', *[b"0" * MB] * 200]
    for _ in range(times):
        work = zlib.compressobj(9, wbits=wbits)
        found = [*map(work.compress, found), work.flush()]
    return b"".join(found)


PACKED = {"gzip": (31, 1), "deflate": (15, 1), "gzip, gzip": (31, 2)}
ENDLESS = {
    "a stream": pieces(
        headed(("Content-Type", "text/event-stream")),
        b'data: {"choices": [{"delta": {"content": "no"}}]}\n\n' * 1000,
        times=10**6,
    ),
    "a text": pieces(headed(JSON), b'{"choices": [{"message": {"content": "', b"a" * MB, times=100),
    "blanks": pieces(headed(JSON), b" " * MB, times=10**6),
    "nothing but events": pieces(
        headed(("Content-Type", "text/event-stream")), b": ping\n\n" * 10_000, times=10**6
    ),
    "a long error": pieces(headed(JSON, code=400), b"error " * MB, times=100),
    **{
        name: functools.partial(
            lambda name, handler, body: pieces(
                headed(JSON, ("Content-Encoding", name)), packed(*PACKED[name])
            )(handler, body),
            name,
        )
        for name in PACKED
    },
    "headers": pieces(
        lambda handler: [
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n"),
            *(handler.wfile.write(b"X-A: b\r\n" * 1000) for _ in range(1000)),
        ],
        b"",
    ),
    "one header": pieces(
        lambda handler: handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * (5 * MB) + b"\r\n\r\n"), b""
    ),
    "early hints": pieces(lambda handler: None, b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100, times=10**6),
}


@pytest.mark.parametrize("how", ENDLESS)
def test_an_answer_without_end_is_one_message_and_little_memory(server, how):
    server.always = ENDLESS[how]
    if how in PACKED:
        packed(*PACKED[how])
    tracemalloc.start()
    began = time.monotonic()
    reply = only(engine(server, timeout=3.0, retries=0), ask())
    spent, (_, peak) = time.monotonic() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(reply, EngineError) and "Traceback" not in str(reply) and len(str(reply)) < 600
    assert spent < 20 and peak < 40 * MB


def test_bytes_that_are_no_answer_are_not_unpacked_by_their_charset(server):
    body = codecs.encode(json.dumps({"choices": []}).encode(), "zlib")
    server.always = pieces(headed(("Content-Type", "application/json; charset=zlib_codec")), body)
    assert "broken JSON" in str(only(engine(server, retries=0), ask()))


def drip(handler, body):
    headed(JSON)(handler)
    while True:
        handler.wfile.write(b" ")
        time.sleep(0.05)


def test_an_answer_that_drips_has_a_deadline(server):
    server.always = drip
    began = time.monotonic()
    reply = only(engine(server, timeout=0.5, retries=1), ask())
    assert "no whole answer within 0.5 seconds" in str(reply) and time.monotonic() - began < 10


def test_a_wait_without_end_is_not_waited_for(server, monkeypatch):
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    monkeypatch.setattr("surpass.engines.asking.asyncio.sleep", sleep)
    server.always = lambda handler, body: handler.send(
        429, {"error": "later"}, {"Retry-After": "999999999999"}
    )
    assert isinstance(only(engine(server, retries=3, wait=0.0), ask()), EngineError)
    assert max(waits) < 70


NESTED = {
    "arrays": b"[" * 100_000 + b"]" * 100_000,
    "objects": b'{"a":' * 100_000,
    "a message": b'{"choices": [{"message": {"content": ' + b"[" * 900 + b"]" * 900 + b"}}]}",
    "an error": b'{"error": ' * 900 + b"1" + b"}" * 900,
    "details": b'{"detail": ' + b"[" * 900 + b"]" * 900 + b"}",
    "digits": b'{"usage": {"prompt_tokens": ' + b"9" * 5000 + b"}}",
    "not a number": b'{"choices": NaN, "usage": Infinity}',
    "half a pair": b'{"error": {"message": "\\ud800"}}',
    "null": b"null",
    "a text": b'"choices"',
    "no JSON": b"\xff\xfe\0",
}


@pytest.mark.parametrize("code", [200, 400, 500])
@pytest.mark.parametrize("how", NESTED)
def test_json_that_means_harm_is_one_message(server, how, code):
    server.always = lambda handler, body: handler.send(code, NESTED[how])
    began = time.monotonic()
    reply = only(engine(server, retries=0), ask())
    assert isinstance(reply, EngineError) and "\n" not in str(reply) and len(str(reply)) < 700
    assert time.monotonic() - began < 5
    str(reply).encode()


def test_bills_of_any_size_are_borne(server, tmp_path):
    def dear(handler, body):
        handler.send(
            200,
            completion(handler.server, body)
            | {"usage": {"prompt_tokens": 2**39, "completion_tokens": 2**63}},
        )

    server.always = dear
    made = engine(server, cache=tmp_path)
    for key in range(20):
        assert not isinstance(only(made, ask(keys=(key,))), SurpassError)
    assert (made.purse.spent >= 0).all()


@pytest.mark.parametrize(
    "to",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "gopher://x",
        "//other.example/v1",
        "http://127.0.0.1:1/v1",
        "http://[",
        "javascript:1",
        "https://user:pass@other.example/",
        f"https://other.example/{KEY}",
    ],
)
def test_a_redirection_elsewhere_is_not_followed(server, to):
    server.always = lambda handler, body: handler.send(307, b"", {"Location": to})
    reply = only(engine(server, retries=0), ask())
    assert isinstance(reply, EngineError) and len(server.seen) == 1
    assert KEY not in str(reply) and "root:" not in str(reply)


def test_a_redirection_in_a_circle_ends(server):
    server.always = lambda handler, body: handler.send(307, b"", {"Location": "/v1/chat/completions"})
    assert isinstance(only(engine(server, retries=0), ask()), EngineError)
    assert len(server.seen) < 6


def test_a_list_of_models_without_end_is_left(server, monkeypatch):
    monkeypatch.setattr(Handler, "do_GET", lambda handler: drip_list(handler))
    server.always = lambda handler, body: handler.send(404, {"error": "no such model"})
    began = time.monotonic()
    assert "HTTP 404" in str(only(engine(server, retries=0), ask()))
    assert time.monotonic() - began < 10


def drip_list(handler):
    headed(JSON)(handler)
    with contextlib.suppress(OSError):
        while True:
            handler.wfile.write(b" " * MB)


# -- the key

FORMS = {
    "as it is": lambda key: key,
    "upper": str.upper,
    "title": str.title,
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 of a header": lambda key: base64.b64encode(f"Authorization: Bearer {key}\n".encode()).decode(),
    "base64 of a user": lambda key: base64.b64encode(f"me:{key}:".encode()).decode(),
    "urlsafe": lambda key: base64.urlsafe_b64encode(f"<<{key}>>".encode()).decode(),
    "hex": lambda key: key.encode().hex(),
    "HEX": lambda key: key.encode().hex().upper(),
    "url": lambda key: "".join(f"%{ord(c):02x}" for c in key),
    "url twice": lambda key: "".join(f"%25{ord(c):02X}" for c in key),
    "quoted": lambda key: urllib.parse.quote(key, safe=""),
    "JSON": lambda key: "".join(f"\\u{ord(c):04x}" for c in key),
    "html": lambda key: "".join(f"&#{ord(c)};" for c in key),
    "python": lambda key: "".join(f"\\x{ord(c):02x}" for c in key),
    "half escaped": lambda key: "".join(f"\\u{ord(c):04X}" if i % 2 else c for i, c in enumerate(key)),
    "html escaped": html.escape,
}
KEYS = [KEY, "sk-proj-Ab3/x+9_Zq=T%7&\"'<w", "0123456789abcdef0123456789abcdef", "abcdefgh-ijklmnop-qrstuvwx"]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("how", FORMS)
def test_a_key_is_hidden_in_every_form(key, how):
    for before, after in (("", ""), ("your key ", " is wrong"), ("a", "b"), ("\\", "\\"), ("=", "=")):
        if how in ("hex", "HEX") or (before, after) != ("a", "b"):
            text = hidden(before + FORMS[how](key) + after, key)
            assert "[key]" in text and len(text) < len(before + after) + 40, text


@pytest.mark.parametrize(
    "key", ["x", "EMPTY", "none", "a", "key", "sk", "dummy", "token", "anything", "placeholder", "1", "42"]
)
def test_a_short_key_is_not_cut_out_of_words(key):
    text = (
        f"{key} exam x Empty set, none of the keys, a 42 dollar token, sketch anything. The answer is {key}."
    )
    assert hidden(text, key) == text
    assert hidden(f"Incorrect API key provided: {key}.", key) == "Incorrect API key provided: [key]."


def test_hiding_takes_no_longer_than_reading():
    for text in (
        "0123456789abcdef" * 60_000,
        "\\" * MB,
        "%25" * 300_000,
        KEY[:-1] * 50_000,
        "&#0" * 300_000,
        "c2stdmVyeS" * 80_000,
    ):
        began = time.process_time()
        hidden(text, KEY)
        assert time.process_time() - began < 3


def echoes(how, where):
    """A server that says the key back: in the reason phrase, a header, an error, the answer, the tokens of
    log-probabilities.
    """

    def answer(handler, body):
        key = FORMS[how](KEY)
        whole = completion(handler.server, body, text=f"The key is {key}. 7")
        if where == "answer":
            whole["choices"][0]["logprobs"] = {"content": [{"token": key, "logprob": -1.0}]}
            return handler.send(200, whole, {"X-Key": urllib.parse.quote(key)})
        if where == "raw answer":  # escaped as JSON is
            return handler.send(200, json.dumps(whole).replace(json.dumps(key)[1:-1], key).encode())
        if where == "stream":
            chunks = "".join(
                f"data: {json.dumps({'choices': [{'delta': {'content': c}}]})}\n\n" for c in f"It is {key}"
            )
            return pieces(
                headed(("Content-Type", "text/event-stream")),
                chunks.encode() + b'data: {"choices": [{"finish_reason": "stop", "delta": {}}]}\n\n',
            )(handler, body)
        if where == "reason":
            return pieces(headed(JSON, code=500, reason=f"Wrong {key}"), b"")(handler, body)
        if where == "page":
            return pieces(headed(("Content-Type", "text/html")), f"<html><p>{key}</p></html>".encode())(
                handler, body
            )
        if where == "broken head":
            return handler.wfile.write(f"{key}\r\n\r\n".encode())
        if where == "finish":
            whole["choices"][0] |= {"finish_reason": f"error {key}"}
            return handler.send(200, whole)
        return handler.send(
            int(where), {"error": {"message": f"Incorrect API key provided: {key}", "param": key}}
        )

    return answer


@pytest.mark.parametrize(
    "where",
    [
        "answer",
        "raw answer",
        "stream",
        "reason",
        "page",
        "broken head",
        "finish",
        "200",
        "400",
        "401",
        "404",
        "429",
        "500",
    ],
)
def test_a_key_that_is_said_back_is_shown_and_kept_nowhere(server, tmp_path, capsys, where):
    for how in (
        FORMS
        if TIMES > 1 or where in ("answer", "400")
        else ("as it is", "upper", "base64 of a header", "JSON")
    ):
        server.always = echoes(how, where)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            reply = only(engine(server, retries=1, cache=tmp_path), ask(prompt=how))
        said = texts(reply)[0] if isinstance(reply, list) else str(reply)
        seen = [
            said,
            *map(str, (warning.message for warning in told)),
            *(file.read_text() for file in tmp_path.rglob("*.json")),
        ]
        for text in seen:
            assert FORMS[how](KEY) not in text and KEY.casefold() not in text.casefold(), how
        assert isinstance(reply, list) == (where in ("answer", "raw answer", "stream"))


# -- any bytes

PARTS = st.sampled_from(
    [
        "choices",
        "message",
        "content",
        "delta",
        "finish_reason",
        "usage",
        "prompt_tokens",
        "completion_tokens",
        "error",
        "detail",
        "loc",
        "msg",
        "param",
        "text",
        "type",
        "refusal",
        "tool_calls",
        "stop",
        "length",
        "reasoning",
        "index",
        "data: ",
        "\n\n",
        "[DONE]",
        "<html>",
        "<script>",
        "\ud800",
        "\0",
        "Retry-After",
        "again in 1s",
        "resets in 99999999999999999999 days",
        "{",
        "[",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | PARTS | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(PARTS | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)
KEPT = [  # what was found once
    {"choices": [[]]},
    {"choices": {"0": 1}},
    {"choices": [{"message": {"content": {"text": 1}}}]},
    {"choices": [{"message": 1}]},
    {"choices": [{"text": [1]}]},
    {"error": {"error": {"error": []}}},
    {"choices": [{"delta": {"content": [{"type": "text", "text": None}]}}]},
    {"detail": [{"loc": 1, "msg": None}]},
    {"usage": []},
    {"choices": [{"message": {"content": "", "refusal": [1]}, "finish_reason": {}}]},
    {"choices": [{"message": {"tool_calls": 1}, "finish_reason": 0}]},
    {"choices": [{"error": [], "message": {"content": "x"}}]},
    {"choices": [{"message": {"content": "x", "reasoning": 1}}]},
]


def understood(handler_body: bytes, code: int, made: OpenAIEngine, server) -> None:
    server.always = lambda handler, body: handler.send(code, handler_body)
    reply = only(made, ask())
    assert isinstance(reply, (EngineError, list))
    if isinstance(reply, EngineError):
        assert "\n" not in str(reply) and len(str(reply)) < 800 and "Error while asking" not in str(reply), (
            str(reply)
        )


@pytest.mark.parametrize("kept", range(len(KEPT)))
def test_what_was_found_once(server, kept):
    for code in (200, 400, 422, 500):
        understood(json.dumps(KEPT[kept]).encode(), code, engine(server, retries=0), server)


@settings(
    max_examples=60 * TIMES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    VALUES,
    st.sampled_from([200, 400, 422, 429, 500]),
    st.sampled_from(["json", "stream", "cut", "flip"]),
    st.integers(0, 2**16),
)
def test_any_answer_is_understood_or_told_of(server, value, code, how, at):
    data = json.dumps(value).encode()
    if how == "stream":
        data = b"data: " + data + b"\n\ndata: [DONE]\n\n"
    elif how == "cut":
        data = data[: at % (len(data) + 1)]
    elif how == "flip":
        data = bytes(byte ^ (1 << at % 8) if i == at % len(data) else byte for i, byte in enumerate(data))
    understood(data, code, engine(server, retries=0, delay=0.0), server)


@settings(max_examples=200 * TIMES, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "retry-after",
                "retry-after-ms",
                "date",
                "x-ratelimit-reset-tokens",
                "x-ratelimit-remaining-tokens",
                "ratelimit-reset",
            ]
        ),
        st.text(max_size=12)
        | st.integers().map(str)
        | st.sampled_from(
            ["Fri, 31 Dec 9999 23:59:59 GMT", "0001-01-01T00:00:00+23:59", "1e9", "9" * 400, "1h" * 50, "-1"]
        ),
    ),
    st.text(max_size=30) | PARTS,
)
def test_any_headers_name_a_wait_or_none(headers, words):
    wait = asked_to_wait(headers, words)
    assert wait is None or wait >= 0
