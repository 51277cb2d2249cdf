"""Learning from pairs: the first path of an example is preferred to the second."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from surpass.errors import SurpassError
from surpass.flat import gather, lengths
from surpass.objectives.weights import LOGP, base_logp
from surpass.types import Batch, Figures, Out


@dataclass(frozen=True)
class dpo:
    """c l(z) + (1 - c) l(-z), z = [log p(a) - log p_base(a)] - [log p(b) - log p_base(b)], a preferred to b.

    c is the example's confidence. kind "sigmoid": l(z) = -log sigmoid(beta z) (Rafailov et al. 2023, eq. 7;
    with c < 1 it is the conservative DPO of Mitchell 2023). kind "ipo": l(z) = (z - 1 / (2 beta))^2 (Azar et
    al. 2023, eq. 17). `per_token` averages log-probs over each path, as TRL does for "ipo". `base` names the
    reference: "policy@0", or "start" for the weights at the start of the round. A prefix that the pair shares
    cancels.

    While |beta z| is far below 1, every pair has about the gradient weight that it began with. beta and c are
    then constant factors, which an optimiser such as AdamW removes, and the reference does nothing. So |beta
    z| has to grow within a round: make several passes, at an lr that is high enough.

    Figures: rewards/accuracies (share of pairs in the right order), rewards/margins (mean beta z),
    rewards/abs_margins (mean |beta z|).

    The preferred token goes from 0.5 to 0.75, the other from 0.5 to 0.25, so z = log 1.5 - log 0.5 = log 3
    and, with beta = 1, the loss is -log sigmoid(log 3) = -log 0.75.

    >>> from surpass.flat import pack
    >>> from surpass.types import Example, Problem, Tree
    >>> tree = Tree(Problem("p", ""))
    >>> opening = tree.add(-1, "task", [1])
    >>> pair = tree.add(opening, "policy", [2]), tree.add(opening, "policy", [3])
    >>> batch = pack([Example(tree, pair)], ["policy"])
    >>> batch.columns["logp@start"] = "token", torch.tensor([1.0, 0.5, 0.5]).log()
    >>> loss, figures = dpo(beta=1.0)(Out(torch.tensor([1.0, 0.75, 0.25]).log()), batch)
    >>> round(float(loss["examples"]), 4), figures["rewards/accuracies"]
    (0.2877, (1.0, 1))
    """

    beta: float = 0.1
    base: str = "start"
    kind: str = "sigmoid"
    per_token: bool = False

    def __post_init__(self) -> None:
        if self.kind not in ("sigmoid", "ipo"):
            raise SurpassError(f'kind "{self.kind}" is not one of sigmoid, ipo')

    @property
    def columns(self) -> frozenset[str]:
        return frozenset({f"logp@{self.base}"})

    outputs = LOGP

    def __call__(self, out: Out, batch: Batch) -> tuple[dict[str, Tensor], Figures]:
        score = gather(torch.where(batch.trained, out.logp - base_logp(out, batch, self.base), 0.0), batch)
        if self.per_token:
            score = score / lengths(batch).clamp(min=1)
        if len(score) != 2 * len(batch.weight):
            raise SurpassError(
                "a preference needs examples of two paths each; use a selector of pairs such as best_worst"
            )
        z = score[0::2] - score[1::2]
        c = batch.confidence
        loss = batch.weight * (c * self._loss(z) + (1 - c) * self._loss(-z))
        figures = {
            "rewards/accuracies": (float((z.detach() > 0).sum()), len(z)),
            "rewards/margins": (float(self.beta * z.detach().sum()), len(z)),
            "rewards/abs_margins": (float(self.beta * z.detach().abs().sum()), len(z)),
        }
        return {"examples": loss.sum()}, figures

    def _loss(self, z: Tensor) -> Tensor:
        if self.kind == "ipo":
            return (z - 1 / (2 * self.beta)) ** 2
        return -F.logsigmoid(self.beta * z)
