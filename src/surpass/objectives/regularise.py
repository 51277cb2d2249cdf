"""Terms that hold a policy near another, or keep it varied; and the sum of several terms."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from surpass.flat import spread
from surpass.objectives.weights import check_normaliser, path_weights
from surpass.types import Batch, Out


@dataclass(frozen=True)
class kl:
    """coefficient x sum_t w_t (exp(d_t) - d_t - 1), d_t = log p_base(t) - log p(t): Schulman's k3 estimate of KL(p || p_base)
    on drawn tokens, as in GRPO (Shao et al. 2024, eq. 4)."""

    coefficient: float = 0.04
    base: str = "policy@0"
    normaliser: str = "token"
    length: float = 1.0

    def __post_init__(self):
        check_normaliser(self.normaliser)

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({f"logp@{self.base}"})

    def __call__(self, out: Out, batch: Batch) -> tuple[dict[str, Tensor], dict[str, float]]:
        weight, total = path_weights(batch, self.normaliser, self.length)
        column = batch.columns.get(f"logp@{self.base}")
        base = out.logp.detach() if column is None else column[1]
        d = torch.where(batch.trained, base - out.logp, 0.0)
        k3 = d.exp() - d - 1
        figures = {"kl": float((k3.detach() * batch.trained).sum()), "learnt": float(batch.trained.sum())}
        return {total: self.coefficient * (spread(weight, batch) * k3).sum()}, figures


@dataclass(frozen=True)
class entropy:
    """-coefficient x sum_t w_t H_t, H_t the entropy (nats) of the distribution token t was drawn from: a bonus for variety."""

    coefficient: float = 0.01
    normaliser: str = "token"
    length: float = 1.0
    needs = frozenset({"entropy"})

    def __post_init__(self):
        check_normaliser(self.normaliser)

    def __call__(self, out: Out, batch: Batch) -> tuple[dict[str, Tensor], dict[str, float]]:
        assert out.entropy is not None, "the learner asks for what `needs` names"
        weight, total = path_weights(batch, self.normaliser, self.length)
        figures = {"entropy": float((out.entropy.detach() * batch.trained).sum()), "learnt": float(batch.trained.sum())}
        return {total: -self.coefficient * (spread(weight, batch) * out.entropy).sum()}, figures


@dataclass(frozen=True)
class only:
    """An objective on the tokens of one voice alone, where a Learn row trains several: a policy's words, and a mark after them."""

    voice: str
    term: Any

    @property
    def needs(self) -> frozenset[str]:
        return self.term.needs

    def __call__(self, out: Out, batch: Batch) -> tuple[dict[str, Tensor], dict[str, float]]:
        mine = batch.voice == (batch.voices.index(self.voice) if self.voice in batch.voices else len(batch.voices))
        sums, figures = self.term(out, dataclasses.replace(batch, trained=batch.trained & mine))
        return {f"tokens/{self.voice}" if name == "tokens" else name: value for name, value in sums.items()}, figures


@dataclass(frozen=True)
class total:
    """The sum of several objectives, each with its own normaliser."""

    terms: tuple[Any, ...]

    @property
    def needs(self) -> frozenset[str]:
        return frozenset().union(*(term.needs for term in self.terms))

    def __call__(self, out: Out, batch: Batch) -> tuple[dict[str, Tensor], dict[str, float]]:
        sums: dict[str, Tensor] = {}
        figures: dict[str, float] = {}
        for term in self.terms:
            parts, more = term(out, batch)
            for name, value in parts.items():
                sums[name] = sums[name] + value if name in sums else value
            figures |= more
        return sums, figures
