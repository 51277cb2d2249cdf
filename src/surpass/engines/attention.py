"""Attention of surpass's own in transformers' models: how it is plugged in, and the attention over a forest.

Within `using`, a plan computes the attention of every layer, in the order in which the layers ask for it.
TreePlan and FlexPlan serve one forest in depth-first order, FlexPlan in one kernel on a GPU; RowPlan
(surpass.engines.row_attention) serves rows that grow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
# arguments of some models' attention that no plan can serve
BEYOND = ("softcap", "s_aux", "sinks", "position_bias", "indices", "block_indices")


class _Asked:
    """A plan in use, and how many layers have asked it."""

    def __init__(self, plan: Any):
        self.plan, self.layers = plan, 0

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
        layer, self.layers = self.layers, self.layers + 1
        return self.plan(layer, query, key, value, query.shape[-1] ** -0.5 if scaling is None else scaling)


_ASKED: ContextVar[_Asked | None] = ContextVar("asked", default=None)


class _Direct(TorchFunctionMode):
    """For models that call PyTorch's attention themselves, such as falcon: the plan answers these calls.
    Their masks are not read; the test at loading finds models whose masks do more than tell who sees whom.
    """

    def __init__(self, asked: _Asked):
        self.asked = asked

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        given = dict(zip(("query", "key", "value"), args, strict=False)) | kwargs
        return self.asked(given["query"], given["key"], given["value"], given.get("scale"))


@contextmanager
def using(causal: Any, plan: Any) -> Iterator[None]:
    """Within it, `plan` computes the attention of `causal`. RuntimeError where no layer has asked the plan,
    because the model computes its attention in its own way.
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

    def attention(
        module: torch.nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        scaling: float | None = None,
        **kwargs: Any,
    ) -> Any:
        asked = _ASKED.get()
        if asked is None:
            return sdpa_attention_forward(
                module, query, key, value, attention_mask, scaling=scaling, **kwargs
            )
        if more := [name for name in BEYOND if kwargs.get(name) is not None]:
            raise RuntimeError(f"its attention has {more[0]}")
        return asked(query, key, value, scaling).transpose(1, 2), None

    AttentionInterface.register(NAME, attention)


def grouped(query: Tensor, n_kv: int) -> Tensor:
    """[B, H, Q, D] -> [B, n_kv, H / n_kv * Q, D]: query heads that share a key head become queries of it."""
    return query.reshape(query.shape[0], n_kv, -1, query.shape[-1])


class TreePlan:
    """Attention over one forest: a query q sees itself and its ancestors, the tokens k with k <= q < end[k].

    The queries are cut into blocks [a, b) of consecutive tokens, at the beginning of a branch where one
    begins soon enough. Of the tokens before a block, its queries see exactly the ancestors of token a. So the
    block's keys are these ancestors and the block itself, and the cost is T x (depth + block), never T x T.
    Blocks of similar size are padded and computed as one batch.
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
        # the place of each token's output among the outputs of all groups
        place, first = np.zeros(len(above_of), np.int64), 0
        for blocks, (asked, _, _) in zip(alike.values(), self.groups, strict=True):
            for i, (a, b, _) in enumerate(blocks):
                place[a:b] = first + i * asked.shape[1] + np.arange(b - a)
            first += asked.numel()
        self.place = torch.from_numpy(place).to(end.device)
        self.masks: dict[tuple[torch.dtype, int], list[Tensor]] = {}

    @staticmethod
    def _group(blocks: list[tuple[int, int, list[int]]], end: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(query tokens [G, Q], key tokens [G, K], who sees whom bool[G, Q, K]). Queries that pad a block
        repeat its last one; keys that pad a block are masked.
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
        # [T, heads, D]; D of the values may differ
        rows = [x[0].transpose(0, 1) for x in (query, key, value)]
        found = []
        for (asked, seen, _), mask in zip(
            self.groups, self._masks(query.dtype, n_heads // n_kv), strict=True
        ):
            q, k, v = (
                x.flatten(1).index_select(0, at.flatten()).view(*at.shape, *x.shape[1:]).transpose(1, 2)
                for x, at in zip(rows, (asked, seen, seen), strict=True)
            )
            out = F.scaled_dot_product_attention(grouped(q, n_kv), k, v, attn_mask=mask, scale=scaling)
            found.append(out.reshape(len(asked), n_heads, -1, value.shape[-1]).transpose(1, 2).flatten(0, 1))
        return torch.cat(found).index_select(0, self.place).transpose(0, 1)[None]

    def _masks(self, dtype: torch.dtype, groups: int) -> list[Tensor]:
        """What is added to the scores of each group, 0 or -inf, [G, 1, groups * Q, K]; one for all layers."""
        if (dtype, groups) not in self.masks:
            self.masks[dtype, groups] = [
                torch.zeros(seen.shape, dtype=dtype, device=seen.device)
                .masked_fill_(~seen, -torch.inf)
                .repeat(1, groups, 1)[:, None]
                for *_, seen in self.groups
            ]
        return self.masks[dtype, groups]


def _cuts(parent: list[int], least: int, most: int) -> Iterator[tuple[int, int]]:
    """Blocks [a, b) of at most `most` tokens; with `least` or more they end where the next branch begins.

    >>> list(_cuts([-1, 0, 1, 2, 1, 4, 5], least=2, most=5))
    [(0, 4), (4, 7)]
    """
    a = 0
    for t in range(1, len(parent) + 1):
        branches = t < len(parent) and parent[t] != t - 1
        if t == len(parent) or t - a >= most or (branches and t - a >= least):
            yield a, t
            a = t


BLOCK = 128  # tokens; flex_attention skips pairs of such blocks where nothing is seen


@cache
def _flex(compiled: bool) -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    # dynamic shapes from the start: if they cannot be compiled, it fails at loading, not at the second batch
    return torch.compile(flex_attention, dynamic=True) if compiled else flex_attention


def _listed(wanted: Tensor) -> tuple[Tensor, Tensor]:
    """bool[N, N] in flex_attention's form: how many are True in each row, and the columns, those first."""
    columns = wanted.int().argsort(dim=1, descending=True, stable=True).int()
    return wanted.sum(1).int()[None, None], columns[None, None]


class FlexPlan:
    """The same attention by PyTorch's flex_attention: one kernel, for GPUs. On a CPU it is not compiled, is
    slow, and gives no gradients.

    q sees k where k <= q < end[k]. So of a block of keys before a block of queries nothing is seen if no
    end[k] is beyond the first query, and everything if every end[k] is beyond the last.
    """

    def __init__(self, parent: Tensor, end: Tensor):
        from torch.nn.attention.flex_attention import BlockMask

        many = max(2, -(-len(end) // BLOCK))  # at least two, because one alone would be compiled separately
        self.spare = many * BLOCK - len(end)
        # padding sees itself
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
        if torch.is_autocast_enabled(query.device.type):  # rotary embeddings leave float32
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
    """Plans for attention over a forest on a device, the better one first."""
    return (FlexPlan, TreePlan) if device.type == "cuda" else (TreePlan,)
