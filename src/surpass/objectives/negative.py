"""Maximum likelihood on right answers, and on wrong ones under the wrong part of the old policy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from surpass.errors import SurpassError
from surpass.flat import spread
from surpass.objectives.weights import LOGP, check_normaliser, path_weights
from surpass.types import Batch, Figures, Out


@dataclass(frozen=True)
class nft:
    """Right paths: -sum_t w_t log R_t. Wrong paths: -sum_t w_t log S((1 - r R_t) / (1 - r)).

    R_t = p(token t) / p_old(token t), p_old = p before the round's first step (column "logp@start"); log R_t
    is clamped to at most `most`. r is the problem's success rate (token column "rate"), clamped to [least, 1
    - least]. The path column "right" says which loss a path has. p models p_right. As p_old = r p_right + (1
    - r) p_wrong, the argument of S is p_wrong / p_old. S(x) = x + stopgrad(max(x, eps) - x) clamps the value
    and not the gradient.

    w is the normaliser's weight times omega, and for wrong paths times `negative` (0: rejection fine-tuning).
    omega: "one" (1), "hard" (1 - r) or "grpo" (sqrt((1 - r) / r)). With "grpo", at R = 1 the gradient is
    GRPO's with the population standard deviation. Chen et al. 2025 (NFT).
    """

    eps: float = 1.0
    omega: str = "hard"
    negative: float = 1.0
    least: float = 0.02
    most: float = 10.0
    normaliser: str = "constant"
    length: float = 1000.0
    columns = frozenset({"rate", "right", "logp", "logp@start"})
    outputs = LOGP

    def __post_init__(self) -> None:
        check_normaliser(self.normaliser)
        if self.omega not in ("one", "hard", "grpo"):
            raise SurpassError(f'omega "{self.omega}" is not one of one, hard, grpo')

    def __call__(self, out: Out, batch: Batch) -> tuple[dict[str, Tensor], Figures]:
        start = (
            batch.columns["logp@start"][1].to(out.logp.dtype)
            if "logp@start" in batch.columns
            else out.logp.detach()
        )
        weight, total = path_weights(batch, self.normaliser, self.length)
        right = batch.columns["right"][1]
        positive, negative = (
            spread(weight * right, batch),
            spread(weight * (1 - right), batch) * self.negative,
        )
        if bool((batch.columns["logp"][1].isnan() & (positive + negative > 0)).any()):
            raise SurpassError("a ratio needs tokens that a model drew, and some of these were not drawn")
        r = batch.columns["rate"][1].nan_to_num(0.5).clamp(self.least, 1 - self.least)
        omega = {"one": torch.ones_like(r), "hard": 1 - r, "grpo": ((1 - r) / r).sqrt()}[self.omega]
        log_ratio = torch.where(batch.trained, out.logp - start, 0.0).clamp(max=self.most)
        left = (1 - r * log_ratio.exp()) / (1 - r)
        held = left + (left.clamp(min=self.eps) - left).detach()
        loss = -(omega * (positive * log_ratio + torch.where(negative > 0, negative * held.log(), 0.0))).sum()
        return {total: loss}, {}
