"""What a mean says where not everything was judged."""

from __future__ import annotations

from collections.abc import Mapping

SHARES = ("accuracy", "agreement", "answered", "greedy", "pass@", "won/")
"""How the names of metrics begin whose values lie in [0, 1]."""


def right(value: float) -> float:
    """1.0 for a score that says "right", at least 1 - 1e-9, 0.0 for any other, nan for nan."""
    return value if value != value else float(value >= 1 - 1e-9)


def bounds(metric: str, m: Mapping[str, float]) -> tuple[float, float] | None:
    """What the mean of a share would be over n + missing problems if what was not judged were all worth 0,
    and all 1; None where all was judged, where nothing was, and for metrics that are no shares. `m` is a
    metric of `Report.metrics`.
    """
    n, missing = m.get("n") or 0, m.get("missing") or 0
    if not (n and missing and metric.startswith(SHARES)):
        return None
    return n * m["mean"] / (n + missing), (n * m["mean"] + missing) / (n + missing)


def measured(metric: str, m: Mapping[str, float], digits: int = 3) -> str:
    """A metric in words: its mean with its standard error; first between what it lies, where a share was not
    judged everywhere.
    """
    n, missing = m.get("n") or 0, m.get("missing") or 0
    if not n:
        return f"not known   (n=0, {missing} not judged)" if missing else "not known   (n=0)"
    known = f"{m['mean']:.{digits}f} +- {m['stderr']:.{digits}f}"
    if between := bounds(metric, m):
        low, high = between
        return (
            f"{low:.{digits}f} to {high:.{digits}f}: {missing} of {n + missing} not judged, {known} of the "
            f"other {n}"
        )
    return f"{known}   (n={n}{f', {missing} not judged' if missing else ''})"


def all_bounds(metrics: Mapping[str, Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    """`bounds` of each metric that has them."""
    return {metric: between for metric, m in metrics.items() if (between := bounds(metric, m))}
