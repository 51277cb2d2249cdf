"""What a method claims, measured: a file test_METHOD.py that asks for `claims` measures one primary claim and some secondary ones (the others
are tests of a claim that holds without chance, or older ones).

A claim is a list of effects, one a seed, positive where the claim holds. It is "shown" where a one-sided t-test over seeds, adjusted
after Holm among a method's secondary claims, has p < 0.05, "refuted" where the other side has (adjusted likewise), and else "not shown". What is
expected is written beside every claim, so a claim that turns out otherwise fails its test; all go into docs/claims.md. Another processor
adds in another order, and what is decided narrowly may then be decided otherwise: "shown or not shown" expects either.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import ttest_1samp

PAGE = Path(__file__).parents[2] / "docs" / "claims.md"
LEVEL = 0.05


@dataclass
class Claims:
    """The claims of one method."""

    method: str
    rows: list[dict] = field(default_factory=list)

    def primary(self, text: str, effects, figures: str, expected: str = "shown") -> None:
        """The claim that was chosen before it was first run."""
        self._add("primary", text, effects, figures, expected)

    def secondary(self, text: str, effects, figures: str, expected: str = "shown") -> None:
        self._add("secondary", text, effects, figures, expected)

    def exact(self, text: str, holds: bool, figures: str, expected: str = "shown", kind: str = "exact") -> None:
        """A claim that is decided without a test over seeds: one without chance, or by what `kind` says."""
        self.rows.append({"kind": kind, "text": text, "figures": figures, "p": None, "expected": expected,
                          "found": "shown" if holds else "refuted"})  # fmt: skip

    def _add(self, kind: str, text: str, effects, figures: str, expected: str) -> None:
        effects = np.asarray(effects, float)
        assert len(effects) >= 3, "at least three seeds"
        assert np.isfinite(effects).all(), f"{text}: {effects}"
        self.rows.append({"kind": kind, "text": text, "figures": figures, "expected": expected, "p": _chance(effects),
                          "other": _chance(-effects)})  # fmt: skip
        print(f"  {kind}: {text}: {figures}; effects {effects.round(4).tolist()}, p {self.rows[-1]['p']:.3f}", flush=True)

    def decide(self) -> None:
        """What was found, after Holm among the secondary claims."""
        for side in ("p", "other"):
            second, most = sorted((row for row in self.rows if row["kind"] == "secondary"), key=lambda row: row[side]), 0.0
            for i, row in enumerate(second):
                most = row[side] = max(most, min(1.0, row[side] * (len(second) - i)))
        for row in self.rows:
            if "other" in row:
                row["found"] = "shown" if row["p"] < LEVEL else "refuted" if row["other"] < LEVEL else "not shown"


def _chance(effects: np.ndarray) -> float:
    """p of "the mean effect is at most 0", one-sided."""
    if effects.std() == 0:
        return 0.0 if effects[0] > 0 else 1.0
    return float(ttest_1samp(effects, 0, alternative="greater").pvalue)


def listed(values, digits: int = 3) -> str:
    """Numbers, one a seed."""
    return ", ".join(f"{value:.{digits}f}" for value in values)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call":
        item.went_through = report.passed


@pytest.fixture
def claims(request):
    torch.set_num_threads(min(2, len(os.sched_getaffinity(0))))
    found, began = Claims(request.node.path.stem.removeprefix("test_")), time.monotonic()
    yield found
    if not getattr(request.node, "went_through", False):
        return  # it did not come to its end: the page stays as it is
    found.decide()
    _write(found, time.monotonic() - began)
    surprises = [
        f"{row['text']}: {row['found']}, expected {row['expected']}"
        for row in found.rows
        if row["found"] not in row["expected"].split(" or ")
    ]
    assert not surprises, surprises


def _write(claims: Claims, seconds: float) -> None:
    """Put a method's rows into the page in place of its old ones."""
    page = PAGE.read_text()
    head, _, rest = page.partition("<!-- claims -->\n")
    blocks = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", rest, re.MULTILINE | re.DOTALL))
    lines = ["", "```", f"make claims METHOD={claims.method}", "```", "", f"{seconds:.0f} s.", "",
             "| claim | | measured | p | |", "|---|---|---|---|---|"]  # fmt: skip
    for row in claims.rows:
        p = "" if row["p"] is None else f"{row['p']:.3f}" if row["p"] >= 0.001 else "< 0.001"
        lines.append(f"| {row['text']} | {row['kind']} | {row['figures']} | {p} | **{row['found']}** |")
    blocks[claims.method] = "\n".join(lines)
    PAGE.write_text(head + "<!-- claims -->\n" + "\n".join(f"## {name}\n{blocks[name].rstrip()}\n" for name in sorted(blocks)))
