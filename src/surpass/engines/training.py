"""One optimiser step of a torch model: forward, backward, clip, step. The engine owns the optimiser."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from surpass import given
from surpass.errors import RunBroken
from surpass.types import Batch, Figures, Out

# nats a token: rounding gives a smaller draw_gap, in float32 and in half precision
APART, APART_IN_HALF = 0.01, 0.1


@dataclass(frozen=True)
class Step:
    """AdamW's settings, the gradient's largest norm (`clip`), and the trained distribution's temperature."""

    lr: float
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = 1.0
    temperature: float = 1.0


def optimiser(engine: Any, name: str, **settings: Any) -> torch.optim.Optimizer:
    """The AdamW that trains this engine under a role's name, made at first use and kept across rounds. Its
    `settings` (lr, weight_decay, betas) apply from now on.
    """
    if name not in engine.optimisers:
        parameters = list(engine.trainable().values())
        if any(p.dtype in (torch.bfloat16, torch.float16) for p in parameters):
            warnings.warn(
                f"the weights of {name} are trained in half precision, where updates below about 1/500 of "
                'a weight are lost: take dtype "mixed", or LoRA',
                stacklevel=3,
            )
        engine.optimisers[name] = torch.optim.AdamW(parameters, fused=True, **settings)
    for group in engine.optimisers[name].param_groups:
        group.update(settings)
    return engine.optimisers[name]


def update(
    engine: Any,
    name: str,
    batches: Sequence[Batch],
    objective: Any,
    step: Step,
    drawn_at: Mapping[int, int] | None = None,
) -> dict[str, float]:
    """Make one step on the sum of `objective` over micro-batches, each divided by its totals. Returns figures
    by name: loss, grad_norm (before clipping), learning_rate, and those of the objective.

    `drawn_at` maps a voice's number to the version of its present weights. Tokens that were drawn at that
    version give draw_gap. RunBroken, and no step, if the loss or the gradient is not finite, or if the gap
    exceeds what rounding explains.
    """
    how = optimiser(engine, name, lr=step.lr, weight_decay=step.weight_decay, betas=step.betas)
    how.zero_grad(set_to_none=True)
    loss = 0.0
    figures: Figures = {}
    for batch in batches:
        batch = engine.to_device(batch)
        outputs = objective.outputs
        # where values are learnt, whoever wrote there
        ends = torch.zeros_like(batch.trained).index_fill(0, batch.last, True)
        out = engine.forward(batch, None, outputs, step.temperature, ends)
        sums, more = given.sums(objective, given.told(objective, out, batch))
        more |= _draw_gap(out, batch, drawn_at or {}) if outputs - {"value"} else {}
        part = sum(value / batch.totals[name] for name, value in sums.items())
        part.backward()
        loss += float(part.detach())
        for figure, (value, n) in more.items():
            before = figures.get(figure, (0.0, 0))
            figures[figure] = before[0] + value, before[1] + n
    parameters = [p for p in engine.trainable().values() if p.grad is not None]
    norm = float(torch.nn.utils.get_total_norm([p.grad for p in parameters])) if parameters else 0.0
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise RunBroken(
            f"the loss is {loss} and the gradient's norm {norm}; the update was not made. Try a lower lr"
        )
    means = {figure: value / max(1, n) for figure, (value, n) in figures.items()}
    if "draw_gap" in means:
        means["draw_gap_limit"] = APART if getattr(engine, "exact", True) else APART_IN_HALF
        _refuse_apart(means["draw_gap"], means["draw_gap_limit"])
    if parameters:
        torch.nn.utils.clip_grads_with_norm_(parameters, step.clip, torch.tensor(norm))
        how.step()
    how.zero_grad(set_to_none=True)
    return {"loss": loss, "grad_norm": norm, "learning_rate": step.lr, **means}


def _draw_gap(out: Out, batch: Batch, drawn_at: Mapping[int, int]) -> Figures:
    """(the sum of |log p - log p at the draw|, the number of tokens) over the trained tokens that voice i
    drew at version drawn_at[i]; nothing if there are none.
    """
    logp, version = batch.columns["drawn"][1], batch.columns["version"][1]
    fresh = torch.zeros_like(batch.trained)
    for voice, now in drawn_at.items():
        fresh |= (batch.voice == voice) & (version == now)
    fresh &= batch.trained & ~logp.isnan()
    if not bool(fresh.any()):
        return {}
    now = out.logp.detach() if out.plain is None else out.plain
    return {"draw_gap": (float((now.to(logp.dtype) - logp)[fresh].abs().sum()), int(fresh.sum()))}


def _refuse_apart(gap: float, limit: float) -> None:
    if not gap <= limit:  # nan, too
        raise RunBroken(
            f"draw_gap is {gap:.2g} nats a token: the learner's log-probabilities are that far from those "
            f"at the draw, and rounding explains less than {limit:g}. The model does not recompute what it "
            "drew, so the update was not made. Try --dtype float32, shorter prompts and answers, or "
            "another model; docs/troubleshooting.md says more"
        )
