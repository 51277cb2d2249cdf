"""A run's numbers for TensorBoard, Weights & Biases, MLflow ... through accelerate, in TRL's names."""

from __future__ import annotations

import contextlib
import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from surpass import nofollow
from surpass.errors import SurpassError

Say = Callable[[str, int, dict[str, Any]], None]
PROJECT = "surpass"
_NAMED = {"wandb": "name", "trackio": "name", "mlflow": "run_name"}  # what they call one run of a project
_NO_FIGURES = ("event", "round", "role", "split", "keep", "why", "p", "metrics", "rows", "spent")


def figures(event: Mapping[str, Any]) -> dict[str, float]:
    """An event's numbers by their names in trackers: train/reward, train/loss (train/ROLE/loss for another
    role than the policy), eval/gate/accuracy, eval/gate/kept.
    """
    kind = event.get("event")
    if kind == "exam":
        named = {
            f"eval/{event['split']}/{name}": m.get("mean") for name, m in event.get("metrics", {}).items()
        }
    elif kind == "gate":
        named = {"eval/gate/kept": float(event["keep"])}
    elif kind in ("search", "learn"):
        at = f"train/{event['role']}" if event.get("role", "policy") != "policy" else "train"
        named = {f"{at}/{name}": value for name, value in event.items() if name not in _NO_FIGURES}
    else:
        named = {}
    return {
        name: float(value)
        for name, value in named.items()
        if isinstance(value, (int, float)) and math.isfinite(value)
    }


def named(names: str | None) -> list[str]:
    """The trackers that "wandb,tensorboard" names; SurpassError for one that is not known."""
    if names is None:
        return []
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in LOGGER_TYPE_TO_CLASS]
    if unknown or not wanted:
        raise SurpassError(
            f'a tracker is one of {", ".join(LOGGER_TYPE_TO_CLASS)}; found "{", ".join(unknown) or names}"'
        )
    return wanted


def _opened(name: str, run: str, folder: Path, config: Mapping[str, Any]) -> Any:
    """A started tracker; SurpassError where its package is missing."""
    from accelerate import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    PartialState()  # accelerate's trackers ask it whether this is the main process
    flat = {
        key: value if isinstance(value, (str, int, float, bool)) else json.dumps(value)
        for key, value in config.items()
    }
    cls = LOGGER_TYPE_TO_CLASS[name]
    for below in (PROJECT, ".aim") if cls.requires_logging_directory else ():
        nofollow.listed(folder, below)  # where it writes; refused if that is a link
    try:
        own = {_NAMED[name]: run} if name in _NAMED else {}
        tracker = cls(PROJECT, **own, **({"logging_dir": folder} if cls.requires_logging_directory else {}))
        tracker.start()
        tracker.store_init_configuration(flat)
    except ImportError as error:
        raise SurpassError(
            f"the tracker {name} needs a package of its own: pip install {error.name or name}"
        ) from error
    return tracker


@contextlib.contextmanager
def tracking(names: str | None, run: str, folder: Path, config: Mapping[str, Any], say: Say) -> Iterator[Say]:
    """`say`, which also logs every number to the trackers. One that fails is dropped with a note."""
    trackers: list[Any] = []

    def attempt(name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """The result of `work`; None, and a note, where it fails."""
        try:
            return work(*arguments)
        except SurpassError:
            raise
        except Exception as error:
            warnings.warn(
                f"the tracker {name} failed and is told nothing more: {type(error).__name__}: {error}",
                stacklevel=2,
            )
            trackers[:] = [tracker for tracker in trackers if tracker.name != name]

    def tell(what: str, round: int, event: dict[str, Any]) -> None:
        say(what, round, event)
        found = figures(event)
        for tracker in list(trackers) if found else ():
            attempt(tracker.name, tracker.log, found, round)

    try:
        for name in named(names):
            tracker = attempt(name, _opened, name, run, folder, config)
            trackers += [tracker] if tracker else []
        yield tell
    finally:
        for tracker in list(trackers):
            attempt(tracker.name, tracker.finish)
