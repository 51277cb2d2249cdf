"""What a comparison of methods came to: their runs, every pair's difference, and the words for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from surpass.budget import Budget, flops, spent
from surpass.errors import SurpassError
from surpass.find import Entry
from surpass.means import SHARES
from surpass.report.comparison import short
from surpass.store import as_line
from surpass.types import Report

LEVEL = 0.05
EVEN = 1.1  # strategies whose costs differ by no more than this factor count as equally dear


@dataclass
class Runs:
    """The results of one method: for each seed its test report, its cost and its curve. A curve is a list of
    (spent, the metric in the gate's exam) after each decision of the gate, for the model that was kept.
    """

    entry: Entry
    reports: list[Report] = field(default_factory=list)
    before: list[Report] = field(default_factory=list)
    costs: list[dict[str, dict[str, int]]] = field(default_factory=list)
    curves: list[list[tuple[float, float]]] = field(default_factory=list)
    problems: Sequence[str] = ()  # those that every run of every method was judged on
    partly: Sequence[str] = ()  # those that some were and others were not

    def values(self, metric: str, before: bool = False) -> np.ndarray:
        """[seeds, problems]"""
        found = [report.by_problem(metric) for report in (self.before if before else self.reports)]
        return np.array([[some.get(p, math.nan) for p in self.problems] for some in found], float)

    def strict(self, metric: str, unjudged: float = 0.0) -> np.ndarray:
        """[seeds, problems + partly]: what was not judged counts as `unjudged`."""
        found = [report.by_problem(metric) for report in self.reports]
        return np.array(
            [[some.get(p, unjudged) for p in (*self.problems, *self.partly)] for some in found], float
        )

    def unjudged(self, metric: str) -> float:
        """How many problems were judged in other runs but not in this method's, mean over its seeds."""
        return float(
            np.mean(
                [
                    sum(p not in known for p in self.partly)
                    for known in (r.by_problem(metric) for r in self.reports)
                ]
            )
        )

    def per_problem(self) -> float:
        """Tokens drawn for one test problem: the price of inference."""
        return float(
            np.mean(
                [
                    c.get("exam", {}).get("generated", 0) / max(1, r.info.get("asked", 1))
                    for c, r in zip(self.costs, self.reports, strict=True)
                ]
            )
        )


@dataclass(frozen=True)
class Difference:
    """A - B over the same problems and seeds. Both count as random samples: the variance of the mean is
    var_s / S + var_p / P (of the S seeds' means and the P problems' means), with Satterthwaite's degrees of
    freedom. With one seed the first term is left out: how much training varies is not known.
    """

    a: str
    b: str
    mean: float
    stderr: float
    p: float  # two-sided, after Holm among all pairs

    @property
    def decided(self) -> bool:
        return self.p < LEVEL


def difference(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """(mean, standard error, two-sided p) of a - b, both [seeds, problems]; p is 1 where a equals b."""
    from scipy.stats import t as student  # which takes long to import

    d = a - b
    mean = float(d.mean())
    parts = [
        (float(values.var(ddof=1)) / len(values), len(values) - 1)
        for values in (d.mean(1), d.mean(0))
        if len(values) > 1
    ]
    variance = sum(v for v, _ in parts)
    if variance == 0:
        return mean, 0.0, 1.0 if mean == 0 else 0.0
    freedom = variance**2 / sum(v**2 / n for v, n in parts)
    return mean, math.sqrt(variance), float(2 * student.sf(abs(mean) / math.sqrt(variance), freedom))


def holm(p: Sequence[float]) -> list[float]:
    """p-values adjusted by Holm's method, in the order given."""
    found, most = [0.0] * len(p), 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        most = found[i] = max(most, min(1.0, p[i] * (len(p) - rank)))
    return found


def _cell(text: str) -> str:
    """Text in a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


@dataclass
class Comparison:
    """The methods' results, and every pair's difference on the test problems."""

    task: str
    model: str
    budget: Budget | None
    metric: str
    size: int
    runs: list[Runs]
    differences: list[Difference]

    def __str__(self) -> str:
        return "\n".join([self.table(), "", *self.left_out(), *self.verdicts(), *self.overspent()])

    def left_out(self) -> list[str]:
        """Where some problems were not judged in every run: a sentence that says so, and one for every method
        with the bounds of its metric.
        """
        partly, n = len(self.runs[0].partly), len(self.runs[0].problems) + len(self.runs[0].partly)
        if not partly:
            return []
        share = self.metric.startswith(SHARES)
        found = [
            f"{partly} of {n} problems were not judged in every run: the table is of the other "
            f"{n - partly}, and a pair is called better only if it is so "
            f"{'where what was not judged counts as wrong, too' if share else 'there'}"
        ]
        for runs in self.runs:
            words = f"{runs.entry.name}: {runs.unjudged(self.metric):.3g} not judged"
            low, high = (runs.strict(self.metric, value).mean() for value in (0.0, 1.0))
            found.append(
                f"{words}, {self.metric} over all {n} from {low:.3f} (if these are wrong) to {high:.3f} "
                "(if right)"
                if share
                else words
            )
        return found

    def table(self) -> str:
        """A Markdown table: a line per method, best first."""
        lines = [
            f"| method | test {self.metric} | from | drawn | prefilled | scored | trained | FLOP | "
            "calls | in exams |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        for runs in sorted(self.runs, key=lambda runs: -runs.values(self.metric).mean()):
            mean, stderr, _ = difference(runs.values(self.metric), np.zeros((1, 1)))
            start = f"{np.nanmean(runs.values(self.metric, before=True)):.3f}" if runs.before else ""
            costs = [spent(cost) for cost in runs.costs]
            cells = [
                short(np.mean([cost.get(kind, 0) for cost in costs]))
                for kind in ("generated", "prefilled", "scored", "trained")
            ]
            exams = np.mean([cost.get("exam", {}).get("generated", 0) for cost in runs.costs])
            work = np.mean([flops(cost, self.size) for cost in costs])
            calls = short(np.mean([cost.get("calls", 0) for cost in costs]))
            lines.append(
                f"| {_cell(runs.entry.name)} | {mean:.3f} ± {stderr:.3f} | {start} | "
                f"{' | '.join(cells)} | {short(work)} | {calls} | {short(exams)} |"
            )
        return "\n".join(lines)

    def verdicts(self) -> list[str]:
        """A sentence for every pair."""
        found = []
        price = {runs.entry.name: runs.per_problem() for runs in self.runs if not runs.entry.learns}
        for d in self.differences:
            # the sign says which is better; a verdict names it instead
            words = f"({abs(d.mean) if d.decided else d.mean:+.3f} ± {d.stderr:.3f}, p = {d.p:.3f})"
            better, worse = (d.a, d.b) if d.mean > 0 else (d.b, d.a)
            dearer = price[better] / max(price[worse], 1e-9) if better in price and worse in price else 1.0
            cost = f", at {dearer:.1f} times its tokens" if dearer > EVEN or dearer < 1 / EVEN else ""
            undecided = f"{d.a} and {d.b}: undecided at this budget {words}"
            found.append(f"{better} better than {worse}{cost} {words}" if d.decided else undecided)
        return found

    def overspent(self) -> list[str]:
        """A sentence for every method that spent clearly more than the budget."""
        if self.budget is None or self.budget.kind == "seconds":
            return []
        found = []
        for runs in self.runs:
            most = max(self.budget.of(spent(cost), self.size, 0.0) for cost in runs.costs)
            if most > EVEN * self.budget.amount:
                found.append(
                    f"{runs.entry.name} spent {short(most)} where the budget was {self.budget}: what a "
                    "round costs is known when it is over. Give all of them a larger budget, or this "
                    "one fewer problems a round"
                )
        return found

    def as_json(self) -> str:
        """The comparison as one line."""
        rows = [
            {
                "method": r.entry.name,
                "mean": float(r.values(self.metric).mean()),
                "seeds": r.values(self.metric).mean(1).tolist(),
                "strict": float(r.strict(self.metric).mean()),
                "unjudged": r.unjudged(self.metric),
                "costs": r.costs,
                "curves": r.curves,
            }
            for r in self.runs
        ]
        return as_line(
            {
                "task": self.task,
                "model": self.model,
                "budget": str(self.budget) if self.budget else None,
                "methods": rows,
                "pairs": [vars(d) | {"decided": d.decided} for d in self.differences],
            }
        )


def judged(
    runs: list[Runs], task: str, model: str, budget: Budget | None, metric: str, size: int
) -> Comparison:
    """Every pair's difference, with p-values adjusted by Holm's method."""
    everywhere = [set(report.by_problem(metric)) for some in runs for report in some.reports]
    problems = sorted(set.intersection(*everywhere))
    if not problems:
        raise SurpassError(
            f'no test problem has a "{metric}" in every run; there are: '
            f"{', '.join(runs[0].reports[0].metrics)}"
        )
    for some in runs:
        some.problems, some.partly = problems, sorted(set().union(*everywhere) - set(problems))
    pairs = list(combinations(runs, 2))
    raw = [_told_apart(a, b, metric) for a, b in pairs]
    adjusted = holm([p for *_, p in raw])
    differences = [
        Difference(a.entry.name, b.entry.name, mean, stderr, p)
        for (a, b), (mean, stderr, _), p in zip(pairs, raw, adjusted, strict=True)
    ]
    return Comparison(task, model, budget, metric, size, runs, differences)


def _told_apart(a: Runs, b: Runs, metric: str) -> tuple[float, float, float]:
    """`difference` over the problems that were judged in every run. If some were not, p is the larger of two:
    this one, and the one in which they count as wrong; it is 1 where the two disagree about who is better.
    So nobody wins by failing at hard problems.
    """
    mean, stderr, p = difference(a.values(metric), b.values(metric))
    if not a.partly or not metric.startswith(SHARES):
        return mean, stderr, p
    strictly, _, q = difference(a.strict(metric), b.strict(metric))
    return mean, stderr, max(p, q) if mean * strictly > 0 else 1.0
