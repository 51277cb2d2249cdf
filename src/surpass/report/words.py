"""Numbers in words."""

from __future__ import annotations

import math


def plain(value: float, digits: int = 3) -> str:
    """A number to read: three decimals below ten, fewer above, in powers of ten where it is tiny or huge."""
    if not math.isfinite(value):
        return "–"
    if value and (abs(value) < 5 * 10.0 ** -(digits + 1) or abs(value) >= 1e6):
        return f"{value:.1e}"
    return f"{value:,.{digits if abs(value) < 10 else 1 if abs(value) < 1000 else 0}f}".replace("-", "−")


def signed(value: float) -> str:
    """A difference with its sign."""
    return f"+{plain(value)}" if value > 0 else plain(value)


def between(value: float, stderr: float) -> str:
    """A mean with its standard error, where that is known."""
    return f"{plain(value)} ± {plain(stderr)}" if math.isfinite(stderr) else plain(value)


def amount(n: float) -> str:
    """A count to read: 12,345 or 1.23 M."""
    for size, letter in ((1e9, "G"), (1e6, "M")):
        if n >= size:
            return f"{n / size:.2f} {letter}"
    return f"{n:,.0f}"


def duration(seconds: float) -> str:
    """Seconds to read: 0.42 s, 3 min 12 s, 2 h 05 min."""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


def some(n: int, thing: str) -> str:
    """1 attempt, 2 attempts."""
    return f"{n:,} {thing}{'s' * (n != 1)}"
