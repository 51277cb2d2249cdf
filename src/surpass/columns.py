"""Values along an axis of a tree, and how they follow a tree that grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Column(NamedTuple):
    """Values along one axis of a tree: "node" [N], "token" [T], "leaf" [L] or "pair" [L, L]; nan means not
    judged.
    """

    axis: str
    values: np.ndarray


def aligned(column: Column, was: Sequence[int], now: Sequence[int], n: int) -> Column:
    """The column of a tree whose leaves `was` are `now` others, or that has n nodes or tokens by now. What
    was added since is nan.
    """
    if column.axis in ("leaf", "pair"):
        if tuple(now) == tuple(was):
            return column
        where = {node: i for i, node in enumerate(was)}
        take = np.array([where.get(node, -1) for node in now], int)
        values = np.concatenate([column.values, np.full((1, *column.values.shape[1:]), np.nan)])[take]
        if column.axis == "pair":
            values = np.concatenate([values, np.full((len(now), 1), np.nan)], 1)[:, take]
        return Column(column.axis, values)
    missing = np.full((n - len(column.values), *column.values.shape[1:]), np.nan)
    return Column(column.axis, np.concatenate([column.values, missing])) if len(missing) else column
