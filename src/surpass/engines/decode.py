"""Continues many token prefixes at once: shared prefixes computed once, rows that end leave the batch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surpass.engines.attention import Groups, Measure, RowPlan, using
from surpass.engines.forward import hidden_states
from surpass.engines.prefix_cache import PrefixCache, common_length
from surpass.engines.requests import PAUSED, Drawn, Generate, uniforms
from surpass.engines.sampling import Settings, draw
from surpass.engines.text import Text
from surpass.errors import EngineError
from surpass.types import DONE, LENGTH, OPEN

PREFILL_TOKENS = 8192  # tokens in one prefill pass, padding included
PREFILL_LEAST = 1024  # up to which padding does not matter
GROWTH = 32  # tokens of room that rows begin with; it doubles when it is full, by when many rows have ended


@dataclass
class _Row:
    """One draw under way: which, what was drawn of it before a pause, and the text it goes on from."""

    request: int
    draw: int
    before: Drawn
    text: np.ndarray


@dataclass
class Decoder:
    """Draws continuations from a causal language model of transformers.

    `stops` tells for token ids which may complete a stop string, and whether a text ends one
    (surpass.engines.text).
    """

    causal: Any  # a causal language model of transformers
    text: Text
    ends: frozenset[int]
    context: int
    max_tokens: int  # tokens whose keys and values may be in memory at once, cache and batch each
    # False: the model cannot be trusted with our attention; every step runs whole rows again
    cached: bool = True

    def __post_init__(self) -> None:
        self.vocabulary = self.causal.config.get_text_config().vocab_size
        self.cache = PrefixCache(self.max_tokens)
        self.kept: dict[str, Tensor] = {}
        weight = next(self.causal.parameters())
        self.device, self.dtype = weight.device, weight.dtype
        if self.cached:
            self.layers, self.n_kv, self.width = self._measured()
        # keeps outgrown buffers: elsewhere memory that was given back is at hand again
        self.hoards = self.device.type == "cpu"
        self.prefilled = 0

    def _measured(self) -> tuple[int, int, int]:
        """(layers with attention, key heads, width of keys or values, the wider): what a pass over one token
        shows.
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
        """Forget all keys and values, as new weights demand, and give their memory back."""
        self.cache.clear()
        self.kept.clear()

    def _buffers(self, *shape: int, name: str = "") -> Tensor:
        """[layers, 2, *shape, D] for keys and values: zeros, or whatever was last in the memory of this name,
        which is kept from batch to batch, because fresh memory can cost more than what is computed in it.
        """
        sizes = (self.layers, 2, *shape, self.width)
        n = math.prod(sizes)
        if not name:
            return torch.zeros(sizes, dtype=self.dtype, device=self.device)
        if name not in self.kept or len(self.kept[name]) < n:
            self.kept.pop(name, None)
            # a masked NaN would still be a NaN
            self.kept[name] = torch.zeros(n + n // 4, dtype=self.dtype, device=self.device)
        return self.kept[name][:n].view(sizes)

    def _forward(
        self, tokens: Tensor, lens: Tensor, buffers: Tensor, prefix: Tensor, groups: Groups | None = None
    ) -> Tensor:
        """Hidden states [B, Q, hidden] of new tokens [B, Q] behind each row's own; buffers are filled in
        place.
        """
        plan = RowPlan(buffers, lens, prefix, tokens.shape[1], groups)
        with using(self.causal, plan):
            return hidden_states(self.causal, tokens, plan.depth.clamp(max=self.context - 1))

    def _joined(self, parts: list[Tensor]) -> Tensor:
        return torch.cat(parts, -2) if parts else self._buffers(self.n_kv, 0)

    def _prefix(self, tokens: np.ndarray) -> Tensor:
        """Keys and values [layers, 2, n_kv, len(tokens), D] of a prefix, from the cache or computed in
        pieces.
        """
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
        """Logits [U, V] after each prompt; afterwards kv [layers, 2, U, n_kv, P, D] holds what follows the
        shared prefix, and the cache every prompt. Prompts come with the fewest new tokens first.
        """
        logits, a = [], 0
        while a < len(prompts):
            b, widest, used = a, 0, 0
            found = []
            for prompt in prompts[a:]:
                n, parts = self.cache.find(prompt[:-1])
                # fewer than at first, where an earlier batch computed a part
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

    def _prefill_batch(self, prompts, found, shared, prefix, kv, n_new) -> Tensor:
        """Each row computes its last `n_new` tokens or fewer: what it lacks, and where padding would not fit
        into kv, what it knew.
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
        """(request number, draw number, what was drawn), each as it ends. `begun` holds what was drawn
        already, NOTHING where nothing was. Where half of a batch's rows have ended and there are `others` to
        serve, the rest comes back PAUSED.
        """
        if not self.cached:
            yield from self._run_whole_rows(requests)
            return
        rows = [
            _Row(i, j, drawn, np.concatenate([request.tokens, drawn.tokens]))
            for i, request in enumerate(requests)
            for j, drawn in enumerate(begun[i])
            if drawn.stop == PAUSED
        ]
        for chunk in self._chunks(requests, rows):
            yield from self._run_chunk(requests, chunk, others)

    def _chunks(self, requests, rows) -> Iterator[list[_Row]]:
        """Rows in order, as many at a time as the buffers may hold: their own tokens (one and a half times
        that while they grow, and on a CPU, where outgrown memory is kept for the next batch, up to two and a
        half) and each prompt once; and not so unequal that groups, which are padded to the largest, are
        mostly padding.
        """
        chunk: list[_Row] = []
        own = longest = largest = 0
        counts: Counter[bytes] = Counter()
        for row in rows:
            request = requests[row.request]
            key = row.text.tobytes()
            wanted = (
                max(own, self._room(request, row)),
                max(longest, len(row.text)),
                max(largest, counts[key] + 1),
            )
            groups = len(counts) + (counts[key] == 0)
            held = wanted[0] * (len(chunk) + 1) + wanted[1] * groups
            if chunk and (held > self.max_tokens or wanted[2] * groups > 4 * (len(chunk) + 1) + 256):
                yield chunk
                chunk, wanted, counts = [], (self._room(request, row), len(row.text), 1), Counter()
            chunk.append(row)
            counts[key] += 1
            own, longest, largest = wanted
        if chunk:
            yield chunk

    def _room(self, request: Generate, row: _Row | None = None) -> int:
        """How many tokens may be drawn after this prefix, or are left to a row."""
        return max(0, min(request.sampling.max_tokens, self.context - len(request.tokens))) - (
            len(row.before.tokens) if row else 0
        )

    def _run_chunk(
        self, requests: Sequence[Generate], rows: list[_Row], others: Callable[[], bool]
    ) -> Iterator[tuple[int, int, Drawn]]:
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
        # the last token of what was paused is counted where it was drawn
        self.prefilled -= len(
            texts.keys() - {row.text.tobytes() for row in rows if not len(row.before.tokens)}
        )
        at = torch.tensor([number[row.text.tobytes()] for row in rows], device=self.device)
        yield from self._steps(requests, rows, logits[at], Groups(kv, own, at), prefix, others)

    def _steps(
        self, requests, rows, logits, groups: Groups, prefix, others
    ) -> Iterator[tuple[int, int, Drawn]]:
        samplings = [requests[row.request].sampling for row in rows]
        settings = Settings.of(samplings, self.device)
        rooms = torch.tensor([self._room(requests[row.request], row) for row in rows], device=self.device)
        n_most = int(rooms.max()) if len(rows) else 0
        noise = np.stack(
            [
                uniforms(requests[row.request].keys[row.draw], len(r) + n_most)[len(r) :]
                for row in rows
                for r in [row.before.tokens]
            ]
        )
        noise = torch.from_numpy(noise).to(self.device)
        ends = torch.zeros(self.vocabulary, dtype=torch.bool, device=self.device)
        ends[[token for token in self.ends if token < self.vocabulary]] = True
        may_stop = torch.stack([self._may_stop(sampling) for sampling in dict.fromkeys(samplings)])
        kind = torch.tensor([list(dict.fromkeys(samplings)).index(s) for s in samplings], device=self.device)
        drawn = torch.zeros(len(rows), n_most, dtype=torch.int64, device=self.device)
        logp, logq = (torch.zeros(len(rows), n_most, device=self.device) for _ in range(2))
        slot = torch.arange(len(rows), device=self.device)  # which row sits in each live place
        buffers = self._buffers(
            len(rows), self.n_kv, min(GROWTH, n_most), name="rows"
        )  # every live row has drawn the same number of tokens

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
                    self.kept = {
                        name: some
                        for name, some in self.kept.items()
                        if name in ("prompts", f"rows from {t}")
                    }
            hidden = self._forward(
                token[:, None], torch.full_like(slot, t), buffers[:, :, : len(slot)], prefix, groups
            )
            logits = self.causal.get_output_embeddings()(hidden[:, 0]).float()

    def _may_stop(self, sampling) -> Tensor:
        mask = self.text.may_stop(sampling.stop, self.vocabulary).to(self.device)
        if sampling.stop_tokens:
            mask = mask.clone()
            mask[list(sampling.stop_tokens)] = True
        return mask

    def _finish(self, row: _Row, tokens, logp, logq, stop: int, kv) -> tuple[int, int, Drawn]:
        tokens = tokens.astype(np.int32)
        # it may be continued: keep what was computed (all but the last token)
        if stop in (OPEN, PAUSED) and len(tokens) > 1:
            self.cache.add(np.concatenate([row.text, tokens[:-1]]), len(row.text), kv)
        old = row.before
        tokens, logp, logq = (
            np.concatenate(pair) for pair in ((old.tokens, tokens), (old.logp, logp), (old.logq, logq))
        )
        return row.request, row.draw, Drawn(tokens, logp, logq, stop)

    @staticmethod
    def _compact(over, used: int, buffers, *values) -> list[Tensor]:
        """Live rows move down into the places of ended ones, so that a step touches live rows only."""
        n_live = int((~over).sum())
        holes = torch.nonzero(over[:n_live]).flatten()
        movers = n_live + torch.nonzero(~over[n_live:]).flatten()
        if len(holes):
            buffers[:, :, holes, :, :used] = buffers[:, :, movers, :, :used]
            for value in values:
                value[holes] = value[movers]
        return [value[:n_live].clone() for value in values]

    def _run_whole_rows(self, requests) -> Iterator[tuple[int, int, Drawn]]:
        """The slow path for models whose attention we cannot replace: each step runs every live row from its
        start.
        """
        for i, request in enumerate(requests):
            for j, key in enumerate(request.keys):
                noise = torch.from_numpy(uniforms(key, max(1, self._room(request)))).to(self.device)
                settings = Settings.of([request.sampling], self.device)
                tokens, logp, logq, stop = request.tokens.tolist(), [], [], LENGTH
                for t in range(self._room(request)):
                    logits = self.causal(
                        input_ids=torch.tensor([tokens], device=self.device), use_cache=False
                    ).logits[:, -1]
                    # computed again, all but the token that was just drawn
                    self.prefilled += len(tokens) - (t > 0)
                    token, p, q = draw(logits, settings, noise[t : t + 1])
                    tokens.append(int(token))
                    logp.append(float(p))
                    logq.append(float(q))
                    new = tokens[len(request.tokens) :]
                    if tokens[-1] in self.ends:
                        stop = DONE
                        break
                    if self.text.stopped(new, request.sampling.stop, request.sampling.stop_tokens):
                        stop = OPEN
                        break
                new = np.array(tokens[len(request.tokens) :], np.int32)
                yield i, j, Drawn(new, np.array(logp, np.float32), np.array(logq, np.float32), stop)


def _put(into: Tensor, parts: list[Tensor], skip: int, most: int) -> None:
    """Copy the parts, joined along dim -2, without their first `skip` tokens, `most` at the most."""
    at = -skip
    for part in parts:
        first, last = max(0, at), min(most, at + part.shape[-2])
        if first < last:
            into[..., first:last, :] = part[..., first - at : last - at, :]
        at += part.shape[-2]
