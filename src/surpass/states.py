"""The states of a run on disk, and the newest whose events and weights are whole."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from surpass import nofollow, records
from surpass.intact import damage, round_of, unsealed


def rounds(folder: Path) -> list[int]:
    """The rounds whose weights have a folder."""
    return [
        round
        for name in nofollow.listed(folder, "weights")
        if "." not in name and (round := round_of(name)) is not None
    ]


def names(folder: Path) -> list[str]:
    """The files that hold a state, the newest first."""
    kept = (f"weights/{round:04d}/state.json" for round in sorted(rounds(folder), reverse=True))
    return [name for name in ("state.json", *kept) if nofollow.there(folder / name)]


def newest_whole(folder: Path, sealed_never: Callable[[], bool]) -> dict[str, Any] | None:
    """The newest state that is whole together with its events and weights; None where there is none. A
    warning names what is passed over. `sealed_never`: whether weights may have no checksums.
    """
    found = names(folder)
    if not found:
        return None
    wrong = ""
    for name in dict.fromkeys(["state.json", *found]):
        state = unsealed(folder, name)
        why = (
            f"{folder / name} is damaged or missing"
            if state is None
            else _lacks(folder, name, state, sealed_never)
        )
        if state is not None and not why:
            if wrong:
                warnings.warn(f"{wrong}; the run goes on from round {state['round']}", stacklevel=2)
            return state
        wrong = wrong or why
    warnings.warn(f"{wrong}, and so is every earlier state; the run begins again", stacklevel=2)
    return None


def _lacks(folder: Path, name: str, state: dict[str, Any], sealed_never: Callable[[], bool]) -> str:
    """What is wrong with a state, its events or its weights; "" if nothing is."""
    if flaw := records.flaw(state, records.STATE):
        return f"{folder / name} is damaged: {flaw}"
    known, written = state.get("events_sha256"), nofollow.read(folder, "events.jsonl") or b""
    begun = written[: state["events"]]
    if len(begun) < state["events"] or (known and hashlib.sha256(begun).hexdigest() != known):
        return f"{folder / 'events.jsonl'} is not as it was written"
    needed = sorted({state["weights"], state["trial"] or 0} - {0})
    old = sealed_never()
    found = (damage(folder / "weights" / f"{round:04d}", old) for round in needed)
    return next((why for why in found if why), "")
