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
    round: int = 0  # the last round that began to change anything
    # new, judged (the round is over), learnt (its updates are made, the gate has not spoken), finished
    phase: str = "new"
    weights: int = 0  # the round whose updates the current weights hold
    trial: int | None = None  # the round a refusal goes back to; None between trials
    versions: dict[str, dict[str, int]] = field(default_factory=lambda: {"0": {}})  # by round, by role
    notes: dict[str, Any] = field(default_factory=dict)
    trial_notes: dict[str, Any] = field(default_factory=dict)
    method: Any = None
    trial_method: Any = None
    reports: dict[str, Any] = field(default_factory=dict)  # before, after, best, kept
    cost: dict[str, dict[str, int]] = field(default_factory=dict)
    refusals: int = 0
    stopped: str = ""
    spent: float = 0.0  # of the budget, when the last round had been learnt
    price: float = 0.0  # of the last round, until it had been learnt
    dearest: float = 0.0  # round so far, in the budget's currency
    seconds: float = 0.0  # of searching, scoring and learning; counted only where they are the budget


def stood(state: Mapping[str, Any]) -> Standing:
    """The standing that a state holds. An error of any kind where it lacks what a run goes on from."""
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
