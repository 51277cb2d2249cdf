"""What is told to trackers, and that one that fails costs nothing."""

import math

import pytest

from surpass import api
from surpass.errors import SurpassError
from surpass.methods.grpo import grpo
from surpass.store import Store
from surpass.trackers import figures
from tiny import copy_letter, nano_models


class Listener:
    """A tracker in accelerate's form that remembers, and fails from the `fails`-th number on."""

    name, requires_logging_directory, fails, heard = "tensorboard", True, 99, []

    def __init__(self, run, logging_dir, name=""):
        Listener.heard = [("began", run, str(logging_dir))]

    def start(self):
        pass

    def store_init_configuration(self, values):
        assert all(isinstance(value, (str, int, float, bool)) for value in values.values())
        self.heard.append(("configured", sorted(values)))

    def log(self, values, step):
        if len(self.heard) >= self.fails:
            raise ConnectionError("no network")
        self.heard.append((step, values))

    def finish(self):
        self.heard.append(("finished",))


@pytest.fixture
def listening(monkeypatch):
    import accelerate.tracking

    monkeypatch.setitem(accelerate.tracking.LOGGER_TYPE_TO_CLASS, "tensorboard", Listener)
    monkeypatch.setattr(Listener, "fails", 99)


def run(folder, track="tensorboard"):
    return api.improve(
        grpo(n=4, problems=2, max_tokens=4),
        copy_letter(),
        nano_models(),
        rounds=2,
        test=2,
        gate=2,
        seed=1,
        out=folder,
        quiet=True,
        track=track,
    )


@pytest.mark.filterwarnings("ignore:2 of")
def test_every_number_of_a_run_is_told_by_round(tmp_path, listening):
    run(tmp_path / "run")
    began, configured, *told, finished = Listener.heard
    assert (
        began == ("began", "surpass", str(tmp_path / "run"))
        and "method" in configured[1]
        and finished == ("finished",)
    )
    store = Store(tmp_path / "run")
    wanted = [(event["round"], figures(event)) for event in store.read_events() if figures(event)]
    assert [step for step, _ in told] == [step for step, _ in wanted]
    for (_, heard), (_, stored) in zip(told, wanted, strict=True):
        assert heard == pytest.approx(stored)
    names = set().union(*(values for _, values in told))
    assert {
        "train/reward",
        "train/entropy",
        "train/loss",
        "train/completions/mean_length",
        "eval/test/accuracy",
        "eval/gate/accuracy",
        "eval/gate/kept",
    } <= names
    store.close()


@pytest.mark.filterwarnings("ignore:2 of")
def test_a_tracker_that_fails_is_let_go_and_the_run_goes_on(tmp_path, listening, monkeypatch):
    monkeypatch.setattr(Listener, "fails", 4)
    with pytest.warns(
        UserWarning,
        match="the tracker tensorboard failed and is told nothing more: ConnectionError: no network",
    ):
        result = run(tmp_path / "run")
    assert len(Listener.heard) == 4 and result.events[-1]["event"] == "end"


def test_trackers_that_are_not_known_or_not_there(tmp_path, monkeypatch):
    with pytest.raises(SurpassError, match=r'a tracker is one of .*tensorboard.*; found "tensorbored"'):
        run(tmp_path / "a", "tensorbored")
    assert not (tmp_path / "a").exists(), "nothing is begun"
    import accelerate.tracking

    class Absent(Listener):
        def start(self):
            raise ModuleNotFoundError("No module named 'wandb'", name="wandb")

    monkeypatch.setitem(accelerate.tracking.LOGGER_TYPE_TO_CLASS, "wandb", Absent)
    with pytest.raises(SurpassError, match="the tracker wandb needs a package of its own: pip install wandb"):
        run(tmp_path / "b", "wandb")


@pytest.mark.filterwarnings("ignore:2 of")
def test_a_tracker_is_no_part_of_what_a_run_is(tmp_path, listening, monkeypatch):
    """One that cannot be begun is let go with a note; the run is the same without it, and so is its
    configuration.
    """
    monkeypatch.setattr(Listener, "start", lambda self: 1 / 0)
    with pytest.warns(
        UserWarning, match="the tracker tensorboard failed and is told nothing more: ZeroDivisionError"
    ):
        run(tmp_path / "a")
    run(tmp_path / "b", None)
    assert (tmp_path / "a" / "run.json").read_text() == (tmp_path / "b" / "run.json").read_text()
    assert (tmp_path / "a" / "events.jsonl").read_bytes() == (tmp_path / "b" / "events.jsonl").read_bytes()
    monkeypatch.undo()
    run(tmp_path / "b", None)  # the same run, finished


def test_what_is_no_number_is_not_told():
    assert figures(
        {"event": "search", "round": 1, "reward": math.nan, "entropy": 0.5, "reward_stderr": None}
    ) == {"train/entropy": 0.5}
    assert figures({"event": "learn", "round": 1, "role": "reward_model", "loss": 1}) == {
        "train/reward_model/loss": 1.0
    }
    assert figures({"event": "end", "round": 1, "kept": 1, "why": ""}) == {}
