"""Normalisers as token weights, and advantages as two masses per token: what policy objectives share."""

from __future__ import annotations

import torch
from torch import Tensor

from surpass.errors import SurpassError
from surpass.flat import learners_of, lengths, spread
from surpass.types import Batch, Out

LOGP = frozenset({"logp"})  # what most objectives read of a forward pass
NORMALISERS = ("token", "path", "constant")


def path_weights(batch: Batch, normaliser: str, length: float) -> tuple[Tensor, str]:
    """(w [P], name of the total it is divided by).

    "token": each path's tokens count alike, divided by all tokens (DAPO). "path": w = 1 / |path|, divided by
    the number of paths (GRPO). "constant": w = 1 / length, divided by the number of paths (Dr. GRPO). Example
    weights multiply w.
    """
    weight = batch.weight[batch.example]
    if normaliser == "token":
        return weight, "tokens"
    if normaliser == "path":
        return weight / lengths(batch).clamp(min=1), "paths"
    return weight / length, "paths"


def masses(batch: Batch, weight: Tensor) -> tuple[Tensor, Tensor]:
    """(positive [T], negative [T]): per token, the weighted advantages > 0 and < 0 of the paths that learn
    from it.

    A clipped ratio is linear in the advantage for each sign, so a token shared by many paths needs only these
    two sums.
    """
    axis, advantage = batch.columns["advantage"]
    if axis == "path":
        return spread(weight * advantage.clamp(min=0), batch), spread(weight * advantage.clamp(max=0), batch)
    share = spread(weight, batch)
    advantage = torch.where(learners_of(batch) > 0, advantage, 0.0)
    return share * advantage.clamp(min=0), share * advantage.clamp(max=0)


def base_logp(out: Out, batch: Batch, base: str) -> Tensor:
    """[T]: the log-probs under the weights `base`, the column "logp@base". Where the one step of a round is
    taken at its start the learner leaves "logp@start" out: these are the policy's own. SurpassError where any
    other is missing.
    """
    column = batch.columns.get(f"logp@{base}")
    if column is not None:
        return column[1]
    if base != "start":
        raise SurpassError(
            f'this objective compares with the log-probabilities under "{base}", and nobody computed '
            f'the column "logp@{base}"'
        )
    return out.logp.detach()


def check_normaliser(normaliser: str) -> None:
    """Raises SurpassError for a name that is none."""
    if normaliser not in NORMALISERS:
        raise SurpassError(f'normaliser "{normaliser}" is not one of {", ".join(NORMALISERS)}')
