"""SIGKILL at random moments, in every phase, again and again: each run ends in the bytes of one that nobody
disturbed.

A chain is one run folder: a process begins it, is killed, the next goes on and is killed, until one reaches
the end. The moment is a phase (or what comes after one, where files are written) and a delay of up to the
time that phase takes; both are drawn from SEED. What a process was doing when it died is the last line of a
log that it writes as it goes, so a kill that came late is counted where it landed.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

TESTS = str(Path(__file__).parents[1])
SEED, KILLS, EACH, ROUNDS = 1, 60, 10, 5  # at least KILLS kills, at least EACH in each phase
METHODS = ("grpo", "rest_mcts", "cream")
DOES = {
    "begin search": "generating",
    "begin score": "scoring",
    "begin learn": "learning",
    "begin exam gate": "gating",
    "begin exam test": "the exam at the ends",
    "begin write": "writing weights",
    "end score": "writing trees",
    "end learn": "writing",
    "end write": "writing",
    "end exam gate": "writing the verdict",
    "end search": "between",
    "end exam test": "writing",
    "start": "loading",
}
WANTED = ("generating", "scoring", "learning", "writing", "gating")


def live(folder: str, log: str, name: str, target: str, delay: float) -> None:
    """A process's whole life: begin the run or go on with it; die `delay` seconds after the first line of the
    log that begins with `target`.
    """
    import torch

    from small_methods import small, task_of
    from surpass.loop import improve
    from surpass.store import Store
    from tiny import nano_models

    torch.set_num_threads(2)
    sys.setswitchinterval(1e-4)  # the killer does not wait for its turn
    out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    aimed = False

    def note(line: str) -> None:
        nonlocal aimed
        os.write(out, f"{line} {time.perf_counter()}\n".encode())
        if target and not aimed and line.startswith(target):
            aimed = True
            threading.Thread(target=die, daemon=True).start()

    def die() -> None:
        time.sleep(delay)
        os.kill(os.getpid(), signal.SIGKILL)

    class Noting(Store):
        def timed(self, phase: str, round: int):
            inside = super().timed(phase, round)

            class Watch:
                def __enter__(self):
                    note(f"begin {phase} {round}")
                    inside.__enter__()

                def __exit__(self, *error):
                    inside.__exit__(*error)
                    note(f"end {phase} {round}")

            return Watch()

    note("start 0")
    store, models = Noting(folder), nano_models()
    models.run(
        improve(
            small(name, every=2 if name == "grpo" else 1), task_of(name), models, rounds=ROUNDS, store=store
        )
    )
    store.close()


def digest(folder: Path) -> dict[str, str]:
    """Every file of a run that must repeat, and a hash of its bytes."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name not in {"timing.jsonl", "lock"}]
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in files
        if ".partial" not in str(p)
    }


@pytest.fixture(scope="module")
def lives():
    """Processes that have imported everything already, so that a life is short."""
    sys.path[:0] = [TESTS, str(Path(__file__).parent)]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["test_kills", "test_conformance", "surpass.loop", "transformers.models.llama.modeling_llama"]
    )

    def live_once(folder: Path, log: Path, name: str, target: str = "", delay: float = 0.0) -> int | None:
        from test_kills import live

        process = context.Process(target=live, args=(str(folder), str(log), name, target, delay))
        process.start()
        process.join(300)
        assert process.exitcode in (0, -signal.SIGKILL), f"a process ended with {process.exitcode}"
        return process.exitcode

    return live_once


def doing(log: Path) -> str:
    """What the last line of the log says the process was doing."""
    words = log.read_text().splitlines()[-1].split()
    return DOES[" ".join(words[: -2 if words[0] != "start" else 1])]


def spans(log: Path) -> dict[str, float]:
    """How long each kind of line lasts until the next, at most."""
    lines = [line.rsplit(" ", 2) for line in log.read_text().splitlines()]
    found: dict[str, float] = {}
    for (kind, _, at), (_, _, after) in pairwise(lines):
        found[kind] = max(found.get(kind, 0.0), float(after) - float(at))
    return found


def test_kills_at_random_moments_cost_no_byte(lives, tmp_path):
    rng, landed, chains = random.Random(SEED), Counter(), 0
    whole, took = {}, {}
    for name in METHODS:
        assert lives(tmp_path / name, tmp_path / f"{name}.log", name) == 0
        whole[name], took[name] = digest(tmp_path / name), spans(tmp_path / f"{name}.log")
    while landed.total() < KILLS or min(landed[what] for what in WANTED) < EACH:
        assert chains < 200, f"too few kills land: {landed}"
        name, folder = METHODS[chains % len(METHODS)], tmp_path / f"chain {chains}"
        for life in range(100):
            scarce = [line for line in took[name] if landed[_group(DOES[line])] < EACH] or list(took[name])
            target = rng.choice(sorted(scarce))
            log = tmp_path / f"{chains} {life}.log"
            code = lives(folder, log, name, target, rng.random() * took[name][target])
            if code == 0:
                break
            landed[_group(doing(log))] += 1
        assert digest(folder) == whole[name], f"chain {chains} of {name}, after {life} kills"
        chains += 1
        print(f"chain {chains}: {name}, {life} kills; so far {dict(landed)}", flush=True)
    print(
        f"\n{landed.total()} kills in {chains} runs, every run's files equal to the undisturbed run's, "
        "byte for byte:"
    )
    for what, n in landed.most_common():
        print(f"  {what}: {n}")


def _group(what: str) -> str:
    return "writing" if what.startswith("writing") else what
