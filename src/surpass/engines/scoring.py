"""A local engine's scores of given tokens: log-probabilities, certainty, values, next tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from surpass.engines.forward import following
from surpass.engines.machine import on
from surpass.engines.requests import Next, Score, grown
from surpass.flat import pack
from surpass.types import Batch

SCORE_TOKENS = 4096  # tokens in one scoring pass


def forests(requests: Sequence[Any]) -> Iterator[tuple[list[Any], Batch]]:
    """Groups of requests, each with its trees as one batch of about SCORE_TOKENS tokens, in which every
    prefix stands once. Path i of a batch ends at request i's node.
    """
    # whole trees together
    requests = sorted(requests, key=lambda r: (r.context.forest, r.context.nodes[-1]))
    while requests:
        some: list[Any] = []
        seen: set[tuple[Any, int]] = set()
        size = 0
        for request in requests:
            context = request.context
            for node, piece in zip(context.nodes, context.pieces, strict=True):
                if (context.forest, node) not in seen:
                    size += len(piece)
            if some and size > SCORE_TOKENS:
                break
            some.append(request)
            seen |= {(context.forest, node) for node in context.nodes}
        requests = requests[len(some) :]
        batch = pack(grown([request.context for request in some]), (), parts=False)
        yield some, batch


def score(engine: Any, requests: list[Score], what: str) -> Iterator[tuple[Score, np.ndarray]]:
    """(request, reply): float32[t], a number for every token of its context; float32[t, H] for values."""
    for some, batch in forests(requests):
        engine.scored += len(batch.token)  # before the replies: the last one may end the run
        found = engine.forward(batch, batch.parent >= (-1 if what == "value" else 0), {what})
        scores = getattr(found, what).cpu()
        parent = batch.parent.tolist()
        for request, last in zip(some, batch.last.tolist(), strict=True):
            path = []
            while last >= 0:
                path.append(last)
                last = parent[last]
            reply = scores[path[::-1]].numpy().astype(np.float32)
            if what != "value":
                reply[0] = np.nan
            yield request, reply


def following_tokens(engine: Any, requests: list[Next]) -> Iterator[tuple[Next, np.ndarray]]:
    """(request, reply): float32[n], the log-probability of each candidate as the next token."""
    form = engine.form if engine.why_not_trees is None else None
    for some, batch in forests(requests):
        engine.scored += len(batch.token)
        with torch.autocast(engine.device.type, torch.bfloat16, enabled=engine.mixed):
            replies = following(engine.causal, on(batch, engine.device), [r.candidates for r in some], form)
        yield from ((request, reply.cpu().numpy()) for request, reply in zip(some, replies, strict=True))
