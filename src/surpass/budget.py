"""How much a run may spend before it ends, in one currency."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from surpass.errors import SurpassError

if TYPE_CHECKING:
    from surpass.models import Models

KINDS = ("tokens", "prefilled", "scored", "trained", "flops", "calls", "seconds")
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)([kMGTP]?)", re.IGNORECASE)
_SCALE = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "p": 1e15}


def spent(cost: Mapping[str, Mapping[str, int]]) -> Counter[str]:
    """Counts outside exams, summed over all accounts."""
    total: Counter[str] = Counter()
    for account, counts in cost.items():
        if account != "exam":
            total.update(counts)
    return total


def parameters(models: Models) -> int:
    """The policy's parameters; 0 where there is no module."""
    module = getattr(models.engine("policy"), "module", None)
    return sum(p.numel() for p in module.parameters()) if module is not None else 0


def flops(counts: Mapping[str, int], size: int) -> float:
    """2 N (prefilled + drawn + scored) + 6 N trained tokens for N parameters; attention is left out."""
    read = counts.get("prefilled", 0) + counts.get("generated", 0) + counts.get("scored", 0)
    return 2.0 * size * read + 6.0 * size * counts.get("trained", 0)


@dataclass(frozen=True)
class Budget:
    """`amount` of one `kind` of work outside exams: tokens (drawn), prefilled, scored or trained tokens,
    flops (see `flops`), calls (draws asked for), or seconds of searching, scoring and learning.

    A run ends before a round that would exceed it if it cost as much as the dearest round so far; the first
    round is always made. A run that seconds end does not repeat exactly.
    """

    kind: str
    amount: float

    def __post_init__(self) -> None:
        if self.kind not in KINDS or not 0 < self.amount < math.inf:
            raise SurpassError(
                f"a budget is an amount of {', '.join(KINDS)}; found {self.kind}={self.amount:g}"
            )

    @staticmethod
    def parse(text: str) -> Budget:
        """The budget in "tokens=200k" or "flops=1e15"; k, M, G, T and P are thousands, millions and so on."""
        kind, equals, amount = text.partition("=")
        found = _AMOUNT.fullmatch(amount.strip().replace("_", "").replace(",", ""))
        if not equals or found is None:
            raise SurpassError(
                f"a budget is KIND=AMOUNT, such as tokens=200k, with KIND out of {', '.join(KINDS)}; "
                f'found "{text}"'
            )
        return Budget(kind.strip(), float(found[1]) * _SCALE[found[2].lower()])

    def of(self, counts: Mapping[str, int], size: int, seconds: float) -> float:
        """How much of this kind of work the counts hold."""
        if self.kind == "seconds":
            return seconds
        if self.kind == "flops":
            return flops(counts, size)
        return float(counts.get({"tokens": "generated"}.get(self.kind, self.kind), 0))

    def __str__(self) -> str:
        scale = next((name for name in "PTGMk" if self.amount >= _SCALE[name.lower()]), "")
        return f"{self.kind}={self.amount / _SCALE[scale.lower()]:g}{scale}"
