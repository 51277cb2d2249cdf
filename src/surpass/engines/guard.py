"""Gives work that a stranger's files could make endless to a process under limits: rendering a chat template,
reading with a tokenizer. If that process hangs, panics, aborts or fills its memory, this one gets a message.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from surpass.engines.guarded import MOST
from surpass.errors import SurpassError

RENDER = {"seconds": 2.0, "memory": 1 << 29}  # of processor time; bytes on top of what the process uses
ENCODE = {"seconds": 10.0, "memory": 1 << 31}
LOAD = {"seconds": 5.0, "memory": 1 << 32}  # and half a second more for each megabyte
PATIENCE = 60.0  # seconds that a busy machine may take on top of ten times the limit


class Refused(SurpassError):
    """The work was refused: by a template's raise_exception, or over a file that cannot be read."""


class Beyond(SurpassError):
    """The work needs more than its limits, or ended its process."""


class Guard:
    """One process, started when it is first needed, and again whenever it has ended. `seed` is its
    hash seed.
    """

    def __init__(self, seed: int = 0):
        self.seed, self.lock = seed, threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        self.owner = 0
        self.held: set[str] = set()  # keys of the tokenizers that the process has been sent

    def begin(self) -> subprocess.Popen[bytes]:
        """The process, started unless it runs; its imports run at the same time as this process."""
        if self.process is None or self.owner != os.getpid() or self.process.poll() is not None:
            kept = {
                name: value
                for name, value in os.environ.items()
                if name.startswith(("LD_", "DYLD_")) or name in ("PATH", "PYTHONHOME")
            }
            own = {
                "PYTHONHASHSEED": str(self.seed),
                "TZ": "UTC",
                "LC_ALL": "C.UTF-8",
                "TOKENIZERS_PARALLELISM": "false",
                "RUST_BACKTRACE": "0",
                "HF_HUB_OFFLINE": "1",
            }
            words = [
                sys.executable,
                "-B",
                "-P",
                "-s",
                str(Path(__file__).with_name("guarded.py")),
                json.dumps([p for p in sys.path if p]),
            ]
            try:
                self.process = subprocess.Popen(
                    words,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env=kept | own,
                    start_new_session=True,
                )
            except OSError as error:
                raise SurpassError(
                    "templates and tokenizers are tried in a process of their own, and it cannot be "
                    f"started: {error}"
                ) from error
            self.owner = os.getpid()
            self.held.clear()
        return self.process

    def ask(self, do: str, limits: dict[str, Any], **given: Any) -> Any:
        """The result of the work `do`. Refused where it is refused; Beyond where it needs more than the
        limits or ends the process.
        """
        body = json.dumps({"do": do, **limits, **given}).encode()
        with self.lock:
            process = self.begin()
            try:
                reply = json.loads(
                    self._exchange(process, body, time.monotonic() + PATIENCE + 10 * limits["seconds"])
                )
            except (OSError, ValueError, EOFError, TimeoutError) as error:
                raise Beyond(self._end(process, error, limits)) from error
            except BaseException:
                self._end(process, None, limits)  # else the next answer would begin with the rest of this
                raise
        if "found" in reply:
            return reply["found"]
        raise Beyond(str(reply["beyond"])) if "beyond" in reply else Refused(str(reply.get("refused")))

    def _exchange(self, process: subprocess.Popen[bytes], body: bytes, until: float) -> bytes:
        assert process.stdin is not None and process.stdout is not None, "both are pipes"
        process.stdin.write(struct.pack(">Q", len(body)) + body)
        process.stdin.flush()
        size = struct.unpack(">Q", self._read(process.stdout.fileno(), 8, until))[0]
        if size > MOST:
            raise ValueError("its reply is too long")
        return self._read(process.stdout.fileno(), size, until)

    @staticmethod
    def _read(fd: int, n: int, until: float) -> bytes:
        found = bytearray()
        while len(found) < n:
            if not select.select([fd], [], [], max(0.0, until - time.monotonic()))[0]:
                raise TimeoutError
            some = os.read(fd, min(n - len(found), 1 << 20))
            if not some:
                raise EOFError
            found += some
        return bytes(found)

    def _end(
        self, process: subprocess.Popen[bytes], error: BaseException | None, limits: dict[str, Any]
    ) -> str:
        """End the process; return in words why."""
        with_own = isinstance(error, (TimeoutError, ValueError))
        if with_own or error is None:
            process.kill()
        try:
            code = process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        self._close(process)
        if -code == signal.SIGPROF or isinstance(error, TimeoutError):
            return f"it takes more than {limits['seconds']:g} seconds"
        if with_own:
            return "it answers what is no answer"
        return (
            "it ends the process that tries it "
            f"({signal.Signals(-code).name if code < 0 else f'exit code {code}'}), or needs more memory "
            "than it is given"
        )

    def _close(self, process: subprocess.Popen[bytes]) -> None:
        for pipe in (process.stdin, process.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:  # it could not write what was left
                pass
        self.process = None

    def end(self) -> None:
        """End the process, if this process has started it."""
        if self.process is not None and self.owner == os.getpid():
            process = self.process
            process.kill()
            process.wait()
            self._close(process)


@functools.cache
def guard(seed: int = 0) -> Guard:
    """The process for this seed; there is one for each."""
    made = Guard(seed)
    atexit.register(made.end)
    return made
