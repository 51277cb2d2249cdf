"""A small web server for one person on this machine: it reads run folders and writes nothing.

Every address begins with a secret; a request without it gets no answer, and the server waits only a moment
for a connection to say it. A request must be a GET, must name this server as its host (a page elsewhere whose
name a name server points here does not), and must not come from another origin.
"""

from __future__ import annotations

import contextlib
import hmac
import importlib.resources
import re
import resource
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from surpass.errors import Damaged, SurpassError
from surpass.report.style import STYLE
from surpass.store import as_line
from surpass.view import pages
from surpass.view.runs import Busy, Runs, Unclear
from surpass.view.trees import tree_of

SECONDS = 5.0  # for the whole head of a request to arrive
MOST_HEAD = 16_384  # bytes of a head
MOST_WAITING = 64  # connections that have not said the secret yet; beyond these the oldest is closed
ROOM = 2**32  # bytes that reading runs may take
BEGINS = re.compile(rb"[A-Z]{0,20}(\Z| (\Z|/))")
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\x00-\x08\x0a-\x1f\x7f]*)")
LINE = re.compile(rb"([A-Z]{1,20}) (/[!-~]*) HTTP/1\.[01]")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Viewer(ThreadingHTTPServer):
    """The server; `address` is the one to open. It listens on the loopback interface alone."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, root: Path, port: int = 0):
        if not root.is_dir():
            raise SurpassError(f"{root} is no folder; name the folder that holds your runs, such as runs")
        try:
            super().__init__(("127.0.0.1", port), Handler)
        except OSError as error:
            raise SurpassError(
                f"port {port} cannot be had ({error.strerror}); name another with --port, or none for "
                "any that is free"
            ) from error
        self.runs, self.door = Runs(root), threading.Lock()
        self.waiting: dict[socket.socket, None] = {}  # in the order they came
        self.token = secrets.token_urlsafe(24)
        self.hosts = {f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost")}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/{self.token}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for each connection, and bound how many have not said the secret."""
        with self.door:
            self.waiting[request] = None
            if len(self.waiting) > MOST_WAITING:
                oldest = next(iter(self.waiting))
                del self.waiting[oldest]
                _hang_up(oldest)
        super().process_request(request, client_address)

    def heard(self, request: Any) -> None:
        """Note that this connection has said the secret, or is closed."""
        with self.door:
            self.waiting.pop(request, None)

    def shutdown_request(self, request: Any) -> None:
        self.heard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print the error on one line. A browser that leaves in the middle of an answer is no error; requests
        are not printed.
        """
        error = sys.exception()
        if not isinstance(error, OSError):
            print(f"a request came to nothing: {type(error).__name__}", file=sys.stderr)


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)  # a thread that reads it sees its end


class Handler(BaseHTTPRequestHandler):
    """Answers one request, then closes the connection."""

    server: Viewer
    server_version, sys_version = "surpass", ""
    protocol_version = "HTTP/1.1"
    timeout = 30  # seconds for a client to take an answer

    def handle(self) -> None:
        self.close_connection = True
        self.command, self.request_version, self.requestline = "", "HTTP/1.1", ""
        until = time.monotonic() + SECONDS
        head = self._read(b"", b"\n", until)
        line = LINE.fullmatch(head.partition(b"\n")[0].removesuffix(b"\r"))
        self.path = line[2].decode() if line else ""
        if line is None:
            if head:  # not a connection that a browser opened in advance
                self._send(HTTPStatus.BAD_REQUEST, "text/plain", "this is no request for a page")
        elif not hmac.compare_digest(line[2].split(b"/")[1].partition(b"?")[0], self.server.token.encode()):
            self._send(
                HTTPStatus.FORBIDDEN,
                "text/plain",
                "the address lacks its token; open the one that surpass view printed",
            )
        elif line[1] != b"GET":
            self._send(HTTPStatus.NOT_IMPLEMENTED, "text/plain", "this server only reads")
        else:
            self._ask(self.path, self._read(head, b"\n\n", until))
        self._drain()

    def _read(self, head: bytes, end: bytes, until: float) -> bytes:
        """The bytes up to `end` (after \\r\\n or \\n), or until their limit or the time is reached."""
        while end not in head.replace(b"\r\n", b"\n") and BEGINS.match(head) and len(head) < MOST_HEAD:
            if (left := until - time.monotonic()) <= 0:
                break
            self.connection.settimeout(left)
            try:
                more = self.connection.recv(MOST_HEAD - len(head))
            except OSError:
                break
            if not more:
                break
            head += more
        self.connection.settimeout(self.timeout)
        return head

    def _drain(self) -> None:
        """Read whatever else has arrived: closing before that would cut the answer off."""
        try:
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(0.1)
            for _ in range(16):
                if not self.connection.recv(65_536):
                    break
        except OSError:
            pass

    def _ask(self, target: str, head: bytes) -> None:
        """Answer a request that has said the secret."""
        head = head.replace(b"\r\n", b"\n")
        if b"\n\n" not in head:
            self._send(
                HTTPStatus.BAD_REQUEST,
                "text/plain",
                f"the head of a request has at most {MOST_HEAD} bytes and comes within {SECONDS:g} seconds",
            )
            return
        fields = [FIELD.fullmatch(line) for line in head.partition(b"\n\n")[0].split(b"\n")[1:]]
        if None in fields:
            self._send(HTTPStatus.BAD_REQUEST, "text/plain", "the head of the request cannot be read")
            return
        self.fields: list[tuple[str, str]] = [
            (field[1].decode().lower(), field[2].decode("latin-1").strip(" \t")) for field in fields if field
        ]
        if refused := self._refused():
            self._send(HTTPStatus.FORBIDDEN, "text/plain", refused)
            return
        self.server.heard(self.connection)
        path, _, query = target.partition("?")
        try:
            if "#" in target or re.search("%(?![0-9A-Fa-f]{2})", target):
                raise Unclear("this address is not written as addresses are")
            wanted = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=20, errors="strict"))
            answer = ANSWERS.get(unquote(path, errors="strict").removeprefix(f"/{self.server.token}/"))
        except (ValueError, Unclear) as error:
            self._send(HTTPStatus.BAD_REQUEST, "text/plain", f"this cannot be understood: {error}")
            return
        if answer is None:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", "there is no such page")
            return
        self._send(*self._answered(answer, wanted))

    def _answered(
        self, answer: Callable[[Runs, Mapping[str, str]], tuple[str, str]], wanted: Mapping[str, str]
    ) -> tuple[HTTPStatus, str, str]:
        try:
            return HTTPStatus.OK, *answer(self.server.runs, wanted)
        except Unclear as error:
            return HTTPStatus.BAD_REQUEST, "text/plain", str(error)
        except Busy as error:
            return HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", str(error)
        except Damaged as error:
            return HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", str(error)
        except SurpassError as error:
            return HTTPStatus.NOT_FOUND, "text/plain", str(error)
        except Exception as error:  # a run's folder may hold anything
            return (
                HTTPStatus.INTERNAL_SERVER_ERROR,
                "text/plain",
                f"this cannot be read: {type(error).__name__}: {str(error)[:500]}",
            )

    def _refused(self) -> str:
        """Why this request is refused; "" if it may be answered."""
        hosts, origins, sites = (
            [value for name, value in self.fields if name == wanted]
            for wanted in ("host", "origin", "sec-fetch-site")
        )
        if len(hosts) != 1 or hosts[0] not in self.server.hosts:
            return "this server answers to its own address alone"
        if any(origin not in {f"http://{name}" for name in self.server.hosts} for origin in origins):
            return "a page of another origin may not ask"
        if any(site not in ("none", "same-origin") for site in sites):
            return "a page of another origin may not ask"
        return ""

    def _send(self, status: HTTPStatus, kind: str, body: str) -> None:
        data = body.encode("utf-8", "replace")
        self.send_response(status)
        for name, value in {
            **HEADERS,
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(data)),
            "Connection": "close",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing, because addresses hold the secret."""


def _json(
    find: Callable[[Runs, Mapping[str, str]], Any],
) -> Callable[[Runs, Mapping[str, str]], tuple[str, str]]:
    return lambda runs, wanted: ("application/json", as_line(find(runs, wanted)))


def _html(
    write: Callable[[Runs, Mapping[str, str]], str],
) -> Callable[[Runs, Mapping[str, str]], tuple[str, str]]:
    return lambda runs, wanted: ("text/html", write(runs, wanted))


def _asset(name: str) -> str:
    return (importlib.resources.files("surpass.view") / "assets" / name).read_text(encoding="utf-8")


def _number(wanted: Mapping[str, str], name: str) -> int:
    text = wanted.get(name, "")
    if not re.fullmatch("[0-9]{1,9}", text):
        raise Unclear(f'{name} is a whole number; found "{text}"')
    return int(text)


def _outcomes(runs: Runs, wanted: Mapping[str, str]) -> list[dict[str, Any]]:
    name, other = wanted.get("name", ""), wanted.get("other")
    return (
        runs.outcomes((name, -1), (other, -1)) if other is not None else runs.outcomes((name, 0), (name, -1))
    )


def _stamp(runs: Runs, wanted: Mapping[str, str]) -> dict[str, Any]:
    run = runs.run(wanted.get("name", ""))
    return {
        "stamp": runs.stamp(run.folder),
        "state": "finished" if run.end else "running" if pages.running(run) else "stopped",
    }


ANSWERS: dict[str, Callable[[Runs, Mapping[str, str]], tuple[str, str]]] = {
    "": _html(lambda runs, wanted: pages.index(runs)),
    "run": _html(lambda runs, wanted: pages.run_page(runs, wanted.get("name", ""))),
    "pair": _html(
        lambda runs, wanted: pages.pair_page(runs, wanted.get("name", ""), wanted.get("other", ""))
    ),
    "view.js": lambda runs, wanted: ("text/javascript", _asset("view.js")),
    "style.css": lambda runs, wanted: ("text/css", STYLE + _asset("view.css")),
    "stamp": _json(_stamp),
    "parts": _json(lambda runs, wanted: pages.parts(runs.run(wanted.get("name", "")))),
    "attempts": _json(lambda runs, wanted: runs.page(runs.run(wanted.get("name", "")), wanted)),
    "tree": _json(
        lambda runs, wanted: tree_of(
            runs.run(wanted.get("name", "")),
            _number(wanted, "round"),
            _number(wanted, "tree"),
            wanted.get("kind", "trees"),
        )
    ),
    "outcomes": _json(_outcomes),
}


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Bound the memory for reading: a small file can unpack to any size, and then fails its request."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    with contextlib.suppress(OSError, ValueError, IndexError):  # no Linux
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        used = int(status.partition("VmData:")[2].split()[0]) * 1024
        most = min([used + ROOM, *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY)])
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def serve(root: Path, port: int = 0, tell: Callable[[str], None] = print) -> None:
    """Serve a folder of runs until Ctrl-C; `tell` receives the address."""
    with Viewer(root, port) as server, limited():
        tell(f"{server.address}\nfor you alone: the address holds a secret. Ctrl-C ends it.")
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            tell("")
