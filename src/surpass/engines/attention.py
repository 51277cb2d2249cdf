"""The two attention patterns surpass needs, plugged into transformers' attention interface.

Within `using`, a plan answers every layer that asks for attention, in the order in which they ask. The tree
plan serves one forest in depth-first order, the flex plan does that in one kernel of a GPU; the row plan
appends tokens to rows that own key and value buffers and share prefixes, in groups and all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

NAME = "surpass"
BEYOND = ("softcap", "s_aux", "sinks", "position_bias", "indices", "block_indices")  # what no plan knows of


class _Asked:
    """A plan at work, and how many layers have asked it."""

    def __init__(self, plan: Any):
        self.plan, self.layers = plan, 0

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
        layer, self.layers = self.layers, self.layers + 1
        return self.plan(layer, query, key, value, query.shape[-1] ** -0.5 if scaling is None else scaling)


_ASKED: ContextVar[_Asked | None] = ContextVar("asked", default=None)


class _Direct(TorchFunctionMode):
    """For models that call PyTorch's attention themselves (falcon): that call is answered. Their own mask is
    not read, so one that says more than who sees whom shows when a model is loaded.
    """

    def __init__(self, asked: _Asked):
        self.asked = asked

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        given = dict(zip(("query", "key", "value"), args, strict=False)) | kwargs
        return self.asked(given["query"], given["key"], given["value"], given.get("scale"))


@contextmanager
def using(causal: Any, plan: Any) -> Iterator[None]:
    """Attention of `causal` is what `plan` says. RuntimeError where no layer asked it: such a model computes
    its attention in its own way.
    """
    asked = _Asked(plan)
    token = _ASKED.set(asked)
    try:
        with nullcontext() if causal.config._attn_implementation == NAME else _Direct(asked):
            yield
    finally:
        _ASKED.reset(token)
    if not asked.layers:
        raise RuntimeError("its layers compute attention in their own way, if they have any")


def register() -> None:
    """Make the attention implementation "surpass" known to transformers."""
    from transformers import AttentionInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    def attention(module, query, key, value, attention_mask, scaling=None, **kwargs):
        asked = _ASKED.get()
        if asked is None:
            return sdpa_attention_forward(
                module, query, key, value, attention_mask, scaling=scaling, **kwargs
            )
        if more := [name for name in BEYOND if kwargs.get(name) is not None]:
            raise RuntimeError(f"its attention has {more[0]}")
        return asked(query, key, value, scaling).transpose(1, 2), None

    AttentionInterface.register(NAME, attention)


def _grouped(query: Tensor, n_kv: int) -> Tensor:
    """[B, H, Q, D] -> [B, n_kv, H / n_kv * Q, D]: query heads that share a key head become more queries of
    it.
    """
    return query.reshape(query.shape[0], n_kv, -1, query.shape[-1])


class TreePlan:
    """Attention over one forest: a query sees its ancestors and itself, k <= q < end[k].

    The queries are cut into blocks [a, b) of consecutive tokens, at the beginning of a branch where one
    begins soon enough. What lies before a block and is seen from it are exactly the ancestors of token a, so
    a block's keys are those and the block itself: cost T x (depth + block), never T x T. Blocks of about the
    same size are padded and computed as one batch.
    """

    def __init__(self, parent: Tensor, end: Tensor, least: int = 64, most: int = 128):
        above_of = parent.tolist()
        alike: dict[tuple[int, int], list[tuple[int, int, list[int]]]] = {}
        for a, b in _cuts(above_of, least, most):
            above, node = [], above_of[a]
            while node >= 0:
                above.append(node)
                node = above_of[node]
            alike.setdefault((-(-(b - a) // 32), -(-(len(above) + b - a) // 64)), []).append(
                (a, b, above[::-1])
            )
        self.groups = [self._group(blocks, end) for blocks in alike.values()]
        # where each token's answer stands among all groups' answers
        place, first = np.zeros(len(above_of), np.int64), 0
        for blocks, (asked, _, _) in zip(alike.values(), self.groups, strict=True):
            for i, (a, b, _) in enumerate(blocks):
                place[a:b] = first + i * asked.shape[1] + np.arange(b - a)
            first += asked.numel()
        self.place = torch.from_numpy(place).to(end.device)
        self.masks: dict[tuple[torch.dtype, int], list[Tensor]] = {}

    @staticmethod
    def _group(blocks: list[tuple[int, int, list[int]]], end: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(tokens that ask [G, Q], tokens that are seen [G, K], who sees whom [G, Q, K]). What pads repeats a
        block's last token and sees what it sees; what is seen in vain is hidden.
        """
        n_query, n_key = max(b - a for a, b, _ in blocks), max(len(above) + b - a for a, b, above in blocks)
        query, key = np.zeros((len(blocks), n_query), np.int64), np.full((len(blocks), n_key), -1)
        for i, (a, b, above) in enumerate(blocks):
            query[i] = np.minimum(np.arange(a, a + n_query), b - 1)
            key[i, : len(above)], key[i, len(above) : len(above) + b - a] = above, np.arange(a, b)
        q, k = torch.from_numpy(query).to(end.device), torch.from_numpy(key).to(end.device)
        seen, k = k[:, None] >= 0, k.clamp(min=0)
        return q, k, seen & (k[:, None] <= q[..., None]) & (q[..., None] < end[k][:, None])

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        n_heads, n_kv = query.shape[1], key.shape[1]
        # [T, heads, D]; the values' D may be another
        rows = [x[0].transpose(0, 1) for x in (query, key, value)]
        found = []
        for (asked, seen, _), mask in zip(
            self.groups, self._masks(query.dtype, n_heads // n_kv), strict=True
        ):
            q, k, v = (
                x.flatten(1).index_select(0, at.flatten()).view(*at.shape, *x.shape[1:]).transpose(1, 2)
                for x, at in zip(rows, (asked, seen, seen), strict=True)
            )
            out = F.scaled_dot_product_attention(_grouped(q, n_kv), k, v, attn_mask=mask, scale=scaling)
            found.append(out.reshape(len(asked), n_heads, -1, value.shape[-1]).transpose(1, 2).flatten(0, 1))
        return torch.cat(found).index_select(0, self.place).transpose(0, 1)[None]

    def _masks(self, dtype: torch.dtype, groups: int) -> list[Tensor]:
        """Per group [G, 1, groups * Q, K]: what is added to a score, 0 or -inf; made once for all layers."""
        if (dtype, groups) not in self.masks:
            self.masks[dtype, groups] = [
                torch.zeros(seen.shape, dtype=dtype, device=seen.device)
                .masked_fill_(~seen, -torch.inf)
                .repeat(1, groups, 1)[:, None]
                for *_, seen in self.groups
            ]
        return self.masks[dtype, groups]


def _cuts(parent: list[int], least: int, most: int) -> Iterator[tuple[int, int]]:
    """Blocks [a, b) of at most `most` tokens that end where a branch begins, once they have `least`."""
    a = 0
    for t in range(1, len(parent) + 1):
        branches = t < len(parent) and parent[t] != t - 1
        if t == len(parent) or t - a >= most or (branches and t - a >= least):
            yield a, t
            a = t


BLOCK = 128  # tokens, by which flex_attention leaves out what nobody sees


@cache
def _flex(compiled: bool) -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    # of any length from the start: what cannot be compiled so shows when a model is loaded, not at the second
    # batch
    return torch.compile(flex_attention, dynamic=True) if compiled else flex_attention


def _listed(wanted: Tensor) -> tuple[Tensor, Tensor]:
    """bool[N, N] as flex_attention wants it: how many are True in each row, and where, these first."""
    return wanted.sum(1).int()[None, None], wanted.int().argsort(dim=1, descending=True, stable=True).int()[
        None, None
    ]


class FlexPlan:
    """The same attention over one forest by PyTorch's flex_attention: one kernel, for GPUs. On a CPU it is
    not compiled, slow and without gradients.

    A token k is seen by q <=> k <= q < end[k], so of two blocks of tokens, j before i, nothing is seen where
    all of j ends before i begins, and everything where all of j ends after i does.
    """

    def __init__(self, parent: Tensor, end: Tensor):
        from torch.nn.attention.flex_attention import BlockMask

        many = max(2, -(-len(end) // BLOCK))  # one block alone would be compiled apart
        self.spare = many * BLOCK - len(end)
        # what pads sees itself
        ends = torch.cat([end, torch.arange(len(end), many * BLOCK, device=end.device) + 1])
        of_block = ends.view(many, BLOCK)
        block = torch.arange(many, device=end.device)
        asks, seen = block[:, None], block[None]
        every = (seen < asks) & (of_block.amin(1)[None] >= (asks + 1) * BLOCK)
        some = ((seen == asks) | ((seen < asks) & (of_block.amax(1)[None] > asks * BLOCK))) & ~every
        (n_some, at_some), (n_every, at_every) = map(_listed, (some, every))
        self.mask = BlockMask.from_kv_blocks(
            n_some, at_some, n_every, at_every, BLOCK, lambda b, h, q, k: (k <= q) & (q < ends[k])
        )

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        length, groups = query.shape[2], query.shape[1] // key.shape[1]
        if torch.is_autocast_enabled(query.device.type):  # what turns queries and keys leaves them in float32
            query, key, value = (
                x.to(torch.get_autocast_dtype(query.device.type)) for x in (query, key, value)
            )
        if groups & (groups - 1):  # the kernel shares a key among 1, 2, 4 ... queries
            key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
        q, k, v = (F.pad(x, (0, 0, 0, self.spare)) for x in (query, key, value))
        found = _flex(query.is_cuda)(
            q, k, v, block_mask=self.mask, scale=scaling, enable_gqa=q.shape[1] != k.shape[1]
        )
        return found[:, :, :length]


def forms(device: torch.device) -> tuple[type[TreePlan] | type[FlexPlan], ...]:
    """Ways to compute attention over a forest on a device, the better first."""
    return (FlexPlan, TreePlan) if device.type == "cuda" else (TreePlan,)


class Measure:
    """Answers in the right shape, and notes what keys and values are like: n_kv, and the wider of both."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, int]] = []

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        self.shapes.append((key.shape[1], max(key.shape[-1], value.shape[-1])))
        return value.repeat_interleave(query.shape[1] // key.shape[1], 1)


class Groups:
    """Rows that go on from the same prompt share its keys and values: [layers, 2, G, n_kv, P, D], row b those
    of group at[b], of which lens[at[b]] count (the rest is padding). `place` [G, R] lists each group's rows
    (padded with 0), `seat` [B] a row's place in it.
    """

    def __init__(self, kv: Tensor, lens: Tensor, at: Tensor):
        if 2 * len(live := at.unique()) <= len(lens):  # most groups have ended: keep the others alone
            kv, lens = kv[:, :, live], lens[live]
            at = torch.searchsorted(live, at)
        self.kv, self.lens, self.at = kv, lens, at
        order = torch.argsort(at, stable=True)
        counts = torch.bincount(at, minlength=len(lens))
        first = torch.cat([counts.new_zeros(1), counts.cumsum(0)[:-1]])
        self.seat = torch.empty_like(at)
        self.seat[order] = torch.arange(len(at), device=at.device) - first[at[order]]
        self.place = at.new_zeros(len(lens), int(counts.max()))
        self.place[at, self.seat] = torch.arange(len(at), device=at.device)
        self.hidden = torch.arange(kv.shape[-2], device=at.device)[None] >= lens[:, None]  # [G, P]

    def scores(self, layer: int, q: Tensor) -> Tensor:
        """[B, n_kv, Q, P] of queries [B, n_kv, Q, D]: one product for all rows of a group."""
        n_kv, n_q, width = q.shape[1:]
        groups, rows = self.place.shape
        together = q[self.place].transpose(1, 2).reshape(groups, n_kv, rows * n_q, width)
        found = together @ self.kv[layer, 0].transpose(-1, -2)
        found = found.masked_fill(self.hidden[:, None, None], -torch.inf).view(groups, n_kv, rows, n_q, -1)
        return found.transpose(1, 2)[self.at, self.seat]

    def mix(self, layer: int, p: Tensor) -> Tensor:
        """[B, n_kv, Q, D]: values weighted by p [B, n_kv, Q, P]."""
        groups, rows = self.place.shape
        spread = p.new_zeros(groups, rows, *p.shape[1:])
        spread[self.at, self.seat] = p
        together = spread.transpose(1, 2).reshape(groups, p.shape[1], -1, p.shape[-1])
        out = (together @ self.kv[layer, 1]).view(groups, p.shape[1], rows, p.shape[2], -1)
        return out.transpose(1, 2)[self.at, self.seat]


class RowPlan:
    """Attention of rows that grow: row b has lens[b] tokens of its own in its buffers; before them its
    group's, if there are `groups`; before these a prefix that all share.

    buffers [layers, 2, B, n_kv, capacity, D] hold keys and values; prefix [layers, 2, n_kv, L, D] those of
    the shared prefix. New tokens [B, Q] are written behind each row's own; columns that only pad a row are
    overwritten by its next tokens. `depth` [B, Q] is where the new tokens stand in their whole text.
    """

    def __init__(
        self, buffers: Tensor, lens: Tensor, prefix: Tensor, n_new: int, groups: Groups | None = None
    ):
        self.buffers, self.prefix, self.groups = buffers, prefix, groups
        self.position = lens[:, None] + torch.arange(n_new, device=lens.device)
        self.depth = self.position + prefix.shape[-2] + (groups.lens[groups.at][:, None] if groups else 0)
        self.length = int(lens.max()) + n_new
        keys = torch.arange(self.length, device=lens.device)
        self.hidden = keys[None, None] > self.position[:, :, None]  # [B, Q, length]
        self.row = torch.arange(len(lens), device=lens.device)[:, None]
        self.mask: Tensor | None = None  # for prompts, made once for all layers

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        n_value, wide = value.shape[-1], self.buffers.shape[-1]
        if not query.shape[-1] == n_value == wide:  # latent attention: zeros fill up what is narrower
            query, key, value = (F.pad(x, (0, wide - x.shape[-1])) for x in (query, key, value))
        return self._answer(layer, query, key, value, scaling)[..., :n_value]

    def _answer(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        n_rows, _, n_new, width = query.shape
        n_kv, n_shared = key.shape[1], self.prefix.shape[-2]
        keys, values = self.buffers[layer, 0], self.buffers[layer, 1]
        keys[self.row, :, self.position] = key.transpose(1, 2)
        values[self.row, :, self.position] = value.transpose(1, 2)
        # prompts: many queries a row, all of whose scores never exist at once
        if n_new > 1 and self.groups is None:
            return self._prompts(layer, query, keys, values, scaling)
        q = _grouped(query * scaling, n_kv)  # [B, n_kv, G * Q, D]
        own = q @ keys[:, :, : self.length].transpose(-1, -2)
        own = own.view(n_rows, n_kv, -1, n_new, self.length).masked_fill(
            self.hidden[:, None, None], -torch.inf
        )
        scores = [own.view(n_rows, n_kv, -1, self.length)]
        if self.groups:
            scores.insert(0, self.groups.scores(layer, q))
        if n_shared:
            shared_keys, shared_values = self.prefix[layer, 0], self.prefix[layer, 1]
            # one product for all rows: [n_kv, B * G * Q, D]
            together = q.transpose(0, 1).reshape(n_kv, -1, width)
            scores.insert(
                0, (together @ shared_keys.transpose(-1, -2)).view(n_kv, n_rows, -1, n_shared).transpose(0, 1)
            )
        p = torch.cat(scores, -1).softmax(-1)
        out = p[..., -self.length :] @ values[:, :, : self.length]
        if self.groups:
            out = out + self.groups.mix(layer, p[..., n_shared : -self.length])
        if n_shared:
            first = p[..., :n_shared].transpose(0, 1).reshape(n_kv, -1, n_shared) @ shared_values
            out = out + first.view(n_kv, n_rows, -1, width).transpose(0, 1)
        return out.reshape(query.shape)

    def _prompts(self, layer: int, query: Tensor, keys: Tensor, values: Tensor, scaling: float) -> Tensor:
        """[B, H, Q, D]: each row against the shared prefix and its own."""
        n_kv, n_shared = keys.shape[1], self.prefix.shape[-2]
        if self.mask is None:
            mask = torch.zeros(
                *self.hidden.shape[:2], n_shared + self.length, dtype=query.dtype, device=query.device
            )
            mask[..., n_shared:].masked_fill_(self.hidden, -torch.inf)
            self.mask = mask.repeat(1, query.shape[1] // n_kv, 1)[:, None]
        before, many = self.prefix[layer], (len(query), -1, -1, -1)
        key = torch.cat([before[0].expand(many), keys[:, :, : self.length]], 2)
        value = torch.cat([before[1].expand(many), values[:, :, : self.length]], 2)
        found = F.scaled_dot_product_attention(
            _grouped(query, n_kv), key, value, attn_mask=self.mask, scale=scaling
        )
        return found.reshape(query.shape)
