"""What a run writes about itself, and how it resumes from that."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from surpass import records
from surpass.budget import Budget, parameters, spent
from surpass.errors import RunBroken, SurpassError
from surpass.figures import report_json
from surpass.identity import differing, identity, weights_digest
from surpass.models import Models
from surpass.needs import require, snapshots
from surpass.parts import Method, Task, from_json, needs_of, to_json
from surpass.standing import Standing, stood
from surpass.store import Store
from surpass.texts import node_texts
from surpass.types import Memory, Tree
from surpass.weights import Snapshot

Say = Callable[[str, int, dict[str, Any]], None]
"""Told what happens in a run: an event's name, its round, the event."""


class Journal:
    """One run of a method: its state (`at`), events, notes and folder, if it has one. The loop decides; the
    journal remembers.
    """

    def __init__(
        self,
        method: Method,
        task: Task,
        models: Models,
        seed: int = 0,
        store: Store | None = None,
        say: Say = lambda what, round, event: None,
        modules: Sequence[str] = (),
        budget: Budget | None = None,
    ):
        self.method, self.task, self.models, self.store = method, task, models, store
        self.say, self.modules, self.budget = say, modules, budget
        self.at = Standing(method=to_json(method), versions={"0": dict(models.version)})
        self.memory = Memory(seed=seed, read=self.read)
        self.events: list[dict[str, Any]] = []
        self.unwritten: list[dict[str, Any]] = []
        # scored trees by round, if a part reads them and there is no folder
        self.past: dict[int, list[Tree]] = {}
        self.roles = list(
            dict.fromkeys(learn.role for learn in method.learn if "train" in needs_of(learn.learner))
        )
        self.start: dict[str, Any] = {}

    def open(self) -> bool:
        """Whether the folder holds a run: if so restore it, else begin a new one."""
        if self.store:
            self.models.secret = functools.cache(self.store.secret)
            self.start = {role: self.models.engine(role).weights() for role in self.roles}
        self.models.weights.remember(snapshots(self.method))
        began = {role: weights_digest(weights) for role, weights in self.start.items()}
        began |= identity(self.models, began) if self.store else {}
        if self.store:
            _same(self.store.digests(), began, self.roles)
        state = self.store.state() if self.store else None
        predecessors = self.models.weights.predecessors()
        self.start |= {name: self.models.weights.snapshots[name] for name in predecessors}
        if state is None:
            if self.store:
                self.store.rests_on(began)
            self.at.start = began
            return False
        if "previous" in state and predecessors:
            raise SurpassError(
                f"this run was begun by a version of surpass in which {predecessors[0]} was the kept model "
                "before the current one; it is now the model before the last round's update, and one run "
                "cannot mean both: begin a new run"
            )
        _same(state.get("start", {}), began, self.roles)
        self._restored(state)
        return True

    # -- what happens

    def note(self, *events: dict[str, Any]) -> None:
        """Report events at once; the next `commit` writes them."""
        for event in events:
            self.events.append(event)
            self.unwritten.append(event)
            self.say(event["event"], event["round"], event)

    def commit(self, judged: int = 0) -> None:
        """Write the state and its events: a killed run resumes from here."""
        self.at.notes = self.memory.notes
        self.at.cost = {account: dict(n) for account, n in self.models.cost.items()}
        if self.store:
            state = dataclasses.asdict(dataclasses.replace(self.at, reports={}))
            reports = {name: report_json(r) for name, r in self.at.reports.items()}
            self.store.commit(state | {"reports": reports}, self.unwritten, judged)
        self.unwritten = []

    @contextlib.contextmanager
    def timed(self, phase: str, round: int) -> Iterator[None]:
        """Record a phase's seconds. Exams and writing do not count towards the budget."""
        begin = time.perf_counter()
        with self.store.timed(phase, round) if self.store else contextlib.nullcontext():
            yield
        if self.budget and self.budget.kind == "seconds" and phase in ("search", "score", "learn", "adapt"):
            self.at.seconds += time.perf_counter() - begin

    def charge(self) -> float:
        """What was spent of the budget since the last call."""
        if not self.budget:
            return 0.0
        now = self.budget.of(spent(self.models.cost), parameters(self.models), self.at.seconds)
        more, self.at.spent = now - self.at.spent, now
        return more

    def overspent(self) -> bool:
        """Whether another round might exceed the budget."""
        return self.budget is not None and self.at.spent + self.at.dearest > self.budget.amount

    # -- trees

    def read(self, round: int) -> list[Tree]:
        """The scored trees of an earlier round. RunBroken if they are damaged or missing."""
        if self.store is None:
            if round not in self.past and 1 <= round <= self.at.round:
                raise SurpassError(
                    f"round {round}'s trees are read again in a run that has no folder, and were not kept "
                    'in memory: a part that reads them declares needs = {"past"}'
                )
            return self.past.get(round, [])
        found = self.store.read_trees(round)
        if found is None and 1 <= round <= self.at.round:  # learning from anything else would be another run
            raise RunBroken(
                f"round {round}'s trees are damaged or missing, and the method learns from them again; "
                f"put back a copy of {self.store.folder / 'trees'}, or begin a new run"
            )
        for tree in found[0] if found else []:
            tree.past = True
        return found[0] if found else []

    def proposed(self, round: int) -> list[Tree] | None:
        """The round's scored trees, if they were finished before an interruption; else None."""
        found = self.store.read_trees(round) if self.store else None
        event = records.event(found[1].get("event")) if found else None
        if found is None or event is None or not {"cost", "notes"} <= found[1].keys():
            return None
        trees, extra = found
        self.models.cost = {account: Counter(n) for account, n in extra["cost"].items()}
        self.recall(extra["notes"])
        self.note(event)
        return trees

    def write_proposed(self, round: int, trees: Sequence[Tree], event: dict[str, Any]) -> None:
        """Write a round's scored trees, with what `proposed` reads."""
        if self.store:
            extra = {"cost": self.models.cost, "notes": self.memory.notes, "event": event}
            self.store.write_texts(round, node_texts(self.models, trees))
            self.store.write_trees(round, trees, extra)
        self.note(event)

    # -- back to where it stood

    def recall(self, notes: dict[str, Any]) -> None:
        """Use these notes, and the system messages in them."""
        self.memory.notes = notes
        self.models.recall(notes)

    def at_round(self, round: int, role: str) -> Snapshot:
        """A role as it was after a round's updates, read from the folder."""
        assert self.store is not None, "only a stored run is restored"
        version = self.at.versions[str(round)].get(role, 0)
        return self.store.load(round, self.models, role, self.start[role], version)

    def _restored(self, state: Mapping[str, Any]) -> None:
        """`_restore`; RunBroken if the state holds anything that it cannot restore."""
        try:
            self._restore(state)
        except SurpassError:
            raise
        except Exception as error:  # the file may hold anything
            raise RunBroken(
                f"this run cannot go on from its state.json ({type(error).__name__}: "
                f"{' '.join(str(error).split()):.200}); put back a copy of it, or remove it: the run "
                "then goes back to the last round whose state was also kept"
            ) from error

    def _restore(self, state: Mapping[str, Any]) -> None:
        """Restore weights, optimisers, snapshots, notes and counts as of the commit that wrote `state`."""
        self.at = stood(state)
        began, self.method = self.method, from_json(self.at.method, self.modules)
        if not isinstance(self.method, Method):
            raise ValueError("its method is not a method")
        if began.adapt is None and self.method != began:
            raise RunBroken(
                "state.json was written by another method than this run's: it belongs to another run, "
                "or run.json was edited. Put back what was there, or begin a new run"
            )
        require(self.method, self.task, self.models, learns=True)
        self.models.weights.remember(snapshots(self.method))
        self.recall(self.at.notes)
        self.models.cost = {account: Counter(n) for account, n in self.at.cost.items()}
        for role in [*self.roles, *self.models.weights.predecessors()]:
            if self.at.trial is not None:
                self.models.weights.restore = (self.models.weights.restore or {}) | {
                    role: functools.partial(self.at_round, self.at.trial, role)
                }
            self.models.weights.put_back(role, self.at_round(self.at.weights, role))


def _same(was: Mapping[str, str], now: Mapping[str, str], roles: Sequence[str]) -> None:
    """SurpassError if the run began with another model. What only one of the two records is not compared."""
    other = differing(was, now)
    if any(role in roles for role in other):
        raise SurpassError(
            "the model given is not the one this run began with; a run goes on from the model as it was "
            "at the start, so load it again"
        )
    if other:
        raise SurpassError(
            f"the model given is not the one this run began with: {' and '.join(other)} changed since. "
            "Put back what it was (and give the same dtype), or begin a new run"
        )
