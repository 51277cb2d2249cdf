"""Regression of a log-ratio on a target."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from surpass.flat import spread
from surpass.objectives.weights import LOGP, base_logp
from surpass.types import Batch, Figures, Out


@dataclass(frozen=True)
class regression:
    """sum_t w_t b_t (beta (log p(t) - log p_base(t)) - y_t)^2, divided by the number of paths.

    The sum is over the trained tokens t with a known target y_t (column `target`). b_t is the column
    `balance`; w_t sums the weights of the paths that learn from t. Yang et al. 2025 (LaSeR), eq. of the
    self-rewarding loss. Figures: target_gap, the mean distance between the scaled log-ratio and its target.
    """

    beta: float = 0.1
    base: str = "policy@0"
    target: str = "target"
    balance: str = "balance"

    @property
    def columns(self) -> frozenset[str]:
        return frozenset({f"logp@{self.base}", self.target, self.balance})

    outputs = LOGP

    def __call__(self, out: Out, batch: Batch) -> tuple[dict[str, Tensor], Figures]:
        y, balance = batch.columns[self.target][1], batch.columns[self.balance][1]
        weight = spread(batch.weight[batch.example], batch)
        known = (weight > 0) & ~y.isnan() & ~balance.isnan()
        gap = torch.where(
            known, self.beta * (out.logp - base_logp(out, batch, self.base)) - y.nan_to_num(), 0.0
        )
        figures = {"target_gap": (float(gap.detach().abs().sum()), int(known.sum()))}
        return {"paths": (weight * balance.nan_to_num() * gap**2).sum()}, figures
