"""The engine behind a chat API: against a server that misbehaves on purpose, and against a real one."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from dataclasses import dataclass

import httpx2 as httpx
import numpy as np
import pytest
import torch

from chat_api import (
    KEY,
    TEXT,
    ask,
    completion,
    cut_chunked,
    cut_length,
    dribble,
    engine,
    good,
    hang,
    hang_up,
    only,
    raw,
    says,
    status,
    texts,
)
from surpass import choose, rewards
from surpass.alarms import alarms
from surpass.engines import replies
from surpass.engines.openai_api import OpenAIEngine
from surpass.engines.posting import Post
from surpass.engines.requests import Context, Generate, Next, Sampling, Score
from surpass.engines.waits import asked_to_wait
from surpass.errors import BudgetSpent, EngineError, RunBroken, SurpassError
from surpass.figures import round_figures
from surpass.models import Models
from surpass.searches import samples
from surpass.searches.round import search_all
from surpass.tasks import arithmetic
from surpass.types import DONE, FAILED, LENGTH, Problem, Turn

# -- messages as tokens


def test_tokens_are_messages_again():
    """Whatever was opened, drawn and told comes back message by message, whatever bytes it holds."""
    said = [
        {"role": "system", "content": "ü\nuser: no\x00"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "🙂"},
        {"role": "tool", "content": "assistant"},
    ]
    tokens = TEXT.open(said)
    assert TEXT.messages(np.array(tokens, np.int32)) == [*said, {"role": "assistant", "content": ""}]
    tokens += TEXT.encode("half an answ")
    assert TEXT.messages(tokens)[-1] == {"role": "assistant", "content": "half an answ"}
    cut = TEXT.tell("and?", tokens[-1])
    ended = [256, *TEXT.tell({"role": "tool", "content": "and?"}, 256)]
    assert cut.count(256) == ended.count(256) == 1
    assert [m["content"] for m in TEXT.messages(tokens + cut)[-3:]] == ["half an answ", "and?", ""]
    assert [m["role"] for m in TEXT.messages(tokens + ended)[-3:]] == ["assistant", "tool", "assistant"]
    assert TEXT.messages(TEXT.open("q")) == [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": ""},
    ]
    assert TEXT.decode(TEXT.encode("naïve")) == "naïve"
    assert (
        TEXT.decode([*TEXT.open("q"), *TEXT.encode("a"), *TEXT.tell("b", None)])
        == "user: q\nassistant: a\nuser: b\nassistant: "
    )


def test_what_is_no_message_is_refused():
    for message in (
        {"role": "judge", "content": "x"},
        {"role": "user", "content": None},
        {"role": "user", "content": "x", "weight": 1},
    ):
        with pytest.raises(SurpassError, match="message"):
            TEXT.open([message])
    for tokens in (TEXT.encode("x"), [*TEXT.open("q"), 256, 65], [*TEXT.open("q"), 5000]):
        with pytest.raises(SurpassError, match="no chat messages"):
            TEXT.messages(tokens)


# -- one draw, one request


def test_each_draw_is_a_request(server, monkeypatch):
    """What is sent, and what comes back; defaults that servers may not know are left out."""
    server.pause = lambda body: 0.1 if body["seed"] == 7 else 0
    drawn = only(engine(server), ask("héllo", (7, 2**31 + 8), temperature=0.5))
    assert texts(drawn) == ["héllo 7", "héllo 8"]  # in the order of the keys, not of arrival
    assert [d.stop for d in drawn] == [DONE, DONE] and all(d.tokens[-1] == 256 for d in drawn)
    assert all(
        np.isnan(d.logp).all() and np.isnan(d.logq).all() and len(d.logp) == len(d.tokens) for d in drawn
    )
    assert [d.used for d in drawn] == [3, 3]
    body = sorted(server.seen, key=lambda body: body["seed"])[0]
    assert body == {
        "model": "nano-1",
        "messages": [{"role": "user", "content": "héllo"}],
        "temperature": 0.5,
        "top_p": 1.0,
        "max_tokens": 50,
        "seed": 7,
        "path": "/v1/chat/completions",
        "key": f"Bearer {KEY}",
    }
    server.faults = [says(text="a", finish="length")]
    (drawn,) = only(
        engine(server, extra={"user": "me"}, key=""), ask(top_k=3, min_p=0.1, top_p=0.9, stop=("\n",))
    )
    assert drawn.stop == LENGTH and drawn.tokens.tolist() == [97]
    last = server.seen[-1]
    assert (last["top_k"], last["min_p"], last["top_p"], last["stop"], last["user"]) == (
        3,
        0.1,
        0.9,
        ["\n"],
        "me",
    )
    assert last["key"] is None
    monkeypatch.setenv("OPENAI_API_KEY", " sk-env\n")
    only(OpenAIEngine("nano-1", url=server.url + "/"), ask())
    assert server.seen[-1]["key"] == "Bearer sk-env" and server.seen[-1]["path"] == "/v1/chat/completions"


def test_replies_come_as_each_is_complete(server):
    server.pause = lambda body: 0.5 if body["messages"][0]["content"] == "slow" else 0
    slow, quick = ask("slow", (1, 2)), ask("quick", (3, 4))
    assert [request for request, _ in engine(server).serve([slow, quick])] == [quick, slow]


def test_what_an_api_cannot_do_costs_nothing(server):
    """Scores and beginnings of answers are refused without a request; their company is served."""
    begun = Generate(np.array([*TEXT.open("q"), *TEXT.encode("so")], np.int32), (1,), Sampling())
    ended = Generate(np.array([*TEXT.open("q"), *TEXT.encode("so"), 256], np.int32), (1,), Sampling())
    foreign = Generate(np.array([70000, 259], np.int32), (1,), Sampling())
    nothing = Context(("", 0), (), ())
    score, following, fine = Score(nothing), Next(nothing, (1,)), ask()
    found = {
        id(r): reply for r, reply in engine(server).serve([begun, ended, foreign, score, following, fine])
    }
    assert len(server.seen) == 1 and texts(found[id(fine)]) == ["hi 1"]
    for request, words in (
        (begun, "continue=... is not possible|begin whole answers"),
        (ended, "begin whole"),
        (foreign, "no chat messages"),
        (score, "cannot score"),
        (following, "cannot score"),
    ):
        reply = found[id(request)]
        assert isinstance(reply, EngineError)
        with pytest.raises(EngineError, match=words):
            raise reply
    assert OpenAIEngine.can == {"text"}


def test_settings_that_make_no_sense():
    for changes in (
        {"url": "localhost:80"},
        {"url": "https://me:hush@host/v1"},
        {"key": "hush x"},
        {"concurrency": 0},
        {"timeout": 0},
        {"dollars": 1.0},
        {"retries": -1},
        {"extra": {"n": 2}},
        {"extra": {"max_tokens": 2}},
    ):
        with pytest.raises(SurpassError) as error:
            OpenAIEngine("m", **changes)
        assert "hush" not in str(error.value)


# -- faults that pass, and faults that stay

PASSING = {
    "429": (status(429), "HTTP 429: busy"),
    "500": (status(500), "HTTP 500: busy"),
    "503": (status(503, {"detail": "load"}), "HTTP 503: load"),
    "408": (status(408), "408"),
    "409": (status(409), "409"),
    "hang": (hang, "within 0.8 seconds"),
    "dribble": (dribble, "within 0.8 seconds"),
    "cut length": (cut_length, "RemoteProtocolError"),
    "cut chunked": (cut_chunked, "RemoteProtocolError"),
    "hang up": (hang_up, "RemoteProtocolError"),
    "broken": (raw(b'{"choices": [{"mess'), "broken JSON"),
    "not text": (raw(b"\xff\xfe{"), "broken JSON"),
    "deep": (raw(b"[" * 100_000), "broken JSON"),
    "a list": (raw(b"[]"), "wrong shape"),
    "no choices": (raw(b'{"choices": []}'), "wrong shape"),
    "no message": (raw(b'{"choices": [{"message": "hi", "finish_reason": "stop"}]}'), "wrong shape"),
    "nothing": (raw(b'{"choices": [{"message": {"content": ""}, "finish_reason": null}]}'), "wrong shape"),
    "no body": (raw(b""), "an empty answer"),
    "a broken stream": (
        raw(b'data: {"choices": [{"delta": {"content": "Answ"}}]}\n\n'),
        "a stream that broke off",
    ),
    "a stream of errors": (
        raw(b'data: {"error": {"message": "upstream ill"}}\n\ndata: [DONE]\n\n'),
        "upstream ill",
    ),
    "odd content": (
        raw(b'{"choices": [{"message": {"content": [1]}, "finish_reason": "stop"}]}'),
        "wrong shape",
    ),
    "an error": (raw(b'{"error": {"message": "upstream ill"}}'), "upstream ill"),
}


@pytest.mark.parametrize("fault", PASSING)
def test_a_passing_fault_is_mended(server, fault):
    server.faults = [PASSING[fault][0]]
    mended = engine(server, timeout=0.8 if fault in ("hang", "dribble") else 10.0)
    assert texts(only(mended, ask())) == ["hi 1"]
    assert len(server.seen) == 2 and server.seen[0] == server.seen[1]
    assert mended.counters() == {
        "prefilled": 9,
        "calls_made": 2,
        "retries": 1,
        "waits": 0,
        "cached": 0,
        "failed": 0,
    }
    # it may have been billed, or not
    lost = [0, 0] if fault in ("429", "500", "503", "408", "409") else [2 + 16, 50]
    assert mended.purse.spent.tolist() == [9 + lost[0], 2 + lost[1]]


@pytest.mark.parametrize("fault", PASSING)
def test_a_lasting_fault_is_one_clear_error(server, fault):
    server.always, words = PASSING[fault]
    reply = only(
        engine(server, timeout=0.8 if fault in ("hang", "dribble") else 10.0, retries=1), ask(keys=(1,))
    )
    assert isinstance(reply, EngineError) and words in str(reply)
    assert "after 2 tries over " in str(reply) and len(server.seen) == 2


def test_a_server_that_nobody_reaches_is_told_of_once_before_it_is_asked_again():
    asked = OpenAIEngine("m", url="http://127.0.0.1:9/v1", key="k", delay=0.01, retries=2)
    with pytest.warns(UserWarning, match="127.0.0.1:9.*trying again, up to 2 times") as told:
        list(asked.serve([ask(keys=(1, 2))]))
    assert len(told) == 1


def test_a_fault_of_one_request_is_none_of_another(server):
    """Only a server that nobody reaches is given up."""
    server.always = hang_up
    found = list(engine(server, concurrency=1, retries=1).serve([ask(keys=(i,)) for i in range(3)]))
    assert len(found) == 3 and len(server.seen) == 6


FAILING = {
    "refused": (status(400, "bad"), "HTTP 400: bad"),
    "no text": (says(text=None), "no text: finish_reason is"),
    "filtered": (says(text="half an ans", finish="content_filter"), "content_filter"),
    "Gemini's filter": (says(text=None, finish="SAFETY"), "SAFETY"),
    "a tool": (
        raw(
            b'{"choices": [{"message": {"content": null, "tool_calls": [{"id": "1"}]}, "finish_reason": "tool_calls"}]}'  # noqa: E501
        ),
        "a call of a tool",
    ),
    "a refusal": (
        raw(
            b'{"choices": [{"message": {"content": null, "refusal": "I cannot."}, "finish_reason": "stop"}]}'
        ),
        'refused: "I cannot."',
    ),
    "a refusal as a part": (
        raw(
            b'{"choices": [{"message": {"content": [{"type": "refusal", "refusal": "No."}]}, "finish_reason": "stop"}]}'  # noqa: E501
        ),
        'refused: "No."',
    ),
    "nothing but thoughts": (
        raw(
            b'{"choices": [{"message": {"content": null, "reasoning_content": "42?"}, "finish_reason": "stop"}]}'  # noqa: E501
        ),
        "but thoughts",
    ),
    "thoughts as parts": (
        raw(
            b'{"choices": [{"message": {"content": [{"type": "thinking", "thinking": "42?"}]}, "finish_reason": "stop"}]}'  # noqa: E501
        ),
        "but thoughts",
    ),
    "an error in a choice": (
        raw(
            b'{"choices": [{"error": {"message": "ill"}, "message": {"content": ""}, "finish_reason": "error"}]}'  # noqa: E501
        ),
        "ill",
    ),
    "malformed": (raw(b'{"choices": ["what"]}'), "wrong shape"),
    "server error": (status(500), "HTTP 500"),
    "busy": (status(429), "HTTP 429"),
    "hang": (hang, "within 1 seconds"),
    "cut": (cut_length, "RemoteProtocolError"),
}


@pytest.mark.parametrize("fault", FAILING)
def test_one_failed_draw_is_a_failed_attempt_and_its_siblings_are_used(server, tmp_path, fault):
    """Whatever went wrong with one draw, the others are answers; it costs what was billed, and is not
    kept.
    """
    wrong, words = FAILING[fault]

    def answer(handler, body):
        (wrong if body["seed"] == 3 else good)(handler, body)

    server.always = answer
    mine = engine(server, concurrency=4, timeout=1.0, retries=1, cache=tmp_path)
    with pytest.warns(UserWarning, match="1 of 8 draws failed, and are failed attempts: "):
        drawn = only(mine, ask("a", range(8)))
    assert [d.stop for d in drawn] == [FAILED if i == 3 else DONE for i in range(8)]
    assert words in drawn[3].text and not len(drawn[3].tokens)
    assert texts(drawn[:3]) == ["a 0", "a 1", "a 2"] and mine.counters()["failed"] == 1
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 7
    server.always, before = None, len(server.seen)
    assert (
        texts(only(engine(server, cache=tmp_path), ask("a", range(8))))[3] == "a 3"
        and len(server.seen) == before + 1
    )


def test_a_request_whose_every_draw_fails_is_an_error(server):
    server.always = status(400, "bad")
    bad, fine = ask("a", range(3)), ask("b", range(3))
    mine = engine(server, concurrency=1)
    server.faults = [status(400, "worse")] * 3 + [None] * 3
    server.always = None
    found = list(mine.serve([bad, fine]))
    assert [request for request, _ in found] == [bad, fine] and mine.counters()["failed"] == 3
    assert isinstance(found[0][1], EngineError) and "worse" in str(found[0][1]) and len(found[1][1]) == 3


def test_failed_attempts_are_counted_and_nothing_else(server):
    """The whole way: of 4 attempts 1 fails at the start and 1 at its second turn; 2 are judged, votes and
    figures are of those.
    """

    def answer(handler, body):
        turn = len(body["messages"]) // 2
        seeds.setdefault(turn, []).append(body["seed"])
        good(handler, body, text=None if len(seeds[turn]) == 1 else "yes")

    seeds: dict[int, list[int]] = {}
    server.always = answer
    models, task = Models(policy=engine(server, concurrency=1)), guess()
    with pytest.warns(UserWarning, match="1 of 4 draws failed"):
        (tree,) = models.run(search_all(samples(4, max_tokens=20), models, task, [Problem("p", "q")], 5))
    ends = [int(tree.stop[leaf]) for leaf in tree.leaves()]
    assert Counter(ends) == {FAILED: 2, DONE: 2} and models.cost["search"]["failed"] == 2
    (column,) = models.run(rewards.check()(models, task, [tree]))
    assert np.isnan(column.values).tolist() == [end == FAILED for end in ends]
    (votes,) = models.run(rewards.vote()(models, task, [tree]))
    assert np.isnan(votes.values).tolist() == [end == FAILED for end in ends]
    tree.put("reward", column)
    figures = round_figures([tree], "reward")
    assert (figures["failed_attempts"], figures["failed"], figures["unjudged"], figures["reward"]) == (
        2,
        0,
        2,
        1.0,
    )
    # two turns of one token each
    assert figures["completions/mean_length"] == 2 and tree.stop[choose.first()(tree)] == DONE
    assert [models.text("policy", tree, leaf) for leaf in tree.leaves()] == [
        "" if end == FAILED else "yes" for end in ends
    ]
    shown = " ".join(alarms([{"event": "search", "round": 1} | figures]))
    assert "2 of 4 attempts failed" in shown


def test_a_search_whose_every_attempt_fails_in_the_end_is_a_failed_search(server):
    server.always = lambda handler, body: good(
        handler, body, text=None if len(body["messages"]) > 1 else "yes"
    )
    models = Models(policy=engine(server, concurrency=1))
    with pytest.raises(RunBroken, match="1 of 1 searches failed; the first: the model gave no text"):
        models.run(search_all(samples(2, max_tokens=20), models, guess(), [Problem("p", "q")], 5))


NOW = "Sun, 06 Nov 1994 08:49:37 GMT"
ASKED = {  # headers, words, the seconds they ask for
    "seconds": ({"Retry-After": "90"}, "", 90),
    "a fraction": ({"retry-after": " 0.5 "}, "", 0.5),
    "none": ({"Retry-After": "0"}, "", 0),
    "milliseconds": ({"retry-after-ms": "1500", "Retry-After": "2"}, "", 1.5),
    # a date may be a second too early
    "a date": ({"Date": NOW, "Retry-After": "Sun, 06 Nov 1994 08:50:37 GMT"}, "", 61),
    "RFC 850": ({"Date": NOW, "Retry-After": "Sunday, 06-Nov-94 08:50:37 GMT"}, "", 61),
    "asctime": ({"Date": NOW, "Retry-After": "Sun Nov  6 08:50:37 1994"}, "", 61),
    "a past date": ({"Date": NOW, "Retry-After": "Sun, 06 Nov 1994 07:50:37 GMT"}, "", 0),
    "OpenAI": (
        {
            "x-ratelimit-remaining-requests": "4",
            "x-ratelimit-reset-requests": "17ms",
            "x-ratelimit-remaining-tokens": "0",
            "x-ratelimit-reset-tokens": "6m0s",
        },
        "Rate limit reached",
        360,
    ),
    "used up": (
        {
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": "1.5s",
            "x-ratelimit-remaining-tokens": "9",
            "x-ratelimit-reset-tokens": "6m0s",
        },
        "",
        1.5,
    ),
    "GitHub": ({"Date": NOW, "X-RateLimit-Remaining": "0", "x-ratelimit-reset": "784111787"}, "", 11),
    "OpenRouter": ({"X-RateLimit-Reset": "784111807000", "Date": NOW}, "", 31),
    "IETF": ({"RateLimit-Reset": "7"}, "", 7),
    "Anthropic": ({"date": NOW, "anthropic-ratelimit-tokens-reset": "1994-11-06T08:49:47Z"}, "", 11),
    "words": (
        {},
        "Rate limit reached for m. Please try again in 58s. Visit https://x.org/7s to learn more.",
        58,
    ),
    "longer words": ({}, "Limit 30000, Used 29000. Please try again in 1m26.4s.", 86.4),
    "ms in words": ({}, "try again in 120ms", 0.12),
    "minutes": ({}, "Too many requests; retry after 2 minutes and 5 seconds", 125),
    "wait": ({}, "Please wait 10 seconds.", 10),
    "Azure": ({}, "Please retry after 26 seconds. If this happens often, ask for more.", 26),
    "hours": ({}, "try again in 1h2m3s", 3723),
    "Gemini": ({}, '{"error": {"details": [{"@type": "RetryInfo", "retryDelay": "34s"}]}}', 34),
    "Discord": ({}, '{"message": "You are being rate limited.", "retry_after": 1.25}', 1.25),
    "a field of ms": ({}, '{"retry_after_ms": 700}', 0.7),
    "nothing": ({"Date": NOW}, "busy; 3 in the queue", None),
    "no date": ({"Retry-After": "soon"}, "", None),
    "a name": ({}, "again, user 58", None),
}


@pytest.mark.parametrize("how", ASKED)
def test_how_long_a_server_asks_to_wait(how):
    headers, words, seconds = ASKED[how]
    found = asked_to_wait(headers, words)
    assert found == seconds or found == pytest.approx(seconds, abs=1e-6)


def test_a_busy_server_is_waited_for_as_long_as_it_asks(server):
    """Every request waits, nobody asks early, the tries that it puts off are none of the `retries`, and a
    person is told.
    """

    def answer(handler, body):
        came.append(time.monotonic())
        (status(429, "Try again in 2.1s.") if came[-1] - came[0] < 2.1 else good)(handler, body)

    came: list[float] = []
    server.always = answer
    mine = engine(server, retries=0, wait=30.0, concurrency=3)
    with pytest.warns(
        UserWarning, match=r"is busy \(HTTP 429: Try again in 2.1s.\): asking again in 2 seconds"
    ) as told:
        assert len(only(mine, ask(keys=range(9)))) == 9
    early = [t for t in came if t - came[0] < 2.1]
    assert 1 <= len(early) <= 3 and len(told) == 1 and mine.counters()["waits"] == len(early)
    assert len(came) == 9 + len(early)


def test_a_busy_server_that_says_no_time_is_asked_with_growing_pauses(server):
    server.faults = [status(429)] * 6
    mine = engine(server, retries=0, wait=30.0)
    assert (
        texts(only(mine, ask())) == ["hi 1"] and mine.counters()["waits"] == 6 == mine.counters()["retries"]
    )


@pytest.mark.parametrize(
    "fault, words",
    [
        (
            status(429, "later", Retry_After="3600"),
            "asks to wait 3600 seconds, and 0.5 without an answer are the limit (--wait): HTTP 429: later",
        ),
        (status(429), "is busy for 0 seconds, and 0.5"),
    ],
)
def test_waiting_has_a_limit_and_then_ends_for_every_request(server, fault, words):
    server.always = fault
    began = time.monotonic()
    found = list(engine(server, wait=0.5, concurrency=2).serve([ask(f"{i}") for i in range(9)]))
    assert time.monotonic() - began < 3 and all(words in str(reply) for _, reply in found) and len(found) == 9


def test_a_server_that_answers_now_and_then_is_not_given_up(server):
    """The limit is of time without any answer: a slow trickle may take longer than that."""

    def answer(handler, body):
        (good if time.monotonic() - last[0] > 0.3 else status(429))(handler, body)
        if time.monotonic() - last[0] > 0.3:
            last[0] = time.monotonic()

    last = [0.0]
    server.always = answer
    found = only(engine(server, wait=1.0, delay=0.02, concurrency=8), ask(keys=range(8)))
    assert isinstance(found, list) and [d.stop for d in found] == [DONE] * 8


def test_waits_grow_and_repeat(server, monkeypatch):
    """About delay, 2 delay, 4 delay ..., not the same for every draw, and the same for the same draw."""
    waits, real = [], time.monotonic
    server.always = status(500)
    import asyncio

    async def sleep(seconds, sleep=asyncio.sleep):
        waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr("surpass.engines.asking.asyncio.sleep", sleep)
    began = real()
    for key in (1, 1, 2):
        only(engine(server, retries=4, delay=10.0, concurrency=1), ask(keys=(key,)))
    assert real() - began < 20
    first, again, other = ([w for w in waits[i : i + 5] if w] for i in (0, 5, 10))
    assert first == again != other
    assert [min(60, 10 * 2**k) <= wait <= min(60, 10 * 2**k) + 10 for k, wait in enumerate(first)] == [
        True
    ] * 4


@pytest.mark.parametrize("code", [400, 401, 403, 404, 413, 422, 301, 402])
def test_what_waiting_does_not_cure_is_not_tried_again(server, code):
    server.always = status(code, f"the key {KEY} is " + "x" * 500)
    reply = only(engine(server, retries=5), ask())
    assert isinstance(reply, EngineError) and len(server.seen) == 1
    assert (
        f"HTTP {code}: the key [key] is xxx" in str(reply) and KEY not in str(reply) and len(str(reply)) < 600
    )
    wanted = {401: "OPENAI_API_KEY", 404: "nearest of its 2 models: nano-2, huge-9", 403: "may not use"}
    assert wanted.get(code, "") in str(reply)


def test_no_list_of_models_is_no_trouble(server):
    server.always, server.lists = status(404, "no such model"), False
    assert "no such model" in str(only(engine(server), ask()))


@pytest.mark.parametrize(
    "fault", [status(401), status(404), status(429, {"error": {"code": "insufficient_quota"}})]
)
def test_what_holds_for_every_request_is_asked_once(server, fault):
    server.always = fault
    found = list(engine(server, concurrency=1).serve([ask(f"{i}") for i in range(5)]))
    assert len(found) == 5 and len({str(reply) for _, reply in found}) == 1 and len(server.seen) == 1


def picky(name, words):
    """A server that does not take a parameter."""

    def fault(handler, body):
        status(400, words)(handler, body) if name in body else good(handler, body)

    return fault


def test_parameters_that_are_refused_are_said_otherwise(server):
    """Once: what was learnt holds for the requests that follow."""
    server.always = picky(
        "max_tokens",
        "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead.",
    )
    mine = engine(server, concurrency=1)
    assert texts(only(mine, ask(keys=(1, 2)))) == ["hi 1", "hi 2"]
    assert ["max_completion_tokens" in body for body in server.seen] == [False, True, True]
    assert server.seen[1]["max_completion_tokens"] == 50 and mine.counters()["retries"] == 0

    server.always, server.seen[:] = picky("seed", "Unrecognized request argument supplied: seed"), []
    with pytest.warns(UserWarning, match="draws will not repeat"):
        assert len(only(mine, ask(keys=(1, 2)))) == 2
    assert ["seed" in body for body in server.seen] == [True, False, False]

    server.always, server.seen[:] = (
        picky("top_p", "Unsupported parameter: 'top_p' is not supported with this model."),
        [],
    )
    with pytest.warns(UserWarning, match="takes no top_p .*Unsupported parameter.*left out") as told:
        drawn = [only(mine, ask()), only(mine, ask(top_p=0.5, keys=(1, 2, 3)))]
    assert list(map(len, drawn)) == [1, 3] and "top_p" in server.seen[0] and "top_p" not in server.seen[1]
    assert len(told) == 1 and len(server.seen) == 2 + 3  # learnt once, and said once


def only_default(name):
    """A server that takes a parameter at its default alone."""

    def fault(handler, body):
        words = (
            f"Unsupported value: '{name}' does not support {body.get(name)} with this model. Only the "
            "default (1) value is supported."
        )
        status(400, words)(handler, body) if body.get(name, 1) != 1 else good(handler, body)

    return fault


def either(handler, body):
    words = "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
    status(400, words)(handler, body) if {"temperature", "top_p"} <= body.keys() else good(handler, body)


REFUSING = {  # the server, what is asked for, what is left out
    "a default": (only_default("temperature"), {"temperature": 0.7}, {"temperature"}),
    "one of two, and one changes nothing": (either, {"temperature": 0.7}, {"top_p"}),
    "one of two": (either, {"temperature": 0.7, "top_p": 0.9}, {"top_p"}),
    "one of two, at temperature 1": (either, {"temperature": 1.0, "top_p": 0.9}, {"temperature"}),
    "Gemini": (
        picky("seed", 'Invalid JSON payload received. Unknown name "seed": Cannot find field.'),
        {},
        {"seed"},
    ),
    "Groq": (picky("logprobs", "property 'logprobs' is unsupported"), {}, {"logprobs"}),
    "FastAPI": (
        picky(
            "top_k",
            {
                "detail": [
                    {
                        "type": "extra_forbidden",
                        "loc": ["body", "top_k"],
                        "msg": "Extra inputs are not permitted",
                        "input": {"temperature": 1},
                    }
                ]
            },
        ),
        {"top_k": 5},
        {"top_k"},
    ),
    "param": (
        picky("min_p", {"error": {"message": "Invalid request", "param": "min_p"}}),
        {"min_p": 0.1},
        {"min_p"},
    ),
    "an argument": (picky("seed", "generate() got an unexpected keyword argument 'seed'"), {}, {"seed"}),
    "camels": (picky("top_p", "topP is not available for this model"), {"top_p": 0.5}, {"top_p"}),
    "or unset": (
        picky("top_p", "`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled."),
        {"top_p": 0.5},
        {"top_p"},
    ),
    "Anthropic": (only_default("temperature"), {"temperature": 0.0}, {"temperature"}),
    "Kimi": (
        picky("temperature", "invalid temperature: only 1 is allowed for this model"),
        {"temperature": 0.3},
        {"temperature"},
    ),
    "a 500": (None, {}, {"seed"}),
}


@pytest.mark.parametrize("how", REFUSING)
def test_what_a_server_refuses_by_name_is_left_out_whatever_it_says(server, how):
    server.always, sampling, gone = REFUSING[how]
    if how == "a 500":
        server.always = lambda h, body: (
            status(500, "seed is not supported")(h, body) if "seed" in body else good(h, body)
        )
    mine = engine(server, extra={"logprobs": True}, concurrency=1, retries=0)
    with pytest.warns(UserWarning, match=f"takes no {next(iter(gone))} ") as told:
        drawn = only(mine, ask(keys=(1, 2, 3), **sampling))
    assert isinstance(drawn, list) and [d.stop for d in drawn] == [DONE] * 3
    assert mine.refused == gone and len(told) == 1 and len(server.seen) == 3 + 1
    assert all(not gone & body.keys() for body in server.seen[1:])


def test_a_stop_string_that_is_refused_is_cut_away_here(server):
    def answer(handler, body):
        status(400, "Unsupported parameter: stop")(handler, body) if "stop" in body else good(
            handler, body, text="Answer: 4\nSo", finish="length"
        )

    server.always = answer
    with pytest.warns(UserWarning, match="answers are cut here"):
        (drawn,) = only(engine(server), ask(stop=("So", "\n")))
    assert texts([drawn]) == ["Answer: 4"] and drawn.stop == DONE


def test_a_number_out_of_its_range_is_an_error(server):
    """It is asked for, and another would not be it."""
    for words in (
        "temperature must be between 0 and 1",
        "temperature: Input should be less than or equal to 2",
        "temperature is too high",
    ):
        server.always = status(400, words)
        mine = engine(server)
        assert words in str(only(mine, ask(temperature=5.0))) and not mine.refused


def test_a_server_that_only_streams_is_asked_for_a_stream(server):
    def answer(handler, body):
        if not body.get("stream"):
            return status(
                400,
                "This model only support stream mode, please enable the stream parameter to access the "
                "model.",
            )(handler, body)
        return raw(STREAM)(handler, body)

    server.always = answer
    mine = engine(server, concurrency=1)
    drawn = only(mine, ask(keys=(1, 2)))
    assert texts(drawn) == ["Answer: 42", "Answer: 42"] and len(server.seen) == 3 and drawn[0].used == 4
    assert server.seen[-1]["stream_options"] == {"include_usage": True}


STREAM = (
    b": warming up\r\n\r\n"
    b'data: {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": null}]}\r\n\r\n'  # noqa: E501
    b'data: {"choices": [{"index": 0, "delta": {"reasoning_content": "7?"}}]}\r\n\r\n'
    b'event: message\r\ndata: {"choices": [{"index": 0, "delta": {"content": "Answer: "}}]}\r\n\r\n'
    b'data: {"choices": [{"index": 1, "delta": {"content": "other"}}]}\r\n\r\n'
    b'data: {"choices": [{"index": 0, "delta": {"content": "42"}, "finish_reason": "stop"}]}\r\n\r\n'
    b'data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}\r\n\r\ndata: [DONE]\r\n\r\n'  # noqa: E501
)


def answered(content, finish="stop", **more):
    return {
        "choices": [{"message": {"content": content} | more, "finish_reason": finish}],
        "usage": {"completion_tokens": 3},
    }


PLAIN = {  # what came, the text, whether it was cut off
    "a stream": (STREAM, "Answer: 42", DONE),
    "a stream without its end": (STREAM[: STREAM.index(b"data: [DONE]")], "Answer: 42", DONE),
    "a stream of one line each": (
        b'data:{"choices":[{"delta":{"content":"4"}}]}\n\ndata:{"choices":[{"delta":{"content":"2"},"finish_reason":"length"}]}\n\n',
        "42",
        LENGTH,
    ),
    "an eos": (answered("42", "eos"), "42", DONE),
    "Anthropic's end": (answered("42", "end_turn"), "42", DONE),
    "Gemini's end": (answered("42", "STOP"), "42", DONE),
    "a stop sequence": (answered("42", "stop_sequence"), "42", DONE),
    "no reason": (answered("42", None), "42", DONE),
    "an empty reason": (answered("42", ""), "42", DONE),
    "no reason, and all tokens used": (
        answered("42", None) | {"usage": {"completion_tokens": 50}},
        "42",
        LENGTH,
    ),
    "Anthropic's limit": (answered("42", "max_tokens"), "42", LENGTH),
    "Gemini's limit": (answered("42", "MAX_TOKENS"), "42", LENGTH),
    "parts": (answered([{"type": "text", "text": "4"}, {"type": "output_text", "text": "2"}]), "42", DONE),
    "thoughts and text": (
        answered(
            [
                {"type": "thinking", "thinking": [{"type": "text", "text": "6*7"}]},
                {"type": "text", "text": "42"},
            ]
        ),
        "42",
        DONE,
    ),
    "reasoning and text": (
        answered([{"type": "reasoning", "text": "no"}, {"type": "text", "text": "42"}]),
        "42",
        DONE,
    ),
    "one part": (answered({"type": "text", "text": "42"}), "42", DONE),
    "strings": (answered(["4", "2"]), "42", DONE),
    "a tool's name for an end": (answered("42", "tool_calls", tool_calls=[]), "42", DONE),
    "an old shape": ({"choices": [{"text": "42", "finish_reason": "stop"}]}, "42", DONE),
    "cut off, null": (answered(None, "length", reasoning_content="so"), "", LENGTH),
    "cut off, empty": (answered("", "length", reasoning_content="so"), "", LENGTH),
    "cut off among thoughts": (answered([{"type": "thinking", "thinking": "so"}], "max_tokens"), "", LENGTH),
    "cut off, a stream": (
        b'data: {"choices": [{"delta": {"reasoning": "so"}, "finish_reason": "length"}]}\n\ndata: [DONE]\n\n',
        "",
        LENGTH,
    ),
    "cut off, no content": (
        {"choices": [{"message": {"role": "assistant"}, "finish_reason": "length"}]},
        "",
        LENGTH,
    ),
    "empty": (answered("", "stop"), "", DONE),
}


@pytest.mark.parametrize("what", PLAIN)
def test_what_is_plain_is_read(server, what):
    body, text, stop = PLAIN[what]
    server.always = raw(body if isinstance(body, bytes) else json.dumps(body).encode())
    (drawn,) = only(engine(server), ask())
    assert texts([drawn]) == [text] and drawn.stop == stop and len(server.seen) == 1


def test_what_is_no_chat_api_is_one_message(server):
    def page(handler, body):
        handler.send(
            code,
            b"<!doctype html><html><script>var x</script><body>Welcome &amp; <b>hi</b></body></html>",
            {"Content-Type": "text/html"},
        )

    server.always, code = page, 200
    found = list(engine(server, concurrency=1).serve([ask(f"{i}") for i in range(5)]))
    assert len(server.seen) == 1 and len({str(reply) for _, reply in found}) == 1
    assert (
        'answered with a web page instead of JSON: "Welcome & hi"; is the url right? It mostly ends in /v1'
        in str(found[0][1])
    )
    code = 502
    assert "HTTP 502: Welcome & hi" in str(only(engine(server, retries=0), ask()))


def test_a_redirection_within_a_server_is_followed_and_remembered(server):
    def moved(code, to):
        def answer(handler, body):
            good(handler, body) if handler.path.startswith("/new") else handler.send(
                code, b"", {"Location": to}
            )

        return answer

    for code in (301, 302, 307, 308):
        server.always, server.seen[:] = moved(code, "/new/v1/chat/completions?a=b"), []
        assert texts(only(engine(server, concurrency=1), ask(keys=(1, 2)))) == ["hi 1", "hi 2"]
        assert [body["path"] for body in server.seen] == [
            "/v1/chat/completions",
            *["/new/v1/chat/completions?a=b"] * 2,
        ]
        assert all(body["key"] == f"Bearer {KEY}" for body in server.seen)
    server.always, server.seen[:] = moved(307, "https://elsewhere.example/v1/chat/completions"), []
    reply = str(only(engine(server), ask()))
    assert (
        "another server, which is not given the key; if that is the right one: --url "
        "https://elsewhere.example/v1" in reply
    )
    server.always, server.seen[:] = moved(307, "/v1/chat/completions"), []
    assert "HTTP 307" in str(only(engine(server), ask())) and len(server.seen) == 4  # round in circles


def test_a_query_goes_with_every_request_and_into_no_message(server, tmp_path):
    mine = engine(server, url=f"{server.url}/?api-version=2024-10-21&x=hush", cache=tmp_path)
    assert texts(only(mine, ask())) == ["hi 1"]
    assert server.seen[-1]["path"] == "/v1/chat/completions?api-version=2024-10-21&x=hush"
    assert texts(only(engine(server, url=f"{server.url}/chat/completions", cache=tmp_path), ask())) == [
        "hi 1"
    ]
    # another address, another answer
    assert server.seen[-1]["path"] == "/v1/chat/completions" and len(server.seen) == 2
    server.always = status(400, "no")
    assert "hush" not in str(only(mine, ask("b")))


def test_other_refusals_change_nothing(server):
    """A limit on max_tokens names it, too; and a refusal that stays is not asked about for ever."""
    server.always = status(
        400, "max_tokens or max_completion_tokens is too large: 50. This model has a context of 10 tokens."
    )
    mine = engine(server)
    assert "too large" in str(only(mine, ask())) and len(server.seen) == 1 and not mine.refused
    server.always = status(400, "max_tokens is not supported, nor is seed, instead of anything")
    assert "HTTP 400" in str(only(mine, ask()))
    assert len(server.seen) == 1 + 3 and not mine.refused  # left out to no avail, so not left out


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"finish": "content_filter"}, "content_filter"),
        ({"finish": "tool_calls", "text": None}, "tool_calls"),
        ({"text": None}, "no text"),
    ],
    ids=["content_filter", "tool_calls", "null"],
)
def test_what_is_no_whole_answer_is_an_error(server, tmp_path, changes, words):
    server.always = says(**changes)
    mine = engine(server, cache=tmp_path)
    reply = only(mine, ask())
    assert isinstance(reply, EngineError) and words in str(reply) and len(server.seen) == 1
    assert mine.counters()["prefilled"] == server.billed["prompt_tokens"] > 0  # paid for, but not kept
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_an_answer_without_usage_is_estimated(server):
    server.always = says(text="é" * 5, usage=False)
    mine = engine(server, tokens=1000)
    (drawn,) = only(mine, ask("four bytes each 20.."))
    assert drawn.used == 3 and len(drawn.tokens) == 11  # ceil(10 / 4), and the end
    assert mine.counters()["prefilled"] == 5
    assert mine.purse.spent.tolist() == [20 + 16, 50]  # the budget is charged the worst case


def test_what_no_server_can_say_is_no_number():
    for value in ("12", -1, 1.5, None, 2**60, {}):
        assert replies.read_usage({"usage": {"prompt_tokens": value}}) == (None, None)


def test_an_empty_answer_is_an_answer(server):
    server.always = raw(b'{"choices": [{"message": {"content": ""}, "finish_reason": "stop"}]}')
    (drawn,) = only(engine(server), ask())
    assert drawn.tokens.tolist() == [256] and drawn.stop == DONE and drawn.used == 0


def test_an_answer_without_a_word_is_not_kept_and_one_that_was_cut_off_is(server, tmp_path):
    """The first may be a hiccup; the second was paid for and would be the same."""
    for text, finish, asked in (("", "stop", 2), (" \n", "stop", 2), ("", "length", 1), (None, "length", 1)):
        server.always, server.seen[:] = raw(json.dumps(answered(text, finish)).encode()), []
        for _ in range(2):
            only(engine(server, cache=tmp_path / f"{text}{finish}"), ask())
        assert len(server.seen) == asked
    (path,) = (tmp_path / "Nonelength").rglob("*.json")
    path.write_text('{"text": "", "finish": "stop", "used": 0}', encoding="utf-8")  # kept by an older version
    server.always = None
    assert texts(only(engine(server, cache=tmp_path / "Nonelength"), ask())) == ["hi 1"]


# -- many at once


def test_as_many_at_once_as_wanted_and_no_more(server):
    server.pause = lambda body: 0.05
    found = list(engine(server, concurrency=6).serve([ask(f"{i}", range(4)) for i in range(12)]))
    assert len(found) == 12 and len(server.seen) == 48
    assert server.most == 6


def closed_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_a_server_that_is_gone_is_given_up(server):
    """All tries of one request are refused: those that follow fail with the same words, without waiting."""
    mine = engine(server, url=f"http://127.0.0.1:{closed_port()}/v1", concurrency=2, delay=0.1)
    began = time.monotonic()
    found = list(mine.serve([ask(f"{i}", (i,)) for i in range(40)]))
    assert len(found) == 40 and time.monotonic() - began < 3
    assert mine.counters()["calls_made"] <= 2 * 3
    assert all("no connection" in str(reply) and "after 3 tries" in str(reply) for _, reply in found)
    assert len({str(reply) for _, reply in found}) <= 2 and not mine.purse.spent.any()
    mine.address = f"{server.url}/chat/completions"
    assert texts(only(mine, ask())) == ["hi 1"]  # the next call asks again


def test_a_server_that_serves_others_is_not_gone(server, monkeypatch):
    """A crowded server may refuse the connections of one request, and still be there for the next."""
    sent = Post.sent

    async def crowded(self, draw):
        if draw.key == 0:
            raise replies.Fault("no connection: refused", deaf=True)
        return await sent(self, draw)

    monkeypatch.setattr(Post, "sent", crowded)
    server.pause = lambda body: 0.01
    found = [
        reply
        for _, reply in engine(server, concurrency=2, delay=0.05).serve([ask(keys=(i,)) for i in range(30)])
    ]
    assert sum(isinstance(reply, EngineError) for reply in found) == 1 and len(found) == 30


def workers():
    return [thread for thread in threading.enumerate() if thread.name == "surpass-openai"]


def test_nothing_is_left_of_a_generator_that_is_closed(server):
    server.faults = [good]
    server.always = hang
    replies = engine(server, timeout=60, concurrency=4).serve([ask(f"{i}") for i in range(9)])
    next(replies)
    assert workers()
    began = time.monotonic()
    replies.close()
    assert time.monotonic() - began < 2 and not workers()


def test_stop_ends_what_is_under_way(server):
    server.always = hang
    mine = engine(server, timeout=60, concurrency=2)
    threading.Timer(0.3, mine.stop).start()
    began = time.monotonic()
    found = list(mine.serve([ask(f"{i}") for i in range(5)]))
    assert time.monotonic() - began < 3 and not workers()
    assert len(found) == 5 and all(
        isinstance(reply, EngineError) and "given up" in str(reply) for _, reply in found
    )


def test_ctrl_c_ends_a_run(server, tmp_path):
    """A run whose server hangs ends within seconds, and its process too."""
    server.always = hang
    script = f"""
        from surpass.engines.openai_api import OpenAIEngine
        from surpass.models import Models
        engine = OpenAIEngine("m", url={server.url!r}, timeout=60)
        models = Models(policy=engine)
        try:
            models.run(models.chat("policy", [{{"role": "user", "content": "hi"}}]))
        finally:
            engine.stop()
    """
    # a shell's background jobs ignore it
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stderr=subprocess.PIPE, text=True, **heard
    )
    try:
        until(lambda: server.seen or process.poll() is not None, 60)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, words = process.communicate(timeout=20)
    finally:
        process.kill()
    assert "KeyboardInterrupt" in words and time.monotonic() - began < 8


def until(true, seconds):
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


# -- budgets


def spend(server, requests, **settings):
    """(engine, replies before the budget was spent, the error or None)."""
    mine, found = engine(server, concurrency=4, **settings), []
    try:
        for _, reply in mine.serve(requests):
            found.append(reply)
    except BudgetSpent as error:
        return mine, found, error
    return mine, found, None


@pytest.mark.parametrize("lost", [False, True])
def test_a_budget_of_tokens_is_never_passed(server, lost):
    """By the server's own count, also where answers that it billed were lost on the way."""
    server.pause = lambda body: 0.002
    server.faults = [cut_length if i % 3 == 0 else good for i in range(999)] if lost else []
    requests = [ask("x" * 90, (i,)) for i in range(200)]
    mine, found, error = spend(server, requests, tokens=3000, retries=5)
    billed = sum(server.billed.values())
    worst = 90 + 16 + 50
    assert error is not None and billed <= mine.purse.spent.sum() <= 3000
    assert mine.purse.spent.sum() > 3000 - worst and not mine.purse.held.any()
    assert len(found) > 10 and all(isinstance(reply, list) for reply in found)  # finished replies came first
    assert f"{mine.purse.spent.sum():,} of 3,000 tokens" in str(error) and "nothing was kept" in str(error)
    if not lost:
        assert billed == mine.purse.spent.sum()
    before = len(server.seen)
    with pytest.raises(BudgetSpent):
        only(mine, ask("x" * 90, (1000,)))
    assert len(server.seen) == before


def test_a_prompt_that_costs_more_than_it_seems_is_learnt(server):
    """A server whose template says a lot by itself passes the estimate once for each request that was under
    way, never again.
    """

    def wordy(handler, body):
        answer = completion(handler.server, body)
        answer["usage"]["prompt_tokens"] += 500
        handler.server.billed["prompt_tokens"] += 500
        handler.send(200, answer)

    server.always = wordy
    _, found, error = spend(server, [ask(f"{i}") for i in range(50)], tokens=8000)
    assert error is not None and len(found) > 8 and sum(server.billed.values()) <= 8000


def test_a_budget_of_dollars(server):
    price = (1000.0, 5000.0)  # dollars per million
    _, found, error = spend(server, [ask("x" * 60, (i,)) for i in range(100)], dollars=2.0, price=price)
    paid = server.billed["prompt_tokens"] * 1e-3 + server.billed["completion_tokens"] * 5e-3
    assert error is not None and found and 2.0 - (76e-3 + 250e-3) < paid <= 2.0
    assert "of 2 dollars" in str(error)


def test_a_budget_goes_on_from_the_cache(server, tmp_path):
    requests = [ask("x" * 90, (i,)) for i in range(40)]
    _, found, error = spend(server, requests, tokens=1000, cache=tmp_path)
    assert "higher budget goes on" in str(error) and str(tmp_path) in str(error) and 0 < len(found) < 40
    paid = len(server.seen)
    mine, found, error = spend(server, requests, tokens=5000, cache=tmp_path)
    assert error is None and len(found) == 40
    assert len(server.seen) == 40 and mine.counters()["cached"] == paid  # nothing was paid for twice
    _, found, error = spend(server, requests, tokens=1, cache=tmp_path)
    assert error is None and len(found) == 40  # what is known costs nothing


def test_a_budget_that_is_spent_ends_the_call(server):
    """What would still fit is not picked out of what waits."""
    with pytest.raises(BudgetSpent):
        list(engine(server, concurrency=1, tokens=100).serve([ask(max_tokens=900), ask(max_tokens=5)]))
    assert not server.seen


def test_a_waiting_draw_uses_what_others_leave(server):
    """The worst case of requests under way is only held: when they cost less, the next one is sent."""
    server.pause = lambda body: 0.05
    _, found, error = spend(server, [ask(keys=(i,)) for i in range(10)], tokens=2 + 16 + 50 + 9 * 12)
    assert error is None and len(found) == 10 and server.most == 2


# -- the cache


def test_what_was_answered_is_not_asked_again(server, tmp_path):
    requests = [ask("a", range(3)), ask("b", range(2))]
    first = {id(r): texts(reply) for r, reply in engine(server, cache=tmp_path).serve(requests)}
    assert len(server.seen) == 5
    mine = engine(server, cache=tmp_path)
    again = list(mine.serve(requests))
    assert {id(r): texts(reply) for r, reply in again} == first and len(server.seen) == 5
    assert mine.counters() == {
        "prefilled": 0,
        "calls_made": 0,
        "retries": 0,
        "waits": 0,
        "cached": 5,
        "failed": 0,
    }
    assert [drawn.used for drawn in again[0][1]] == [1, 1, 1] and again[0][1][0].stop == DONE
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 5 and all(
        path.suffix == ".json" and path.parent.name == path.name[:2] for path in files
    )
    assert not [path for path in files if KEY in path.read_text() or KEY in str(path)]


def test_another_request_is_another_entry(server, tmp_path):
    plain = ask()
    variants = [
        (ask(temperature=0.5), {}),
        (ask(max_tokens=49), {}),
        (ask(top_p=0.5), {}),
        (ask(stop=("a",)), {}),
        (ask("ho"), {}),
        (ask(keys=(2,)), {}),
        (ask(keys=(1 + 2**31,)), {}),
        (plain, {"extra": {"user": "me"}}),
    ]
    only(engine(server, cache=tmp_path), plain)
    for k, (request, changes) in enumerate(variants):
        only(engine(server, cache=tmp_path, **changes), request)
        assert len(server.seen) == k + 2
    other = OpenAIEngine("nano-2", url=server.url, key="another", cache=tmp_path)
    only(other, plain)
    assert len(server.seen) == len(variants) + 2
    only(engine(server, cache=tmp_path, key="another"), plain)  # whose key it was does not matter
    assert len(server.seen) == len(variants) + 2


def test_a_torn_file_is_asked_for_again(server, tmp_path):
    only(engine(server, cache=tmp_path), ask())
    (path,) = tmp_path.rglob("*.json")
    whole = path.read_bytes()
    for k, torn in enumerate(
        (whole[: len(whole) // 2], b"", b"[]", b'{"text": 1, "finish": "stop"}', b"\xff", b"[" * 100_000)
    ):
        path.write_bytes(torn)
        assert texts(only(engine(server, cache=tmp_path), ask())) == ["hi 1"]
        assert len(server.seen) == k + 2 and path.read_bytes() == whole


def test_a_cache_that_cannot_be_written(server, tmp_path):
    """Says so at the start where it can; later, the answers that are paid for are given all the same."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(SurpassError, match="cache folder"):
        engine(server, cache=tmp_path / "file")
    mine = engine(server, cache=tmp_path / "folder")
    (tmp_path / "folder").rmdir()
    (tmp_path / "folder").write_text("x")
    with pytest.warns(UserWarning, match="cannot be written"):
        assert texts(only(mine, ask())) == ["hi 1"]


def test_refusals_change_no_name_in_the_cache(server, tmp_path):
    server.always = picky("max_tokens", "max_tokens is not supported: use max_completion_tokens")
    for _ in range(2):
        assert texts(only(engine(server, cache=tmp_path), ask())) == ["hi 1"]
    assert len(server.seen) == 2


def test_only_whole_answers_are_kept(server, tmp_path):
    server.always = cut_length
    only(engine(server, cache=tmp_path), ask())
    assert not list(tmp_path.rglob("*.json"))


# -- whole runs


def paths(tree):
    return sorted(tree.path_tokens(leaf).tolist() for leaf in tree.leaves())


@dataclass(frozen=True)
class guess:
    """Two turns: a guess, a word from the task, another guess."""

    players = ("policy",)
    branches = True

    async def start(self, models, problem):
        return Turn({"left": 1}, {"policy": problem.prompt}, "policy")

    async def step(self, models, state, text):
        return (
            Turn({"left": state["left"] - 1}, {"policy": f"not {text}; again"}, "policy")
            if state["left"]
            else Turn(state)
        )

    async def check(self, models, problem, text):
        return 1.0


def test_a_task_of_several_turns(server, tmp_path):
    """The second request holds the first's answer, cut off or not, as the assistant's; costs are what the
    server billed.
    """
    server.pause = lambda body: 0.01
    server.always = lambda handler, body: good(
        handler, body, finish="length" if len(body["messages"]) == 1 else "stop"
    )
    system = ({"role": "system", "content": "sÿs"}, {"role": "user", "content": "num"})
    problems = [
        Problem(f"p{i}", f"n{i}" if i % 2 else (system[0], {"role": "user", "content": f"n{i}"}))
        for i in range(6)
    ]
    models = Models(policy=engine(server, cache=tmp_path))
    trees = models.run(search_all(samples(3, max_tokens=20), models, guess(), problems, 5))
    assert not any(tree.stop[0] == FAILED for tree in trees)
    cost = models.cost["search"]
    assert cost["generated"] == server.billed["completion_tokens"]
    assert (
        cost["prefilled"] == server.billed["prompt_tokens"]
        and cost["calls_made"] == len(server.seen) == 36 == cost["calls"]
    )
    for tree, problem in zip(trees, problems, strict=True):
        assert len(tree.leaves()) == 3
        for leaf in tree.leaves():
            said = (
                [{"role": "user", "content": problem.prompt}]
                if isinstance(problem.prompt, str)
                else list(problem.prompt)
            )
            found = TEXT.messages(tree.path_tokens(leaf))
            first, second = found[len(said)], found[-1]
            assert found == [
                *said,
                first,
                {"role": "user", "content": f"not {first['content']}; again"},
                second,
            ]
            assert (
                first["content"].startswith(said[-1]["content"])
                and first["role"] == second["role"] == "assistant"
            )
            assert models.text("policy", tree, leaf) == second["content"]
            assert [body for body in server.seen if body["messages"] == found[:-1]]
    assert len({body["seed"] for body in server.seen}) == 36

    again = Models(policy=engine(server, cache=tmp_path))
    repeated = again.run(search_all(samples(3, max_tokens=20), again, guess(), problems, 5))
    # nodes are numbered as they came
    assert [paths(tree) for tree in repeated] == [paths(tree) for tree in trees]
    assert (
        len(server.seen) == 36
        and again.cost["search"]["cached"] == 36
        and not again.cost["search"]["prefilled"]
    )


def test_a_search_on_a_task_is_judged(server):
    """A server that knows sums, with a fault now and then, solves arithmetic; steps of a tree are refused
    with what to do.
    """

    def sums(handler, body):
        *_, last = body["messages"]
        good(handler, body, text=f"Answer: {eval(last['content'].removesuffix('='))}")

    server.always = sums
    server.faults = [status(500), cut_length, sums, status(429), sums, hang_up]
    task, models = arithmetic(), Models(policy=engine(server, retries=5))
    problems = [next(task.problems("train", seed)) for seed in range(4)]
    trees = models.run(search_all(samples(2), models, task, problems, 0))

    async def marks():
        return [
            await task.check(models, t.problem, models.text("policy", t, leaf))
            for t in trees
            for leaf in t.leaves()
        ]

    assert models.run(marks()) == [1.0] * 8
    assert models.cost["search"]["retries"] == 4

    async def steps():
        tree = trees[0]
        node = models.put("policy", tree, tree.leaves()[0], "more", "policy")
        await models.generate("policy", tree, node)

    with pytest.raises(EngineError, match="continue="):
        models.run(steps())
    chat = models.chat("policy", [{"role": "user", "content": "1 + 1 ="}], n=2)
    assert models.run(chat) == ["Answer: 2", "Answer: 2"]


# -- a real server

SERVING = [name for name in ("fastapi", "uvicorn", "openai") if importlib.util.find_spec(name) is None]


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """(url, model's name, the same model as a LocalEngine): `transformers serve` with a nano Llama, in a
    process of its own.
    """
    if SERVING:
        pytest.skip(f"no {', '.join(SERVING)}: pip install 'transformers[serving]'")
    from conftest import make_causal, make_tokenizer
    from surpass.engines import LocalEngine

    folder, port = tmp_path_factory.mktemp("nano"), closed_port()
    causal = make_causal(0, 0.1)
    causal.generation_config.do_sample = True  # the server's draws are greedy otherwise
    causal.generation_config.top_k = 0
    with torch.no_grad():
        # the markers of turns, which the server would leave out of a text, are never likeliest
        causal.lm_head.weight[1:3] = 0
    local = LocalEngine.of(causal, make_tokenizer())
    local.save(folder)
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder)]
    place = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    quiet = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with open(folder / "log", "w") as log:
        process = subprocess.Popen([*command, *place], env=os.environ | quiet, stdout=log, stderr=log)
    try:

        def ready():
            assert process.poll() is None, (folder / "log").read_text()[-2000:]
            try:
                return httpx.get(f"http://127.0.0.1:{port}/health").is_success
            except httpx.HTTPError:
                return False

        until(ready, 60)
        yield f"http://127.0.0.1:{port}/v1", str(folder), local
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()


def test_a_real_server_draws_what_the_local_engine_draws(real):
    """Greedy draws, in one turn and in three: the same text, end and bill as the same weights in this
    process.
    """
    url, name, local = real
    mine, theirs = (
        Models(policy=OpenAIEngine(name, url, key="", timeout=30.0, concurrency=2)),
        Models(policy=local),
    )
    asks = [Problem(prompt, prompt) for prompt in ("abc", "1 + 2 = ?", "d")]
    search = samples(1, temperature=0, max_tokens=10)
    trees = mine.run(search_all(search, mine, guess(), asks, 0))
    wanted = theirs.run(search_all(search, theirs, guess(), asks, 0))
    for tree, other in zip(trees, wanted, strict=True):
        assert [mine.text("policy", tree, i) for i in range(len(tree)) if tree.author[i] == "policy"] == [
            theirs.text("policy", other, i) for i in range(len(other)) if other.author[i] == "policy"
        ]
        assert tree.stop.tolist() == other.stop.tolist() and len(tree) == 4
    prompts = [
        len(other.path_tokens(int(other.parent[i])))
        for other in wanted
        for i in range(4)
        if other.author[i] == "policy"
    ]
    assert mine.cost["search"]["prefilled"] == sum(prompts)


def test_a_real_server_honours_seeds(real):
    url, name, _ = real
    request = ask("abc", (1, 2, 3), max_tokens=12)
    first, again = (only(OpenAIEngine(name, url, key="", concurrency=1), request) for _ in range(2))
    assert texts(first) == texts(again) and len(set(texts(first))) == 3
    for drawn in first:
        assert drawn.used == 12 if drawn.stop == LENGTH else drawn.used <= 12


def test_a_real_server_refuses_in_its_own_words(real):
    url, name, _ = real
    assert "pinned" in str(only(OpenAIEngine("other", url, key=""), ask()))
    with pytest.warns(UserWarning, match=r"takes no top_k .*it is left out"):
        assert len(texts(only(OpenAIEngine(name, url, key=""), ask(top_k=5)))) == 1
    assert "HTTP 404" in str(only(OpenAIEngine(name, url + "/more", key=""), ask()))
