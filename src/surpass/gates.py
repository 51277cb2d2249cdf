"""Whether a trial is kept: statistics on the gate split, which nothing else sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import ttest_rel

from surpass.types import Report, Verdict


def paired(before: Report, after: Report, metric: str) -> tuple[float, float, int]:
    """(mean difference, its standard error, n) over the problems both reports judged; the error is nan below two."""
    a, b = before.by_problem(metric), after.by_problem(metric)
    both = [problem for problem in a if problem in b]
    difference = np.array([b[problem] - a[problem] for problem in both])
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
        words = f"{self.metric} {now.mean():.3f} against {old.mean():.3f} of the best ({change:+.3f} +- {stderr:.3f}, n={n}, p={p:.3f})"
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
