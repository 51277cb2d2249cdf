"""Which draws run together: as many rows at once as the memory for keys and values holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from surpass.engines.requests import Drawn, Generate


@dataclass
class Row:
    """One draw under way: its request and its number, what it drew before a pause, and the tokens so far."""

    request: int
    draw: int
    before: Drawn
    text: np.ndarray


def room(request: Generate, context: int, row: Row | None = None) -> int:
    """How many tokens may be drawn for a request, or are left to one of its rows."""
    most = max(0, min(request.sampling.max_tokens, context - len(request.tokens)))
    return most - (len(row.before.tokens) if row else 0)


def batches(
    requests: Sequence[Generate], rows: Sequence[Row], context: int, most: int
) -> Iterator[list[Row]]:
    """The rows in order, as many at a time as buffers for `most` tokens hold.

    A batch holds the room of every row and each different text once. (While the rows' buffers grow they take
    one and a half times as much; on a CPU, where outgrown memory is kept for the next batch, up to two and a
    half times.) A batch also ends before its groups, which are padded to the largest, are mostly padding.
    """
    batch: list[Row] = []
    own = longest = largest = 0
    counts: Counter[bytes] = Counter()
    for row in rows:
        left, key = room(requests[row.request], context, row), row.text.tobytes()
        wanted = max(own, left), max(longest, len(row.text)), max(largest, counts[key] + 1)
        groups = len(counts) + (counts[key] == 0)
        held = wanted[0] * (len(batch) + 1) + wanted[1] * groups
        if batch and (held > most or wanted[2] * groups > 4 * (len(batch) + 1) + 256):
            yield batch
            batch, wanted, counts = [], (left, len(row.text), 1), Counter()
        batch.append(row)
        counts[key] += 1
        own, longest, largest = wanted
    if batch:
        yield batch
