"""ROLE@-1 is the weights before the last round's update: between gates, after a refusal, and in a run that
was killed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from small_methods import digest, small
from surpass import gates, selectors
from surpass.errors import SurpassError
from surpass.loop import improve
from surpass.parts import Method, to_json
from surpass.store import Store
from surpass.types import Report, Verdict
from tiny import copy_letter, nano_models


@dataclass(frozen=True)
class only_the_first:
    """Keeps while the kept model is the start, which has not drifted from itself; then refuses."""

    every: int = 1
    labels: bool = False
    metric: str = ""

    def __call__(self, best: Report, kept: Report, new: Report) -> Verdict:
        return Verdict(abs(kept.mean("drift")) < 1e-4, f"drift {kept.mean('drift')}")


@dataclass(frozen=True)
class refuse(only_the_first):
    """Keeps nothing."""

    def __call__(self, best: Report, kept: Report, new: Report) -> Verdict:
        return Verdict(False, "refused")


def gated(gate) -> Method:
    return dataclasses.replace(small("cream"), gate=gate)


Seen = dict[int, tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]]


def go(method: Method, rounds: int, folder: Path | None = None, store=Store, lora=None) -> Seen:
    """(weights, policy@-1) by round, as they were when the round began; the last entry is how the run
    ended.
    """
    models, seen, kept = nano_models(lora), {}, store(folder) if folder else None

    def say(what, round, event):
        if what == "problems":
            seen[round] = (models.engine("policy").weights(), models.weights.snapshots["policy@-1"])

    try:
        models.run(
            improve(
                method,
                copy_letter(),
                models,
                rounds=rounds,
                store=kept,
                say=say,
                modules=["test_predecessor"],
                patience=9,
            )
        )
    finally:
        if kept:
            kept.close()
    seen[rounds + 1] = (models.engine("policy").weights(), models.weights.snapshots["policy@-1"])
    return seen


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@dataclass(frozen=True)
class not_in_round(selectors.best_worst):
    """No pairs in one round."""

    round: int = 2

    def __call__(self, trees, memory, rng):
        return [] if memory.round + 1 == self.round else super().__call__(trees, memory, rng)


def test_a_round_that_updates_nothing_does_not_move_it():
    method = gated(gates.always(every=3))
    learn = dataclasses.replace(method.learn[0], select=not_in_round(confidence="trust"))
    seen = go(dataclasses.replace(method, learn=(learn,)), rounds=3)
    assert equal(seen[3][0], seen[2][0]) and equal(seen[3][1], seen[1][0])
    assert equal(seen[4][1], seen[3][0]) and not equal(seen[4][0], seen[3][0])


@pytest.mark.parametrize("lora", [None, {"r": 2}])
def test_a_refusal_brings_it_back(lora):
    seen = go(gated(only_the_first(every=2)), 6, lora=lora)
    for name in (0, 1):
        assert equal(seen[5][name], seen[3][name]) and equal(seen[7][name], seen[3][name])
    assert equal(seen[5][1], seen[2][0]) and not equal(seen[4][1], seen[2][0])
    seen = go(gated(refuse(every=2)), 2)
    assert equal(seen[3][0], seen[1][0]) and equal(seen[3][1], seen[1][0])


def copying(copies: Path, moments: Sequence[tuple]):
    """A store that copies its folder at moments of the run: what a process that is killed there leaves."""

    class Copying(Store):
        @contextlib.contextmanager
        def timed(self, phase, round):
            with super().timed(phase, round):
                self.copy(phase, round, "begin")
                yield
                self.copy(phase, round, "end")

        def copy(self, *moment):
            if moment in moments:
                shutil.copytree(self.folder, left(copies, *moment))

    return Copying


def left(copies: Path, *moment) -> Path:
    return copies / "-".join(map(str, moment))


METHODS = {"kept": lambda: gated(gates.always(every=3)), "refused": lambda: gated(only_the_first(every=2))}

# the gate decides after rounds 3 and 5 (keep, keep), or after 2, 4 and 5 (keep, refuse, refuse)
KILLS = {
    "kept": [
        ("score", 2),
        ("learn", 3),
        ("write", 3),
        ("exam gate", 3),
        ("search", 4),
        ("learn", 5),
        ("exam test", 5),
    ],
    "refused": [
        ("exam gate", 2),
        ("search", 3),
        ("write", 4),
        ("exam gate", 4),
        ("search", 5),
        ("exam gate", 5),
    ],
}


MOMENTS = {
    name: [
        (*kill, where)
        for kill in kills
        for where in ("begin", "end")[: 1 + (kill[0] in ("write", "exam gate"))]
    ]
    for name, kills in KILLS.items()
}


class Whole(NamedTuple):
    """A run that nothing interrupts, and the folder with what it would have left at its moments."""

    seen: Seen
    digest: dict[str, str]
    copies: Path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    found = {}
    for name, method in METHODS.items():
        folder, copies = tmp_path_factory.mktemp(name), tmp_path_factory.mktemp("copies")
        seen = go(method(), 5, folder, copying(copies, MOMENTS[name]))
        found[name] = Whole(seen, digest(folder), copies)
    return found


def test_between_gates_it_is_the_round_before(whole):
    seen = whole["kept"].seen
    assert equal(seen[1][1], seen[1][0]), "before the first update there is only the start"
    for round in (2, 3, 4, 5, 6):
        assert equal(seen[round][1], seen[round - 1][0]), (
            f"after round {round - 1} it is the model before that round's update"
        )
        assert not equal(seen[round][1], seen[round][0])


@pytest.mark.parametrize("name, moment", [(name, moment) for name in MOMENTS for moment in MOMENTS[name]])
def test_killed_and_resumed_equals_uninterrupted(name, moment, whole, tmp_path):
    shutil.copytree(left(whole[name].copies, *moment), tmp_path / "run")
    assert digest(tmp_path / "run") != whole[name].digest
    go(METHODS[name](), 5, tmp_path / "run")
    assert digest(tmp_path / "run") == whole[name].digest


def test_a_damaged_predecessor_is_noticed(whole, tmp_path):
    """It is sealed with the weights it belongs to: the run goes back to what is whole and ends in the same
    bytes.
    """
    folder = shutil.copytree(left(whole["kept"].copies, "search", 4, "begin"), tmp_path / "run")
    path = folder / "weights" / "0003" / "policy@-1.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.warns(UserWarning, match=re.escape("policy@-1.safetensors")):
        go(METHODS["kept"](), 5, folder)
    assert digest(folder) == whole["kept"].digest


def old(folder: Path) -> Path:
    """What a version of surpass that kept no weights of ROLE@-1 would have left."""
    for path in folder.glob("weights/*/policy@-1.safetensors"):
        path.unlink()
        sums = json.loads((path.parent / "checksums.json").read_text())
        del sums[path.name]
        (path.parent / "checksums.json").write_text(json.dumps(sums))
    for path in [folder / "state.json", *folder.glob("weights/*/state.json")]:
        state = json.loads(path.read_text())
        state.pop("sha256")
        path.write_text(json.dumps(state | {"previous": 0}))
    return folder


def test_an_old_run_that_names_it_is_refused_by_name_and_any_other_goes_on(whole, tmp_path):
    shutil.copytree(left(whole["kept"].copies, "search", 4, "begin"), tmp_path / "cream")
    with pytest.raises(SurpassError, match=r"a version of surpass in which policy@-1 .* begin a new run"):
        go(METHODS["kept"](), 5, old(tmp_path / "cream"))

    def plain(folder: Path, store=Store) -> None:
        kept = store(folder)
        try:
            models = nano_models()
            models.run(improve(small("grpo", every=2), copy_letter(), models, rounds=4, store=kept))
        finally:
            kept.close()

    plain(tmp_path / "whole", copying(tmp_path / "copies", [("search", 3, "begin")]))
    grpo = left(tmp_path / "copies", "search", 3, "begin")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        plain(old(grpo))
    found, wanted = digest(grpo), digest(tmp_path / "whole")
    assert all(found[name] == wanted[name] for name in wanted if "state.json" not in name)


def test_the_gates_of_these_tests_are_json():
    assert to_json(only_the_first(2))["part"] == "test_predecessor.only_the_first"
