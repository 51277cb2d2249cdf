"""HTTP servers on loopback for tests: how they run, a chat API that says one thing, and requests."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from typing import TypeVar

from surpass.view import Viewer

Kind = TypeVar("Kind", bound=HTTPServer)


@contextlib.contextmanager
def serving(server: Kind) -> Iterator[Kind]:
    """The server, answering in a thread of its own."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Chat(BaseHTTPRequestHandler):
    """Answers every request with `text`, as a chat API does."""

    text = ""

    def answer(self) -> tuple[int, bytes] | None:
        """(status, body); None to hang up."""
        choice = {"index": 0, "message": {"role": "assistant", "content": self.text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 9, "completion_tokens": 5}
        return 200, json.dumps({"choices": [choice], "usage": usage}).encode()

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers["Content-Length"]))
        found = self.answer()
        if found is None:
            self.connection.close()
            return
        status, data = found
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


@contextlib.contextmanager
def chatting(handler: type[Chat]) -> Iterator[str]:
    """The address of a chat API whose answers `handler` gives."""
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}/v1"


def get(
    viewer: Viewer, path: str, token: str | None = None, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], str]:
    """(status, headers, body) of a request; `path` comes after the token."""
    connection = http.client.HTTPConnection("127.0.0.1", viewer.server_port, timeout=20)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, f"/{viewer.token if token is None else token}/{path}", headers=named)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, dict(answer.getheaders()), body
