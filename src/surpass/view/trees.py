"""One tree of a run as JSON for the page that draws it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from surpass.errors import SurpassError
from surpass.report.attempts import leaf_values, score_name
from surpass.report.folder import batches, trees
from surpass.report.read import Run, texts
from surpass.store import columns_from
from surpass.types import STOPS, Tree

BATCH = 64  # trees read at a time
LONGEST = 20_000  # characters of one text
CUT = " … (cut)"


def tree_of(run: Run, round: int, number: int, kind: str = "trees") -> dict[str, Any]:
    """One tree as the page draws it; with kind "exams" it is a test exam's."""
    file, place = f"{kind}/{round:04d}.parquet", number
    if kind not in ("trees", "exams") or not (run.folder / file).exists():
        raise SurpassError(f"no attempts of round {round} are stored")
    for batch in batches(run.folder, file, BATCH):
        if 0 <= place < batch.num_rows:
            (tree,) = trees(batch.slice(place, 1))
            break
        place -= batch.num_rows
    else:
        raise SurpassError(f"round {round} has no tree {number}")
    beside = texts(run.folder, f"{'texts' if kind == 'trees' else 'exams'}/{round:04d}.jsonl")
    nodes = next((found for i, found in beside if i == number), {})
    credit: Mapping[str, Any] = {}
    learnt: list[int] = []
    if kind == "trees":
        credit, learnt = _credit(run, round, number, tree), _learnt(run, round, number, tree)
    score = "chosen" if tree.has("chosen") else score_name(run.about, [tree])
    return tree_json(tree, nodes, score, credit, learnt)


def _rows(run: Run, file: str, number: int) -> list[dict[str, Any]]:
    """The rows of one tree in a table beside the trees; none where that cannot be read."""
    try:
        return [
            row
            for batch in batches(run.folder, file, 4096)
            for row in batch.filter(pc.equal(batch["tree"], number)).to_pylist()
        ]
    except (SurpassError, LookupError, pa.ArrowException):
        return []


def _credit(run: Run, round: int, number: int, tree: Tree) -> dict[str, Any]:
    """The advantages of a tree, by the role that learnt from them."""
    rows = _rows(run, f"credit/{round:04d}.parquet", number)
    found = {}
    for i, row in enumerate(rows, 1):
        with contextlib.suppress(
            SurpassError, LookupError, ValueError, TypeError
        ):  # what does not fit the tree says nothing of it
            columns = columns_from(row["columns"])
            tree.with_columns(columns)
            found.update(
                {
                    name if len(rows) == 1 else f"{name} {i} ({row['role']})": column
                    for name, column in columns.items()
                }
            )
    return found


def _learnt(run: Run, round: int, number: int, tree: Tree) -> list[int]:
    """The last nodes of the paths that examples were made of."""
    rows = _rows(run, f"examples/{round:04d}.parquet", number)
    return sorted(
        {
            node
            for row in rows
            for node in row.get("nodes") or ()
            if node is not None and 0 <= node < len(tree)
        }
    )


def tree_json(
    tree: Tree, texts: Mapping[str, Any], score: str | None, credit: Mapping[str, Any], learnt: list[int]
) -> dict[str, Any]:
    """A tree for the page: its problem; its nodes, each with the node that came before it in time, and its
    pieces; its attempts, as nodes in order of time; and every column by node, token or attempt.
    """
    leaves, values = tree.leaves(), leaf_values(tree, score)
    prompt = tree.problem.prompt
    turns = (
        [["", prompt]]
        if isinstance(prompt, str)
        else [[str(t.get("role", "")), string(t.get("content", ""))] for t in prompt]
    )
    per_node: list[dict[str, float]] = [{} for _ in range(len(tree))]
    per_token: list[dict[str, list[float]]] = [{} for _ in range(len(tree))]
    per_leaf: dict[str, list[float]] = {}
    span, cause, stops = tree.span.tolist(), tree.cause.tolist(), tree.stop.tolist()
    for name, column in {**tree.columns, **credit}.items():
        if column.values.ndim > 1 or column.axis == "pair":
            continue
        if column.axis == "leaf":
            per_leaf[name] = np.asarray(column.values, float).tolist()
            continue
        for node in range(len(tree)):
            own = np.asarray(
                column.values[span[node] : span[node + 1]]
                if column.axis == "token"
                else column.values[node : node + 1],
                float,
            )
            if len(own) and not np.isnan(own).all():
                if column.axis == "token":
                    per_token[node][name] = own.tolist()
                else:
                    per_node[node][name] = float(own[0])
    nodes = []
    for node in range(len(tree)):
        logp = tree.drawn(node)[0].astype(float)
        nodes.append(
            {
                "before": cause[node],
                "author": tree.author[node],
                "stop": STOPS[stops[node]],
                "aside": bool(tree.aside[node]),
                "tokens": tree.length(node),
                "values": per_node[node],
                "along": per_token[node],
                "text": _cut(tree.text[node] if tree.text[node] is not None else texts.get(str(node))),
                "logp": logp.tolist() if not np.isnan(logp).all() else None,
            }
        )
    return {
        "id": tree.problem.id,
        "prompt": turns,
        "answer": None if tree.problem.answer is None else string(tree.problem.answer)[:2000],
        "score": score,
        "nodes": nodes,
        "leaves": leaves,
        "attempts": [tree.attempt(leaf) for leaf in leaves],
        "rewards": [values[leaf] for leaf in leaves],
        "scores": per_leaf,
        "learnt": learnt,
    }


def string(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _cut(text: str | list[str] | None) -> str | list[str] | None:
    """A text of at most LONGEST characters. One in pieces stays in pieces, one for each token."""
    if text is None or sum(map(len, text)) <= LONGEST:
        return text
    if isinstance(text, str):
        return text[:LONGEST] + CUT
    ends = np.cumsum([len(piece) for piece in text])
    return [*text[: int(np.searchsorted(ends, LONGEST, "right"))], CUT]
