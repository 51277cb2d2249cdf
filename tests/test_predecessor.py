"""ROLE@-1 is the weights before the last round's update: between gates, after a refusal, and in a run that
was killed.
"""

from __future__ import annotations

import dataclasses
import json
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

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


def test_between_gates_it_is_the_round_before():
    seen = go(gated(gates.always(every=3)), rounds=4)
    assert equal(seen[1][1], seen[1][0]), "before the first update there is only the start"
    for round in (2, 3, 4, 5):
        assert equal(seen[round][1], seen[round - 1][0]), (
            f"after round {round - 1} it is the model before that round's update"
        )
        assert not equal(seen[round][1], seen[round][0])


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


class Killed(BaseException):
    """The process is gone: nothing that follows is written."""


def dying(phase: str, round: int, where: str):
    class Dying(Store):
        def timed(self, name, r):
            inside = super().timed(name, r)

            class Watch:
                def __enter__(self):
                    inside.__enter__()
                    if (name, r, where) == (phase, round, "begin"):
                        raise Killed

                def __exit__(self, *error):
                    if (name, r, where) == (phase, round, "end"):
                        raise Killed
                    return inside.__exit__(*error)

            return Watch()

    return Dying


METHODS = {"kept": lambda: gated(gates.always(every=3)), "refused": lambda: gated(only_the_first(every=2))}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folders = {}
    for name, method in METHODS.items():
        folders[name] = tmp_path_factory.mktemp(name)
        go(method(), 5, folders[name])
    return {name: digest(folder) for name, folder in folders.items()}


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


@pytest.mark.parametrize(
    "name, phase, round, where",
    [
        (name, *kill, where)
        for name, kills in KILLS.items()
        for kill in kills
        for where in ("begin", "end")[: 1 + (kill[0] in ("write", "exam gate"))]
    ],
)
def test_killed_and_resumed_equals_uninterrupted(name, phase, round, where, whole, tmp_path):
    with pytest.raises(Killed):
        go(METHODS[name](), 5, tmp_path, dying(phase, round, where))
    go(METHODS[name](), 5, tmp_path)
    assert digest(tmp_path) == whole[name]


def test_a_damaged_predecessor_is_noticed(whole, tmp_path):
    """It is sealed with the weights it belongs to: the run goes back to what is whole and ends in the same
    bytes.
    """
    with pytest.raises(Killed):
        go(METHODS["kept"](), 5, tmp_path, dying("search", 4, "begin"))
    path = tmp_path / "weights" / "0003" / "policy@-1.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.warns(UserWarning, match=re.escape("policy@-1.safetensors")):
        go(METHODS["kept"](), 5, tmp_path)
    assert digest(tmp_path) == whole["kept"]


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
    with pytest.raises(Killed):
        go(METHODS["kept"](), 5, tmp_path / "cream", dying("search", 4, "begin"))
    with pytest.raises(SurpassError, match=r"policy@-1 .* begin a new run"):
        go(METHODS["kept"](), 5, old(tmp_path / "cream"))

    def plain(folder: Path, store=Store) -> None:
        kept = store(folder)
        try:
            models = nano_models()
            models.run(improve(small("grpo", every=2), copy_letter(), models, rounds=4, store=kept))
        finally:
            kept.close()

    plain(tmp_path / "whole")
    with pytest.raises(Killed):
        plain(tmp_path / "grpo", dying("search", 3, "begin"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        plain(old(tmp_path / "grpo"))
    found, wanted = digest(tmp_path / "grpo"), digest(tmp_path / "whole")
    assert all(found[name] == wanted[name] for name in wanted if "state.json" not in name)


def test_the_gates_of_these_tests_are_json():
    assert to_json(only_the_first(2))["part"] == "test_predecessor.only_the_first"
