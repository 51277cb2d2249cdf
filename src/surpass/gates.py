"""Whether a trial is kept: statistics on the gate split, which nothing else sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.stats import ttest_rel

from surpass.types import Report, Verdict


def paired(before: Report, after: Report, metric: str) -> tuple[float, float, int]:
    """(mean difference, its standard error, n) over the problems both reports judged; the error is nan below two."""
    return paired_values(before.by_problem(metric), after.by_problem(metric))


def paired_values(before: Mapping[str, float], after: Mapping[str, float]) -> tuple[float, float, int]:
    """`paired`, of values by problem."""
    difference = np.array([after[problem] - value for problem, value in before.items() if problem in after])
    n = len(difference)
    stderr = float(difference.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    return (float(difference.mean()) if n else float("nan")), stderr, n


@dataclass(frozen=True)
class no_worse:
    """Keep unless the trial is significantly worse than the best kept model: one-sided paired t-test at level `alpha`.

    Against the last kept model a run could slide down unnoticed; asking for a significant gain would stall it.
    """

    every: int = 1
    alpha: float = 0.05
    metric: str = "accuracy"
    labels: bool = True

    def __call__(self, best: Report, kept: Report, new: Report) -> Verdict:
        a, b = best.by_problem(self.metric), new.by_problem(self.metric)
        both = [problem for problem in a if problem in b]
        if len(both) < 2:
            return Verdict(False, f"only {len(both)} gate problems were judged both times")
        old, now = np.array([a[p] for p in both]), np.array([b[p] for p in both])
        change, stderr, n = paired(best, new, self.metric)
        difference = now - old
        if np.ptp(difference) == 0:  # the test is undefined without spread
            p = 1.0 if change >= 0 else 0.0
        else:
            p = float(ttest_rel(now, old, alternative="less").pvalue)
        words = f"{self.metric} {now.mean():.3f} against {old.mean():.3f} of the best ({change:+.3f} +- {stderr:.3f}, n={n}); "
        words += f"p={p:.3f} that it is no worse" if p >= self.alpha else f"significantly worse, p={p:.3f} < {self.alpha}"
        return Verdict(p >= self.alpha, words, p)


@dataclass(frozen=True)
class best_so_far:
    """Keep only what scores at least as high as the best kept model. Overstates its own score: the maximum of noisy means."""

    every: int = 1
    metric: str = "accuracy"
    labels: bool = True

    def __call__(self, best: Report, kept: Report, new: Report) -> Verdict:
        old, now = best.mean(self.metric), new.mean(self.metric)
        return Verdict(now >= old, f"{self.metric} {now:.3f} against {old:.3f} of the best")


@dataclass(frozen=True)
class always:
    """Keep every trial."""

    every: int = 1
    labels: bool = False

    def __call__(self, best: Report, kept: Report, new: Report) -> Verdict:
        return Verdict(True, "every update is kept")


@dataclass(frozen=True)
class limits:
    """Without labels: keep what still behaves like the start, by the figures of measures.agreement. It cannot see whether answers
    became better; it refuses what is known to go wrong without labels.

    Refuses where, on the gate problems, the start's attempts agreed by less than `agreement` (a vote that weak teaches mistakes;
    0: not asked); drift from the start is above `drift` nats a token; mean length left [1 / length, length] times the start's;
    the share cut off rose, the share that states an answer fell, or the share of problems that get one and the same answer
    rose by more than `change`.
    """

    every: int = 1
    agreement: float = 0.0
    drift: float = 0.5
    length: float = 2.0
    change: float = 0.1
    labels: bool = False
    metric: ClassVar[str] = ""  # what it compares with stays the start

    def hopeless(self, start: Report) -> str:
        """Why no update could be kept, whatever it does; "" if one could. A run ends there before it begins."""
        found = start.mean("agreement")
        if not found < self.agreement:
            return ""
        return (f"the vote is too weak to learn from: at the start the commonest answer holds {found:.2f} of the attempts, "
                f"less than {self.agreement:.2f}")  # fmt: skip

    def __call__(self, best: Report, kept: Report, new: Report) -> Verdict:
        start, now = ({name: m["mean"] for name, m in report.metrics.items()} for report in (best, new))
        words = (f"agreement {now['agreement']:.3f} (start {start['agreement']:.3f}), drift {now['drift']:.3f} nats a token, length "
                 f"{now['sampled/mean_length']:.1f} (start {start['sampled/mean_length']:.1f}); no labels: whether answers are right is not known")  # fmt: skip
        if weak := self.hopeless(best):
            return Verdict(False, f"{weak}; {words}")
        ratio = now["sampled/mean_length"] / max(start["sampled/mean_length"], 1e-9)
        wrong = {
            f"drift is above {self.drift}": not now["drift"] <= self.drift,
            f"length changed by more than a factor of {self.length}": not 1 / self.length <= ratio <= self.length,
            "more attempts are cut off": now["sampled/clipped_ratio"] > start["sampled/clipped_ratio"] + self.change,
            "fewer attempts state an answer": now["answered"] < start["answered"] - self.change,
            "more problems get one and the same answer": now["sameness"] > start["sameness"] + self.change,
        }
        found = [what for what, holds in wrong.items() if holds]
        return Verdict(not found, "; ".join([*(found or ["within the limits"]), words]))
