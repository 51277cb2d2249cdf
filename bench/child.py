"""One side of a comparison: a process that prepares workloads and runs them when it is told, a JSON line at a
time.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time


def serve(kinds: dict, save) -> None:
    """kinds[name](workload) prepares; what it returns is run once a line, and may return figures to go beside
    the seconds. save(folder) writes the model as it is.
    """
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is not an answer
    for line in sys.stdin:
        order = json.loads(line)
        if "prepare" in order:
            run = kinds[order["prepare"]["kind"]](order["prepare"])
            out.write("{}\n")
            continue
        if "save" in order:
            save(order["save"])
            out.write("{}\n")
            continue
        begin = time.perf_counter()
        figures = run() or {}
        seconds = time.perf_counter() - begin
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        out.write(json.dumps({"seconds": seconds, "gigabytes": peak} | figures) + "\n")
