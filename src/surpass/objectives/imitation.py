"""Make chosen paths more probable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from surpass.flat import spread
from surpass.objectives.weights import LOGP, check_normaliser, path_weights
from surpass.types import Batch, Figures, Out


@dataclass(frozen=True)
class sft:
    """-sum_t w_t log p(token t): the negative log-likelihood of the examples' paths; `normaliser` as in
    clipped.
    """

    normaliser: str = "token"
    length: float = 1.0
    columns: ClassVar[frozenset[str]] = frozenset()
    outputs = LOGP

    def __post_init__(self) -> None:
        check_normaliser(self.normaliser)

    def __call__(self, out: Out, batch: Batch) -> tuple[dict[str, Tensor], Figures]:
        weight, total = path_weights(batch, self.normaliser, self.length)
        return {total: -(spread(weight, batch) * out.logp).sum()}, {}
