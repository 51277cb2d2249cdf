"""What a run shows in the terminal: a prediction before it begins, then its progress."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from surpass.alarms import alarms
from surpass.budget import Budget, parameters, spent
from surpass.forecast import Forecast
from surpass.gates import paired_values
from surpass.means import measured
from surpass.shown import Bar, Terminal

if TYPE_CHECKING:
    from surpass.models import Models
    from surpass.parts import Method


def predicted(method: Method, models: Models, rounds: int, budget: Budget | None = None) -> str:
    """One line: the most tokens a run may draw and how long that would take here, or its budget.

    The time counts 2 FLOP per parameter and drawn token, and three times that for training, at half the speed
    of a large matrix product measured just now. It is a loose bound: attempts usually end early. A better
    estimate follows once the first exam is over (`Forecast`).
    """
    problems = getattr(method.curriculum, "n", 0)
    searched = rounds * problems * (method.search.at_most() if hasattr(method.search, "at_most") else 0)
    if budget:
        return f"predicted: rounds until {budget} is spent{longest(models, budget)}; exams are not counted"
    decisions = 1 + math.ceil(rounds / method.gate.every)
    leaves = searched // getattr(method.search, "max_tokens", 1)
    judged = sum(leaves * reward.at_most() for reward in method.scores.values() if hasattr(reward, "at_most"))
    searched += judged
    most = getattr(method.exam, "at_most", lambda split: 0)
    examined = 2 * most("test") + decisions * most("gate")
    size = parameters(models)
    here = ""
    if size:  # nobody knows how fast a model behind an API is
        seconds = (
            size
            * (2 * (searched + examined) + (6 * searched if method.learn else 0))
            / (0.5 * _flops(models.engine("policy")))
        )
        here = f", {clock(seconds)} here if no attempt ended by itself"
    return (
        f"predicted: at most {searched:,} tokens drawn in {rounds} rounds and {examined:,} in "
        f"exams{here}; how long it really takes is known after the first exams"
    )


def longest(models: Models, budget: Budget, times: int = 1) -> str:
    """How long a budget lasts here without exams, in words; "" where its kind does not tell."""
    size = parameters(models)
    each = {"tokens": 8.0 * size, "flops": 1.0}.get(budget.kind)  # a drawn token is trained on once
    if budget.kind == "seconds":
        return f"; {clock(times * budget.amount)} here"
    return (
        f"; about {clock(times * each * budget.amount / (0.5 * _flops(models.engine('policy'))))} here"
        if each and size
        else ""
    )


def _flops(engine: Any) -> float:
    """FLOP a second of a matrix product on the engine's device."""
    import torch

    a = torch.randn(1024, 1024, device=engine.device)
    a @ a
    begin = time.perf_counter()
    for _ in range(8):
        (a @ a)[0, 0].item()
    return 8 * 2 * 1024**3 / (time.perf_counter() - begin)


def clock(seconds: float) -> str:
    """Seconds in words: 40 s, 7 min, 2.1 h."""
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )


class _Spent(ProgressColumn):
    """What models have drawn so far."""

    def __init__(self, models: Models):
        super().__init__()
        self.models = models

    def render(self, task: Task) -> Text:
        drawn, calls = (
            sum(n.get(what, 0) for n in list(self.models.cost.values())) for what in ("generated", "calls")
        )
        return Text(f"{calls:,} answers, {drawn:,} tokens drawn")


@contextlib.contextmanager
def watching(models: Models, what: str) -> Iterator[None]:
    """Show on a terminal what models work on, what they have drawn so far, and the time."""
    with Bar(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        _Spent(models),
        TimeElapsedColumn(),
        console=Terminal(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as bar:
        bar.add_task(what, total=None)
        yield


def exam_words(metrics: dict[str, Any]) -> str:
    """An exam in a line: accuracy and the figures that need no labels, with standard errors."""
    words = []
    for name in ("accuracy", "agreement", "drift"):
        if name not in metrics:
            continue
        m = metrics[name]
        words.append(f"{name} {_brief(name, m)}" if m["n"] else f"{name} not known: no label")
    if not words:
        words = [f"{name} {_brief(name, m)}" for name, m in list(metrics.items())[:1]]
    return ", ".join(words)


def _brief(name: str, m: dict[str, Any]) -> str:
    return measured(name, m).replace("   (", " (")


class Progress:
    """A line per exam, round and decision of the gate; on a terminal also a bar with the time left."""

    def __init__(
        self, rounds: int, method: Method, models: Models | None = None, budget: Budget | None = None
    ):
        self.rounds, self.models, self.budget = rounds, models, budget
        self.console = Terminal(stderr=True)
        self.bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            *([_Spent(models)] if models else []),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not sys.stderr.isatty(),
        )
        self.task = self.bar.add_task("start", total=int(budget.amount) if budget else rounds)
        self.searched = self.problems = 0
        self.seconds = 0.0
        self.first: dict[str, Any] | None = None
        # by split, the accuracy of each problem in the exam at the start
        self.start: dict[str, dict[str, float]] = {}
        self.forecast = Forecast(method, rounds, budget)

    def __enter__(self) -> Progress:
        self.bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.bar.stop()

    def _done(self, round: int) -> int:
        """Rounds, or how much of the budget is spent (of seconds, as of the gate's last decision)."""
        if self.budget is None or self.models is None:
            return round
        return int(self.budget.of(spent(self.models.cost), parameters(self.models), self.seconds))

    def _gain(self, exam: dict[str, Any]) -> str:
        """How much accuracy rose since the start, over the problems that both exams share."""
        now = {
            p: v for p, v in exam.get("rows", {}).get("accuracy", []) if v is not None and not math.isnan(v)
        }
        before = self.start.setdefault(exam["split"], now)
        if before is now or not now:
            return ""
        change, error, _ = paired_values(before, now)
        return f", {change:+.3f} +- {error:.3f} since the start"

    def _left(self) -> str:
        """How long the rest will take, on a line of its own; "" where nobody knows, or nothing is left."""
        spent_ = float(self._done(0)) if self.budget else 0.0
        found = self.forecast.left(spent_)
        if found is None or self.forecast.round >= self.rounds:
            return ""
        least, most = (clock(seconds) for seconds in found)
        return f"\npredicted: {least} to {most} more" if least != most else f"\npredicted: {most} more"

    def say(self, what: str, round: int, event: dict[str, Any]) -> None:
        """Told by the loop; shows it."""
        line = None
        self.forecast.hear(what, round, event)
        if what == "exam" and "metrics" in event:
            line = f"round {round:3}  {event['split']} {exam_words(event['metrics'])}{self._gain(event)}"
            if round == 0 and event["split"] == "gate":
                line += self._left()
        elif what == "exam":
            self.bar.update(self.task, description=f"exam ({event['split']})")
        elif what == "problems":
            self.searched, self.problems = 0, event["n"]
        elif what == "searched":
            self.searched += 1
            self.bar.update(self.task, description=f"searching {self.searched}/{self.problems}")
        elif what == "search":
            self.bar.update(self.task, description="learning")
            reward = event.get("reward")
            line = f"round {round:3}  reward {reward:.3f}" if reward is not None else f"round {round:3}"
            if event.get("unjudged"):
                line += f" of the judged; {event['unjudged']} of {event.get('leaves', 0)} attempts not judged"
            line += (
                f"  length {event.get('completions/mean_length', 0):.1f}  entropy "
                f"{event.get('entropy', 0):.3f}"
            )
            self.first = event if round == 1 else None
        elif what == "learn":
            line = (
                "\n".join([*alarms([self.first, event]), self._left().strip()]).strip()
                if self.first
                else None
            )  # said once, at round 1
            self.first = None
            self.bar.update(self.task, completed=self._done(round), description=f"round {round}")
        elif what == "gate":
            self.seconds = event.get("seconds", 0.0)
            line = f"round {round:3}  {'kept' if event['keep'] else 'refused'}: {event['why']}" + self._left()
        if line:
            self.console.print(line, soft_wrap=True)
