"""Running code that a model wrote: one Python process in bubblewrap, which sees nothing of this machine and
ends soon.

Inside there is no network, no /proc and no /sys. The only files are a read-only Python without site packages
and an empty folder /tmp that vanishes with the job. The process belongs to an unprivileged user without
capabilities, inside and outside. Filters let through the system calls that Python computes with, and refuse
all others (surpass.walls). Limits bound its processor time, memory, threads and files; its time by the clock
and the size of its output are watched from outside. Where no sandbox can be made, nothing runs.

A job is a program, one of its functions, and the arguments to call it with; what comes back is JSON. A
program can claim anything about itself, so the caller judges what it returns, outside.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import json
import os
import queue
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from surpass.errors import SurpassError, UnmetNeed
from surpass.walls import no_sandbox, started

THREADS = 512  # before Linux 5.14 all processes of the user count, too
INODES = 1024  # files, folders and links of a job
DEEPEST = 100  # levels of lists and mappings in a result
AT_ONCE = threading.BoundedSemaphore(os.cpu_count() or 1)


@dataclass(frozen=True)
class Limits:
    """What one job may use: seconds by the clock and of the processor; bytes of memory, /tmp and output."""

    seconds: float = 10.0
    processor: int = 5
    memory: int = 2**29
    files: int = 2**24
    output: int = 2**24


class Ran(NamedTuple):
    """What one call returned: a JSON value, or the error that it ended with ("": none)."""

    value: Any
    error: str = ""


async def call(
    code: str, function: str, calls: Sequence[Sequence[Any]], limits: Limits | None = None
) -> list[Ran]:
    """One result for each of `calls`: the arguments (JSON values) of `function` in the program `code`. Where
    the whole job fails (it does not compile, takes too long, ...) every result holds that error. SurpassError
    where there is no sandbox.
    """
    return await asyncio.to_thread(run, code, function, calls, limits)


def run(code: str, function: str, calls: Sequence[Sequence[Any]], limits: Limits | None = None) -> list[Ran]:
    """`call`, blocking."""
    limits = limits or Limits()
    job = {
        "code": code,
        "function": function,
        "calls": [list(arguments) for arguments in calls],
        "limits": {
            "RLIMIT_CPU": limits.processor,
            "RLIMIT_AS": limits.memory,
            "RLIMIT_FSIZE": limits.files,
            "RLIMIT_NOFILE": 32,
            "RLIMIT_CORE": 0,
            "RLIMIT_NPROC": THREADS,
            "RLIMIT_MEMLOCK": 0,
            "RLIMIT_MSGQUEUE": 0,
            "RLIMIT_SIGPENDING": 64,
        },
    }
    with AT_ONCE:
        data, errors, late = _process(json.dumps(job).encode(), limits)
    if late:
        return [Ran(None, f"took longer than {limits.seconds:g} seconds")] * len(calls)
    if len(data) > limits.output:
        return [Ran(None, f"wrote more than {limits.output} bytes")] * len(calls)
    if not data:
        if errors.startswith("bwrap:"):
            raise SurpassError(no_sandbox(errors))
        return [
            Ran(None, "ended without a result: it used too much time or memory, or did what is not allowed")
        ] * len(calls)
    return _read(data, len(calls))


def _read(data: bytes, n: int) -> list[Ran]:
    """The results that a job wrote; errors in their place where it wrote anything else."""
    try:
        found = json.loads(data)
        if isinstance(found, dict) and isinstance(found.get("error"), str):
            return [Ran(None, _words(found["error"]))] * n
        results = [Ran(value, error) for value, error in found]
    except (ValueError, TypeError, RecursionError):
        return [Ran(None, "wrote something that is no result")] * n
    if len(results) != n or not all(isinstance(error, str) for _, error in results):
        return [Ran(None, "wrote something that is no result")] * n
    if _deep(found):
        return [Ran(None, f"returned more than {DEEPEST} levels of lists or mappings")] * n
    return [Ran(value, _words(error)) for value, error in results]


def _words(error: str) -> str:
    """An error as text that can be encoded: a program may put half a surrogate pair into it."""
    return error[:1000].encode(errors="replace").decode()


def _deep(value: Any) -> bool:
    """Whether a JSON value is nested so deeply that walking it might exhaust the recursion limit."""
    level = [value]
    for _ in range(DEEPEST + 3):  # results are pairs in a list
        level = [
            inner
            for outer in level
            if isinstance(outer, (list, dict))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(level)


def _process(job: bytes, limits: Limits) -> tuple[bytes, str, bool]:
    """(output, bubblewrap's errors, whether the clock stopped it)."""
    process, late = _taken(limits.files), threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    clock = threading.Timer(limits.seconds, end)
    clock.start()
    try:
        assert process.stdin and process.stdout and process.stderr
        try:
            process.stdin.write(job)
            process.stdin.close()
        except OSError:  # it ended before it had read everything
            pass
        data = process.stdout.read(limits.output + 1)
        process.kill()  # and its whole namespace: the sandbox dies with its parent
        errors = process.stderr.read(10_000).decode(errors="replace")
    finally:
        clock.cancel()
        _end(process)
    return data, errors, late.is_set() and len(data) <= limits.output


def _started(files: int) -> subprocess.Popen:
    """A sandbox whose worker waits for its one job."""
    return started(files, INODES, _WORKER)


def _end(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        with contextlib.suppress(OSError):  # the other end is closed
            pipe.close()  # type: ignore[union-attr]


class _Ahead:
    """Sandboxes started ahead of their jobs, one a core. Each is used once: a worker that another job has
    touched could lie. One thread starts them and lives as long as this process, because a sandbox dies with
    the thread that started it.
    """

    def __init__(self) -> None:
        self.waiting: queue.SimpleQueue[subprocess.Popen] = queue.SimpleQueue()
        self.wanted: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.pid, self.over = os.getpid(), False
        threading.Thread(target=self._start, daemon=True).start()
        atexit.register(self.close)
        for _ in range(os.cpu_count() or 1):
            self.wanted.put(None)

    def _start(self) -> None:
        while not self.over:
            self.wanted.get()
            # a job that finds none starts its own, and reports the error
            with contextlib.suppress(OSError, SurpassError):
                self.waiting.put(_started(Limits.files))
        self._drop()

    def take(self) -> subprocess.Popen | None:
        """A waiting sandbox, or None; another is started in its place."""
        with contextlib.suppress(queue.Empty):
            while True:
                process = self.waiting.get_nowait()
                self.wanted.put(None)
                if process.poll() is None:
                    return process
                _end(process)
        return None

    def close(self) -> None:
        self.over = True
        self.wanted.put(None)
        self._drop()

    def _drop(self) -> None:
        with contextlib.suppress(queue.Empty):
            while os.getpid() == self.pid:
                process = self.waiting.get_nowait()
                assert process.stdin
                # without a job the worker ends; killed while it starts it may leave a process behind
                process.stdin.close()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(5)
                _end(process)


_ahead: _Ahead | None = None
_guard = threading.Lock()


def close() -> None:
    """End the waiting sandboxes; the next job starts new ones."""
    global _ahead
    with _guard:
        ahead, _ahead = _ahead, None
    if ahead is not None:
        ahead.close()


def _taken(files: int) -> subprocess.Popen:
    """A sandbox for one job: a waiting one, if it has this size. The first job has others started ahead."""
    global _ahead
    if files != Limits.files:
        return _started(files)
    with _guard:
        first = _ahead is None or _ahead.pid != os.getpid()  # a fork has none of its parent's threads
        if first:
            _ahead = _Ahead()
    return (None if first or _ahead is None else _ahead.take()) or _started(files)


@functools.cache
def ready() -> None:
    """Return once a job has run here; UnmetNeed, with the reason, where none can."""
    nothing = {"code": "def f(): return 1", "function": "f", "calls": [[]], "limits": {}}
    data, errors, _ = _process(json.dumps(nothing).encode(), Limits())
    if data != b'[[1, ""]]':
        raise UnmetNeed(no_sandbox(errors))


_WORKER = """
import json, os, resource, sys
job = json.load(sys.stdin)
for name, most in job["limits"].items():
    resource.setrlimit(getattr(resource, name), (most, most))
out, null = os.dup(1), os.open("/dev/null", os.O_RDWR)
for fd in (0, 1, 2):
    os.dup2(null, fd)
def said(error):
    return f"{type(error).__name__}: {error}"[:1000]
def leave(result):
    data = json.dumps(result).encode()
    while data:
        data = data[os.write(out, data):]
    os._exit(0)
try:
    names = {"__name__": "program"}
    exec(compile(job["code"], "program.py", "exec"), names)
    function = names[job["function"]]
except BaseException as error:
    missing = isinstance(error, KeyError) and error.args == (job["function"],)
    leave({"error": f"the program has no function {job['function']}" if missing else said(error)})
results = []
for arguments in job["calls"]:
    try:
        value = function(*arguments)
        json.dumps(value)
        results.append((value, ""))
    except BaseException as error:
        results.append((None, said(error)))
leave(results)
"""
