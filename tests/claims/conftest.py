"""What a method claims, measured: a file test_METHOD.py that asks for `claims` measures one primary claim and
some secondary ones (the others are tests of a claim that holds without chance, or older ones).

A claim is a list of effects, one a seed, positive where the claim holds, and the smallest effect of interest
E, in the same unit, chosen before the first run. verdicts.py says how it is decided. All claims go into
docs/claims.md with their verdicts. A verdict that differs from the one on the page fails the test, whichever
way it turned: the page then holds the new one, to be looked at and kept or not. Another processor adds in
another order, and what is decided narrowly may be decided otherwise there.
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
from verdicts import LEAD, MARK, blocks, chance, counted, decided, verdicts

PAGE = Path(__file__).parents[2] / "docs" / "claims.md"


@dataclass
class Claims:
    """The claims of one method."""

    method: str
    rows: list[dict] = field(default_factory=list)

    def primary(self, text: str, effects, figures: str, least: float) -> None:
        """The claim that was chosen before it was first run; `least` is its smallest effect of interest."""
        self._add("primary", text, effects, figures, least)

    def secondary(self, text: str, effects, figures: str, least: float) -> None:
        self._add("secondary", text, effects, figures, least)

    def exact(self, text: str, holds: bool, figures: str, kind: str = "exact") -> None:
        """A claim that is decided without a test over seeds: one without chance, or by what `kind` says."""
        self.rows.append(
            {
                "kind": kind,
                "text": text,
                "figures": figures,
                "p": None,
                "found": "shown" if holds else "refuted",
            }
        )

    def _add(self, kind: str, text: str, effects, figures: str, least: float) -> None:
        effects = np.asarray(effects, float)
        assert len(effects) >= 3, "at least three seeds"
        assert np.isfinite(effects).all(), f"{text}: {effects}"
        assert least > 0, "an effect of 0 interests nobody"
        sides = {
            "p": chance(effects),
            "other": chance(-effects),
            "within": max(chance(effects + least), chance(least - effects)),
        }
        self.rows.append({"kind": kind, "text": text, "figures": figures, "least": least} | sides)
        print(
            f"  {kind}: {text}: {figures}; effects {effects.round(4).tolist()}, E {least:g}, p "
            f"{sides['p']:.3f}",
            flush=True,
        )

    def decide(self) -> None:
        """What was found, after Holm among the secondary claims."""
        for side in ("p", "other", "within"):
            second, most = (
                sorted((row for row in self.rows if row["kind"] == "secondary"), key=lambda row: row[side]),
                0.0,
            )
            for i, row in enumerate(second):
                most = row[side] = max(most, min(1.0, row[side] * (len(second) - i)))
        for row in self.rows:
            if "least" in row:
                row["found"] = decided(row["p"], row["other"], row["within"])


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
    before = blocks(PAGE.read_text(encoding="utf-8"))
    _write(found, time.monotonic() - began)
    old = verdicts(before.get(found.method, ""))
    changed = [
        f"{row['text']}: {row['found']}, was {old[row['text']]}"
        for row in found.rows
        if old.get(row["text"], row["found"]) != row["found"]
    ]
    assert not changed, changed


def _write(claims: Claims, seconds: float) -> None:
    """Put a method's rows into the page in place of its old ones."""
    page = PAGE.read_text(encoding="utf-8")
    found = blocks(page)
    lines = [
        "",
        "```",
        f"make claims METHOD={claims.method}",
        "```",
        "",
        f"{seconds:.0f} s.",
        "",
        "| claim | | measured | E | p | |",
        "|---|---|---|---|---|---|",
    ]
    for row in claims.rows:
        p = "" if row["p"] is None else f"{row['p']:.3f}" if row["p"] >= 0.001 else "< 0.001"
        least = f"{row['least']:g}" if "least" in row else ""
        verdict = f"equal within {least}" if row["found"] == "equal" else row["found"]
        lines.append(f"| {row['text']} | {row['kind']} | {row['figures']} | {least} | {p} | **{verdict}** |")
    found[claims.method] = "\n".join(lines)
    page = (
        page.partition(MARK)[0]
        + MARK
        + "\n".join(f"## {name}\n{found[name].strip(chr(10))}\n" for name in sorted(found))
    )
    page = re.sub(r"^(## \w+\n)", r"\1\n", page, flags=re.MULTILINE)
    PAGE.write_text(LEAD.sub(lambda _: counted(page), page), encoding="utf-8")
