"""A run that is killed, in whatever phase, and resumed ends in the same bytes."""

from __future__ import annotations

import contextlib
import json
import math
import multiprocessing
import os
import shutil
import signal
import time
import warnings
from pathlib import Path

import pytest
import torch

from small_methods import digest
from surpass.errors import RunBroken, SurpassError
from surpass.journal import Journal
from surpass.loop import improve
from surpass.methods.grpo import grpo
from surpass.parts import from_json, to_json
from surpass.store import Store
from tiny import copy_letter, nano_models

PHASES = ("search", "score", "learn", "write", "exam gate", "exam test")

FORKS = multiprocessing.get_context("forkserver")
# one process imports what is slow to import, and every run that is to die begins as its fork
FORKS.set_forkserver_preload(
    [
        "pytest",
        "torch",
        "transformers.models.llama.modeling_llama",
        "surpass.loop",
        "surpass.engines.local",
        "surpass.methods",
    ]
)


class _Dying(Store):
    """A store whose process dies where a phase begins or ends."""

    def __init__(self, folder, phase: str, round: int, where: str):
        super().__init__(folder)
        self.when = (phase, round, where)

    @contextlib.contextmanager
    def timed(self, phase, round):
        with super().timed(phase, round):
            if (phase, round, "begin") == self.when:
                os.kill(os.getpid(), signal.SIGKILL)
            yield
            if (phase, round, "end") == self.when:
                os.kill(os.getpid(), signal.SIGKILL)


def _run_to_death(folder: str, phase: str, round: int, where: str) -> None:
    torch.set_num_threads(1)
    models = nano_models()
    models.run(
        improve(method(), copy_letter(), models, rounds=rounds, store=_Dying(folder, phase, round, where))
    )


def killed_at(folder: Path, phase: str, round: int, where: str) -> None:
    """A run that was killed there."""
    process = FORKS.Process(target=_run_to_death, args=(str(folder), phase, round, where))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


rounds = 4


def method():
    from small_methods import small

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
    "phase, round",
    [
        ("search", 1),
        ("score", 2),
        ("learn", 2),
        ("write", 2),
        ("exam gate", 2),
        ("learn", 3),
        ("exam test", 4),
    ],
)
def test_killed_and_resumed_equals_uninterrupted(phase, round, where, whole, tmp_path):
    killed_at(tmp_path, phase, round, where)
    run_here(tmp_path)
    assert digest(tmp_path) == whole


def test_torn_files_are_not_believed(whole, tmp_path):
    """Half-written lines and folders that were left behind change nothing."""
    killed_at(tmp_path, "exam gate", 2, "begin")
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


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A run that was killed while its second gate sat its exam: weights of rounds 2 and 4, trees of rounds 1
    to 4.
    """
    folder = tmp_path_factory.mktemp("killed")
    killed_at(folder, "exam gate", 4, "begin")
    assert json.loads((folder / "state.json").read_text())["phase"] == "learnt"
    return folder


def flip(path: Path, at: float = 0.5) -> None:
    """One bit."""
    data = bytearray(path.read_bytes())
    data[int(at * len(data))] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("harm", [flip, cut, Path.unlink])
@pytest.mark.parametrize(
    "names, back",
    [
        (["weights/0004/policy/model.safetensors"], "round 2"),
        (["weights/0004/policy/optimiser.safetensors"], "round 2"),
        (["weights/0004/checksums.json", "weights/0004/policy/config.json"], "round 2"),
        (["weights/0004/policy/model.safetensors", "weights/0002/policy/model.safetensors"], "begins again"),
        (["state.json"], "round 2"),
        (["state.json", "weights/0002/state.json"], "begins again"),
        (["events.jsonl"], ""),
        (["weights/0004/policy/model.safetensors", "trees/0003.parquet"], "round 2"),
        (["trees/0001.parquet"], ""),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_is_damaged_costs_no_byte_of_the_end(names, back, harm, killed, whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(killed, folder)
    for name in names:
        harm(folder / name)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        run_here(folder)
    said = [
        str(w.message)
        for w in said
        if "the run goes on from" in str(w.message) or "begins again" in str(w.message)
    ]
    found = digest(folder)
    if names == ["trees/0001.parquet"]:  # nothing reads it any more, so nothing notices
        found, whole = (
            {name: value for name, value in files.items() if name != names[0]} for files in (found, whole)
        )
        assert not said
    # where no state is left at all nothing says that there was one
    elif harm is not Path.unlink or back != "begins again":
        (words,) = said
        assert names[0].partition("/")[0] in words and back in words
    assert found == whole


def test_what_a_run_goes_on_from_keeps_numbers_that_json_does_not_have(tmp_path):
    """search.mcts has a knob that is infinite, and a note may be nan."""
    from small_methods import small

    store, method = Store(tmp_path), small("rest_mcts")
    store.commit(
        {"method": to_json(method), "notes": {"x": math.nan, "y": -math.inf}, "weights": 0, "trial": None}
    )
    state = store.state()
    assert from_json(state["method"]) == method
    assert math.isnan(state["notes"]["x"]) and state["notes"]["y"] == -math.inf
    store.write_trees(1, [], state["notes"])
    assert math.isnan(store.read_trees(1)[1]["x"])


def test_a_run_of_format_1_goes_on(killed, whole, tmp_path):
    """It has no checksums; what it needs is taken as it is."""
    folder = tmp_path / "run"
    shutil.copytree(killed, folder)
    (folder / "run.json").write_text(json.dumps({"format": 1}))
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(
        json.dumps({key: value for key, value in state.items() if "sha256" not in key})
    )
    for path in [*folder.glob("weights/*/checksums.json"), *folder.glob("weights/*/state.json")]:
        path.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        run_here(folder)
    found = digest(folder)
    assert all(
        found[name] == whole[name] for name in whole if "checksums" not in name and "state.json" not in name
    )


def test_a_method_that_learns_from_an_old_round_again_is_told_that_it_is_damaged(killed, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(killed, folder)
    store, models = Store(folder), nano_models()
    run = Journal(method(), copy_letter(), models, 0, store)
    assert run.open()
    assert len(run.memory.trees(1)) == len(run.memory.trees(2)) == 4 and run.memory.trees(0) == []
    assert all(tree.past for tree in run.memory.trees(1))
    flip(folder / "trees" / "0001.parquet")
    with pytest.raises(RunBroken, match="round 1's trees are damaged"):
        run.memory.trees(1)
    store.close()


def test_a_clock_that_jumps_changes_no_byte(whole, tmp_path, monkeypatch):
    jumps = iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: (-1.0) ** next(jumps) * 1e9)
    run_here(tmp_path)
    assert digest(tmp_path) == whole


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_run_before_the_update(bad, whole, tmp_path):
    """The third round's weights are broken by hand; what was judged before stays, and the run goes on once
    they are whole.
    """
    models, store = nano_models(), Store(tmp_path)
    weight = next(iter(models.engine("policy").trainable().values()))

    def say(what, round, event):
        if what == "search" and round == 3:
            weight.data.view(-1)[0] = bad

    with pytest.raises(SurpassError, match="the update was not made"):
        models.run(improve(method(), copy_letter(), models, rounds=rounds, store=store, say=say))
    store.close()
    run_here(tmp_path)
    assert digest(tmp_path) == whole


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


def test_a_refusal_restores_weights_optimiser_and_notes(monkeypatch):
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
    plain = dataclasses.replace(
        grpo(problems=4, n=4, max_tokens=4, lr=0.05, temperature=1.0), exam=method().exam
    )
    object.__setattr__(plain, "gate", refuse())
    # a gate made in a test has no place in JSON
    monkeypatch.setattr("surpass.journal.to_json", lambda m: {})
    monkeypatch.setattr("surpass.loop.from_json", lambda data, modules=(): plain)
    result = models.run(improve(plain, copy_letter(), models, rounds=5, patience=2))
    assert result.kept_round == 0
    assert [e["round"] for e in result.events if e["event"] == "gate"] == [1, 2], "patience of 2 ends the run"
    assert all(torch.equal(start[k], v) for k, v in models.engine("policy").weights().items())
    assert "policy" not in models.engine("policy").optimisers
    assert models.version["policy"] == 0
