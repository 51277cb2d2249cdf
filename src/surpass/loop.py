"""improve() and evaluate(): the only loop. Propose, score, select, learn, keep."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Any

from surpass import given
from surpass.budget import Budget, spent
from surpass.figures import exam_event, round_figures
from surpass.gates import at_least
from surpass.journal import Journal, Say
from surpass.models import Models
from surpass.needs import require, snapshots
from surpass.parts import Learn, Method, from_json, needs_of, shown, to_json
from surpass.result import Result
from surpass.searches.round import search_all
from surpass.store import Store
from surpass.texts import node_texts
from surpass.types import Example, Memory, Report, Tree, fold


def credited(trees: Sequence[Tree], learn: Learn, memory: Memory) -> Sequence[Tree]:
    """The trees with this Learn row's advantage columns, which no other row sees."""
    if learn.advantage is None:
        return trees
    columns = given.credits(learn.advantage, trees, given.told(learn.advantage, trees, memory))
    return [tree.with_columns(some) for tree, some in zip(trees, columns, strict=True)]


async def rescored(trees: Sequence[Tree], learn: Learn, models: Models, task: Any) -> Sequence[Tree]:
    """The trees with this Learn row's own scores, computed now; no other row sees them."""
    for name, reward in learn.scores.items():
        columns = given.columns(reward, trees, await given.asked(reward, models, shown(task, reward), trees))
        trees = [tree.with_columns({name: column}) for tree, column in zip(trees, columns, strict=True)]
    return trees


class _Run:
    """One run of `improve`; each method of this class is a phase."""

    def __init__(self, journal: Journal, rounds: int, seed: int, patience: int):
        self.journal, self.at, self.models, self.task = journal, journal.at, journal.models, journal.task
        self.rounds, self.seed, self.patience = rounds, seed, patience

    @property
    def method(self) -> Method:
        """The current method; an adapt may change it."""
        return self.journal.method

    async def begin(self) -> None:
        """Run the first exams. In a folder that holds a run, go on from where it stopped instead."""
        begun = self.journal.open()
        self.at = self.journal.at
        if begun:
            return
        before = await self._exam("test", 0)
        gate = await self._exam("gate", 0)
        self.at.reports = {"before": before, "best": gate, "kept": gate}
        self.at.phase = "judged"
        self.at.stopped = getattr(self.method.gate, "hopeless", lambda start: "")(gate)
        self.journal.note(exam_event(0, "test", before), exam_event(0, "gate", gate))
        self.journal.commit()

    async def propose(self, round: int) -> list[Tree]:
        """The round's scored trees; read from disk if an interrupted run had finished them."""
        journal, method, models = self.journal, self.method, self.models
        journal.memory.round = round - 1
        found = journal.proposed(round)
        if found is not None:
            return found
        models.fresh()
        rng = fold(self.seed, "round", round)
        with models.charged("search"):
            with journal.timed("search", round):
                curriculum = method.curriculum
                asked = (models, shown(self.task, curriculum), journal.memory, fold(rng, "curriculum"))
                problems, joined = given.joined(curriculum, await given.asked(curriculum, *asked))
                journal.say("problems", round, {"n": len(problems)})
                searched = functools.partial(journal.say, "searched", round, {})
                trees = [
                    *joined,
                    *await search_all(method.search, models, self.task, problems, rng, searched),
                ]
            with journal.timed("score", round):
                await given.score_all(method.scores, models, self.task, trees)
        event = {"event": "search", "round": round} | round_figures(trees, _main_score(method))
        journal.write_proposed(round, trees, event)
        return trees

    async def learn(self, round: int, trees: Sequence[Tree]) -> None:
        """Run every Learn row in turn."""
        journal, at, method, models = self.journal, self.at, self.method, self.models
        if at.trial is None:
            notes = json.loads(json.dumps(journal.memory.notes))
            at.trial, at.trial_notes, at.trial_method = at.weights, notes, at.method
        models.weights.trial(
            journal.roles, functools.partial(journal.at_round, at.trial) if journal.store else None
        )
        models.fresh()  # frees cached keys and values: training needs the memory
        before = {name: models.engine(name).weights() for name in models.weights.predecessors()}
        models.weights.begin_updates(row.role for row in method.learn if row.role in journal.roles)
        chosen: list[tuple[str, Sequence[Example]]] = []
        credit: list[tuple[str, Sequence[Tree]]] = []
        with journal.timed("learn", round), models.charged("learn"):
            for i, row in enumerate(method.learn):
                examples, rows = await self._learn(round, i, row, trees)
                chosen.append((row.role, examples))
                credit.append((row.role, rows))
        if journal.store is None and "past" in needs_of(method):
            journal.past[round] = list(trees)
        models.weights.succeed(before)  # only now: the round's scores used the older ROLE@-1
        at.round, at.weights, at.phase = round, round, "learnt"
        at.price = journal.charge()
        at.dearest = max(at.dearest, at.price)
        at.versions[str(round)] = dict(models.version)
        if journal.store:
            journal.store.write_examples(round, chosen, trees)
            journal.store.write_credit(round, credit, trees)
        if self._due(round):
            with journal.timed("write", round):
                if journal.store:
                    journal.store.save(round, models, journal.roles)
                journal.commit()

    async def _learn(
        self, round: int, i: int, row: Learn, trees: Sequence[Tree]
    ) -> tuple[Sequence[Example], Sequence[Tree]]:
        """Run one Learn row: (the examples it learns from, the trees with the columns that only it sees)."""
        memory, models = self.journal.memory, self.models
        rng = fold(self.seed, "learn", round, i)
        if row.start is not None:
            models.engine(row.role).load(models.weights.snapshots[row.start])
            models.weights.restart(row.role)
        rows = credited(await rescored(trees, row, models, self.task), row, memory)
        examples = given.examples(row.select, given.told(row.select, rows, memory, rng))
        found = await given.asked(row.learner, models, row, examples, memory, rng)
        report = given.one(row.learner, Report, found)
        models.weights.require_numbers(row.role)
        event = {"event": "learn", "round": round, "role": row.role, "examples": len(examples)}
        self.journal.note(event | {name: m["mean"] for name, m in report.metrics.items()})
        return examples, rows

    def _due(self, round: int) -> bool:
        """Whether the gate decides after this round. Weights are written only then. An interrupted run
        repeats the rounds since, from their stored trees and to the same bytes.
        """
        return round % self.method.gate.every == 0 or round >= self.rounds or self.journal.overspent()

    async def judge(self, round: int) -> None:
        """Let the gate decide if it is due, then find the next round's method."""
        self.journal.memory.round = round - 1  # needed where a resumed run starts here
        due = self._due(round)
        new = await self._decide(round) if due else None
        await self._adapt(round, new)
        if due and self.journal.overspent() and not self.at.stopped:
            self.at.stopped = f"the budget, {self.journal.budget}, is spent"
        self.at.phase = "judged"
        if due:
            self.journal.commit(judged=round)
        if due and self.journal.store:
            self.journal.store.forget({self.at.weights, self.at.trial or 0})

    async def _decide(self, round: int) -> Report:
        """Keep the trial, or go back to what was before it. Returns the exam that decided."""
        journal, at, gate = self.journal, self.at, self.method.gate
        new = await self._exam("gate", round)
        verdict = given.verdict(gate, given.told(gate, at.reports["best"], at.reports["kept"], new))
        if verdict.keep:
            self.models.weights.keep()
            metric = getattr(gate, "metric", None)
            if metric is None or (metric and at_least(at.reports["best"], new, metric)):
                at.reports["best"] = new  # if the metric is "", the start stays the best
            at.reports["kept"], at.refusals = new, 0
        else:
            self.models.weights.refuse()
            at.weights, at.method = at.trial or 0, at.trial_method
            journal.recall(at.trial_notes)
            journal.method = from_json(at.method, journal.modules)
            at.refusals += 1
            if at.refusals >= self.patience:
                at.stopped = f"{at.refusals} updates in a row were refused"
        at.trial = None
        budget = journal.budget
        event = {"event": "gate", "round": round, "keep": verdict.keep, "why": verdict.why, "p": verdict.p}
        event |= {"spent": dict(spent(self.models.cost))}
        event |= {"seconds": at.seconds} if budget and budget.kind == "seconds" else {}
        journal.note(exam_event(round, "gate", new), event)
        return new

    async def _adapt(self, round: int, new: Report | None) -> None:
        """Find the next round's method; its cost is charged to this round."""
        journal, adapt = self.journal, self.method.adapt
        if adapt is None:
            return
        task, rng = shown(self.task, adapt), fold(self.seed, "adapt", round)
        with journal.timed("adapt", round), self.models.charged("adapt"):
            found = await given.asked(adapt, self.method, self.models, task, journal.memory, new, rng)
        journal.method = given.one(adapt, Method, found)
        self.at.method = to_json(self.method)
        self.at.dearest = max(self.at.dearest, self.at.price + journal.charge())

    async def finish(self) -> Result:
        """Run the test exam of the kept model."""
        journal, at = self.journal, self.at
        if at.phase != "finished":
            after = await self._exam("test", at.round) if at.weights else at.reports["before"]
            at.reports["after"] = after
            at.phase = "finished"
            end = {"event": "end", "round": at.round, "kept": at.weights, "why": at.stopped}
            journal.note(exam_event(at.round, "test", after), end)
            journal.commit()
        events = journal.store.read_events() if journal.store else journal.events
        system = dict(journal.memory.notes.get("system", {}))
        reports = at.reports
        return Result(reports["before"], reports["after"], events, at.cost, at.weights, system=system)

    async def _exam(self, split: str, round: int) -> Report:
        journal, exam = self.journal, self.method.exam
        self.models.fresh()
        journal.say("exam", round, {"split": split})
        with journal.timed(f"exam {split}", round), self.models.charged("exam"):
            report = given.one(
                exam, Report, await given.asked(exam, self.models, self.task, split, self.seed)
            )
        trees, report.trees = report.trees, []  # a run may hold many reports: keep them small
        if journal.store and split == "test" and trees:
            journal.store.write_exam(round, trees, node_texts(self.models, trees))
        return report


async def improve(
    method: Method,
    task: Any,
    models: Models,
    *,
    rounds: int,
    seed: int = 0,
    store: Store | None = None,
    patience: int = 3,
    say: Say = lambda what, round, event: None,
    modules: Sequence[str] = (),
    budget: Budget | None = None,
) -> Result:
    """Run `rounds` rounds of a method, or as many as the budget allows; the result has test reports of before
    and after.

    Every need is checked first (UnmetNeed). Reported numbers come from the split "test", measured at the
    start and at the end; the gate sees "gate" alone. A refused trial restores weights, optimiser, notes and
    ROLE@-1; the run stops after `patience` refusals in a row. With a `store`, a killed run goes on from its
    last finished phase and ends in the same bytes. `say` is told what happens. `modules` are the user's own
    modules and files whose parts may be resolved.
    """
    models.forget()
    require(method, task, models, learns=True)
    run = _Run(Journal(method, task, models, seed, store, say, modules, budget), rounds, seed, patience)
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
    """The report of the method's exam on one split. Nothing learns. UnmetNeed if a need is not met."""
    models.forget()
    require(method, task, models)
    models.weights.remember(snapshots(method))
    with models.charged("exam"):
        report = given.one(method.exam, Report, await given.asked(method.exam, models, task, split, seed))
    report.cost = dict(models.cost.get("exam", {}))
    return report


def _main_score(method: Method) -> str | None:
    """The score that the method learns from: "reward", or else the first."""
    return "reward" if "reward" in method.scores else next(iter(method.scores), None)
