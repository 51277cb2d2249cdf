"""Continues many token prefixes at once: shared prefixes are computed once, rows that end leave the batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surpass.engines.attention import using
from surpass.engines.batches import Row, batches, room
from surpass.engines.forward import hidden_states
from surpass.engines.prefix_cache import PrefixCache, common_length
from surpass.engines.requests import PAUSED, Drawn, Generate, Sampling, uniforms
from surpass.engines.row_attention import Groups, Measure, RowPlan
from surpass.engines.sampling import Settings, draw
from surpass.engines.text import Text
from surpass.engines.whole_rows import whole_rows
from surpass.errors import EngineError
from surpass.types import DONE, LENGTH, OPEN

PREFILL_TOKENS = 8192  # tokens in one prefill pass, padding included
PREFILL_LEAST = 1024  # a pass of so many tokens costs the same with padding
GROWTH = 32  # tokens that the buffers of rows hold at first; they double when full, when many rows have ended


@dataclass
class Decoder:
    """Draws continuations from a causal language model of transformers.

    `text` tells which tokens may complete a stop string, and whether a text does (surpass.engines.text);
    `ends` are tokens that end a turn. Keys and values of at most `max_tokens` tokens are in memory at once:
    as many for the cache, and as many for a batch. `cached=False` is for models that do not compute the same
    with surpass's attention: every step then runs whole rows again.
    """

    causal: Any  # a causal language model of transformers
    text: Text
    ends: frozenset[int]
    context: int
    max_tokens: int
    cached: bool = True

    def __post_init__(self) -> None:
        self.vocabulary = self.causal.config.get_text_config().vocab_size
        self.cache = PrefixCache(self.max_tokens)
        self.kept: dict[str, Tensor] = {}
        weight = next(self.causal.parameters())
        self.device, self.dtype = weight.device, weight.dtype
        if self.cached:
            self.layers, self.n_kv, self.width = self._measured()
        # whether outgrown buffers are kept: a GPU's allocator has freed memory at hand, a CPU's has not
        self.hoards = self.device.type == "cpu"
        self.prefilled = 0

    def _measured(self) -> tuple[int, int, int]:
        """(layers with attention, key heads, the wider of the keys' and values' widths), as a pass over one
        token shows them.
        """
        seen, one = Measure(), torch.zeros(1, 1, dtype=torch.int64, device=self.device)
        with torch.inference_mode(), using(self.causal, seen):
            hidden_states(self.causal, one, one)
        n_kv = {heads for heads, _ in seen.shapes}
        if len(n_kv) > 1:
            raise EngineError(
                f"its layers have different numbers of key heads: {', '.join(map(str, sorted(n_kv)))}"
            )
        return len(seen.shapes), n_kv.pop(), max(width for _, width in seen.shapes)

    def clear(self) -> None:
        """Forget all keys and values, which new weights make wrong, and free their memory."""
        self.cache.clear()
        self.kept.clear()

    def _buffers(self, *shape: int, name: str = "") -> Tensor:
        """[layers, 2, *shape, D] for keys and values: zeros, or, with a name, memory that is kept from batch
        to batch and holds old values. Fresh memory can cost more than what is computed in it.
        """
        sizes = (self.layers, 2, *shape, self.width)
        n = math.prod(sizes)
        if not name:
            return torch.zeros(sizes, dtype=self.dtype, device=self.device)
        if name not in self.kept or len(self.kept[name]) < n:
            self.kept.pop(name, None)
            # zeros, because a NaN that is masked is still a NaN
            self.kept[name] = torch.zeros(n + n // 4, dtype=self.dtype, device=self.device)
        return self.kept[name][:n].view(sizes)

    def _forward(
        self, tokens: Tensor, lens: Tensor, buffers: Tensor, prefix: Tensor, groups: Groups | None = None
    ) -> Tensor:
        """Hidden states [B, Q, hidden] of new tokens [B, Q] after each row's own; fills the buffers."""
        plan = RowPlan(buffers, lens, prefix, tokens.shape[1], groups)
        with using(self.causal, plan):
            return hidden_states(self.causal, tokens, plan.depth.clamp(max=self.context - 1))

    def _joined(self, parts: list[Tensor]) -> Tensor:
        """Parts of keys and values as one tensor [layers, 2, n_kv, tokens, D]."""
        return torch.cat(parts, -2) if parts else self._buffers(self.n_kv, 0)

    def _prefix(self, tokens: np.ndarray) -> Tensor:
        """Keys and values [layers, 2, n_kv, len(tokens), D] of a prefix; what the cache lacks is computed."""
        n, parts = self.cache.find(tokens)
        done = self._joined(parts)
        while n < len(tokens):
            piece = tokens[n : n + PREFILL_TOKENS]
            buffers = self._buffers(1, self.n_kv, len(piece))
            ids = torch.from_numpy(piece.astype(np.int64))[None].to(self.device)
            self._forward(ids, torch.zeros(1, dtype=torch.int64, device=self.device), buffers, done)
            new = buffers[:, :, 0]
            self.cache.add(tokens[: n + len(piece)], n, new)
            done = torch.cat([done, new], -2)
            self.prefilled += len(piece)
            n += len(piece)
        return done

    def _prefill(self, prompts: Sequence[np.ndarray], shared: int, prefix: Tensor, kv: Tensor) -> Tensor:
        """Logits [U, V] after each prompt. Writes the keys and values that follow the shared prefix into kv
        [layers, 2, U, n_kv, P, D], and every prompt into the cache. Prompts with few new tokens come first.
        """
        logits, a = [], 0
        while a < len(prompts):
            b, widest, used = a, 0, 0
            found = []
            for prompt in prompts[a:]:
                n, parts = self.cache.find(prompt[:-1])
                # it may be fewer than before, because an earlier batch may have computed a part
                own = len(prompt) - max(n, shared)
                wider = max(widest, own)
                padded = wider * (b - a + 1)
                if b > a and padded > min(PREFILL_TOKENS, max(PREFILL_LEAST, 1.2 * (used + own))):
                    break
                found.append((n, parts) if n >= shared else (shared, [prefix]))
                b, widest, used = b + 1, wider, used + own
            logits.append(self._prefill_batch(prompts[a:b], found, shared, prefix, kv[:, :, a:b], widest))
            a = b
        return torch.cat(logits)

    def _prefill_batch(
        self,
        prompts: Sequence[np.ndarray],
        found: Sequence[tuple[int, list[Tensor]]],
        shared: int,
        prefix: Tensor,
        kv: Tensor,
        n_new: int,
    ) -> Tensor:
        """Logits after each prompt. Each row computes at most its last `n_new` tokens: those that the cache
        lacks, and some that it has where padding would not fit into kv.
        """
        starts = [min(n, shared + kv.shape[-2] - n_new) for n, _ in found]
        lens = [len(prompt) - start for prompt, start in zip(prompts, starts, strict=True)]
        tokens = np.zeros((len(prompts), n_new), np.int64)
        for b, (prompt, start, (n, parts)) in enumerate(zip(prompts, starts, found, strict=True)):
            tokens[b, : lens[b]] = prompt[start:]
            _put(kv[:, :, b], parts, shared, start - shared)
            self.prefilled += len(prompt) - n
        known = torch.tensor(starts, device=self.device) - shared
        hidden = self._forward(torch.from_numpy(tokens).to(self.device), known, kv, prefix)
        for b, (prompt, (n, _)) in enumerate(zip(prompts, found, strict=True)):
            self.cache.add(prompt, n, kv[:, :, b, :, n - shared : len(prompt) - shared])
        last = torch.tensor(lens, device=self.device) - 1
        return self.causal.get_output_embeddings()(
            hidden[torch.arange(len(lens), device=self.device), last]
        ).float()

    def run(
        self, requests: Sequence[Generate], begun: Sequence[Sequence[Drawn]], others: Callable[[], bool]
    ) -> Iterator[tuple[int, int, Drawn]]:
        """(request number, draw number, what was drawn), each as it ends. `begun` holds what each draw has
        already, NOTHING at first. Once half of a batch's rows have ended and others() is true, because more
        requests wait, the rest comes back PAUSED.
        """
        if not self.cached:
            for i, j, drawn, computed in whole_rows(
                self.causal, self.text, self.ends, self.context, requests
            ):
                self.prefilled += computed
                yield i, j, drawn
            return
        rows = [
            Row(i, j, drawn, np.concatenate([request.tokens, drawn.tokens]))
            for i, request in enumerate(requests)
            for j, drawn in enumerate(begun[i])
            if drawn.stop == PAUSED
        ]
        for batch in batches(requests, rows, self.context, self.max_tokens):
            yield from self._run_batch(requests, batch, others)

    def _run_batch(
        self, requests: Sequence[Generate], rows: list[Row], others: Callable[[], bool]
    ) -> Iterator[tuple[int, int, Drawn]]:
        """Compute the different texts of the rows, once each, and draw."""
        texts = {row.text.tobytes(): row.text for row in rows}
        new = {key: len(tokens) - self.cache.find(tokens[:-1])[0] for key, tokens in texts.items()}
        order = sorted(texts, key=lambda key: (new[key], len(texts[key])))
        prompts, number = [texts[key] for key in order], {key: i for i, key in enumerate(order)}
        stacked = min(len(p) for p in prompts) - 1  # the last token is always computed: its logits are wanted
        first = prompts[0]
        shared = int(min([stacked, *(common_length(first, p) for p in prompts[1:])]))
        prefix = self._prefix(first[:shared])
        own = torch.tensor([len(p) - shared for p in prompts], device=self.device)
        kv = self._buffers(len(prompts), self.n_kv, int(own.max()), name="prompts")
        logits = self._prefill(prompts, shared, prefix, kv)
        # the last token of a paused row was counted when it was drawn
        fresh = {row.text.tobytes() for row in rows if not len(row.before.tokens)}
        self.prefilled -= len(texts.keys() - fresh)
        at = torch.tensor([number[row.text.tobytes()] for row in rows], device=self.device)
        yield from self._steps(requests, rows, logits[at], Groups(kv, own, at), prefix, others)

    def _steps(
        self,
        requests: Sequence[Generate],
        rows: list[Row],
        logits: Tensor,
        groups: Groups,
        prefix: Tensor,
        others: Callable[[], bool],
    ) -> Iterator[tuple[int, int, Drawn]]:
        """Draw a token for each row at every step, until all have ended; `logits` follow the rows' texts."""
        samplings = [requests[row.request].sampling for row in rows]
        settings = Settings.of(samplings, self.device)
        rooms = torch.tensor(
            [room(requests[row.request], self.context, row) for row in rows], device=self.device
        )
        n_most = int(rooms.max()) if len(rows) else 0
        keys = [(requests[row.request].keys[row.draw], len(row.before.tokens)) for row in rows]
        drawn_at = np.stack([uniforms(key, n + n_most)[n:] for key, n in keys])
        noise = torch.from_numpy(drawn_at).to(self.device)
        ends = torch.zeros(self.vocabulary, dtype=torch.bool, device=self.device)
        ends[[token for token in self.ends if token < self.vocabulary]] = True
        may_stop = torch.stack([self._may_stop(sampling) for sampling in dict.fromkeys(samplings)])
        kind = torch.tensor([list(dict.fromkeys(samplings)).index(s) for s in samplings], device=self.device)
        drawn = torch.zeros(len(rows), n_most, dtype=torch.int64, device=self.device)
        logp, logq = (torch.zeros(len(rows), n_most, device=self.device) for _ in range(2))
        slot = torch.arange(len(rows), device=self.device)  # the row in each place of the batch
        # every row in the batch has drawn the same number of tokens
        buffers = self._buffers(len(rows), self.n_kv, min(GROWTH, n_most), name="rows")

        def finish(place: int, stop: int) -> tuple[int, int, Drawn]:
            row = int(slot[place])
            tokens, p, q = (x[row, : t + 1].cpu().numpy() for x in (drawn, logp, logq))
            return self._finish(rows[row], tokens, p, q, stop, buffers[:, :, place, :, :t])

        for t in range(n_most):
            token, p, q = draw(logits, settings.take(slot), noise[slot, t])
            drawn[slot, t], logp[slot, t], logq[slot, t] = token, p, q
            done = ends[token]
            full = rooms[slot] <= t + 1
            over = done | full
            for place in torch.nonzero(may_stop[kind[slot], token] & ~done).flatten().tolist():
                row = int(slot[place])
                words = [*rows[row].before.tokens.tolist(), *drawn[row, : t + 1].tolist()]
                if self.text.stopped(words, samplings[row].stop, samplings[row].stop_tokens):
                    over[place] = True
                    full[place] = False
            if bool(over.any()):
                for place in torch.nonzero(over).flatten().tolist():
                    stop = DONE if done[place] else LENGTH if full[place] else OPEN
                    yield finish(place, stop)
                slot, token, at = self._compact(over, t, buffers, slot, token, groups.at)
                if not len(slot):
                    return
                if 2 * len(slot) <= len(rows) and others():
                    yield from [finish(place, PAUSED) for place in range(len(slot))]
                    return
                groups = Groups(groups.kv, groups.lens, at)
            if t == buffers.shape[-2]:
                grown = self._buffers(len(slot), self.n_kv, min(2 * t, n_most), name=f"rows from {t}")
                grown[..., :t, :] = buffers[:, :, : len(slot)]
                buffers = grown
                if not self.hoards:
                    wanted = ("prompts", f"rows from {t}")
                    self.kept = {name: some for name, some in self.kept.items() if name in wanted}
            hidden = self._forward(
                token[:, None], torch.full_like(slot, t), buffers[:, :, : len(slot)], prefix, groups
            )
            logits = self.causal.get_output_embeddings()(hidden[:, 0]).float()

    def _may_stop(self, sampling: Sampling) -> Tensor:
        """bool[vocabulary]: the tokens after which a row may have to stop."""
        mask = self.text.may_stop(sampling.stop, self.vocabulary).to(self.device)
        if sampling.stop_tokens:
            mask = mask.clone()
            mask[list(sampling.stop_tokens)] = True
        return mask

    def _finish(
        self, row: Row, tokens: np.ndarray, logp: np.ndarray, logq: np.ndarray, stop: int, kv: Tensor
    ) -> tuple[int, int, Drawn]:
        """What a row has drawn, before its pause and after."""
        tokens = tokens.astype(np.int32)
        # it may be continued, so what was computed is kept: all but the last token
        if stop in (OPEN, PAUSED) and len(tokens) > 1:
            self.cache.add(np.concatenate([row.text, tokens[:-1]]), len(row.text), kv)
        old = row.before
        tokens, logp, logq = (
            np.concatenate(pair) for pair in ((old.tokens, tokens), (old.logp, logp), (old.logq, logq))
        )
        return row.request, row.draw, Drawn(tokens, logp, logq, stop)

    @staticmethod
    def _compact(over: Tensor, used: int, buffers: Tensor, *values: Tensor) -> list[Tensor]:
        """Move rows into the places of those that are over, so that the first places hold all that go on."""
        n_live = int((~over).sum())
        holes = torch.nonzero(over[:n_live]).flatten()
        movers = n_live + torch.nonzero(~over[n_live:]).flatten()
        if len(holes):
            buffers[:, :, holes, :, :used] = buffers[:, :, movers, :, :used]
            for value in values:
                value[holes] = value[movers]
        return [value[:n_live].clone() for value in values]


def _put(into: Tensor, parts: list[Tensor], skip: int, most: int) -> None:
    """Copy at most `most` tokens of the parts, joined along dim -2, without the first `skip`."""
    at = -skip
    for part in parts:
        first, last = max(0, at), min(most, at + part.shape[-2])
        if first < last:
            into[..., first:last, :] = part[..., first - at : last - at, :]
        at += part.shape[-2]
