"""A chat API on loopback that does what a test tells it, and counts; and an engine that asks it."""

from __future__ import annotations

import json
import math
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from surpass.engines.messages import MessageText
from surpass.engines.openai_api import OpenAIEngine
from surpass.engines.requests import Generate, Sampling

KEY = "sk-very-secret"


TEXT = MessageText()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def send(self, status, body, headers=(), length=None):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data) if length is None else length))
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.send(
            200, {"data": [{"id": name} for name in ("nano-2", "huge-9")]}
        ) if self.server.lists else self.send(404, b"no")

    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.seen.append(body | {"path": self.path, "key": self.headers["Authorization"]})
            server.now += 1
            server.most = max(server.most, server.now)
            fault = server.faults.pop(0) if server.faults else server.always
        time.sleep(server.pause(body))
        with server.lock:
            server.now -= 1
        try:
            (fault or good)(self, body)
        except OSError:  # the client has gone
            self.close_connection = True


class Server(ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.lock, self.release = threading.Lock(), threading.Event()
        self.seen, self.faults, self.always = [], [], None
        self.now = self.most = 0
        self.billed, self.lists = Counter(), True
        self.pause = lambda body: 0


def completion(server, body, text="", finish="stop", usage=True):
    """A right answer, billed. By default it shows the last message and the seed."""
    text = f"{body['messages'][-1]['content']} {body.get('seed')}" if text == "" else text
    most = body.get("max_tokens", body.get("max_completion_tokens"))
    bill = {
        "prompt_tokens": sum(9 + len(m["content"]) // 3 for m in body["messages"]),
        "completion_tokens": min(most, math.ceil(len(text or "") / 3)),
    }
    with server.lock:
        server.billed.update(bill)
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return {"id": "x", "object": "chat.completion", "choices": [choice]} | ({"usage": bill} if usage else {})


def good(handler, body, **changes):
    handler.send(200, completion(handler.server, body, **changes))


def says(**changes):
    return lambda handler, body: good(handler, body, **changes)


def status(code, words="busy", **headers):
    body = words if isinstance(words, dict) else {"error": {"message": words}}
    return lambda handler, _: handler.send(
        code, body, {name.replace("_", "-"): value for name, value in headers.items()}
    )


def raw(data):
    def fault(handler, body):
        completion(handler.server, body)  # the work was done and is billed
        handler.send(200, data)

    return fault


def hang(handler, body):
    completion(handler.server, body)
    handler.server.release.wait(20)
    handler.close_connection = True


def dribble(handler, body):
    """A byte now and then: no single read takes long."""
    handler.send(200, b" ", length=10_000)
    while not handler.server.release.wait(0.05):
        handler.wfile.write(b" ")


def cut_length(handler, body):
    data = json.dumps(completion(handler.server, body)).encode()
    handler.send(200, data[:-20], length=len(data))
    handler.close_connection = True


def cut_chunked(handler, body):
    data = json.dumps(completion(handler.server, body)).encode()
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))  # all of it, but no last chunk
    handler.close_connection = True


def hang_up(handler, body):
    handler.close_connection = True


def engine(server, **changes):
    return OpenAIEngine(
        "nano-1",
        **{"url": server.url, "key": KEY, "delay": 0.01, "retries": 2, "timeout": 10.0, "wait": 0.0}
        | changes,
    )


def ask(prompt="hi", keys=(1,), **sampling):
    return Generate(
        np.array(TEXT.open(prompt), np.int32), tuple(keys), Sampling(**{"max_tokens": 50} | sampling)
    )


def only(engine, request):
    """The one reply to one request."""
    ((found, reply),) = engine.serve([request])
    assert found is request
    return reply


def texts(reply):
    return [TEXT.decode(drawn.tokens) for drawn in reply]
