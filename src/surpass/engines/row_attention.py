"""Attention of rows that grow: each owns buffers of keys and values, and shares prefixes with others."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from surpass.engines.attention import grouped


class Measure:
    """A plan that only measures: it answers in the right shape, and notes n_kv and the wider width."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, int]] = []

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        self.shapes.append((key.shape[1], max(key.shape[-1], value.shape[-1])))
        return value.repeat_interleave(query.shape[1] // key.shape[1], 1)


class Groups:
    """Rows that continue the same prompt share its keys and values kv [layers, 2, G, n_kv, P, D].

    Row b uses those of group at[b], of which the first lens[at[b]] count; the rest is padding. `place` [G, R]
    lists each group's rows (padded with 0), `seat` [B] is a row's place in its group.
    """

    def __init__(self, kv: Tensor, lens: Tensor, at: Tensor):
        if 2 * len(live := at.unique()) <= len(lens):  # most groups have ended: keep only the others
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
    """Attention of rows that grow. A row sees a prefix that all rows share, then its group's prompt if there
    are `groups`, then its own tokens, of which row b has lens[b].

    buffers [layers, 2, B, n_kv, capacity, D] hold the rows' own keys and values, prefix [layers, 2, n_kv, L,
    D] those of the prefix. The keys and values of n_new new tokens a row are written after its own; padding
    among them is overwritten by the next tokens. `depth` [B, Q] are the positions of the new tokens.
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
        self.mask: Tensor | None = None  # for prompts; one for all layers

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        n_value, wide = value.shape[-1], self.buffers.shape[-1]
        if not query.shape[-1] == n_value == wide:  # latent attention: the narrower is padded with zeros
            query, key, value = (F.pad(x, (0, wide - x.shape[-1])) for x in (query, key, value))
        return self._answer(layer, query, key, value, scaling)[..., :n_value]

    def _answer(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        n_rows, _, n_new, width = query.shape
        n_kv, n_shared = key.shape[1], self.prefix.shape[-2]
        keys, values = self.buffers[layer, 0], self.buffers[layer, 1]
        keys[self.row, :, self.position] = key.transpose(1, 2)
        values[self.row, :, self.position] = value.transpose(1, 2)
        # prompts have many queries a row: their scores are never all in memory
        if n_new > 1 and self.groups is None:
            return self._prompts(layer, query, keys, values, scaling)
        q = grouped(query * scaling, n_kv)  # [B, n_kv, G * Q, D]
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
        """[B, H, Q, D]: the attention of each row to the shared prefix and its own tokens."""
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
            grouped(query, n_kv), key, value, attn_mask=self.mask, scale=scaling
        )
        return found.reshape(query.shape)
