"""A batch as padded rows: a flat forest's slow and obvious form, for models without trees and for tests."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from surpass.types import Batch


class Rows(NamedTuple):
    """A batch unrolled into one padded row per path, P x R, and after these one per earlier part of a path:
    the reference that tests compare with.
    """

    token: Tensor  # int64[P, R], right-padded with 0
    mask: Tensor  # bool[P, R]: a token, no padding
    at: Tensor  # int64[P, R]: where in the flat batch this token lies (0 where padded)
    learns: Tensor  # bool[P, R]: this path learns from this token


def unroll(batch: Batch) -> Rows:
    """Every path as a row of its own: shared prefixes are repeated, so path p's row holds exactly its
    tokens.
    """
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
