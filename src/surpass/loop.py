"""improve() and evaluate(): the only loop. Propose, score, select, learn, keep."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from surpass import given, records
from surpass.budget import Budget, parameters, spent
from surpass.errors import RunBroken, SurpassError
from surpass.figures import exam_event, report_json, round_figures
from surpass.gates import at_least
from surpass.identity import differing, identity, weights_digest
from surpass.models import Models, Snapshot
from surpass.needs import require, snapshots
from surpass.parts import Learn, Method, Task, from_json, needs_of, shown, to_json
from surpass.result import Result
from surpass.searches.round import search_all
from surpass.standing import Standing, stood
from surpass.store import Store
from surpass.texts import node_texts
from surpass.types import Example, Memory, Report, Tree, fold


def credited(trees: Sequence[Tree], learn: Learn, memory: Memory) -> Sequence[Tree]:
    """The trees with the columns of this Learn row's advantage, which no other row sees."""
    if learn.advantage is None:
        return trees
    columns = given.credits(learn.advantage, trees, given.told(learn.advantage, trees, memory))
    return [tree.with_columns(some) for tree, some in zip(trees, columns, strict=True)]


async def rescored(trees: Sequence[Tree], learn: Learn, models: Models, task: Any) -> Sequence[Tree]:
    """The trees with this Learn row's own scores, taken now, which no other row sees."""
    for name, reward in learn.scores.items():
        columns = given.columns(reward, trees, await given.asked(reward, models, shown(task, reward), trees))
        trees = [tree.with_columns({name: column}) for tree, column in zip(trees, columns, strict=True)]
    return trees


class _Run:
    """One run of `improve`: the standing, and one method per phase."""

    def __init__(
        self, method, task: Task, models: Models, rounds, seed, store, patience, say, modules, budget=None
    ):
        self.method, self.task, self.models, self.rounds, self.seed = method, task, models, rounds, seed
        self.store: Store | None = store
        self.patience, self.say, self.modules = patience, say, modules
        self.budget: Budget | None = budget
        self.at = Standing(method=to_json(method), versions={"0": dict(models.version)})
        self.memory = Memory(seed=seed, read=self._read)
        self.events: list[dict[str, Any]] = []
        self.unwritten: list[dict[str, Any]] = []
        # scored trees by round, where a part reads them and no folder holds them
        self.past: dict[int, list[Tree]] = {}
        self.roles = list(
            dict.fromkeys(learn.role for learn in method.learn if "train" in needs_of(learn.learner))
        )

    def _read(self, round: int) -> list[Tree]:
        if self.store is None:
            if round not in self.past and 1 <= round <= self.at.round:
                raise SurpassError(
                    f"round {round}'s trees are read again in a run that has no folder, and were not "
                    f"kept in memory: a part "
                    'that reads them declares needs = {"past"}'
                )
            return self.past.get(round, [])
        found = self.store.read_trees(round)
        if found is None and 1 <= round <= self.at.round:  # something else learnt from would be another run
            raise RunBroken(
                f"round {round}'s trees are damaged or missing, and the method learns from them again; "
                f"put back a copy of {self.store.folder / 'trees'}, or begin a new run"
            )
        for tree in found[0] if found else []:
            tree.past = True
        return found[0] if found else []

    # -- the phases

    async def begin(self) -> None:
        """Exams at the start; or, in a folder that holds a run, back to where it stood."""
        if self.store:
            self.models.secret = functools.cache(self.store.secret)
        self.start = {role: self.models.engine(role).weights() for role in self.roles} if self.store else {}
        self.models.remember(snapshots(self.method))
        began = {role: weights_digest(weights) for role, weights in self.start.items()}
        began |= identity(self.models, began) if self.store else {}
        if self.store:
            self._same(self.store.digests(), began)
        state = self.store.state() if self.store else None
        self.start |= {name: self.models.snapshots[name] for name in self.models.predecessors()}
        if state is not None:
            if "previous" in state and self.models.predecessors():
                raise SurpassError(
                    "this run was begun by a version of surpass in which "
                    f"{self.models.predecessors()[0]} was the kept model before the current one; it is "
                    "now the model before the last round's update, and one run cannot mean both: begin "
                    "a new run"
                )
            self._same(state.get("start", {}), began)
            self._restored(state)
            return
        if self.store:
            self.store.rests_on(began)
        self.at.start = began
        before = await self._exam("test", 0)
        gate = await self._exam("gate", 0)
        self.at.reports = {"before": before, "best": gate, "kept": gate}
        self.at.phase = "judged"
        self.at.stopped = getattr(self.method.gate, "hopeless", lambda start: "")(gate)
        self._note(exam_event(0, "test", before), exam_event(0, "gate", gate))
        self._commit()

    def _same(self, was: dict[str, str], now: dict[str, str]) -> None:
        """SurpassError where what the run began with is another now; what one of the two does not know is not
        compared.
        """
        other = differing(was, now)
        weights = [role for role in other if role in self.roles]
        if weights:
            raise SurpassError(
                "the model given is not the one this run began with; a run goes on from the model as "
                "it was at the start, so load it again"
            )
        if other:
            raise SurpassError(
                f"the model given is not the one this run began with: {' and '.join(other)} changed "
                "since. Put back what it was (and give the same dtype), or begin a new run"
            )

    async def propose(self, round: int) -> list[Tree]:
        """The round's trees with their scores: from disk if they were finished before an interruption."""
        self.memory.round = round - 1
        found = self.store.read_trees(round) if self.store else None
        event = records.event(found[1].get("event")) if found else None
        if found is not None and event is not None and {"cost", "notes"} <= found[1].keys():
            trees, extra = found
            self.models.cost = {account: Counter(n) for account, n in extra["cost"].items()}
            self.memory.notes = extra["notes"]
            self.models.system = self.memory.notes.get("system", {})
            self._note(event)
            return trees
        self.models.account = "search"
        self.models.fresh()
        rng = fold(self.seed, "round", round)
        with self._timed("search", round):
            curriculum = self.method.curriculum
            asked = (self.models, shown(self.task, curriculum), self.memory, fold(rng, "curriculum"))
            problems, joined = given.joined(curriculum, await given.asked(curriculum, *asked))
            self.say("problems", round, {"n": len(problems)})
            searched = await search_all(
                self.method.search,
                self.models,
                self.task,
                problems,
                rng,
                lambda: self.say("searched", round, {}),
            )
            trees = [*joined, *searched]
        with self._timed("score", round):
            await given.score_all(self.method.scores, self.models, self.task, trees)
        event = {"event": "search", "round": round} | round_figures(trees, _main_score(self.method))
        if self.store:
            extra = {"cost": self.models.cost, "notes": self.memory.notes, "event": event}
            self.store.write_texts(round, node_texts(self.models, trees))
            self.store.write_trees(round, trees, extra)
        self._note(event)
        return trees

    async def learn(self, round: int, trees: Sequence[Tree]) -> None:
        """Every Learn row in turn."""
        if self.at.trial is None:
            self.at.trial, self.at.trial_notes, self.at.trial_method = (
                self.at.weights,
                json.loads(json.dumps(self.memory.notes)),
                self.at.method,
            )
        self.models.trial(
            self.roles, functools.partial(self._at_round, self.at.trial) if self.store else None
        )
        self.models.account = "learn"
        self.models.fresh()  # keys and values that nothing reads while weights move: their memory is wanted
        before = {name: self.models.engine(name).weights() for name in self.models.predecessors()}
        chosen: list[tuple[str, Sequence[Example]]] = []
        credit: list[tuple[str, Sequence[Tree]]] = []
        with self._timed("learn", round):
            for i, learn in enumerate(self.method.learn):
                rng = fold(self.seed, "learn", round, i)
                if learn.start is not None:
                    self.models.engine(learn.role).load(self.models.snapshots[learn.start])
                    self.models.optimisers.pop(learn.role, None)
                rows = credited(await rescored(trees, learn, self.models, self.task), learn, self.memory)
                examples = given.examples(learn.select, given.told(learn.select, rows, self.memory, rng))
                found = await given.asked(learn.learner, self.models, learn, examples, self.memory, rng)
                report = given.one(learn.learner, Report, found)
                chosen.append((learn.role, examples))
                credit.append((learn.role, rows))
                self.models.require_numbers(learn.role)
                metrics = {name: m["mean"] for name, m in report.metrics.items()}
                self._note(
                    {"event": "learn", "round": round, "role": learn.role, "examples": len(examples)}
                    | metrics
                )
        if self.store is None and "past" in needs_of(self.method):
            self.past[round] = list(trees)
        self.models.succeed(before)  # only now: until here ROLE@-1 is what the round's scores took it for
        self.at.round, self.at.weights, self.at.phase = round, round, "learnt"
        if self.budget:
            now = self.budget.of(spent(self.models.cost), parameters(self.models), self.at.seconds)
            self.at.spent, self.at.dearest = now, max(self.at.dearest, now - self.at.spent)
        self.at.versions[str(round)] = dict(self.models.version)
        if self.store:
            self.store.write_examples(round, chosen, trees)
            self.store.write_credit(round, credit, trees)
        if self._due(round):
            with self._timed("write", round):
                if self.store:
                    self.store.save(round, self.models, self.roles)
                self._commit()

    def _due(self, round: int) -> bool:
        """Whether the gate decides after this round. Weights are written then; rounds in between are learnt
        again, from their stored trees and to the same bytes, if the run is interrupted.
        """
        return round % self.method.gate.every == 0 or round >= self.rounds or self._spent()

    def _spent(self) -> bool:
        """Whether another round might go beyond the budget."""
        return self.budget is not None and self.at.spent + self.at.dearest > self.budget.amount

    async def judge(self, round: int) -> None:
        """The gate's decision, where one is due; then the next round's method."""
        gate, new = self.method.gate, None
        self.memory.round = round - 1  # also where a run goes on from here
        due = self._due(round)
        if due:
            new = await self._exam("gate", round)
            best, kept = self.at.reports["best"], self.at.reports["kept"]
            verdict = given.verdict(gate, given.told(gate, best, kept, new))
            if verdict.keep:
                self.models.keep()
                self.at.reports["kept"] = new
                metric = getattr(gate, "metric", None)
                if metric is None or (metric and at_least(best, new, metric)):  # "": the start stays the best
                    self.at.reports["best"] = new
                self.at.refusals = 0
            else:
                self.models.refuse()
                self.at.weights = self.at.trial or 0
                self.memory.notes, self.at.method = self.at.trial_notes, self.at.trial_method
                self.models.system = self.memory.notes.get("system", {})
                self.method = from_json(self.at.method, self.modules)
                self.at.refusals += 1
                if self.at.refusals >= self.patience:
                    self.at.stopped = f"{self.at.refusals} updates in a row were refused"
            self.at.trial = None
            if self._spent() and not self.at.stopped:
                self.at.stopped = f"the budget, {self.budget}, is spent"
            self._note(
                exam_event(round, "gate", new),
                {
                    "event": "gate",
                    "round": round,
                    "keep": verdict.keep,
                    "why": verdict.why,
                    "p": verdict.p,
                    "spent": dict(spent(self.models.cost)),
                    **({"seconds": self.at.seconds} if self.budget and self.budget.kind == "seconds" else {}),
                },
            )
        if self.method.adapt is not None:
            adapt = self.method.adapt
            asked = (
                self.method,
                self.models,
                shown(self.task, adapt),
                self.memory,
                new,
                fold(self.seed, "adapt", round),
            )
            self.method = given.one(adapt, Method, await given.asked(adapt, *asked))
            self.at.method = to_json(self.method)
        self.at.phase = "judged"
        if due:
            self._commit(judged=round)
        if due and self.store:
            self.store.forget({self.at.weights, self.at.trial or 0})

    async def finish(self) -> Result:
        """The test exam of what was kept."""
        if self.at.phase != "finished":
            after = await self._exam("test", self.at.round) if self.at.weights else self.at.reports["before"]
            self.at.reports["after"] = after
            self.at.phase = "finished"
            self._note(
                exam_event(self.at.round, "test", after),
                {"event": "end", "round": self.at.round, "kept": self.at.weights, "why": self.at.stopped},
            )
            self._commit()
        events = self.store.read_events() if self.store else self.events
        reports = self.at.reports
        system = dict(self.memory.notes.get("system", {}))
        return Result(
            reports["before"], reports["after"], events, self.at.cost, self.at.weights, system=system
        )

    # -- between phases

    async def _exam(self, split: str, round: int) -> Report:
        self.models.account = "exam"
        self.models.fresh()
        self.say("exam", round, {"split": split})
        with self._timed(f"exam {split}", round):
            report = await given.asked(self.method.exam, self.models, self.task, split, self.seed)
        report = given.one(self.method.exam, Report, report)
        trees, report.trees = report.trees, []  # a run may hold many reports
        if self.store and split == "test" and trees:
            self.store.write_exam(round, trees, node_texts(self.models, trees))
        return report

    @contextlib.contextmanager
    def _timed(self, phase: str, round: int) -> Iterator[None]:
        begin = time.perf_counter()
        with self.store.timed(phase, round) if self.store else contextlib.nullcontext():
            yield
        if self.budget and self.budget.kind == "seconds" and phase in ("search", "score", "learn"):
            self.at.seconds += time.perf_counter() - begin

    def _note(self, *events: dict[str, Any]) -> None:
        """What happened, told at once and written with the next state."""
        for event in events:
            self.events.append(event)
            self.unwritten.append(event)
            self.say(event["event"], event["round"], event)

    def _commit(self, judged: int = 0) -> None:
        self.at.notes = self.memory.notes
        self.at.cost = {account: dict(n) for account, n in self.models.cost.items()}
        if self.store:
            state = dataclasses.asdict(dataclasses.replace(self.at, reports={}))
            self.store.commit(
                state | {"reports": {name: report_json(r) for name, r in self.at.reports.items()}},
                self.unwritten,
                judged,
            )
        self.unwritten = []

    def _restored(self, state: dict[str, Any]) -> None:
        """`_restore`, or RunBroken where the state holds what no run can go on from."""
        try:
            self._restore(state)
        except SurpassError:
            raise
        except Exception as error:  # it may hold anything
            raise RunBroken(
                f"state.json holds what this run cannot go on from ({type(error).__name__}: "
                f"{' '.join(str(error).split()):.200}); put back a copy of it, or remove it: the run "
                "then goes back to the last round it has another of"
            ) from error

    def _restore(self, state: dict[str, Any]) -> None:
        """Weights, optimisers, snapshots, notes and counts as they were when `state` was committed."""
        self.at = stood(state)
        given, self.method = self.method, from_json(self.at.method, self.modules)
        if not isinstance(self.method, Method):
            raise ValueError("its method is none")
        if given.adapt is None and self.method != given:
            raise RunBroken(
                "state.json was written by another method than this run's: it belongs to another run, "
                "or run.json was edited. Put back what was there, or begin a new run"
            )
        require(self.method, self.task, self.models, learns=True)
        self.models.remember(snapshots(self.method))
        self.memory.notes = self.at.notes
        self.models.system = self.memory.notes.get("system", {})
        self.models.cost = {account: Counter(n) for account, n in self.at.cost.items()}
        for role in [*self.roles, *self.models.predecessors()]:
            if self.at.trial is not None:
                self.models.restore = (self.models.restore or {}) | {
                    role: functools.partial(self._at_round, self.at.trial, role)
                }
            self.models.put_back(role, self._at_round(self.at.weights, role))

    def _at_round(self, round: int, role: str) -> Snapshot:
        assert self.store is not None, "only a stored run is restored"
        return self.store.load(
            round, self.models, role, self.start[role], self.at.versions[str(round)].get(role, 0)
        )


async def improve(
    method: Method,
    task: Any,
    models: Models,
    *,
    rounds: int,
    seed: int = 0,
    store: Store | None = None,
    patience: int = 3,
    say: Callable[[str, int, dict[str, Any]], None] = lambda what, round, event: None,
    modules: Sequence[str] = (),
    budget: Budget | None = None,
) -> Result:
    """Run `rounds` rounds of a method, or as many as a budget allows, and return test reports from before and
    after.

    Every need is checked first. Reported numbers come from the split "test", measured at the start and at the
    end; the gate sees "gate" alone. A refused trial restores weights, optimiser, notes and ROLE@-1; after
    `patience` refusals in a row the run stops. With a `store`, a run that was killed goes on from its last
    finished phase and ends in the same bytes. `say` is told what happens; `modules` are the modules and files
    of the user whose parts may be resolved.
    """
    models.forget()
    require(method, task, models, learns=True)
    run = _Run(method, task, models, rounds, seed, store, patience, say, modules, budget)
    await run.begin()
    while not run.at.stopped and (run.at.round < rounds or run.at.phase == "learnt"):
        if run.at.phase != "learnt":
            trees = await run.propose(run.at.round + 1)
            await run.learn(run.at.round + 1, trees)
        await run.judge(run.at.round)
    return await run.finish()


async def evaluate(
    method: Method, task: Any, models: Models, *, split: str = "test", seed: int = 0
) -> Report:
    """The method's exam on a split."""
    models.forget()
    require(method, task, models)
    models.remember(snapshots(method))
    models.account = "exam"
    report = given.one(method.exam, Report, await given.asked(method.exam, models, task, split, seed))
    report.cost = dict(models.cost.get("exam", {}))
    return report


def _main_score(method: Method) -> str | None:
    """The score that is learnt from: "reward", or the first."""
    return "reward" if "reward" in method.scores else next(iter(method.scores), None)
