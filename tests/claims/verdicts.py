"""How a claim is decided, and what the page of claims says of all of them."""

from __future__ import annotations

import re

import numpy as np

LEVEL = 0.05
VERDICTS = ("shown", "equal", "not shown", "refuted")
MARK, LEAD = "<!-- claims -->\n", re.compile(r"(?<=<!-- counts -->\n).*?(?=<!-- /counts -->)", re.DOTALL)


def decided(p: float, other: float, within: float) -> str:
    """ "equal" where two one-sided t-tests say that the mean effect is between -E and E (both p < 0.05,
    `within` is the larger); else "shown" where one says that it is above 0, "refuted" where one says that it
    is below 0, and "not shown" where none does.
    """
    if within < LEVEL:
        return "equal"
    return "shown" if p < LEVEL else "refuted" if other < LEVEL else "not shown"


def chance(effects: np.ndarray) -> float:
    """p of "the mean effect is at most 0", one-sided."""
    if np.ptp(effects) < 1e-12:  # equal but for rounding
        return 0.0 if effects[0] > 0 else 1.0
    from scipy.stats import ttest_1samp  # slow to import

    return float(ttest_1samp(effects, 0, alternative="greater").pvalue)


def blocks(page: str) -> dict[str, str]:
    """Each method's part of the page."""
    return dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page.partition(MARK)[2], re.MULTILINE | re.DOTALL))


def verdicts(block: str) -> dict[str, str]:
    """The verdict on each claim of a method's part, without its E."""
    return {
        text: next(v for v in VERDICTS if found.startswith(v))
        for text, found in re.findall(r"^\| (.*?) \| .*\| \*\*(.*?)\*\* \|$", block, re.MULTILINE)
    }


def counted(page: str) -> str:
    """How many claims ended how: the page's first words."""
    rows = [
        (kind, next(v for v in VERDICTS if found.startswith(v)))
        for block in blocks(page).values()
        for kind, found in re.findall(r"^\| .*? \| ([^|]*?) \| .*\| \*\*(.*?)\*\* \|$", block, re.MULTILINE)
    ]
    lines = ["| | shown | equal within E | not shown | refuted |", "|---|---|---|---|---|"]
    for name, some in (
        ("primary claims", [v for kind, v in rows if kind == "primary"]),
        ("all claims", [v for _, v in rows]),
    ):
        lines.append(f"| {len(some)} {name} | " + " | ".join(str(some.count(v)) for v in VERDICTS) + " |")
    return "\n".join(lines) + "\n"
