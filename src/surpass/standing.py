"""Where a run is: what state.json holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from surpass.figures import report_from


@dataclass
class Standing:
    """Where a run is; JSON, so that `state.json` is all of it. Rounds count from 1; 0 is the start."""

    start: dict[str, str] = field(default_factory=dict)  # digests of the weights the run began with
    round: int = 0  # the last round that began to change the run
    # new, judged (the round is over), learnt (its updates are made, the gate has not judged), finished
    phase: str = "new"
    weights: int = 0  # the round whose updates the current weights hold
    trial: int | None = None  # the round to which a refusal goes back; None between trials
    versions: dict[str, dict[str, int]] = field(default_factory=lambda: {"0": {}})  # by round, by role
    notes: dict[str, Any] = field(default_factory=dict)
    trial_notes: dict[str, Any] = field(default_factory=dict)
    method: Any = None
    trial_method: Any = None
    reports: dict[str, Any] = field(default_factory=dict)  # before, after, best, kept
    cost: dict[str, dict[str, int]] = field(default_factory=dict)
    refusals: int = 0
    stopped: str = ""
    spent: float = 0.0  # of the budget, after the last round's updates
    price: float = 0.0  # of the last round's search, scores and updates
    dearest: float = 0.0  # cost of the dearest round so far, in the budget's currency
    seconds: float = 0.0  # of searching, scoring and learning, if the budget is in seconds


def stood(state: Mapping[str, Any]) -> Standing:
    """The standing that a state holds; an error of any kind where it lacks what a run needs to go on."""
    reports = {name: report_from(data) for name, data in state["reports"].items()}
    fields = {f.name for f in dataclasses.fields(Standing)}
    at = Standing(**{name: value for name, value in state.items() if name in fields} | {"reports": reports})
    lacks = [
        f"versions of round {round}" for round in (at.weights, at.trial or 0) if str(round) not in at.versions
    ]
    lacks += [
        f"the report {name}"
        for name in ("before", "best", "kept", *(["after"] if at.phase == "finished" else []))
        if name not in reports
    ]
    if lacks:
        raise ValueError(f"it lacks {', '.join(lacks)}")
    return at
