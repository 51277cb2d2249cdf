"""A batch as padded rows: the slow and obvious form, for models without tree attention and for tests."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from surpass.types import Batch


class Rows(NamedTuple):
    """A batch unrolled into padded rows, one per path and then one per earlier part of a path. Tests compare
    the flat form with it.
    """

    token: Tensor  # int64[P, R], right-padded with 0
    mask: Tensor  # bool[P, R]: False at padding
    at: Tensor  # int64[P, R]: this token's index in the flat batch (0 at padding)
    learns: Tensor  # bool[P, R]: this path learns from this token


def unroll(batch: Batch) -> Rows:
    """Every path as a row of its own. Shared prefixes are repeated: row p holds exactly path p's tokens."""
    parent = batch.parent.tolist()
    paths = []
    for last in [*batch.last.tolist(), *batch.part_last.tolist()]:
        path = []
        while last >= 0:
            path.append(last)
            last = parent[last]
        paths.append(path[::-1])
    sinces, width = [*batch.since.tolist(), *batch.part_since.tolist()], max(map(len, paths))
    index = torch.zeros(len(paths), width, dtype=torch.int64)
    mask = torch.zeros(len(paths), width, dtype=torch.bool)
    learns = torch.zeros(len(paths), width, dtype=torch.bool)
    for p, path in enumerate(paths):
        index[p, : len(path)] = torch.tensor(path)
        mask[p, : len(path)] = True
        since = sinces[p]
        after = path.index(since) + 1 if since >= 0 else 0
        learns[p, after : len(path)] = batch.trained[path[after:]].cpu()
    return Rows(torch.where(mask, batch.token.cpu()[index], 0), mask, index, learns)
