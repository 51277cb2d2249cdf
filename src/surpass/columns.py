"""Columns: values along an axis of a tree, kept aligned as the tree grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Column(NamedTuple):
    """Values along one axis of a tree: "node" [N], "token" [T], "leaf" [L], "pair" [L, L]. nan: unjudged."""

    axis: str
    values: np.ndarray


def aligned(column: Column, was: Sequence[int], now: Sequence[int], n: int) -> Column:
    """A column of a tree that has grown since; what was added has nan.

    `was` are the leaves that the column was made for, `now` the present ones; `n` is the present number of
    nodes or tokens, for a column along these.

    >>> aligned(Column("leaf", np.array([1.0, 0.0])), was=[1, 2], now=[2, 3], n=4).values
    array([ 0., nan])
    >>> aligned(Column("node", np.array([1.0])), (), (), n=2).values
    array([ 1., nan])
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
