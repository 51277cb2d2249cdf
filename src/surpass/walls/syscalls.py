"""The two filters of system calls. Each is a program for the kernel's BPF machine; a step of it is (code,
jump if true, jump if false, number).
"""

from __future__ import annotations

import functools
import platform
import struct
from collections.abc import Sequence

from surpass.errors import UnmetNeed

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
# EPERM; ENOSYS, at which the C library tries an older call
_REFUSE, _UNKNOWN = 0x00050000 | 1, 0x00050000 | 38

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CALLS: dict[str, tuple[int | None, int | None]] = {  # by name: its number on x86_64 and on aarch64
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
CHOSEN: dict[
    str, tuple[tuple[int, int], int, tuple[int, ...]]
] = {  # its numbers, which argument, the values of it that are let through
    "clone": ((56, 220), 0, (0x003D0F00, 0x007D0F00)),  # a thread, as glibc and musl make one
    # duplicates and flags; no locks, leases, notices, sizes of pipes
    "fcntl": ((72, 25), 1, (0, 1, 2, 3, 4, 1030)),
    # is it a terminal, and how wide; how much can be read; flags
    "ioctl": ((16, 29), 1, (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)),
    "prctl": ((157, 167), 0, (3, 15, 16, 39)),  # a thread's name; may it be traced; may it gain rights
}
INSTALL = 22  # prctl's option by which the worker installs the second filter
_NEW = 424  # calls from here on are new: C libraries try them first, and fall back on older ones
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
def first() -> bytes:
    """Lets the calls above through, with the arguments above. Newer calls do not exist (ENOSYS); all others
    are not permitted (EPERM).
    """
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise UnmetNeed(
            f"the sandbox knows the system calls of {' and '.join(_ARCHITECTURES)}; this machine is {machine}"
        )
    steps = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
    ]
    if machine == "x86_64":  # the x32 calls are the same ones under other numbers
        steps += [(_AT_LEAST, 0, 1, 0x40000000), (_RETURN, 0, 0, _KILL)]
    for number in _numbers(CALLS):
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    for name, (numbers, at, values) in CHOSEN.items():
        steps += _only(
            numbers[list(_ARCHITECTURES).index(machine)],
            at,
            (*values, INSTALL) if name == "prctl" else values,
        )
    for number in _NEVER:
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE)]
    steps += [(_AT_LEAST, 0, 1, _NEW), (_RETURN, 0, 0, _UNKNOWN), (_RETURN, 0, 0, _REFUSE)]
    return _bytes(steps)


@functools.cache
def second() -> bytes:
    """No mounting, no other program, no other user, no other rights, no third filter."""
    gone = {
        name: CALLS[name] for name in ("mount", "capset", "setgroups", "setresuid", "setresgid", "execve")
    }
    steps = [(_LOAD, 0, 0, 0)]
    for number in _numbers(gone):
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE)]
    numbers, at, values = CHOSEN["prctl"]
    steps += [
        *_only(numbers[list(_ARCHITECTURES).index(platform.machine())], at, values),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return _bytes(steps)


def _only(number: int, argument: int, values: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """Lets a call through where an argument, counted from 0, has one of these values in its lower half."""
    steps = [(_LOAD, 0, 0, 16 + 8 * argument)]
    for value in values:
        steps += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]
    steps += [(_RETURN, 0, 0, _REFUSE)]
    return [(_EQUAL, 0, len(steps), number), *steps]


def _bytes(steps: Sequence[tuple[int, int, int, int]]) -> bytes:
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
