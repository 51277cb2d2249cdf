"""Arithmetic of flat token trees: one integer array, `end`, gives masks, log-probs and credit.

A forest is laid out in depth-first order. `parent[t]` is the previous token on t's path (-1 at a root),
`depth[t]` its position, `end[t]` the first index after t's subtree. Then

    attention     query q may see key k  <=>  k <= q < end[k]
    log-prob      logp[t] = log_softmax(logits[parent[t]])[token[t]]     gathered by parent, not shifted by 1
    path sum      down(x)[t] = sum of x over t and its ancestors
    subtree sum   up(x)[t]   = sum of x over t and its descendants

Openings that begin with the same untrained tokens share them, within a tree and across trees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from surpass.errors import SurpassError
from surpass.types import Batch, Example, Tree


def may_see(end: Tensor) -> Tensor:
    """bool[T, T]: entry [q, k] is True if query q may see key k, its ancestor or itself. Takes O(T^2)."""
    t = torch.arange(len(end), device=end.device)
    return (t[None, :] <= t[:, None]) & (t[:, None] < end[None, :])


def down(x: Tensor, end: Tensor) -> Tensor:
    """[T]: the sum of x over each token and its ancestors, summed in float64.

    >>> down(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([3, 2, 3])).tolist()
    [1.0, 3.0, 5.0]
    """
    x = x.double()
    steps = torch.cat([x, x.new_zeros(1)]).index_add(0, end, -x)
    return steps[:-1].cumsum(0)


def up(x: Tensor, end: Tensor) -> Tensor:
    """[T]: the sum of x over each token and its descendants, summed in float64.

    >>> up(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([3, 2, 3])).tolist()
    [7.0, 2.0, 4.0]
    """
    total = torch.cat([x.new_zeros(1, dtype=torch.float64), x.double().cumsum(0)])
    return total[end] - total[:-1]


def gather(x: Tensor, batch: Batch) -> Tensor:
    """[P]: for each path, the sum of the token values x [T] over its trained tokens after `since`."""
    total = down(torch.where(learners_of(batch) > 0, x, 0.0), batch.end)
    own = _between(total, batch.last, batch.since)
    return (
        own.index_add(0, batch.part_of, _between(total, batch.part_last, batch.part_since))
        if len(batch.part_of)
        else own
    )


def _between(total: Tensor, last: Tensor, since: Tensor) -> Tensor:
    """[P]: path sums at `last` minus those at `since` (-1: minus nothing)."""
    # not before[...]: the gradient of plain indexing is summed in no fixed order
    before = total.index_select(0, since.clamp(min=0))
    return total.index_select(0, last) - torch.where(since >= 0, before, 0.0)


def spread(w: Tensor, batch: Batch) -> Tensor:
    """[T]: for each token, the sum of the path values w [P] over the paths that learn from it. This is the
    adjoint of `gather`; exactly 0 where no path learns.
    """
    return torch.where(learners_of(batch) > 0, up(_at_ends(w.double(), batch), batch.end), 0.0)


def learners_of(batch: Batch) -> Tensor:
    """float64[T]: how many paths learn from each token, an exact count."""
    return (
        up(
            _at_ends(torch.ones(len(batch.last), dtype=torch.float64, device=batch.last.device), batch),
            batch.end,
        )
        * batch.trained
    )


def _at_ends(w: Tensor, batch: Batch) -> Tensor:
    """[T]: each path's w [P], added at the last token of the path and of each of its parts, and subtracted at
    the token after which it learns.
    """
    x = w.new_zeros(len(batch.token))
    for last, since, own in (
        (batch.last, batch.since, w),
        (batch.part_last, batch.part_since, w[batch.part_of]),
    ):
        inside = since >= 0
        x = x.index_add(0, last, own).index_add(0, since[inside], -own[inside])
    return x


def lengths(batch: Batch) -> Tensor:
    """float64[P]: the number of tokens each path learns from."""
    return gather(torch.ones(len(batch.token), device=batch.token.device), batch)


class _Piece(NamedTuple):
    """A run of tokens in the layout. `owners`: each (tree number, node) it belongs to; several if shared."""

    tokens: np.ndarray
    offset: int  # where in its node the run starts
    owners: list[tuple[int, int]]
    parent: int  # piece number or -1


def _openings(
    roots: list[tuple[int, int, np.ndarray]],
    offset: int,
    parent: int,
    out: list[_Piece],
    grow: Callable[[int, int, int], None],
) -> None:
    """Lay out openings as a trie: the longest common prefix once, then each continuation, in order."""
    if len(roots) == 1:
        tree, node, tokens = roots[0]
        out.append(_Piece(tokens[offset:], offset, [(tree, node)], parent))
        grow(tree, node, len(out) - 1)
        return
    shortest = min(len(tokens) for *_, tokens in roots)
    same = offset
    first = roots[0][2]
    while same < shortest and all(tokens[same] == first[same] for *_, tokens in roots):
        same += 1
    if same > offset:
        out.append(_Piece(first[offset:same], offset, [(tree, node) for tree, node, _ in roots], parent))
        parent = len(out) - 1
    groups: dict[int, list[tuple[int, int, np.ndarray]]] = {}
    for tree, node, tokens in roots:
        if len(tokens) == same:
            grow(tree, node, parent)
        else:
            groups.setdefault(int(tokens[same]), []).append((tree, node, tokens))
    for group in groups.values():
        _openings(group, same, parent, out, grow)


def _layout(trees: list[Tree], kept: list[set[int]], trained: list[list[bool]]) -> list[_Piece]:
    """All kept nodes as runs of tokens, in depth-first order."""
    pieces: list[_Piece] = []
    children = []
    for tree, nodes in zip(trees, kept, strict=True):
        below: dict[int, list[int]] = {}
        for node in sorted(nodes):
            below.setdefault(int(tree.parent[node]), []).append(node)
        children.append(below)

    def grow(number: int, node: int, piece: int) -> None:
        stack = [(child, piece) for child in reversed(children[number].get(node, []))]
        while stack:
            child, above = stack.pop()
            tokens = trees[number].own(child)
            if len(tokens):
                pieces.append(_Piece(tokens, 0, [(number, child)], above))
                above = len(pieces) - 1
            else:  # an empty node ends where its parent ends
                pieces[above].owners.append((number, child))
            stack += [(grandchild, above) for grandchild in reversed(children[number].get(child, []))]

    shared: list[tuple[int, int, np.ndarray]] = []
    apart: list[tuple[int, int, np.ndarray]] = []
    for number, tree in enumerate(trees):
        for root in children[number].get(-1, []):
            if not len(tree.own(root)):
                raise SurpassError(
                    "a tree that opens without tokens cannot be trained; its engine must serve tokens, "
                    "not text"
                )
            (apart if trained[number][root] else shared).append((number, root, tree.own(root)))
    groups: dict[int, list[tuple[int, int, np.ndarray]]] = {}
    for entry in shared:
        groups.setdefault(int(entry[2][0]), []).append(entry)
    for group in [*groups.values(), *([entry] for entry in apart)]:
        _openings(group, 0, -1, pieces, grow)
    return pieces


def pack(
    examples: Sequence[Example], voices: Iterable[str], columns: Iterable[str] = (), parts: bool = True
) -> Batch:
    """The examples' paths as one Batch; everything that no path uses is pruned. A path is a whole dialogue:
    if a template rewrote earlier turns, all its contexts (Tree.parts), or the last alone without `parts`.

    `columns` names what objectives read: "logp", "logq" and "version" as drawn (version is -1 in a tree of an
    earlier round), and columns of the trees. Token and node columns arrive per token, leaf columns per path.
    SurpassError if a leaf column has no value for an example's node.
    """
    voices = tuple(voices)
    trees = list({id(example.tree): example.tree for example in examples}.values())
    number = {id(tree): i for i, tree in enumerate(trees)}
    kept: list[set[int]] = [set() for _ in trees]
    for example in examples:
        for node in example.nodes:
            kept[number[id(example.tree)]].update(
                example.tree.dialogue(node) if parts else example.tree.path(node)
            )
    learns = [[author in voices for author in tree.author] for tree in trees]
    speaks = [[voices.index(author) if author in voices else -1 for author in tree.author] for tree in trees]
    pieces = _layout(trees, kept, learns)

    starts = np.concatenate([[0], np.cumsum([len(p.tokens) for p in pieces])]).astype(np.int64)
    n = int(starts[-1])
    token, parent, depth, end = (np.zeros(n, np.int64) for _ in range(4))
    trained, voice = np.zeros(n, bool), np.full(n, -1)
    owner_tree, owner_token = np.full(n, -1), np.full(n, -1)
    last_of: dict[tuple[int, int], int] = {}
    spans = [tree.span for tree in trees]
    below = np.arange(len(pieces)) + 1  # first piece after each piece's subtree
    for i in range(len(pieces) - 1, -1, -1):
        if pieces[i].parent >= 0:
            below[pieces[i].parent] = max(below[pieces[i].parent], below[i])
    for i, piece in enumerate(pieces):
        a, b = starts[i], starts[i + 1]
        tree, node = piece.owners[0]
        above = starts[piece.parent + 1] - 1 if piece.parent >= 0 else -1
        token[a:b] = piece.tokens
        parent[a:b] = np.arange(a - 1, b - 1)
        parent[a] = above
        depth[a:b] = (depth[above] + 1 if above >= 0 else 0) + np.arange(b - a)
        end[a:b] = starts[below[i]]
        trained[a:b], voice[a:b] = learns[tree][node], speaks[tree][node]
        if parent[a] < 0:
            trained[a] = False  # nothing came before it, so nothing predicted it
        owner_tree[a:b], owner_token[a:b] = tree, spans[tree][node] + piece.offset + np.arange(b - a)
        for owner in piece.owners:
            last_of[owner] = max(last_of.get(owner, -1), int(b - 1))

    last: list[int] = []
    since, which = [], []
    earlier: list[tuple[int, int, int]] = []  # (last token, since, path) of contexts before the last
    for k, example in enumerate(examples):
        i = number[id(example.tree)]
        for j, node in enumerate(example.nodes):
            ancestor = -1 if example.since is None else example.since[j]
            ends = example.tree.parts(node) if parts else [node]
            # the context that it learns from on
            first = next((q for q, end in enumerate(ends) if ancestor in example.tree.path(end)), 0)
            learnt = [(last_of[i, end], -1) for end in ends[first:]]
            if ancestor >= 0:
                learnt[0] = learnt[0][0], last_of[i, ancestor]
            earlier += [(*one, len(last)) for one in learnt[:-1]]
            last.append(learnt[-1][0])
            since.append(learnt[-1][1])
            which.append(k)
    batch = Batch(
        token=torch.from_numpy(token),
        parent=torch.from_numpy(parent),
        depth=torch.from_numpy(depth),
        end=torch.from_numpy(end),
        trained=torch.from_numpy(trained),
        last=torch.tensor(last, dtype=torch.int64),
        since=torch.tensor(since, dtype=torch.int64),
        example=torch.tensor(which, dtype=torch.int64),
        weight=torch.tensor([e.weight for e in examples], dtype=torch.float64),
        confidence=torch.tensor([e.confidence for e in examples], dtype=torch.float64),
        voice=torch.from_numpy(voice),
        voices=voices,
        part_last=torch.tensor([end for end, _, _ in earlier], dtype=torch.int64),
        part_since=torch.tensor([after for _, after, _ in earlier], dtype=torch.int64),
        part_of=torch.tensor([path for *_, path in earlier], dtype=torch.int64),
    )
    for name in columns:
        batch.columns[name] = _column(name, examples, trees, owner_tree, owner_token, number)
    return batch


def _column(
    name: str,
    examples: Sequence[Example],
    trees: Sequence[Tree],
    owner_tree: np.ndarray,
    owner_token: np.ndarray,
    number: dict[int, int],
) -> tuple[str, Tensor]:
    """A column of the trees, as values of the batch's tokens or paths."""
    if name in ("logp", "logq"):
        per_token = [getattr(tree, name) for tree in trees]
    elif name == "version":
        known = [np.full(len(tree), -1) if tree.past else tree.version for tree in trees]
        per_token = [
            np.repeat(version, np.diff(tree.span)) for version, tree in zip(known, trees, strict=True)
        ]
    else:
        found = [tree.get(name) for tree in trees]
        axes = {column.axis for column in found}
        if len(axes) > 1 or "pair" in axes:
            raise SurpassError(
                f'column "{name}" lies along {" and ".join(sorted(axes))} in these trees; learning '
                "needs one of token, node, leaf"
            )
        if axes == {"leaf"}:
            where = [tree.leaf_index() for tree in trees]
            values = []
            for example in examples:
                i = number[id(example.tree)]
                for node in example.nodes:
                    if node not in where[i]:
                        raise SurpassError(
                            f'column "{name}" has values at leaves only, and an example names node '
                            f"{node}, no leaf"
                        )
                    values.append(found[i].values[where[i][node]])
            return "path", torch.tensor(np.array(values), dtype=torch.float64)
        spans = [np.diff(tree.span) for tree in trees]
        per_token = [
            np.repeat(c.values, spans[i], axis=0) if c.axis == "node" else c.values
            for i, c in enumerate(found)
        ]
    flat = np.full((len(owner_token), *per_token[0].shape[1:]), np.nan)
    for i, values in enumerate(per_token):
        here = owner_tree == i
        flat[here] = values[owner_token[here]]
    return "token", torch.from_numpy(flat)
