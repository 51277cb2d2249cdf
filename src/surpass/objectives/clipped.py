"""The clipped policy gradient and its variants."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from surpass.errors import SurpassError
from surpass.flat import gather, lengths, spread
from surpass.objectives.weights import LOGP, check_normaliser, masses, path_weights
from surpass.types import Batch, Figures, Out


@dataclass(frozen=True)
class clipped:
    """-sum_t w_t min(rho_t A_t, clip(rho_t, 1 - low, 1 + high) A_t), rho_t = p(token t) / p_start(token t).

    p_start is the learner's own probability before its first step of the round. `ratio` "path" uses one ratio
    per path, the geometric mean of its tokens' (GSPO, Zheng et al. 2025, eq. 7), and is divided by the number
    of paths, whatever `normaliser` says. `normaliser` is one of "token" (DAPO), "path" (GRPO), "constant"
    (Dr. GRPO, with `length`). `correct` truncates at this value a weight p_start / q for tokens that were
    drawn from another distribution q (temperature, truncation, another engine); 0: no correction. p is the
    distribution that is trained (learners.gradient, `temperature`): trained at the temperature of the draws
    there is nothing left to correct but truncation.

    Schulman et al. 2017, eq. 7; Shao et al. 2024, eq. 3. Figures: clip_ratio (share of tokens, or of paths
    where the ratio is theirs, at the clip).
    """

    low: float = 0.2
    high: float = 0.2
    normaliser: str = "token"
    ratio: str = "token"
    length: float = 1.0
    correct: float = 0.0

    def __post_init__(self) -> None:
        check_normaliser(self.normaliser)
        if self.ratio not in ("token", "path"):
            raise SurpassError(f'ratio "{self.ratio}" is not one of token, path')
        if self.ratio == "path" and self.correct:
            raise SurpassError(
                "a ratio per path has no correction for draws from another distribution; leave out `correct`"
            )

    @property
    def columns(self) -> frozenset[str]:
        return frozenset({"advantage", "logp@start", "logp"} | ({"logq"} if self.correct else set()))

    outputs = LOGP
    silent_at = "advantage"  # a path whose advantage is 0 throughout adds nothing

    def __call__(self, out: Out, batch: Batch) -> tuple[dict[str, Tensor], Figures]:
        start = (
            batch.columns["logp@start"][1].to(out.logp.dtype)
            if "logp@start" in batch.columns
            else out.logp.detach()
        )
        weight, total = path_weights(batch, self.normaliser, self.length)
        log_ratio = torch.where(batch.trained, out.logp - start, 0.0)
        if self.ratio == "path":
            loss, cut = self._paths(log_ratio, batch)
            return {"paths": loss}, {"clip_ratio": (float(cut.sum()), len(cut))}
        positive, negative = masses(batch, weight)
        _refuse_written(batch, (positive != 0) | (negative != 0))
        if self.correct:
            drawn = batch.trained & ~batch.columns["logp"][1].isnan()
            drift = torch.where(
                drawn, (start - batch.columns["logq"][1]).exp().clamp(max=self.correct), 0.0
            ).detach()
            positive, negative = positive * drift, negative * drift
        rho = log_ratio.exp()
        gain = positive * rho.clamp(max=1 + self.high) + negative * rho.clamp(min=1 - self.low)
        cut = ((rho > 1 + self.high) & (positive > 0)) | ((rho < 1 - self.low) & (negative < 0))
        return {total: -gain.sum()}, {"clip_ratio": (float(cut.sum()), int(batch.trained.sum()))}

    def _paths(self, log_ratio: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """(the loss's sum over paths, bool[P]: whose ratio is at the clip)."""
        axis, advantage = batch.columns["advantage"]
        if axis != "path":
            raise SurpassError(
                "a ratio per path needs one advantage per path; use advantages.group or leave_one_out"
            )
        _refuse_written(batch, spread(advantage.abs(), batch) > 0)
        rho = (gather(log_ratio, batch) / lengths(batch).clamp(min=1)).exp()
        gain = torch.where(
            advantage > 0, advantage * rho.clamp(max=1 + self.high), advantage * rho.clamp(min=1 - self.low)
        )
        cut = ((rho > 1 + self.high) & (advantage > 0)) | ((rho < 1 - self.low) & (advantage < 0))
        return -(batch.weight[batch.example] * gain).sum(), cut


def _refuse_written(batch: Batch, moves: Tensor) -> None:
    """SurpassError where a token that moves the loss was never drawn: its probability at the draw is
    unknown.
    """
    if bool((batch.columns["logp"][1].isnan() & moves).any()):
        raise SurpassError(
            "a ratio needs tokens that were drawn, and some of these were written: imitate them (sft) "
            "or leave them out"
        )
