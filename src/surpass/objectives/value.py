"""Losses of value heads: what a prefix is worth."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from surpass.errors import SurpassError
from surpass.types import Batch, Figures, Out


@dataclass(frozen=True)
class value:
    """sum over paths of w l(v, y), divided by the number of paths: v is the output of value head `head` at
    the path's last token, y the column `target` there.

    kind "mse": l = (v - y)^2. kind "bce": l = -y log s(v) - (1 - y) log(1 - s(v)), s the logistic function
    and y in [0, 1]. Figures: value_gap, the mean distance of v (for "bce": s(v)) from y.
    """

    kind: str = "mse"
    target: str = "target"
    head: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("mse", "bce"):
            raise SurpassError(f'kind "{self.kind}" is not one of mse, bce')

    needs = frozenset({"value"})
    outputs = frozenset({"value"})

    @property
    def columns(self) -> frozenset[str]:
        return frozenset({self.target})

    def __call__(self, out: Out, batch: Batch) -> tuple[dict[str, Tensor], Figures]:
        assert out.value is not None, "the learner asks for what `outputs` names"
        axis, target = batch.columns[self.target]
        v = out.value[batch.last, self.head]
        y = (target if axis == "path" else target[batch.last]).to(v.dtype)
        weight = batch.weight[batch.example].to(v.dtype)
        if self.kind == "mse":
            loss, guess = (v - y) ** 2, v
        else:
            loss, guess = F.binary_cross_entropy_with_logits(v, y, reduction="none"), torch.sigmoid(v)
        return {"paths": (weight * loss).sum()}, {
            "value_gap": (float((guess - y).detach().abs().sum()), len(y))
        }
