"""Trees, credit and examples as tables, events as lines; and trees from tables again."""

from __future__ import annotations

import json
import math
from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from surpass import records
from surpass.errors import SurpassError
from surpass.intact import loads
from surpass.types import STOPS, Column, Example, Problem, Tree

DAMAGED = (
    pa.ArrowException,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    SurpassError,
)
"""What may be raised where a table is read as trees and holds something else."""


def as_line(value: Any) -> str:
    """JSON on one line; nan and infinity, which JSON does not have, become null."""
    return json.dumps(_finite(value), default=_plain, allow_nan=False)


def exact_line(value: Any) -> str:
    """JSON on one line that Python reads back exactly, nan and infinity too: a run resumes from it."""
    return json.dumps(value, default=_plain)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


COLUMN = pa.struct(
    [
        ("name", pa.string()),
        ("axis", pa.string()),
        ("shape", pa.list_(pa.int64())),
        ("values", pa.list_(pa.float64())),
    ]
)


def columns_json(tree: Tree, leave_out: Container[str] = ()) -> list[dict[str, Any]]:
    """One row per column of a tree, sorted by name, without those named in `leave_out`."""
    return [
        {
            "name": n,
            "axis": c.axis,
            "shape": list(np.shape(c.values)),
            "values": np.ravel(c.values).astype(float),
        }
        for n, c in sorted(tree.columns.items())
        if n not in leave_out
    ]


def shared(a: Tree, b: Tree) -> set[str]:
    """The names of the columns that two trees both have, with the same values."""
    mine = a.columns
    return {
        name
        for name, column in b.columns.items()
        if np.array_equal(column.values, mine[name].values, equal_nan=True)
    }


def trees_to_table(trees: Sequence[Tree], extra: dict[str, Any] | None = None) -> pa.Table:
    """One row per tree; the schema's metadata hold `extra`."""
    rows = []
    for tree in trees:
        p = tree.problem
        rows.append(
            {
                "problem": json.dumps(
                    {"id": p.id, "prompt": p.prompt, "answer": p.answer, "meta": dict(p.meta)}, default=_plain
                ),
                "key": tree.key,
                "opened": tree.opened,
                "parent": tree.parent,
                "cause": tree.cause,
                "author": list(tree.author),
                "stop": tree.stop,
                "version": tree.version,
                "span": tree.span,
                "tokens": tree.tokens,
                "logp": tree.logp,
                "logq": tree.logq,
                "keys": list(tree.keys),
                "draws": list(tree.draws),
                "state": [json.dumps(s, default=_plain) for s in tree.state],
                "aside": list(tree.aside),
                "text": list(tree.text),
                "columns": columns_json(tree),
            }
        )
    ints, floats, strings = pa.list_(pa.int32()), pa.list_(pa.float32()), pa.list_(pa.string())
    longs = pa.list_(pa.int64())
    schema = pa.schema(
        [
            ("problem", pa.string()),
            ("key", pa.int64()),
            ("opened", pa.int32()),
            ("parent", ints),
            ("cause", ints),
            ("author", strings),
            ("stop", pa.list_(pa.int8())),
            ("version", ints),
            ("span", longs),
            ("tokens", ints),
            ("logp", floats),
            ("logq", floats),
            ("keys", longs),
            ("draws", ints),
            ("state", strings),
            ("aside", pa.list_(pa.bool_())),
            ("text", strings),
            ("columns", pa.list_(COLUMN)),
        ],
        metadata={"surpass": exact_line(extra or {})},
    )
    return pa.Table.from_pylist(rows, schema=schema)


def credit_to_table(credit: Sequence[tuple[str, Sequence[Tree]]], trees: Sequence[Tree]) -> pa.Table:
    """One row per Learn row and tree: the columns that the tree does not have, or has with other values."""
    rows = [
        {"role": role, "tree": i, "columns": columns_json(tree, leave_out=shared(tree, trees[i]))}
        for role, some in credit
        if some is not trees
        for i, tree in enumerate(some[: len(trees)])
    ]
    schema = pa.schema([("role", pa.string()), ("tree", pa.int32()), ("columns", pa.list_(COLUMN))])
    return pa.Table.from_pylist(rows, schema=schema)


def examples_to_table(chosen: Sequence[tuple[str, Sequence[Example]]], trees: Sequence[Tree]) -> pa.Table:
    """One row per example of each Learn row: its nodes, and its tree's number in `trees` (-1: none)."""
    number = {(tree.problem.id, tree.key): i for i, tree in enumerate(trees)}
    rows = [
        {
            "role": role,
            "tree": number.get((e.tree.problem.id, e.tree.key), -1),
            "nodes": list(e.nodes),
            "since": None if e.since is None else list(e.since),
            "weight": e.weight,
            "confidence": e.confidence,
        }
        for role, examples in chosen
        for e in examples
    ]
    ints = pa.list_(pa.int32())
    schema = pa.schema(
        [
            ("role", pa.string()),
            ("tree", pa.int32()),
            ("nodes", ints),
            ("since", ints),
            ("weight", pa.float64()),
            ("confidence", pa.float64()),
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def trees_from_table(table: pa.Table) -> list[Tree]:
    """The trees that `trees_to_table` wrote; ValueError where the table holds something else."""
    try:
        return [_tree(row) for row in table.to_pylist()]
    except DAMAGED as error:
        raise ValueError(f"no table of trees: {type(error).__name__}: {error}") from error


def _tree(row: Mapping[str, Any]) -> Tree:
    data = loads(row["problem"])
    if flaw := records.flaw(data, records.PROBLEM):
        raise ValueError(flaw)
    prompt = data["prompt"] if isinstance(data["prompt"], str) else tuple(data["prompt"])
    tree = Tree(Problem(data["id"], prompt, data["answer"], data["meta"]), row["key"])
    span, tokens = row["span"], np.array(row["tokens"], np.int32)
    logp, logq = np.array(row["logp"], np.float32), np.array(row["logq"], np.float32)
    for i in range(len(row["parent"])):
        a, b = span[i], span[i + 1]
        tree.add(
            row["parent"][i],
            row["author"][i],
            tokens[a:b],
            cause=row["cause"][i],
            logp=logp[a:b],
            logq=logq[a:b],
            stop=row["stop"][i],
            version=row["version"][i],
            state=loads(row["state"][i]),
            text=row["text"][i],
            key=row["keys"][i],
            aside=row["aside"][i],
        )
    tree.opened, tree.draws = row["opened"], list(row["draws"])
    if any(stop not in range(len(STOPS)) for stop in row["stop"]) or len(tree.draws) != len(tree):
        raise ValueError("a node has a stop that does not exist")
    for name, column in columns_from(row["columns"]).items():
        tree.put(name, column)
    if tree.has("continues") and any(
        node <= before for node, before in enumerate(tree.get("continues").values)
    ):
        raise ValueError("a context continues a later one")
    return tree


def columns_from(rows: Sequence[Mapping[str, Any]]) -> dict[str, Column]:
    """The columns that `columns_json` wrote."""
    return {
        row["name"]: Column(row["axis"], np.array(row["values"], float).reshape(row["shape"])) for row in rows
    }


def _plain(value: Any) -> Any:
    """numpy scalars and arrays, sets and mappings as values that JSON has."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if hasattr(value, "items"):
        return dict(value)
    raise TypeError(f"a task's state and problem must be JSON values; found {type(value).__name__}")
