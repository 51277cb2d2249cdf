"""Draws one token per row from logits, and gives its log-probability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from surpass.engines.requests import Sampling


class Settings(NamedTuple):
    """The settings of each row, [B] each, so that rows with different settings share a batch."""

    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    min_p: Tensor

    @classmethod
    def of(cls, rows: Sequence[Sampling], device: torch.device | str) -> Settings:
        def column(name: str, dtype: torch.dtype) -> Tensor:
            return torch.tensor([getattr(row, name) for row in rows], dtype=dtype, device=device)

        return cls(
            column("temperature", torch.float32),
            column("top_k", torch.int64),
            column("top_p", torch.float32),
            column("min_p", torch.float32),
        )

    def take(self, rows: Tensor) -> Settings:
        return Settings(*(values[rows] for values in self))


def _truncate(logq: Tensor, settings: Settings) -> Tensor:
    """logq [B, V], -inf where top_k, top_p and min_p exclude a token. It sorts, so it is only called if one
    of them is set.
    """
    ranked, order = logq.sort(dim=-1, descending=True, stable=True)
    rank = torch.arange(logq.shape[-1], device=logq.device)
    top_k = torch.where(settings.top_k > 0, settings.top_k, logq.shape[-1])
    keep = rank[None] < top_k[:, None]
    p = ranked.masked_fill(~keep, -torch.inf).softmax(-1)
    keep &= (p.cumsum(-1) - p < settings.top_p[:, None]) | (settings.top_p[:, None] >= 1)
    keep &= p >= settings.min_p[:, None] * p[:, :1]
    return logq.masked_fill(~torch.zeros_like(keep).scatter(-1, order, keep), -torch.inf)


def draw(logits: Tensor, settings: Settings, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(token int64[B], logp float32[B], logq float32[B]) from logits [B, V], by inverting the cumulative
    distribution at uniform [B].

    logp is under softmax(logits). logq is under the tempered and truncated distribution that the token was
    drawn from; 0 at temperature 0, where the choice is certain.

    >>> logits = torch.tensor([[0.0, 0.0, 0.0, 0.0]])
    >>> token, logp, logq = draw(logits, Settings.of([Sampling(top_k=2)], "cpu"), torch.tensor([0.6]))
    >>> int(token), round(float(logp.exp()), 4), round(float(logq.exp()), 4)
    (1, 0.25, 0.5)
    """
    logits = logits.float()
    greedy = settings.temperature == 0
    best = logits.argmax(-1)
    normaliser = logits.logsumexp(-1)
    if bool(greedy.all()):
        logp = logits.gather(-1, best[:, None])[:, 0] - normaliser
        return best, logp, torch.zeros_like(logp)
    logq = (logits / torch.where(greedy, 1.0, settings.temperature)[:, None]).log_softmax(-1)
    if bool(((settings.top_k > 0) | (settings.top_p < 1) | (settings.min_p > 0)).any()):
        logq = _truncate(logq, settings).log_softmax(-1)
    cdf = logq.exp().cumsum(-1, dtype=torch.float64)
    # "right" steps over tokens of probability 0; the total, because rounding leaves it a little off 1
    token = torch.searchsorted(cdf, (uniform * cdf[:, -1])[:, None], right=True)[:, 0].clamp(
        max=logits.shape[-1] - 1
    )
    token = torch.where(greedy, best, token)
    logp = logits.gather(-1, token[:, None])[:, 0] - normaliser
    return token, logp, torch.where(greedy, 0.0, logq.gather(-1, token[:, None])[:, 0])
