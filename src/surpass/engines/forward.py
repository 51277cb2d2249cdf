"""Log-probabilities of a batch's tokens: one pass over the forest, or over unrolled rows as the reference."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from surpass.engines.attention import FlexPlan, TreePlan, using
from surpass.engines.linear import Linear, times
from surpass.flat import unroll
from surpass.types import Batch, Out

CHUNK = 2**24  # logits in one piece: rows x vocabulary
KEPT = 2**26  # logits kept for the gradient rather than computed again
Form = type[TreePlan] | type[FlexPlan]  # how attention over a forest is computed


def _at_least_float32(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def _tempered(logits: Tensor, token: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """logits / temperature, in float32 or better; and the log-probs of `token` before, without a gradient (none where nothing changes)."""
    logits = _at_least_float32(logits)
    if temperature == 1:
        return logits, logits.new_zeros(0)
    plain = logits.detach()
    return logits / temperature, plain.gather(-1, token[..., None])[..., 0] - plain.logsumexp(-1)


def _score(
    hidden: Tensor, head: torch.nn.Module, token: Tensor, also: str, real: int, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(logp, `also`, logp at temperature 1) of `token` [n] under p = softmax(logits / temperature), logits those of `hidden` [n, d], in float32 or better.
    "entropy" is that of p over V tokens, "certainty" is KL(uniform || p) = -mean of log(V p) over the first `real` tokens (0: all;
    what follows in a vocabulary is padding), "" zeros."""
    logits, plain = _tempered(_read(head, hidden), token, temperature)
    normaliser = logits.logsumexp(-1)
    logp = logits.gather(-1, token[:, None])[:, 0] - normaliser
    if also == "entropy":
        return logp, normaliser - ((logits - normaliser[:, None]).exp() * logits).sum(-1), plain
    if also == "certainty":
        return logp, _certainty(logits, real), plain
    return logp, torch.zeros_like(logp), plain


def _certainty(logits: Tensor, real: int) -> Tensor:
    logits = logits[..., : real or None]
    return logits.logsumexp(-1) - logits.mean(-1) - math.log(logits.shape[-1])


class _LogProb(torch.autograd.Function):
    """log softmax(hidden @ weight.T / temperature)[token] [n], in pieces. Logits are kept for the gradient while they are few, else computed
    again."""

    @staticmethod
    def forward(ctx, hidden: Tensor, weight: Tensor, token: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
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
    def backward(ctx, grad: Tensor, _: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        hidden, weight, token, normaliser = ctx.saved_tensors
        size = max(1, CHUNK // len(weight))
        parts, to_weight = [], torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        for i, (h, t, z, g) in enumerate(zip(*(x.split(size) for x in (hidden, token, normaliser, grad)), strict=True)):
            logits = ctx.logits[i] if ctx.logits[i] is not None else _tempered(times(h, weight), t, ctx.temperature)[0]
            ctx.logits[i] = None  # changed in place: a second backward pass computes it again
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
    hidden: Tensor, head: torch.nn.Module, token: Tensor, vocabulary: int, also: str, real: int, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    """As _score; the full [n, V] exists at once only while it is small (KEPT, CHUNK), else gradients recompute it piece by piece."""
    if not also and len(token) and type(head) in (torch.nn.Linear, Linear) and head.bias is None:
        with torch.autocast(hidden.device.type, enabled=False):
            logp, plain = _LogProb.apply(hidden.to(head.weight.dtype), head.weight, token, temperature)
        return logp, torch.zeros_like(logp), plain
    size = max(1, CHUNK // vocabulary)
    keep = len(token) <= size or not torch.is_grad_enabled()
    pieces = []
    for h, t in zip(hidden.split(size), token.split(size), strict=True):
        some = h, head, t, also, real, temperature
        pieces.append(_score(*some) if keep else checkpoint(_score, *some, use_reentrant=False))
    logp, more, plain = (torch.cat(some) for some in zip(*pieces, strict=True))
    return logp, more, plain


def _hidden(causal, batch: Batch, form: Form) -> Tensor:
    """[T, d]: the last hidden states of a forest."""
    with using(causal, form(batch.parent, batch.end)):
        return hidden_states(causal, batch.token[None], batch.depth[None])[0]


def hidden_states(causal, token: Tensor, position: Tensor) -> Tensor:
    """[B, Q, d]: the last hidden states of tokens [B, Q] at positions [B, Q], attention being whatever it is (attention.using)."""
    mask = torch.zeros(1, 1, 1, 1, device=token.device)  # a ready-made mask, so that transformers builds none
    return body(causal)(input_ids=token, position_ids=position, attention_mask=mask, use_cache=False).last_hidden_state


def body(causal) -> torch.nn.Module:
    """What a causal language model has below its head."""
    return causal.base_model if causal.base_model is not causal else causal.model


def tree_forward(
    causal, batch: Batch, wanted: Tensor, also: str = "", real: int = 0, form: Form = TreePlan, temperature: float = 1.0
) -> Out:
    """Out for the tokens where wanted [T] is True, under softmax(logits / temperature), every shared prefix computed once."""
    hidden = _hidden(causal, batch, form)
    where = torch.nonzero(wanted).flatten()
    head = causal.get_output_embeddings()
    vocabulary = causal.config.get_text_config().vocab_size
    # index_select, for brackets add up the gradient of tokens that several follow in any order, and its bytes differ
    logp, more, plain = _chunked(
        hidden.index_select(0, batch.parent[where]), head, batch.token[where], vocabulary, also, real, temperature
    )
    empty = torch.zeros(len(batch.token), device=logp.device, dtype=logp.dtype)
    extra: dict[str, Tensor] = {also: empty.index_copy(0, where, more)} if also else {}
    extra |= {"plain": empty.index_copy(0, where, plain)} if temperature != 1 else {}
    return Out(empty.index_copy(0, where, logp), **extra)


def row_forward(causal, batch: Batch, wanted: Tensor, also: str = "", real: int = 0, temperature: float = 1.0) -> Out:
    """The same from unrolled, padded rows through the model's own forward: the definition, and the path for models that
    cannot take our attention. A token shared by several paths takes its value from the first of them."""
    rows = unroll(batch)
    device = batch.token.device
    token, mask, index = rows.token.to(device), rows.mask.to(device), rows.at.to(device)
    size, run = _rows_at_once(causal, token), _row_scores
    if size < len(token) and torch.is_grad_enabled():
        run = partial(checkpoint, _row_scores, use_reentrant=False)
    pieces = [run(causal, t, m, also, real, temperature) for t, m in zip(token.split(size), mask.split(size), strict=True)]
    row_logp, row_also, row_plain = (torch.cat(some) for some in zip(*pieces, strict=True))
    seen = torch.zeros(len(batch.token), dtype=torch.bool)
    first = []
    for p in range(len(index)):
        for r in range(1, int(rows.mask[p].sum())):
            t = int(rows.at[p, r])
            if not seen[t]:
                seen[t] = True
                first.append((p, r - 1, t))
    p, r, t = torch.tensor(first, dtype=torch.int64, device=device).reshape(-1, 3).T
    empty = torch.zeros(len(batch.token), device=device, dtype=row_logp.dtype)
    extra = {also: row_also} if also else {}
    extra |= {"plain": row_plain} if temperature != 1 else {}
    found = {name: empty.index_copy(0, t, values[p, r]) * wanted for name, values in ({"logp": row_logp} | extra).items()}
    return Out(**found)


def _rows_at_once(causal, token: Tensor) -> int:
    return max(1, KEPT // (token.shape[1] * causal.config.get_text_config().vocab_size))


def _row_scores(causal, token: Tensor, mask: Tensor, also: str, real: int, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    """(logp, `also`, logp at temperature 1) [P, R - 1] of every token of rows [P, R] but the first, as _score has them."""
    logits = causal(input_ids=token, attention_mask=mask.long(), use_cache=False).logits[:, :-1]
    logits, plain = _tempered(logits, token[:, 1:], temperature)
    logits = logits.log_softmax(-1)
    logp = logits.gather(-1, token[:, 1:, None])[..., 0]
    if also == "entropy":
        return logp, -(logits.exp() * logits).sum(-1), plain
    return logp, _certainty(logits, real) if also else torch.zeros_like(logp), plain


def following(causal, batch: Batch, candidates: Sequence[Sequence[int]], form: Form | None) -> list[Tensor]:
    """Per path the log-probabilities of its candidates as the next token; the full [P, V] never exists at once. `form` as in `values`."""
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


def values(causal, heads: torch.nn.Linear, batch: Batch, wanted: Tensor, form: Form | None) -> Out:
    """Out with value [T, H]: what the heads read after each wanted token, 0 elsewhere; logp is 0. `form`: how the model computes attention
    over the forest; None: it runs whole rows, and a shared token takes its value from the first of them."""
    empty = torch.zeros(len(batch.token), heads.out_features, device=batch.token.device)
    nothing = torch.zeros(len(batch.token), device=batch.token.device)
    if form:
        hidden = _hidden(causal, batch, form)
        where = torch.nonzero(wanted).flatten()
        return Out(nothing, value=empty.index_copy(0, where, _read(heads, hidden[where])))
    rows = unroll(batch)
    token, mask = rows.token.to(batch.token.device), rows.mask.to(batch.token.device)
    hidden = body(causal)(input_ids=token, attention_mask=mask.long(), use_cache=False).last_hidden_state
    flat = rows.at[rows.mask].numpy()
    _, first = np.unique(flat, return_index=True)
    t = torch.from_numpy(flat[first]).to(empty.device)
    found = _read(heads, hidden[mask][torch.from_numpy(first).to(empty.device)])
    return Out(nothing, value=empty.index_copy(0, t, found) * wanted[:, None])
