"""Continues many token prefixes at once: shared prefixes computed once, rows that end leave the batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surpass.engines.attention import Groups, RowPlan
from surpass.engines.prefix_cache import PrefixCache, common_length
from surpass.engines.requests import Drawn, Generate, uniforms
from surpass.engines.sampling import Settings, draw
from surpass.engines.text import Text
from surpass.types import DONE, LENGTH, OPEN

PREFILL_TOKENS = 8192  # tokens in one prefill pass, padding included
PREFILL_LEAST = 1024  # up to which padding does not matter
GROWTH = 32  # tokens of room that rows begin with; it doubles when it is full, by when many rows have ended


@dataclass
class _Row:
    """One draw under way."""

    request: int
    draw: int
    prompt: int


@dataclass
class Decoder:
    """Draws continuations from a causal language model of transformers.

    `stops` tells for token ids which may complete a stop string, and whether a text ends one (surpass.engines.text).
    """

    causal: Any  # a causal language model of transformers
    text: Text
    ends: frozenset[int]
    context: int
    max_tokens: int  # tokens whose keys and values may be in memory at once, cache and batch each
    cached: bool = True  # False: the model cannot be trusted with our attention; every step runs whole rows again

    def __post_init__(self):
        config = self.causal.config.get_text_config()
        self.n_kv = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        self.width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.layers = config.num_hidden_layers
        self.vocabulary = config.vocab_size
        self.cache = PrefixCache(self.max_tokens)
        weight = next(self.causal.parameters())
        self.device, self.dtype = weight.device, weight.dtype
        self.prefilled = 0

    def _buffers(self, *shape: int) -> Tensor:
        return torch.zeros(self.layers, 2, *shape, self.width, dtype=self.dtype, device=self.device)

    def _forward(self, tokens: Tensor, lens: Tensor, buffers: Tensor, prefix: Tensor, groups: Groups | None = None) -> Tensor:
        """Hidden states [B, Q, hidden] of new tokens [B, Q] behind each row's own; buffers are filled in place."""
        plan = RowPlan(buffers, lens, prefix, tokens.shape[1], groups)
        mask = torch.zeros(1, 1, 1, 1, device=self.device)  # a ready-made mask, so that transformers builds none
        return self.causal.base_model(
            input_ids=tokens,
            position_ids=plan.depth.clamp(max=self.context - 1),
            attention_mask=mask,
            use_cache=False,
            plan=plan,
        ).last_hidden_state

    def _joined(self, parts: list[Tensor]) -> Tensor:
        return torch.cat(parts, -2) if parts else self._buffers(self.n_kv, 0)

    def _prefix(self, tokens: np.ndarray) -> Tensor:
        """Keys and values [layers, 2, n_kv, len(tokens), D] of a prefix, from the cache or computed in pieces."""
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

    def _prefill(self, prompts: Sequence[np.ndarray], shared: int, prefix: Tensor) -> Tensor:
        """Logits [U, V] after each prompt; afterwards the cache holds every prompt."""
        logits = []
        new = [len(prompt) - max(shared, self.cache.find(prompt[:-1])[0]) for prompt in prompts]
        order = sorted(range(len(prompts)), key=lambda i: (new[i], len(prompts[i]), i))
        while order:
            batch: list[int] = []
            found = {}
            widest = used = longest = 0
            for i in order:
                n, parts = self.cache.find(prompts[i][:-1])
                found[i] = (n, parts) if n >= shared else (shared, [prefix])
                longest = max(longest, len(prompts[i]) - shared)
                own = len(prompts[i]) - found[i][0]  # fewer than at first, where an earlier batch computed a part
                widest = max(widest, own)
                padded = widest * (len(batch) + 1)
                wasted = padded > max(PREFILL_LEAST, 1.2 * (used + own))
                if batch and (padded > PREFILL_TOKENS or wasted or longest * (len(batch) + 1) > self.max_tokens):
                    break
                batch.append(i)
                used += own
            order = order[len(batch) :]
            rows = self._prefill_batch([prompts[i] for i in batch], [found[i] for i in batch], shared, prefix)
            logits += list(zip(batch, rows, strict=True))
        return torch.stack([row for _, row in sorted(logits, key=lambda pair: pair[0])])

    def _prefill_batch(self, prompts, found, shared, prefix) -> Tensor:
        known = torch.tensor([n - shared for n, _ in found], device=self.device)
        news = [prompt[n:] for prompt, (n, _) in zip(prompts, found, strict=True)]
        n_new = max(map(len, news))
        tokens = np.zeros((len(prompts), n_new), np.int64)
        buffers = self._buffers(len(prompts), self.n_kv, int(known.max()) + n_new)
        for b, (new, (n, parts)) in enumerate(zip(news, found, strict=True)):
            tokens[b, : len(new)] = new
            if n > shared:
                buffers[:, :, b, :, : n - shared] = _after(parts, shared)
            self.prefilled += len(new)
        hidden = self._forward(torch.from_numpy(tokens).to(self.device), known, buffers, prefix)
        for b, (prompt, (n, _)) in enumerate(zip(prompts, found, strict=True)):
            self.cache.add(prompt, n, buffers[:, :, b, :, n - shared : len(prompt) - shared])
        last = torch.tensor([len(new) - 1 for new in news], device=self.device)
        return self.causal.get_output_embeddings()(hidden[torch.arange(len(news), device=self.device), last]).float()

    def run(self, requests: Sequence[Generate]) -> Iterator[tuple[int, int, Drawn]]:
        """(request number, draw number, what was drawn), each as it ends."""
        if not self.cached:
            yield from self._run_whole_rows(requests)
            return
        rows = [_Row(i, j, i) for i, request in enumerate(requests) for j in range(len(request.keys))]
        for chunk in self._chunks(requests, rows):
            yield from self._run_chunk(requests, chunk)

    def _chunks(self, requests, rows) -> Iterator[list[_Row]]:
        """Rows in order, as many at a time as the buffers may hold: their own tokens (for a moment one and a half times that, while they
        grow) and each prompt once; and not so unequal that groups, which are padded to the largest, are mostly padding."""
        chunk: list[_Row] = []
        own = longest = largest = 0
        counts: Counter[bytes] = Counter()
        for row in rows:
            request = requests[row.request]
            key = request.tokens.tobytes()
            wanted = max(own, self._room(request)), max(longest, len(request.tokens)), max(largest, counts[key] + 1)
            groups = len(counts) + (counts[key] == 0)
            held = wanted[0] * (len(chunk) + 1) + wanted[1] * groups
            if chunk and (held > self.max_tokens or wanted[2] * groups > 4 * (len(chunk) + 1) + 256):
                yield chunk
                chunk, wanted, counts = [], (self._room(request), len(request.tokens), 1), Counter()
            chunk.append(row)
            counts[key] += 1
            own, longest, largest = wanted
        if chunk:
            yield chunk

    def _room(self, request: Generate) -> int:
        """How many tokens may be drawn after this prefix."""
        return max(0, min(request.sampling.max_tokens, self.context - len(request.tokens)))

    def _run_chunk(self, requests: Sequence[Generate], rows: list[_Row]) -> Iterator[tuple[int, int, Drawn]]:
        prompts: list[np.ndarray] = []
        number: dict[bytes, int] = {}
        for row in rows:
            tokens = requests[row.request].tokens
            row.prompt = number.setdefault(tokens.tobytes(), len(number))
            if row.prompt == len(prompts):
                prompts.append(tokens)
        stacked = min(len(p) for p in prompts) - 1  # the last token is always computed: its logits are wanted
        first = prompts[0]
        shared = int(min([stacked, *(common_length(first, p) for p in prompts[1:])]))
        prefix = self._prefix(first[:shared])
        logits = self._prefill(prompts, shared, prefix)
        at = torch.tensor([row.prompt for row in rows], device=self.device)
        own = torch.tensor([len(p) - shared for p in prompts], device=self.device)
        # nothing here holds the groups' keys and values, so that those of ended groups are freed
        yield from self._steps(requests, rows, logits[at], Groups(self._stacked(prompts, shared), own, at), prefix)

    def _stacked(self, prompts: Sequence[np.ndarray], shared: int) -> Tensor:
        """[layers, 2, U, n_kv, P, D]: keys and values of prompts after their shared prefix."""
        kv = self._buffers(len(prompts), self.n_kv, max(map(len, prompts)) - shared)
        for p, prompt in enumerate(prompts):
            n, parts = self.cache.find(prompt)
            if n < len(prompt):  # evicted meanwhile: the cache is smaller than this batch
                parts = [self._prefix(prompt)]
            kv[:, :, p, :, : len(prompt) - shared] = _after(parts, shared)
        return kv

    def _steps(self, requests, rows, logits, groups: Groups, prefix) -> Iterator[tuple[int, int, Drawn]]:
        samplings = [requests[row.request].sampling for row in rows]
        settings = Settings.of(samplings, self.device)
        rooms = torch.tensor([self._room(requests[row.request]) for row in rows], device=self.device)
        n_most = int(rooms.max()) if len(rows) else 0
        noise = np.stack([uniforms(requests[row.request].keys[row.draw], n_most) for row in rows])
        noise = torch.from_numpy(noise).to(self.device)
        ends = torch.zeros(self.vocabulary, dtype=torch.bool, device=self.device)
        ends[[token for token in self.ends if token < self.vocabulary]] = True
        may_stop = torch.stack([self._may_stop(sampling) for sampling in dict.fromkeys(samplings)])
        kind = torch.tensor([list(dict.fromkeys(samplings)).index(s) for s in samplings], device=self.device)
        drawn = torch.zeros(len(rows), n_most, dtype=torch.int64, device=self.device)
        logp, logq = (torch.zeros(len(rows), n_most, device=self.device) for _ in range(2))
        slot = torch.arange(len(rows), device=self.device)  # which row sits in each live place
        buffers = self._buffers(len(rows), self.n_kv, min(GROWTH, n_most))  # every live row has drawn the same number of tokens
        for t in range(n_most):
            token, p, q = draw(logits, settings.take(slot), noise[slot, t])
            drawn[slot, t], logp[slot, t], logq[slot, t] = token, p, q
            done = ends[token]
            full = rooms[slot] <= t + 1
            over = done | full
            for place in torch.nonzero(may_stop[kind[slot], token] & ~done).flatten().tolist():
                row = int(slot[place])
                if self.text.stopped(drawn[row, : t + 1].tolist(), samplings[row].stop, samplings[row].stop_tokens):
                    over[place] = True
                    full[place] = False
            if bool(over.any()):
                for place in torch.nonzero(over).flatten().tolist():
                    row = int(slot[place])
                    stop = DONE if done[place] else LENGTH if full[place] else OPEN
                    yield self._finish(requests, rows[row], drawn[row, : t + 1], logp[row, : t + 1], logq[row, : t + 1], stop,
                                       buffers[:, :, place, :, :t])  # fmt: skip
                slot, token, at = self._compact(over, t, buffers, slot, token, groups.at)
                if not len(slot):
                    return
                groups = Groups(groups.kv, groups.lens, at)
            if t == buffers.shape[-2]:
                grown = self._buffers(len(slot), self.n_kv, min(2 * t, n_most))
                grown[..., :t, :] = buffers[:, :, : len(slot)]
                buffers = grown
            hidden = self._forward(token[:, None], torch.full_like(slot, t), buffers[:, :, : len(slot)], prefix, groups)
            logits = self.causal.get_output_embeddings()(hidden[:, 0]).float()

    def _may_stop(self, sampling) -> Tensor:
        mask = self.text.may_stop(sampling.stop, self.vocabulary).to(self.device)
        if sampling.stop_tokens:
            mask = mask.clone()
            mask[list(sampling.stop_tokens)] = True
        return mask

    def _finish(self, requests, row, tokens, logp, logq, stop, kv) -> tuple[int, int, Drawn]:
        tokens = tokens.cpu().numpy().astype(np.int32)
        if stop == OPEN and len(tokens) > 1:  # it may be continued: keep what was computed (all but the last token)
            prompt = requests[row.request].tokens
            self.cache.add(np.concatenate([prompt, tokens[:-1]]), len(prompt), kv)
        return row.request, row.draw, Drawn(tokens, logp.cpu().numpy().copy(), logq.cpu().numpy().copy(), stop)

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
        """The slow path for models whose attention we cannot replace: each step runs every live row from its start."""
        for i, request in enumerate(requests):
            for j, key in enumerate(request.keys):
                noise = torch.from_numpy(uniforms(key, max(1, self._room(request)))).to(self.device)
                settings = Settings.of([request.sampling], self.device)
                tokens, logp, logq, stop = request.tokens.tolist(), [], [], LENGTH
                for t in range(self._room(request)):
                    logits = self.causal(input_ids=torch.tensor([tokens], device=self.device), use_cache=False).logits[:, -1]
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


def _after(parts: list[Tensor], skip: int) -> Tensor:
    """The parts joined along dim -2 without their first `skip` tokens."""
    kept = []
    for part in parts:
        n = part.shape[-2]
        if skip < n:
            kept.append(part[..., skip:, :])
        skip = max(0, skip - n)
    return torch.cat(kept, -2)
