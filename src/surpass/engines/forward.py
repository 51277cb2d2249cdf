"""Log-probs of a batch's tokens: in one pass over the forest, or over unrolled rows as the reference."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from surpass.engines.attention import FlexPlan, TreePlan, using
from surpass.engines.linear import Linear, times
from surpass.errors import SurpassError
from surpass.types import Batch, Out
from surpass.unrolled import Rows, unroll

LOGP = frozenset({"logp"})
CHUNK = 2**24  # logits in one piece: rows x vocabulary
KEPT = 2**26  # so many logits are kept for the gradient; more are computed again
Form = type[TreePlan] | type[FlexPlan]  # how attention over a forest is computed


def _at_least_float32(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def _tempered(logits: Tensor, token: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """logits / temperature, in float32 or better; and the log-probs of `token` at temperature 1, without a
    gradient (empty at temperature 1).
    """
    logits = _at_least_float32(logits)
    if temperature == 1:
        return logits, logits.new_zeros(0)
    plain = logits.detach()
    return logits / temperature, plain.gather(-1, token[..., None])[..., 0] - plain.logsumexp(-1)


def _score(
    hidden: Tensor, head: torch.nn.Module, token: Tensor, beside: Sequence[str], real: int, temperature: float
) -> tuple[Tensor, ...]:
    """(logp, logp at temperature 1, then what `beside` names) of `token` [n] under p = softmax(logits /
    temperature), in float32 or better; the logits are those after `hidden` [n, d]. "entropy" is that of p
    over all V tokens. "certainty" is KL(uniform || p) = -mean of log(V p) over the first `real` tokens (0:
    all); the rest of a vocabulary is padding.
    """
    logits, plain = _tempered(_read(head, hidden), token, temperature)
    normaliser = logits.logsumexp(-1)
    return (
        logits.gather(-1, token[:, None])[:, 0] - normaliser,
        plain,
        *(_beside(name, logits, normaliser, real) for name in beside),
    )


def _beside(name: str, logits: Tensor, normaliser: Tensor, real: int) -> Tensor:
    if name == "entropy":
        return normaliser - ((logits - normaliser[..., None]).exp() * logits).sum(-1)
    logits = logits[..., : real or None]
    return logits.logsumexp(-1) - logits.mean(-1) - math.log(logits.shape[-1])


class _LogProb(torch.autograd.Function):
    """log softmax(hidden @ weight.T / temperature)[token] [n], in pieces. Few logits are kept for the
    gradient; many are computed again.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, token: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor]:
        keep = any(ctx.needs_input_grad) and len(token) * len(weight) <= KEPT
        ctx.temperature, ctx.logits, logp, normaliser, plain = temperature, [], [], [], []
        for h, t in zip(*(x.split(max(1, CHUNK // len(weight))) for x in (hidden, token)), strict=True):
            logits, some = _tempered(times(h, weight), t, temperature)
            plain.append(some)
            normaliser.append(logits.logsumexp(-1))
            logp.append(logits.gather(-1, t[:, None])[:, 0] - normaliser[-1])
            ctx.logits.append(logits if keep else None)
        ctx.save_for_backward(hidden, weight, token, torch.cat(normaliser))
        before = torch.cat(plain)
        ctx.mark_non_differentiable(before)
        return torch.cat(logp), before

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        hidden, weight, token, normaliser = ctx.saved_tensors
        size = max(1, CHUNK // len(weight))
        parts, to_weight = [], torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        for i, (h, t, z, g) in enumerate(
            zip(*(x.split(size) for x in (hidden, token, normaliser, grad)), strict=True)
        ):
            logits = (
                ctx.logits[i]
                if ctx.logits[i] is not None
                else _tempered(times(h, weight), t, ctx.temperature)[0]
            )
            ctx.logits[i] = None  # they change in place, so a second backward pass computes them again
            error = logits.sub_(z[:, None]).exp_().mul_(-g[:, None])  # d logp / d logits = onehot - p
            error[torch.arange(len(t), device=t.device), t] += g
            if ctx.temperature != 1:
                error /= ctx.temperature
            error = error.to(weight.dtype)
            parts.append(times(error, weight.T))
            if to_weight is not None:
                to_weight += times(error.T, h.T)
        return torch.cat(parts) if ctx.needs_input_grad[0] else None, to_weight, None, None


def _chunked(
    hidden: Tensor,
    head: torch.nn.Module,
    token: Tensor,
    vocabulary: int,
    beside: Sequence[str],
    real: int,
    temperature: float,
) -> tuple[Tensor, ...]:
    """As _score, in pieces: the logits [n, V] are in memory at once only if they are few (KEPT, CHUNK); else
    gradients compute them again, piece by piece.
    """
    if not beside and len(token) and type(head) in (torch.nn.Linear, Linear) and head.bias is None:
        with torch.autocast(hidden.device.type, enabled=False):
            return _LogProb.apply(hidden.to(head.weight.dtype), head.weight, token, temperature)
    size = max(1, CHUNK // vocabulary)
    keep = len(token) <= size or not torch.is_grad_enabled()
    pieces = []
    for h, t in zip(hidden.split(size), token.split(size), strict=True):
        some = h, head, t, beside, real, temperature
        pieces.append(_score(*some) if keep else checkpoint(_score, *some, use_reentrant=False))
    return tuple(torch.cat(some) for some in zip(*pieces, strict=True))


def _hidden(causal: Any, batch: Batch, form: Form) -> Tensor:
    """[T, d]: the last hidden states of a forest."""
    with using(causal, form(batch.parent, batch.end)):
        return hidden_states(causal, batch.token[None], batch.depth[None])[0]


def hidden_states(causal: Any, token: Tensor, position: Tensor) -> Tensor:
    """[B, Q, d]: the last hidden states of tokens [B, Q] at positions [B, Q], with the attention that is in
    use (attention.using).
    """
    mask = torch.zeros(1, 1, 1, 1, device=token.device)  # a mask is given, so transformers builds none
    return body(causal)(
        input_ids=token, position_ids=position, attention_mask=mask, use_cache=False
    ).last_hidden_state


def body(causal: Any) -> torch.nn.Module:
    """A causal language model without its head."""
    return causal.base_model if causal.base_model is not causal else causal.model


def tree_forward(
    causal: Any,
    batch: Batch,
    wanted: Tensor,
    outputs: Iterable[str] = LOGP,
    real: int = 0,
    form: Form = TreePlan,
    temperature: float = 1.0,
    heads: torch.nn.Linear | None = None,
    ends: Tensor | None = None,
) -> Out:
    """Out with the `outputs` (see Out), where each shared prefix is computed once.

    Outputs of a token's distribution, softmax(logits / temperature), are given where wanted [T] is True;
    "value", what `heads` read after a token, where ends [T] is True (default: as wanted).
    """
    hidden = _hidden(causal, batch, form)
    found: dict[str, Tensor] = {}
    if beside := _distribution(outputs):
        where = torch.nonzero(wanted).flatten()
        vocabulary = causal.config.get_text_config().vocab_size
        # index_select, because indexing adds up the gradients of a token that several follow in any order,
        # and runs would differ in bytes
        scores = _chunked(
            hidden.index_select(0, batch.parent[where]),
            causal.get_output_embeddings(),
            batch.token[where],
            vocabulary,
            beside[1:],
            real,
            temperature,
        )
        empty = torch.zeros(len(batch.token), device=scores[0].device, dtype=scores[0].dtype)
        names = _named(beside, temperature)
        found = {
            name: empty.index_copy(0, where, value) for name, value in zip(names, scores, strict=True) if name
        }
    if "value" in outputs:
        where = torch.nonzero(wanted if ends is None else ends).flatten()
        found["value"] = _valued(heads, hidden[where], where, len(batch.token))
    return Out(**{"logp": torch.zeros(len(batch.token), device=batch.token.device)} | found)


def _distribution(outputs: Iterable[str]) -> list[str]:
    """The outputs that are of the tokens' distributions: "logp", then the others in a fixed order; none where
    only values are wanted.
    """
    if unknown := set(outputs) - {"logp", "value", "entropy", "certainty"}:
        raise SurpassError(
            f"a forward pass gives logp, entropy, certainty and value; asked for {', '.join(sorted(unknown))}"
        )
    beside = sorted(set(outputs) - {"logp", "value"})
    return ["logp", *beside] if beside or "logp" in outputs else []


def _named(beside: Sequence[str], temperature: float) -> list[str]:
    """The names of what _score gives; "" where the log-prob at temperature 1 is no other than "logp"."""
    return ["logp", "plain" if temperature != 1 else "", *beside[1:]]


def _valued(heads: torch.nn.Linear | None, hidden: Tensor, where: Tensor, n: int) -> Tensor:
    """[n, H]: what the heads read in `hidden`, at the places `where`; 0 elsewhere."""
    assert heads is not None, "a role that gives values has heads"
    empty = torch.zeros(n, heads.out_features, device=hidden.device)
    return empty.index_copy(0, where, _read(heads, hidden))


def row_forward(
    causal: Any,
    batch: Batch,
    wanted: Tensor,
    outputs: Iterable[str] = LOGP,
    real: int = 0,
    temperature: float = 1.0,
    heads: torch.nn.Linear | None = None,
    ends: Tensor | None = None,
) -> Out:
    """The same from unrolled, padded rows through the model's own forward. This is the definition, and serves
    models that cannot use surpass's attention. A token shared by several paths takes the value of the first.
    """
    rows, beside = unroll(batch), _distribution(outputs)
    device = batch.token.device
    token, mask = rows.token.to(device), rows.mask.to(device)
    size, run = _rows_at_once(causal, token), _row_scores
    if size < len(token) and torch.is_grad_enabled():
        run = partial(checkpoint, _row_scores, use_reentrant=False)
    asked = beside, real, temperature, "value" in outputs
    pieces = [run(causal, t, m, *asked) for t, m in zip(token.split(size), mask.split(size), strict=True)]
    *scores, hidden = (torch.cat(some) for some in zip(*pieces, strict=True))
    found: dict[str, Tensor] = {}
    if beside:
        p, r, t = _first(rows, 1).to(device)
        empty = torch.zeros(len(batch.token), device=device, dtype=scores[0].dtype)
        names = _named(beside, temperature)
        found = {
            name: empty.index_copy(0, t, v[p, r - 1]) * wanted
            for name, v in zip(names, scores, strict=True)
            if name
        }
    if "value" in outputs:
        p, r, t = _first(rows, 0).to(device)
        found["value"] = (
            _valued(heads, hidden[p, r], t, len(batch.token)) * (wanted if ends is None else ends)[:, None]
        )
    return Out(**{"logp": torch.zeros(len(batch.token), device=device)} | found)


def _first(rows: Rows, begin: int) -> Tensor:
    """int64[3, N]: (row, place, token of the batch) of each token's first place, from place `begin` on."""
    seen: set[int] = set()
    found = []
    for p in range(len(rows.at)):
        for r in range(begin, int(rows.mask[p].sum())):
            if (t := int(rows.at[p, r])) not in seen:
                seen.add(t)
                found.append((p, r, t))
    return torch.tensor(found, dtype=torch.int64).reshape(-1, 3).T


def _rows_at_once(causal: Any, token: Tensor) -> int:
    return max(1, KEPT // (token.shape[1] * causal.config.get_text_config().vocab_size))


def _row_scores(
    causal: Any,
    token: Tensor,
    mask: Tensor,
    beside: Sequence[str],
    real: int,
    temperature: float,
    hidden: bool,
) -> tuple[Tensor, ...]:
    """(what _score gives, [P, R - 1], for each token of rows [P, R] after the first; then the last hidden
    states [P, R, d], empty unless `hidden`). One pass of the model; without its head, if `beside` is empty.
    """
    kept: list[Tensor] = []
    given = {"input_ids": token, "attention_mask": mask.long(), "use_cache": False}
    if not beside:
        return (body(causal)(**given).last_hidden_state,)
    watch = (
        body(causal).register_forward_hook(
            lambda module, inputs, output: kept.append(output.last_hidden_state)
        )
        if hidden
        else None
    )
    try:
        logits = causal(**given).logits[:, :-1]
    finally:
        if watch:
            watch.remove()
    logits, plain = _tempered(logits, token[:, 1:], temperature)
    normaliser = logits.logsumexp(-1)
    logp = logits.log_softmax(-1).gather(-1, token[:, 1:, None])[..., 0]
    more = (_beside(name, logits, normaliser, real) for name in beside[1:])
    return logp, plain, *more, kept[0] if kept else logits.new_zeros(len(token))


def following(
    causal: Any, batch: Batch, candidates: Sequence[Sequence[int]], form: Form | None
) -> list[Tensor]:
    """Per path the log-probabilities of its candidates as the next token; [P, V] is never in memory at once.
    `form` is how the model computes attention over the forest; None: it runs whole rows.
    """
    if form:
        ends, head = _hidden(causal, batch, form).index_select(0, batch.last), causal.get_output_embeddings()
        pieces: Iterable[Tensor] = (
            _read(head, h) for h in ends.split(max(1, CHUNK // causal.config.get_text_config().vocab_size))
        )
    else:
        rows = unroll(batch)
        token, mask = rows.token.to(batch.token.device), rows.mask.to(batch.token.device)
        size = _rows_at_once(causal, token)
        pieces = (
            causal(input_ids=t, attention_mask=m.long(), use_cache=False).logits[
                torch.arange(len(t), device=t.device), m.sum(1) - 1
            ]
            for t, m in zip(token.split(size), mask.split(size), strict=True)
        )
    logp = (row for piece in pieces for row in _at_least_float32(piece).log_softmax(-1))
    return [row[list(some)] for row, some in zip(logp, candidates, strict=True)]


def _read(head: torch.nn.Module, hidden: Tensor) -> Tensor:
    """A linear head in the precision of its weights, whatever the rest is computed in."""
    with torch.autocast(hidden.device.type, enabled=False):
        return head(hidden.to(next(head.parameters()).dtype))
