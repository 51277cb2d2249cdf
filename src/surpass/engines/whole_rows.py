"""The slow way to draw, for models whose attention cannot be replaced: each step runs a whole row again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from surpass.engines.batches import room
from surpass.engines.requests import Drawn, Generate, uniforms
from surpass.engines.sampling import Settings, draw
from surpass.engines.text import Text
from surpass.types import DONE, LENGTH, OPEN


def whole_rows(
    causal: Any, text: Text, ends: frozenset[int], context: int, requests: Sequence[Generate]
) -> Iterator[tuple[int, int, Drawn, int]]:
    """(request number, draw number, what was drawn, how many computed tokens were not just drawn)."""
    device = next(causal.parameters()).device
    for i, request in enumerate(requests):
        sampling, most = request.sampling, room(request, context)
        settings = Settings.of([sampling], device)
        for j, key in enumerate(request.keys):
            noise = torch.from_numpy(uniforms(key, max(1, most))).to(device)
            tokens, logp, logq, stop, computed = request.tokens.tolist(), [], [], LENGTH, 0
            for t in range(most):
                ids = torch.tensor([tokens], device=device)
                logits = causal(input_ids=ids, use_cache=False).logits[:, -1]
                computed += len(tokens) - (t > 0)  # all again but the token that was just drawn
                token, p, q = draw(logits, settings, noise[t : t + 1])
                tokens.append(int(token))
                logp.append(float(p))
                logq.append(float(q))
                if tokens[-1] in ends:
                    stop = DONE
                    break
                if text.stopped(tokens[len(request.tokens) :], sampling.stop, sampling.stop_tokens):
                    stop = OPEN
                    break
            new = np.array(tokens[len(request.tokens) :], np.int32)
            drawn = Drawn(new, np.array(logp, np.float32), np.array(logq, np.float32), stop)
            yield i, j, drawn, computed
