"""What the sandbox costs: one call, 64 programs at once, 64 calls of one program: python bench/sandbox.py"""

from __future__ import annotations

import statistics
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


def alone() -> float:
    """Seconds of a call that finds a worker waiting: with pauses between calls, as between a model's
    answers.
    """
    took = []
    for _ in range(20):
        time.sleep(0.15)
        begin = time.perf_counter()
        sandbox.run(CODE, "f", [(1,)])
        took.append(time.perf_counter() - begin)
    return statistics.median(took)


def main() -> None:
    sandbox.ready()
    print(f"one call, now and then: {1000 * alone():.0f} ms")
    print(f"one call after another: {1000 * seconds(lambda: sandbox.run(CODE, 'f', [(1,)]), 20):.0f} ms")
    print(f"64 programs, each in a sandbox of its own: {seconds(batch):.2f} s")
    print(
        "64 calls of one program: "
        f"{1000 * seconds(lambda: sandbox.run(CODE, 'f', [(i,) for i in range(64)])):.0f} ms"
    )


if __name__ == "__main__":
    main()
