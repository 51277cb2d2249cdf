"""Attacks on the sandbox from the side: through what a job shares with the machine, with other jobs and with
the kernel.
"""

from __future__ import annotations

import os
import stat
import subprocess
import uuid

import pytest

from sandboxes import gives, missing
from surpass import sandbox
from surpass.sandbox import Limits, Ran
from surpass.walls import inside, start, syscalls

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

SHARED = {
    "/dev/null": "/dev/null",
    "Python": "/python/bin/" + inside.python().name,
    "a library": "/lib/libc.so.6",
    "a module": "/python/LIB/os.py",
}
"""What a job shares with the machine, by where it is inside."""
CHANGES = (
    "os.chmod(p, 0)",
    "os.fchmod(os.open(p, os.O_RDONLY), 0)",
    "os.chown(p, 0, 0)",
    "os.utime(p)",
    "os.utime(p, (1, 1))",
    "os.utime(os.open(p, os.O_RDONLY), (1, 1))",
    "os.setxattr(p, 'user.x', b'1')",
    "os.link(p, '/tmp/x')",
    "os.rename(p, '/tmp/x')",
    "os.unlink(p)",
    "os.truncate(p, 0)",
    "open(p, 'r+b').truncate(0)",
    "fcntl.fcntl(os.open(p, os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_RDLCK)",
    "fcntl.fcntl(os.open(p, os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_WRLCK)",
    "fcntl.flock(os.open(p, os.O_RDONLY), fcntl.LOCK_SH)",
    "fcntl.lockf(os.open(p, os.O_RDONLY), fcntl.LOCK_SH)",
    "fcntl.fcntl(os.open(p, os.O_RDONLY), fcntl.F_NOTIFY, 1)",
    "fcntl.ioctl(os.open(p, os.O_RDONLY), 0x40086602, b'0' * 8)",
)
RAW = (
    "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nlibc.syscall.restype = ctypes.c_long\nr = "
    "libc.syscall({})\nreturn [r, ctypes.get_errno()]"
)


def place(name: str) -> str:
    return SHARED[name].replace("LIB", inside.shown()[1][1].removeprefix("/python/"))


@pytest.mark.parametrize("name", SHARED)
def test_what_is_shared_with_the_machine_cannot_be_changed(name):
    """Root's job once took /dev/null from the whole machine: nobody inside was root outside."""
    body = (
        "import fcntl, os\np = {!r}\nassert os.path.exists(p)\nout = []\nfor change in {!r}:\n    try:\n   "
        "     eval(change); out.append(change)\n    except (OSError, ValueError): pass\nreturn out"
    )
    before = os.stat("/dev/null")
    given = gives(body.format(place(name), CHANGES))
    if os.stat("/dev/null").st_mode != before.st_mode and os.getuid() == 0:
        # for everybody else on the machine; the test fails all the same
        os.chmod("/dev/null", stat.S_IMODE(before.st_mode))
        given = given._replace(error="changed /dev/null")
    # does nothing there
    allowed = {"os.truncate(p, 0)", "open(p, 'r+b').truncate(0)"} if name == "/dev/null" else set()
    assert given.error == "" and set(given.value) <= allowed, given
    after = os.stat("/dev/null")
    assert (after.st_mode, after.st_uid, after.st_mtime_ns) == (
        before.st_mode,
        before.st_uid,
        before.st_mtime_ns,
    )


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86-64")
@pytest.mark.parametrize(
    "name, number, wrong",
    [
        ("inotify_init", 253, 1),
        ("inotify_init1", 294, 1),
        ("inotify_add_watch", 254, 1),
        ("fanotify_init", 300, 1),
        ("flock", 73, 1),
        ("mq_open", 240, 1),
        ("chmod", 90, 1),
        ("fchmodat", 268, 1),
        ("fchmodat2", 452, 38),
        ("utimensat", 280, 1),
        ("setxattr", 188, 1),
        ("symlink", 88, 1),
        ("mknod", 133, 1),
        ("execve", 59, 1),
        ("execveat", 322, 1),
        ("mount", 165, 1),
        ("capset", 126, 1),
        ("setresuid", 117, 1),
        ("setgroups", 116, 1),
        ("seccomp", 317, 1),
        ("splice", 275, 1),
        ("vmsplice", 278, 1),
        ("eventfd2", 290, 1),
        ("timerfd_create", 283, 1),
        ("epoll_create1", 291, 1),
        ("timer_create", 222, 1),
        ("mlock", 149, 1),
        ("mincore", 27, 1),
        ("sched_setattr", 314, 1),
        ("setpriority", 141, 1),
        ("mbind", 237, 1),
        ("io_setup", 206, 1),
        ("sync", 162, 1),
        ("landlock_create_ruleset", 444, 38),
        ("pidfd_open", 434, 38),
        ("rt_sigqueueinfo", 129, 1),
        ("modify_ldt", 154, 1),
        ("chroot", 161, 1),
        ("quotactl", 179, 1),
        ("swapon", 167, 1),
        ("acct", 163, 1),
        ("iopl", 172, 1),
        ("pkey_alloc", 330, 1),
        ("get_mempolicy", 239, 1),
    ],
)
def test_calls_that_nobody_needs_to_compute_are_refused(name, number, wrong):
    assert gives(RAW.format(f"{number}, 0, 0, 0, 0, 0")) == Ran([-1, wrong])


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86-64")
@pytest.mark.parametrize("option", [4, 8, 22, 23, 24, 29, 31, 36, 38, 47, 0x53564D41, 0x59616D61])
def test_prctl_names_threads_and_no_more(option):
    assert gives(RAW.format(f"157, {option}, 0, 0, 0, 0")) == Ran([-1, 1])


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86-64")
@pytest.mark.parametrize(
    "flags",
    [
        "0x3d0f00 | 0x80",
        "0x3d0f00 | 0x02000000",
        "0x3d0f00 | 0x20000000",
        "0x3d0f00 & ~0x10000",
        "0x00010f00",
        "0x50f00",
        "0x3d0f11",
    ],
)
def test_clone_makes_a_thread_as_the_c_library_does_and_nothing_else(flags):
    assert gives(RAW.format(f"56, {flags}, 0, 0, 0, 0")) == Ran([-1, 1])


@pytest.mark.parametrize(
    "command",
    [
        "fcntl.F_SETLEASE, fcntl.F_WRLCK",
        "fcntl.F_NOTIFY, 1",
        "fcntl.F_SETPIPE_SZ, 2**20",
        "fcntl.F_SETSIG, 9",
        "fcntl.F_SETOWN, 1",
        "1033, 1",
    ],
)
def test_fcntl_copies_files_and_no_more(command):
    """Also on a file of its own, where no other wall stands."""
    assert gives(f"import fcntl\nreturn fcntl.fcntl(open('/tmp/a', 'w+'), {command})").error.startswith(
        "PermissionError"
    )
    assert gives(
        "import fcntl\nfcntl.lockf(open('/tmp/a', 'w+'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    ).error.startswith("PermissionError")


def test_threads_are_bounded_by_number():
    body = (
        "import threading\nthreading.stack_size(2**15)\nwait = threading.Event()\nn = 0\ntry:\n    while n "
        "< 2000:\n        threading.Thread(target=wait.wait, daemon=True).start(); n += 1\nexcept "
        "RuntimeError: pass\nreturn n"
    )
    given = gives(body, limits=Limits(memory=2**31))
    assert given.error == "" and 8 < given.value < 600, given


@pytest.mark.parametrize(
    "make", ["open(f'/tmp/{n}', 'w').close()", "os.mkdir(f'/tmp/{n}')", "os.mkdir(f'/tmp/' + 'd/' * n + 'd')"]
)
def test_empty_files_are_bounded_by_number(make):
    """An empty one costs memory of the kernel, which no limit of the job's own counts."""
    body = (
        f"import os, sys\nn = 0\ntry:\n    while n < 5000:\n        {make}; n += 1\nexcept OSError as e: "
        "pass\nreturn n"
    )
    given = gives(body)
    assert given.error == "" and 8 < given.value < 1100, given


def test_there_is_a_python_without_anybodys_packages_and_nothing_else():
    """With surpass in reach a program could ask the generator for the hidden results."""
    body = (
        "import os, sys\nsys.path += ['/python/' + a + '/python3.%d/%s' % (sys.version_info[1], b) for a "
        "in ('lib', 'lib64') for b in ('site-packages', 'dist-packages')]\ntry: import surpass\nexcept "
        "ImportError: pass\nelse: return 'surpass'\nfor folder, folders, files in os.walk('/'):\n    if "
        "folder.endswith('-packages') and folders + files: return [folder, *folders, *files]\n    if "
        "any('surpass' in name or name.endswith(('.pth', '.dist-info')) for name in folders + files): "
        "return folder\nreturn sorted(os.listdir('/'))"
    )
    assert gives(body) == Ran(["dev", "lib", "python", "tmp"])
    assert gives("import os; return os.listdir('/dev')") == Ran(["null"])


@pytest.mark.skipif(os.getuid() != 0, reason="who is not root is nobody else outside")
def test_a_job_of_roots_is_nobody_outside_too(none_ahead, monkeypatch):
    mark = f"# {uuid.uuid4()}"
    monkeypatch.setattr(sandbox, "_WORKER", f"{mark}\n{sandbox._WORKER}")
    process = sandbox._started(2**20)
    try:
        assert process.stdin
        process.stdin.write(
            b'{"code": "def f():\\n while True: pass", "function": "f", "calls": [[]], "limits": {}}'
        )
        process.stdin.close()
        for _ in range(100):
            lines = subprocess.run(
                ["ps", "-ww", "-eo", "uid,args"], capture_output=True, text=True
            ).stdout.splitlines()
            who = {int(line.split()[0]) for line in lines if mark in line and "bwrap" not in line.split()[1]}
            if who == {start.NOBODY}:
                return
        raise AssertionError(who)
    finally:
        sandbox._end(process)


def test_no_job_begins_where_a_wall_does_not_stand(none_ahead, monkeypatch):
    """The worker puts up the last walls itself: if it could not it must not go on."""
    monkeypatch.setattr(syscalls, "second", lambda: b"no filter")
    with pytest.raises(Exception, match="the wall around its calls does not stand"):
        gives("return 1")


@pytest.mark.parametrize("depth", [50, 98])
def test_what_is_nested_a_little_comes_back(depth):
    given = gives(f"x = 1\nfor _ in range({depth}): x = [x]\nreturn x")
    assert given.error == "" and str(given.value) == "[" * depth + "1" + "]" * depth


@pytest.mark.parametrize("depth", [102, 500, 985])
@pytest.mark.parametrize("wrap", ["[x]", "{'a': x}", "[[], x]"])
def test_what_is_nested_deeper_than_anybody_walks_is_no_result(depth, wrap):
    """Comparing one nested 985 deep once ended the whole exam."""
    given = gives(f"x = 1\nfor _ in range({depth}): x = {wrap}\nreturn x")
    assert given.value is None and given.error


def test_half_a_character_in_an_error_can_be_written():
    given = gives("raise ValueError('a\\ud800b')")
    assert given.error.encode() == b"ValueError: a?b"
