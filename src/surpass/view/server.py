"""A small web server for one person on this machine: it reads run folders and writes nothing.

Every address begins with a secret; without it nothing is answered. A request must name this server as its host (a page elsewhere that
a name server points here does not), must not come from another origin, and must be a GET.
"""

from __future__ import annotations

import hmac
import importlib.resources
import secrets
import sys
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from surpass.errors import SurpassError
from surpass.report.style import STYLE
from surpass.store import as_line
from surpass.view import pages
from surpass.view.runs import Runs

POLICY = ("default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; "
          "form-action 'none'; frame-ancestors 'none'")  # fmt: skip
HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
           "Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin", "Cache-Control": "no-store"}  # fmt: skip


class Viewer(ThreadingHTTPServer):
    """The server; `address` is what to open. It listens on the loopback interface alone."""

    daemon_threads = True

    def __init__(self, root: Path, port: int = 0):
        if not root.is_dir():
            raise SurpassError(f"{root} is no folder; name the folder that holds your runs, such as runs")
        try:
            super().__init__(("127.0.0.1", port), Handler)
        except OSError as error:
            raise SurpassError(
                f"port {port} cannot be had ({error.strerror}); name another with --port, or none for any that is free"
            ) from error
        self.runs, self.reading = Runs(root), threading.Lock()
        self.token = secrets.token_urlsafe(24)
        self.hosts = {f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost")}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away in the middle of an answer is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Viewer
    server_version, sys_version = "surpass", ""
    protocol_version = "HTTP/1.1"
    timeout = 30  # seconds for a request to arrive

    def do_GET(self) -> None:
        refused = self._refused()
        if refused:
            self._send(HTTPStatus.FORBIDDEN, "text/plain", refused)
            return
        url = urlsplit(self.path)
        try:
            wanted = dict(parse_qsl(url.query, keep_blank_values=True, max_num_fields=20))
            answer = ANSWERS.get(url.path.removeprefix(f"/{self.server.token}/"))
            if answer is None:
                self._send(HTTPStatus.NOT_FOUND, "text/plain", "there is no such page")
                return
            with self.server.reading:  # one reader at a time: caches are shared
                kind, body = answer(self.server.runs, wanted)
        except SurpassError as error:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", str(error))
        except Exception as error:  # a run's folder may hold anything
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", f"this cannot be read: {type(error).__name__}: {error}")
        else:
            self._send(HTTPStatus.OK, kind, body)

    def _refused(self) -> str:
        """Why this request gets nothing; "" if it may be answered."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        if host not in self.server.hosts:
            return "this server answers to its own address alone"
        if origin is not None and origin not in {f"http://{name}" for name in self.server.hosts}:
            return "a page of another origin may not ask"
        if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return "a page of another origin may not ask"
        given = urlsplit(self.path).path.split("/")[1:2]
        if not given or not hmac.compare_digest(given[0].encode(), self.server.token.encode()):
            return "the address lacks its token; open the one that surpass view printed"
        return ""

    def _send(self, status: HTTPStatus, kind: str, body: str) -> None:
        data = body.encode("utf-8", "replace")
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: addresses hold the secret."""


def _json(find: Callable[[Runs, Mapping[str, str]], Any]) -> Callable[[Runs, Mapping[str, str]], tuple[str, str]]:
    return lambda runs, wanted: ("application/json", as_line(find(runs, wanted)))


def _html(write: Callable[[Runs, Mapping[str, str]], str]) -> Callable[[Runs, Mapping[str, str]], tuple[str, str]]:
    return lambda runs, wanted: ("text/html", write(runs, wanted))


def _asset(name: str) -> str:
    return (importlib.resources.files("surpass.view") / "assets" / name).read_text(encoding="utf-8")


def _number(wanted: Mapping[str, str], name: str) -> int:
    text = wanted.get(name, "")
    if not text.isdigit():
        raise SurpassError(f'{name} is a whole number; found "{text}"')
    return int(text)


def _outcomes(runs: Runs, wanted: Mapping[str, str]) -> list[dict[str, Any]]:
    name, other = wanted.get("name", ""), wanted.get("other")
    return runs.outcomes((name, -1), (other, -1)) if other is not None else runs.outcomes((name, 0), (name, -1))


def _stamp(runs: Runs, wanted: Mapping[str, str]) -> dict[str, Any]:
    run = runs.run(wanted.get("name", ""))
    return {"stamp": runs.stamp(run.folder), "state": "finished" if run.end else "running" if pages.running(run) else "stopped"}


ANSWERS: dict[str, Callable[[Runs, Mapping[str, str]], tuple[str, str]]] = {
    "": _html(lambda runs, wanted: pages.index(runs)),
    "run": _html(lambda runs, wanted: pages.run_page(runs, wanted.get("name", ""))),
    "pair": _html(lambda runs, wanted: pages.pair_page(runs, wanted.get("name", ""), wanted.get("other", ""))),
    "view.js": lambda runs, wanted: ("text/javascript", _asset("view.js")),
    "style.css": lambda runs, wanted: ("text/css", STYLE + _asset("view.css")),
    "stamp": _json(_stamp),
    "parts": _json(lambda runs, wanted: pages.parts(runs.run(wanted.get("name", "")))),
    "attempts": _json(lambda runs, wanted: runs.page(runs.run(wanted.get("name", "")), wanted)),
    "tree": _json(lambda runs, wanted: runs.tree(runs.run(wanted.get("name", "")), _number(wanted, "round"), _number(wanted, "tree"),
                                                 wanted.get("kind", "trees"))),
    "outcomes": _json(_outcomes),
}  # fmt: skip


def serve(root: Path, port: int = 0, tell: Callable[[str], None] = print) -> None:
    """Serve a folder of runs until Ctrl-C; `tell` is given the address."""
    with Viewer(root, port) as server:
        tell(f"{server.address}\nfor you alone: the address holds a secret. Ctrl-C ends it.")
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            tell("")
