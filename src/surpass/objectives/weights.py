"""What policy objectives share: normalisers as weights, and advantages as two sums per token."""

from __future__ import annotations

import torch
from torch import Tensor

from surpass.errors import SurpassError
from surpass.flat import learners_of, lengths, spread
from surpass.types import Batch, Out

LOGP = frozenset({"logp"})  # what most objectives need from a forward pass
NORMALISERS = ("token", "path", "constant")


def path_weights(batch: Batch, normaliser: str, length: float) -> tuple[Tensor, str]:
    """(w [P]: the weight of each path's tokens, name of the total that divides the loss).

    "token": w = 1, divided by the number of tokens (DAPO). "path": w = 1 / |path|, divided by the number of
    paths (GRPO). "constant": w = 1 / length, divided by the number of paths (Dr. GRPO). Example weights
    multiply w.
    """
    weight = batch.weight[batch.example]
    if normaliser == "token":
        return weight, "tokens"
    if normaliser == "path":
        return weight / lengths(batch).clamp(min=1), "paths"
    return weight / length, "paths"


def masses(batch: Batch, weight: Tensor) -> tuple[Tensor, Tensor]:
    """(positive [T], negative [T]): per token, the sum of the positive weighted advantages of the paths that
    learn from it, and the sum of the negative ones.

    A clipped ratio is linear in the advantage for each sign, so a token that many paths share needs only
    these two sums.
    """
    axis, advantage = batch.columns["advantage"]
    if axis == "path":
        return spread(weight * advantage.clamp(min=0), batch), spread(weight * advantage.clamp(max=0), batch)
    share = spread(weight, batch)
    advantage = torch.where(learners_of(batch) > 0, advantage, 0.0)
    return share * advantage.clamp(min=0), share * advantage.clamp(max=0)


def base_logp(out: Out, batch: Batch, base: str) -> Tensor:
    """[T]: the log-probs under the weights `base`, from the column "logp@base". In a round of a single step
    the learner leaves "logp@start" out, because these are the policy's own log-probs. Raises SurpassError
    where another column is missing.
    """
    column = batch.columns.get(f"logp@{base}")
    if column is not None:
        return column[1]
    if base != "start":
        raise SurpassError(
            f'this objective compares with the log-probabilities under "{base}", but the column '
            f'"logp@{base}" is missing'
        )
    return out.logp.detach()


def check_normaliser(normaliser: str) -> None:
    """Raises SurpassError for an unknown normaliser."""
    if normaliser not in NORMALISERS:
        raise SurpassError(f'normaliser "{normaliser}" is not one of {", ".join(NORMALISERS)}')
