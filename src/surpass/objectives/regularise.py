"""Terms that keep a policy near another or its outputs varied, and sums of several terms."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from surpass.flat import spread
from surpass.objectives.weights import LOGP, base_logp, check_normaliser, path_weights
from surpass.parts import Objective
from surpass.types import Batch, Figures, Out


@dataclass(frozen=True)
class kl:
    """coefficient x sum_t w_t (exp(d_t) - d_t - 1), d_t = log p_base(t) - log p(t): Schulman's k3 estimate of
    KL(p || p_base) on drawn tokens, as in GRPO (Shao et al. 2024, eq. 4). Figures: kl, the mean over tokens.

    A token has p = 0.5 and p_base = 0.25, so exp(d) = 0.5 and k3 = 0.5 + log 2 - 1.

    >>> from surpass.flat import pack
    >>> from surpass.types import Example, Problem, Tree
    >>> tree = Tree(Problem("p", ""))
    >>> leaf = tree.add(tree.add(-1, "task", [1]), "policy", [2])
    >>> batch = pack([Example(tree, (leaf,))], ["policy"])
    >>> batch.columns["logp@policy@0"] = "token", torch.tensor([1.0, 0.25]).log()
    >>> loss, figures = kl(coefficient=1.0)(Out(torch.tensor([1.0, 0.5]).log()), batch)
    >>> round(float(loss["tokens"]), 4)
    0.1931
    """

    coefficient: float = 0.04
    base: str = "policy@0"
    normaliser: str = "token"
    length: float = 1.0

    def __post_init__(self) -> None:
        check_normaliser(self.normaliser)

    @property
    def columns(self) -> frozenset[str]:
        return frozenset({f"logp@{self.base}"})

    outputs = LOGP

    def __call__(self, out: Out, batch: Batch) -> tuple[dict[str, Tensor], Figures]:
        weight, total = path_weights(batch, self.normaliser, self.length)
        d = torch.where(batch.trained, base_logp(out, batch, self.base) - out.logp, 0.0)
        k3 = d.exp() - d - 1
        figures = {"kl": (float((k3.detach() * batch.trained).sum()), int(batch.trained.sum()))}
        return {total: self.coefficient * (spread(weight, batch) * k3).sum()}, figures


def leashed(objective: Any, beta: float, normaliser: str = "path", base: str = "policy@0") -> Any:
    """The objective plus beta KL(p || p_base), with the same normaliser; with beta 0 the objective alone."""
    return total((objective, kl(beta, base, normaliser))) if beta else objective


@dataclass(frozen=True)
class entropy:
    """-coefficient x sum_t w_t H_t, H_t the entropy (nats) of the policy's distribution at token t: a bonus
    for variety. Figures: entropy, the mean over tokens.
    """

    coefficient: float = 0.01
    normaliser: str = "token"
    length: float = 1.0
    columns: ClassVar[frozenset[str]] = frozenset()
    outputs = frozenset({"entropy"})

    def __post_init__(self) -> None:
        check_normaliser(self.normaliser)

    def __call__(self, out: Out, batch: Batch) -> tuple[dict[str, Tensor], Figures]:
        assert out.entropy is not None, "the learner asks for what `outputs` names"
        weight, total = path_weights(batch, self.normaliser, self.length)
        figures = {"entropy": (float((out.entropy.detach() * batch.trained).sum()), int(batch.trained.sum()))}
        return {total: -self.coefficient * (spread(weight, batch) * out.entropy).sum()}, figures


@dataclass(frozen=True)
class only:
    """An objective on the tokens of one author alone, for a Learn row that trains several voices: for example
    a policy's answer and a mark after it.
    """

    voice: str
    term: Objective

    @property
    def columns(self) -> frozenset[str]:
        return self.term.columns

    @property
    def outputs(self) -> frozenset[str]:
        return self.term.outputs

    def __call__(self, out: Out, batch: Batch) -> tuple[dict[str, Tensor], Figures]:
        mine = batch.voice == (
            batch.voices.index(self.voice) if self.voice in batch.voices else len(batch.voices)
        )
        sums, figures = self.term(out, dataclasses.replace(batch, trained=batch.trained & mine))
        return {
            f"tokens/{self.voice}" if name == "tokens" else name: value for name, value in sums.items()
        }, figures


@dataclass(frozen=True)
class total:
    """The sum of several objectives, each with its own normaliser. Where two terms report a figure of the
    same name, the later one gets the number of its term: kl, kl/2.
    """

    terms: tuple[Any, ...]

    @property
    def columns(self) -> frozenset[str]:
        return frozenset().union(*(term.columns for term in self.terms))

    @property
    def outputs(self) -> frozenset[str]:
        return frozenset().union(*(term.outputs for term in self.terms))

    def __call__(self, out: Out, batch: Batch) -> tuple[dict[str, Tensor], Figures]:
        sums: dict[str, Tensor] = {}
        figures: Figures = {}
        for i, term in enumerate(self.terms, 1):
            parts, more = term(out, batch)
            for name, value in parts.items():
                sums[name] = sums[name] + value if name in sums else value
            figures |= {f"{name}/{i}" if name in figures else name: value for name, value in more.items()}
        return sums, figures
