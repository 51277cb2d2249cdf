"""A run's weights over time: snapshots, trials that the gate keeps or refuses, the start of an update."""

from __future__ import annotations

import contextlib
import copy
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from surpass.engines.probe import unfinite
from surpass.engines.training import optimiser
from surpass.errors import RunBroken, UnmetNeed

if TYPE_CHECKING:
    from surpass.models import Models


@dataclass(frozen=True)
class Snapshot:
    """A role at one moment: its weights (with LoRA the adapter alone), optimiser state and version."""

    weights: dict[str, torch.Tensor]
    optimiser: dict[str, Any] | None
    version: int


def _same(snapshot: Snapshot) -> Snapshot:
    return snapshot


class Weights:
    """The present and earlier weights of every role.

    "policy@0" is the policy at the start of the run. "policy@-1" is the policy before the last round's
    update, or the start if there was none. Memory holds only the names that were given to `remember`.
    """

    def __init__(self, models: Models):
        self.models = models
        self.snapshots: dict[str, dict[str, torch.Tensor]] = {}
        # reads what a refused trial goes back to; None between trials
        self.restore: dict[str, Callable[[], Snapshot]] | None = None
        # weights as they were before a round's first update, by engine, with their version
        self._starts: dict[int, tuple[int, dict[str, torch.Tensor]]] = {}

    def require_numbers(self, role: str) -> None:
        """RunBroken if an update left weights that are nan or infinite, before any of them is written."""
        if hasattr(engine := self.models.engine(role), "trainable") and (odd := unfinite(engine.trainable())):
            raise RunBroken(f"an update of {role} left {odd}; it is not written. Try a lower lr, or float32")

    def remember(self, names: Iterable[str]) -> None:
        """Hold these snapshots ("policy@0", "policy@-1") from now on; they begin as the current weights."""
        for name in names:
            if not re.fullmatch(r"\w+@(0|-1)", name):
                raise UnmetNeed(
                    f'snapshot "{name}" is not kept; use ROLE@0 (the start) or ROLE@-1 (before the last '
                    "update)"
                )
            self.snapshots.setdefault(name, self.models.engine(name).weights())

    def predecessors(self) -> list[str]:
        """The snapshots that are held under a name ROLE@-1."""
        return [name for name in self.snapshots if name.endswith("@-1")]

    def succeed(self, before: Mapping[str, dict[str, torch.Tensor]]) -> None:
        """Let each ROLE@-1 in `before` stand for these weights, which the role had before its update. A name
        whose role has not changed since keeps its older weights.
        """
        for name, weights in before.items():
            now = self.models.engine(name).trainable()
            if any(not torch.equal(now[key], value) for key, value in weights.items()):
                self.snapshots[name] = weights
        self._starts = {}

    def _weights(self, name: str) -> dict[str, torch.Tensor]:
        if name not in self.snapshots:
            raise UnmetNeed(f'no snapshot "{name}" is held; there are: {", ".join(self.snapshots) or "none"}')
        return self.snapshots[name]

    def same(self, a: str, b: str) -> bool:
        """Whether two roles or snapshots of one engine have equal weights."""
        if a == b:
            return True
        first, second = (
            self._weights(name) if "@" in name else self.models.engine(name).trainable() for name in (a, b)
        )
        return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)

    def using(self, name: str) -> contextlib.AbstractContextManager[None]:
        """A context in which the role's engine has a snapshot's weights."""
        return self.models.engine(name).using(self._weights(name) if "@" in name else None)

    def snapshot(self, role: str) -> Snapshot:
        """Copy a role's weights, optimiser state and version; for ROLE@-1, the weights it stands for."""
        if "@" in role:
            return Snapshot(self._weights(role), None, 0)
        optimiser = getattr(self.models.engine(role), "optimisers", {}).get(role)
        state = copy.deepcopy(optimiser.state_dict()) if optimiser else None
        return Snapshot(self.models.engine(role).weights(), state, self.models.version[role])

    def trial(self, roles: Iterable[str], read: Callable[[str], Snapshot] | None = None) -> None:
        """Remember these roles, and what ROLE@-1 stands for, until `keep` or `refuse`; further calls before
        that change nothing. `read` gives the weights back from disk. Without it memory holds copies: with an
        optimiser's state, three times the weights.
        """
        if self.restore is None:
            every = dict.fromkeys([*roles, *self.predecessors()])
            self.restore = {
                role: partial(read, role) if read else partial(_same, self.snapshot(role)) for role in every
            }

    def keep(self) -> None:
        """Keep the trial's weights."""
        self.restore = None

    def refuse(self) -> None:
        """Go back to the weights, optimiser states and ROLE@-1 from before the trial."""
        for role, before in (self.restore or {}).items():
            self.put_back(role, before())
        self.restore = None

    def put_back(self, role: str, snapshot: Snapshot) -> None:
        """Give a role a snapshot's weights, optimiser state and version; ROLE@-1 takes the weights alone."""
        if "@" in role:
            self.snapshots[role] = snapshot.weights
            return
        engine = self.models.engine(role)
        engine.load(snapshot.weights)
        self.models.version[role] = snapshot.version
        if snapshot.optimiser is None:
            self.restart(role)
        else:
            optimiser(engine, role).load_state_dict(copy.deepcopy(snapshot.optimiser))

    def restart(self, role: str) -> None:
        """Drop the role's optimiser: its next update begins without moments."""
        getattr(self.models.engine(role), "optimisers", {}).pop(role, None)

    def begin_updates(self, learning: Iterable[str]) -> None:
        """Begin a round's updates of these roles. If several roles train one engine, hold its weights: the
        "logp@start" of all of them is measured there.
        """
        engines = [self.models.engine(role) for role in learning]
        often = {id(e): e for e in engines if sum(e is other for other in engines) > 1}
        roles = {id(e): role for role, e in self.models.engines.items()}
        self._starts = {key: (self.models.made(roles[key]), e.weights()) for key, e in often.items()}

    def moved(self, role: str) -> bool:
        """Whether an earlier update of this round has already changed the role's weights."""
        start = self._starts.get(id(self.models.engine(role)))
        return start is not None and start[0] != self.models.made(role)

    def at_start(self, role: str) -> contextlib.AbstractContextManager[None]:
        """A context in which a role that has `moved` has its weights from the start of the round."""
        return self.models.engine(role).using(self._starts[id(self.models.engine(role))][1])
