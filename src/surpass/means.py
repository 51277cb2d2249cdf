"""What a mean says where some problems were not judged."""

from __future__ import annotations

from collections.abc import Mapping

SHARES = ("accuracy", "agreement", "answered", "greedy", "pass@", "won/")
"""Metrics whose names begin like this have values in [0, 1]."""


def right(value: float) -> float:
    """1.0 for a score of at least 1 - 1e-9, which says "right"; 0.0 for a lower one; nan for nan."""
    return value if value != value else float(value >= 1 - 1e-9)


def bounds(metric: str, m: Mapping[str, float]) -> tuple[float, float] | None:
    """The mean of a share over all n + missing problems, if those not judged were all 0, and if all 1. None
    where all or none were judged, and for metrics that are no shares. `m` is a metric of `Report.metrics`.
    """
    n, missing = m.get("n") or 0, m.get("missing") or 0
    if not (n and missing and metric.startswith(SHARES)):
        return None
    return n * m["mean"] / (n + missing), (n * m["mean"] + missing) / (n + missing)


def measured(metric: str, m: Mapping[str, float], digits: int = 3) -> str:
    """A metric in words: mean and standard error; before them its bounds, if it has any."""
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
