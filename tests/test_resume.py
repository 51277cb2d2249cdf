"""A run that is killed, in whatever phase, and resumed ends in the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from surpass.errors import RunBroken, SurpassError
from surpass.loop import improve
from surpass.methods.grpo import grpo
from surpass.store import Store
from test_conformance import digest
from tiny import copy_letter, nano_models

PHASES = ("search", "score", "learn", "write", "exam gate", "exam test")

WORKER = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import torch; torch.set_num_threads(1)
from test_resume import method, rounds
from tiny import copy_letter, nano_models
from surpass.loop import improve
from surpass.store import Store
folder, phase, round, where = sys.argv[1:]
class Dying(Store):
    def timed(self, name, r):
        inside = super().timed(name, r)
        class Watch:
            def __enter__(self):
                inside.__enter__()
                if (name, r, where) == (phase, int(round), "begin"): os.kill(os.getpid(), signal.SIGKILL)
            def __exit__(self, *error):
                if (name, r, where) == (phase, int(round), "end"): os.kill(os.getpid(), signal.SIGKILL)
                return inside.__exit__(*error)
        return Watch()
models = nano_models()
models.run(improve(method(), copy_letter(), models, rounds=rounds, store=Dying(folder)))
"""
rounds = 4


def method():
    from test_conformance import small

    return small("grpo", every=2)


def run_here(folder: Path):
    store, models = Store(folder), nano_models()
    result = models.run(improve(method(), copy_letter(), models, rounds=rounds, store=store))
    store.close()
    return result


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run_here(folder)
    return digest(folder)


@pytest.mark.parametrize("where", ["begin", "end"])
@pytest.mark.parametrize(
    "phase, round", [("search", 1), ("score", 2), ("learn", 2), ("write", 2), ("exam gate", 2), ("learn", 3), ("exam test", 4)]
)
def test_killed_and_resumed_equals_uninterrupted(phase, round, where, whole, tmp_path):
    worker = WORKER.format(tests=str(Path(__file__).parent))
    command = [sys.executable, "-c", worker, str(tmp_path), phase, str(round), where]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    died = subprocess.run(command, env=env, capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    run_here(tmp_path)
    assert digest(tmp_path) == whole


def test_torn_files_are_not_believed(whole, tmp_path):
    """Half-written lines and folders that were left behind change nothing."""
    worker = WORKER.format(tests=str(Path(__file__).parent))
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", worker, str(tmp_path), "exam gate", "2", "begin"], env=env, capture_output=True)
    with open(tmp_path / "events.jsonl", "a") as file:
        file.write('{"event": "sear')
    (tmp_path / "state.json.partial").write_text("{")
    (tmp_path / "trees" / "0003.partial").write_bytes(b"PAR1")
    (tmp_path / "weights" / "0004.partial").mkdir(parents=True)
    run_here(tmp_path)
    (tmp_path / "state.json.partial").unlink(missing_ok=True)
    assert digest(tmp_path) == whole


def test_a_finished_run_resumes_to_its_result(whole, tmp_path):
    first = run_here(tmp_path)
    before = digest(tmp_path)
    again = run_here(tmp_path)
    assert digest(tmp_path) == before
    assert again.after.metrics == first.after.metrics


def test_missing_weights_are_named(tmp_path):
    run_here(tmp_path)
    state = json.loads((tmp_path / "state.json").read_text())
    (tmp_path / "state.json").write_text(json.dumps(state | {"weights": 77, "versions": state["versions"] | {"77": {}}}))
    with pytest.raises(RunBroken, match="0077"):
        run_here(tmp_path)


def test_two_processes_never_write_one_run(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(SurpassError, match="in use"):
        Store(tmp_path)
    store.close()
    Store(tmp_path).close()


def test_another_format_is_refused_by_name(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(SurpassError, match="format 99"):
        Store.read_run(tmp_path)


def test_a_refusal_restores_weights_optimiser_and_notes(tmp_path):
    """A gate that refuses everything ends with the start's weights, on a run with momentum to lose."""
    import dataclasses

    import torch

    from surpass.types import Verdict

    class refuse:
        every, labels = 1, True

        def __call__(self, best, kept, new):
            return Verdict(False, "refused")

    models = nano_models()
    start = models.engine("policy").weights()
    plain = dataclasses.replace(grpo(problems=4, n=4, max_tokens=4, lr=0.05, temperature=1.0), exam=method().exam)
    object.__setattr__(plain, "gate", refuse())
    import surpass.loop as loop

    to_json = loop.to_json
    loop.to_json = lambda m: {}  # a gate made in a test has no place in JSON
    from_json = loop.from_json
    loop.from_json = lambda data, modules=(): plain
    try:
        result = models.run(improve(plain, copy_letter(), models, rounds=5, patience=2))
    finally:
        loop.to_json, loop.from_json = to_json, from_json
    assert result.kept_round == 0
    assert [e["round"] for e in result.events if e["event"] == "gate"] == [1, 2], "patience of 2 ends the run"
    assert all(torch.equal(start[k], v) for k, v in models.engine("policy").weights().items())
    assert "policy" not in models.optimisers
    assert models.version["policy"] == 0
