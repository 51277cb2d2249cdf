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
    """-sum_t w_t min(rho_t A_t, clip(rho_t, 1 - low, 1 + high) A_t), rho_t = p(token t) / p_old(token t).

    p is the distribution that is trained (`temperature` of learners.gradient). p_old is p before the round's
    first step (column "logp@start").

    normaliser   "token" (DAPO), "path" (GRPO) or "constant" (Dr. GRPO, with `length`)
    ratio        "token", or "path": one ratio per path, the geometric mean of its tokens' ratios (GSPO, Zheng
                 et al. 2025, eq. 7); the loss is then divided by the number of paths, whatever `normaliser`
    correct      upper bound of an importance weight p_old / q for tokens that were drawn from another
                 distribution q (temperature, truncation, another engine); 0: no weight. With training at the
                 temperature of the draws only truncation is left to correct

    Schulman et al. 2017, eq. 7; Shao et al. 2024, eq. 3. Figures: clip_ratio, the share of tokens at the clip
    (with `ratio` "path": of paths).

    A token with A = 1 goes from 0.5 to 0.75: its ratio of 1.5 is clipped to 1.2. Another, with A = -1, goes
    from 0.5 to 0.25: its ratio of 0.5 is clipped to 0.8. The sum is -(1.2 - 0.8), to be divided by the number
    of tokens, 2.

    >>> from surpass.flat import pack
    >>> from surpass.types import Column, Example, Problem, Tree
    >>> tree = Tree(Problem("p", ""))
    >>> opening = tree.add(-1, "task", [1])
    >>> leaves = [tree.add(opening, "policy", [token], logp=[-0.7]) for token in (2, 3)]
    >>> tree.put("advantage", Column("leaf", torch.tensor([1.0, -1.0]).numpy()))
    >>> batch = pack([Example(tree, (leaf,)) for leaf in leaves], ["policy"], ["advantage", "logp"])
    >>> batch.columns["logp@start"] = "token", torch.tensor([1.0, 0.5, 0.5]).log()
    >>> loss, figures = clipped()(Out(torch.tensor([1.0, 0.75, 0.25]).log()), batch)
    >>> round(float(loss["tokens"]), 4), figures["clip_ratio"]
    (-0.4, (2.0, 2))
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
    silent_at = "advantage"  # a path adds nothing if its advantage is 0 at every token

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
        """(the sum of the loss over paths, bool[P]: which ratios are at the clip)."""
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
    """Raises SurpassError where a token that moves the loss was not drawn: it has no log-prob at the draw."""
    if bool((batch.columns["logp"][1].isnan() & moves).any()):
        raise SurpassError(
            "a ratio needs tokens that a model drew, and some of these were not drawn: imitate them (sft) "
            "or leave them out"
        )
