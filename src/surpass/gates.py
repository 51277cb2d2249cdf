"""Gates: whether a trial is kept, by statistics on the gate split, which nothing else sees. Where a value is
nan nothing is kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from surpass.types import Report, Verdict


def paired(before: Report, after: Report, metric: str) -> tuple[float, float, int]:
    """(mean difference, its standard error, n) over the problems that both reports judged.

    The difference is after - before; its standard error is std(differences, ddof=1) / sqrt(n), nan if n < 2.

    >>> from surpass.types import Row
    >>> old = Report("", [Row("p", 0, "accuracy", 0.0), Row("q", 0, "accuracy", 1.0)])
    >>> new = Report("", [Row("p", 0, "accuracy", 1.0), Row("q", 0, "accuracy", 1.0)])
    >>> paired(old, new, "accuracy")
    (0.5, 0.5, 2)
    """
    return paired_values(before.by_problem(metric), after.by_problem(metric))


def paired_values(before: Mapping[str, float], after: Mapping[str, float]) -> tuple[float, float, int]:
    """`paired`, for values by problem."""
    difference = np.array([after[problem] - value for problem, value in before.items() if problem in after])
    n = len(difference)
    stderr = float(difference.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    return (float(difference.mean()) if n else float("nan")), stderr, n


def counted(best: Report, new: Report, metric: str) -> tuple[dict[str, float], dict[str, float], int]:
    """(values of `best`, values of `new`, how many of these are missing), by problems that `best` judged.

    A problem that `best` judged and `new` did not counts as the lowest value: 0, or the lowest in either
    report if that is below 0. Left out, it would favour a model that learnt to fail at hard problems.

    >>> from surpass.types import Row
    >>> best = Report("", [Row("p", 0, "accuracy", 0.5), Row("q", 0, "accuracy", 1.0)])
    >>> counted(best, Report("", [Row("p", 0, "accuracy", 1.0)]), "accuracy")
    ({'p': 0.5, 'q': 1.0}, {'p': 1.0, 'q': 0.0}, 1)
    """
    old, now = best.by_problem(metric), new.by_problem(metric)
    least = min([0.0, *old.values(), *now.values()])
    return old, {problem: now.get(problem, least) for problem in old}, len(old.keys() - now.keys())


def at_least(best: Report, new: Report, metric: str) -> bool:
    """Whether the mean of `new` is no lower than that of `best`, as `counted`. False if `best` judged
    nothing, if `new` judged none of its problems, or if a value is infinite.
    """
    old, now, lost = counted(best, new, metric)
    return len(old) > lost and not unbounded(best, new, metric) and sum(now.values()) >= sum(old.values())


def unbounded(best: Report, new: Report, metric: str) -> str:
    """Which value is infinite, in words; "" if none is. An infinite value makes tests meaningless."""
    for report in (best, new):
        for problem, value in report.by_problem(metric).items():
            if not math.isfinite(value):
                return f"the {metric} of problem {problem} is {value}, which compares with nothing"
    return ""


def strict(before: Report, after: Report, metric: str) -> tuple[float, float, int]:
    """`paired`, over all problems that either report judged. Missing values are the lowest (`counted`)."""
    old, now, _ = counted(before, after, metric)
    back, then, _ = counted(after, before, metric)
    return paired_values(then | old, back | now)


def _lost(n: int) -> str:
    return f"; {n} that the best had judged could not be judged now and count as wrong" if n else ""


@dataclass(frozen=True)
class no_worse:
    """Keep a trial unless it is significantly worse than the best kept model: a one-sided paired t-test at
    level `alpha` over the problems that the best was judged on (`counted`).

    Compared with the last kept model, a run could slide down unnoticed. If every gain had to be significant,
    a run would stall.

    >>> from surpass.types import Row
    >>> best = Report("", [Row(f"p{i}", 0, "accuracy", float(i < 8)) for i in range(10)])
    >>> worse = Report("", [Row(f"p{i}", 0, "accuracy", float(i < 3)) for i in range(10)])
    >>> no_worse()(best, best, best).keep, no_worse()(best, best, worse).keep
    (True, False)
    """

    every: int = 1
    alpha: float = 0.05
    metric: str = "accuracy"
    labels: bool = True

    def __call__(self, best: Report, kept: Report, new: Report) -> Verdict:
        a, b, lost = counted(best, new, self.metric)
        if len(a) - lost < 2:
            return Verdict(False, f"only {len(a) - lost} gate problems were judged both times")
        if odd := unbounded(best, new, self.metric):
            return Verdict(False, odd)
        old, now = np.array(list(a.values())), np.array(list(b.values()))
        change, stderr, n = paired_values(a, b)
        if np.ptp(now - old) == 0:  # the t-test is undefined if all differences are equal
            p = 1.0 if change >= 0 else 0.0
        else:
            from scipy.stats import ttest_rel  # slow to import

            p = float(ttest_rel(now, old, alternative="less").pvalue)
        words = (
            f"{self.metric} {now.mean():.3f} against {old.mean():.3f} of the best ({change:+.3f} +- "
            f"{stderr:.3f}, n={n}{_lost(lost)}); "
        )
        words += (
            f"p={p:.3f} that it is no worse"
            if p >= self.alpha
            else f"significantly worse, p={p:.3f} < {self.alpha}"
        )
        return Verdict(p >= self.alpha, words, p)


@dataclass(frozen=True)
class best_so_far:
    """Keep a trial only if its mean is at least that of the best kept model, over the problems that the best
    was judged on (`counted`). The kept score is biased upwards: it is a maximum of noisy means.
    """

    every: int = 1
    metric: str = "accuracy"
    labels: bool = True

    def __call__(self, best: Report, kept: Report, new: Report) -> Verdict:
        a, b, lost = counted(best, new, self.metric)
        if not a:
            return Verdict(False, f"no gate problem was judged: {self.metric} of the best is not known")
        if lost == len(a):
            return Verdict(False, f"no gate problem was judged now: {self.metric} is not known")
        if odd := unbounded(best, new, self.metric):
            return Verdict(False, odd)
        old, now = sum(a.values()) / len(a), sum(b.values()) / len(a)
        words = f"{self.metric} {now:.3f} against {old:.3f} of the best (n={len(a)}{_lost(lost)})"
        return Verdict(at_least(best, new, self.metric), words)


@dataclass(frozen=True)
class always:
    """Keep every trial."""

    every: int = 1
    labels: bool = False

    def __call__(self, best: Report, kept: Report, new: Report) -> Verdict:
        return Verdict(True, "every update is kept")


_LIMITED = ("drift", "sampled/mean_length", "sampled/clipped_ratio", "answered", "sameness")


@dataclass(frozen=True)
class limits:
    """Keep a trial that still behaves like the start, by the metrics of measures.agreement. Uses no labels:
    it cannot see whether answers became better, and refuses what is known to go wrong without labels.

    It refuses if, on the gate problems, one of these holds: the start's attempts agree by less than
    `agreement` (so weak a vote teaches mistakes; 0: not checked); drift from the start exceeds `drift` nats a
    token; the mean length is outside [1 / growth, growth] times the start's. It also refuses if one of these
    changes by more than `change`: the share cut off rises, the share that states an answer falls, the share
    of problems with one and the same answer rises, or the share that could not be measured rises.
    """

    every: int = 1
    agreement: float = 0.0
    drift: float = 0.5
    growth: float = 2.0
    change: float = 0.1
    labels: bool = False
    metric: ClassVar[str] = ""  # it always compares with the start

    def hopeless(self, start: Report) -> str:
        """Why no update can ever be kept; "" if one can. With a reason the run ends before it learns."""
        found = start.mean("agreement")
        if not found < self.agreement:
            return ""
        return (
            f"the vote is too weak to learn from: at the start the commonest answer holds {found:.2f} "
            f"of the attempts, less than {self.agreement:.2f}"
        )

    def __call__(self, best: Report, kept: Report, new: Report) -> Verdict:
        start, now = ({name: m["mean"] for name, m in report.metrics.items()} for report in (best, new))
        words = (
            f"agreement {now['agreement']:.3f} (start {start['agreement']:.3f}), drift "
            f"{now['drift']:.3f} nats a token, length {now['sampled/mean_length']:.1f} (start "
            f"{start['sampled/mean_length']:.1f}); no labels: whether answers are right is not known"
        )
        if weak := self.hopeless(best):
            return Verdict(False, f"{weak}; {words}")
        ratio = now["sampled/mean_length"] / max(start["sampled/mean_length"], 1e-9)
        wrong = {
            f"drift is above {self.drift}": not now["drift"] <= self.drift,
            f"length changed by more than a factor of {self.growth}": not 1 / self.growth
            <= ratio
            <= self.growth,
            "more attempts are cut off": now["sampled/clipped_ratio"]
            > start["sampled/clipped_ratio"] + self.change,
            "fewer attempts state an answer": now["answered"] < start["answered"] - self.change,
            "more problems get one and the same answer": now["sameness"] > start["sameness"] + self.change,
            "more problems could not be measured": _unmeasured(new) > _unmeasured(best) + self.change,
            **{f"{name} is no number": not math.isfinite(now[name] + start[name]) for name in _LIMITED},
        }
        found = [what for what, holds in wrong.items() if holds]
        return Verdict(not found, "; ".join([*(found or ["within the limits"]), words]))


def _unmeasured(report: Report) -> float:
    """The share of problems whose attempts all failed."""
    m = report.metrics["agreement"]
    return m["missing"] / max(1, m["n"] + m["missing"])
