"""What the sandbox costs: one call, 64 programs at once, 64 calls of one program, and what a process started ahead would save:
python bench/sandbox.py"""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from surpass import sandbox

CODE = "def f(x):\n    return x + 1"


def seconds(work: Callable[[], object], times: int = 5) -> float:
    """The median of some runs."""
    took = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        took.append(time.perf_counter() - begin)
    return statistics.median(took)


def batch() -> None:
    with ThreadPoolExecutor(64) as threads:
        results = list(threads.map(lambda i: sandbox.run(CODE, "f", [(i,)])[0], range(64)))
    assert [ran.value for ran in results] == list(range(1, 65))


def ahead() -> float:
    """Seconds of a call whose process has been waiting for it for a while."""
    job = json.dumps({"code": CODE, "function": "f", "calls": [[1]], "limits": {}}).encode()
    with tempfile.TemporaryFile() as program:
        program.write(sandbox._filter())
        program.seek(0)
        command = [*sandbox._walls(2**24, program.fileno()), "--", *sandbox._python(), "-c", sandbox._WORKER]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(program.fileno(),), env={}
        ) as process:
            time.sleep(0.3)
            begin = time.perf_counter()
            assert process.communicate(job)[0] == b'[[2, ""]]'
            return time.perf_counter() - begin


def main() -> None:
    sandbox.ready()
    print(f"one call: {1000 * seconds(lambda: sandbox.run(CODE, 'f', [(1,)]), 20):.0f} ms")
    print(f"64 programs, each in a sandbox of its own: {seconds(batch):.2f} s")
    print(f"64 calls of one program: {1000 * seconds(lambda: sandbox.run(CODE, 'f', [(i,) for i in range(64)])):.0f} ms")
    print(f"one call of a process started ahead: {1000 * statistics.median(ahead() for _ in range(20)):.0f} ms")


if __name__ == "__main__":
    main()
