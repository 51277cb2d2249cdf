"""A long run of a tiny model: memory stays flat, and files grow by what each round adds and no more."""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path

ROUNDS = 300


def rss() -> float:
    """Megabytes of memory this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


def live(folder: str, out) -> None:
    import torch

    from small_methods import small
    from surpass.loop import improve
    from surpass.store import Store
    from tiny import copy_letter, nano_models

    torch.set_num_threads(2)
    held: list[float] = []
    weights: list[int] = []

    def say(what, round, event):
        if what == "gate":
            held.append(rss())
            weights.append(len(list(Path(folder, "weights").iterdir())))

    store, models = Store(folder), nano_models()
    models.run(
        improve(
            small("grpo", every=1, lr=1e-3),
            copy_letter(),
            models,
            rounds=ROUNDS,
            store=store,
            patience=10**6,
            say=say,
        )
    )
    store.close()
    out.send((held, weights))


def test_300_rounds_stay_flat(tmp_path):
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
    from test_memory import live as target

    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(str(tmp_path), theirs))
    process.start()
    theirs.close()
    held, weights = ours.recv()
    process.join()
    assert len(held) == ROUNDS
    # the heap grows in steps of 8 MB for some 80 rounds
    early, late = sum(held[100:120]) / 20, sum(held[-20:]) / 20
    files = {
        kind: len([path for path in (tmp_path / kind).iterdir() if path.suffix != ".sha256"])
        for kind in ("trees", "texts", "examples", "weights")
    }
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir() if path.is_file()}
    print(
        f"\nmemory: {early:.0f} MB over rounds 101 to 120, {late:.0f} MB over the last 20; weights of "
        f"at most {max(weights)} rounds on disk; files {files}; bytes {sizes}"
    )
    assert late < early + 5, "megabytes"
    # the newest two, what is kept, and the one just written
    assert max(weights) <= 4 and files["weights"] <= 3
    assert files["trees"] == files["texts"] == files["examples"] == ROUNDS
