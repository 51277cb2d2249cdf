"""The arithmetic of flat token trees against naive loops over the trees, for random forests."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forests import forests, paths_of, row_of
from surpass.errors import SurpassError
from surpass.flat import down, gather, lengths, may_see, pack, spread, up
from surpass.types import Column, Example, Problem, Tree
from surpass.unrolled import unroll

VOICES = ("policy", "critic")
quick = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def ancestors(batch) -> list[set[int]]:
    """Per token, itself and everything before it on its path, followed along `parent`."""
    out = []
    for t, parent in enumerate(batch.parent.tolist()):
        assert parent < t
        out.append((out[parent] if parent >= 0 else set()) | {t})
    return out


@given(forests())
@quick
def test_end_says_who_sees_whom(examples):
    batch = pack(examples, VOICES)
    above = ancestors(batch)
    n = len(above)
    assert may_see(batch.end).tolist() == [[k in above[q] for k in range(n)] for q in range(n)]
    assert batch.depth.tolist() == [len(seen) - 1 for seen in above]


@given(forests(), st.integers(0, 99))
@quick
def test_down_and_up_are_sums_over_ancestors_and_descendants(examples, seed):
    batch = pack(examples, VOICES)
    above = ancestors(batch)
    x = np.random.default_rng(seed).normal(size=len(above))
    total = np.array([sum(x[k] for k in seen) for seen in above])
    below = np.array([sum(x[q] for q in range(len(above)) if t in above[q]) for t in range(len(above))])
    np.testing.assert_allclose(down(torch.from_numpy(x), batch.end), total, atol=1e-12)
    np.testing.assert_allclose(up(torch.from_numpy(x), batch.end), below, atol=1e-12)


@given(forests())
@quick
def test_rows_are_the_trees_paths(examples):
    batch = pack(examples, VOICES)
    rows = unroll(batch)
    for p, (k, example, node, since) in enumerate(paths_of(examples)):
        row = row_of(example.tree, node, since, VOICES)
        n = len(row)
        assert (
            rows.token[p, :n].tolist()
            == example.tree.path_tokens(node).tolist()
            == [token for token, *_ in row]
        )
        assert rows.learns[p, :n].tolist() == [learns for _, learns, *_ in row]
        assert not rows.mask[p, n:].any() and not rows.learns[p, n:].any() and rows.mask[p, :n].all()
        assert batch.token[rows.at[p, :n]].tolist() == rows.token[p, :n].tolist()
        assert int(batch.example[p]) == k
    assert batch.weight.tolist() == [e.weight for e in examples]
    assert batch.confidence.tolist() == [e.confidence for e in examples]


@given(forests(), st.integers(0, 99))
@quick
def test_gather_and_spread_are_path_sums_and_adjoint(examples, seed):
    batch = pack(examples, VOICES)
    rows = unroll(batch)
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=len(batch.token)), rng.normal(size=len(batch.last))
    sums, shares, counts = np.zeros(len(w)), np.zeros(len(x)), np.zeros(len(w))
    for p, (_, example, node, since) in enumerate(paths_of(examples)):
        for r, (_, learns, *_) in enumerate(row_of(example.tree, node, since, VOICES)):
            if learns:
                t = int(rows.at[p, r])
                sums[p] += x[t]
                shares[t] += w[p]
                counts[p] += 1
    found = gather(torch.from_numpy(x), batch), spread(torch.from_numpy(w), batch)
    np.testing.assert_allclose(found[0], sums, atol=1e-12)
    np.testing.assert_allclose(found[1], shares, atol=1e-12)
    assert float(found[0] @ torch.from_numpy(w)) == pytest.approx(
        float(found[1] @ torch.from_numpy(x)), abs=1e-10
    )
    np.testing.assert_allclose(lengths(batch), counts, atol=1e-12)


@given(forests())
@quick
def test_token_and_node_columns_land_on_their_tokens(examples):
    n_before, unique, opening = 0, {}, {}
    for number, tree in enumerate({id(e.tree): e.tree for e in examples}.values()):
        n = int(tree.span[-1])
        for root in tree.children(-1):
            for i in range(len(tree.own(root))):
                opening[n_before + int(tree.span[root]) + i] = tree.own(root)[: i + 1].tolist()
        tree.put("mine", Column("token", n_before + np.arange(n, dtype=float)))
        tree.put("node", Column("node", 100.0 * number + np.arange(len(tree))))
        unique[id(tree)] = (n_before, number)
        n_before += n
    batch = pack(examples, VOICES, ["mine", "node"])
    rows = unroll(batch)
    assert batch.columns["mine"][0] == batch.columns["node"][0] == "token"
    for p, (_, example, node, since) in enumerate(paths_of(examples)):
        tree = example.tree
        start, number = unique[id(tree)]
        for r, (_, learns, at, own) in enumerate(row_of(tree, node, since, VOICES)):
            t = rows.at[p, r]
            if (
                tree.parent[at] < 0 and not learns
            ):  # openings may be shared, and then hold the values of one that has the same words
                assert opening[int(batch.columns["mine"][1][t])] == rows.token[p, : r + 1].tolist()
            else:
                assert float(batch.columns["mine"][1][t]) == start + own
                assert float(batch.columns["node"][1][t]) == 100 * number + at


@given(forests(leaves_only=True))
@quick
def test_leaf_columns_land_on_their_paths(examples):
    for number, tree in enumerate({id(e.tree): e.tree for e in examples}.values()):
        tree.put("leaf", Column("leaf", 100.0 * number + np.array(tree.leaves())))
    number = {id(tree): i for i, tree in enumerate({id(e.tree): e.tree for e in examples}.values())}
    axis, values = pack(examples, VOICES, ["leaf"]).columns["leaf"]
    assert axis == "path"
    assert values.tolist() == [100 * number[id(e.tree)] + node for _, e, node, _ in paths_of(examples)]


@given(forests())
@quick
def test_only_what_is_needed_is_kept_and_openings_are_stored_once(examples):
    prefixes, own = set(), 0
    for tree in {id(e.tree): e.tree for e in examples}.values():
        needed = {at for e in examples if e.tree is tree for node in e.nodes for at in tree.path(node)}
        for at in needed:
            if tree.parent[at] < 0 and tree.author[at] not in VOICES:
                tokens = tuple(tree.own(at).tolist())
                prefixes |= {tokens[: i + 1] for i in range(len(tokens))}
            else:
                own += len(tree.own(at))
    assert len(pack(examples, VOICES).token) == len(prefixes) + own


@given(forests(), st.randoms(use_true_random=False))
@quick
def test_the_order_of_examples_only_permutes_the_paths(examples, random):
    n_before = 0
    for tree in {id(e.tree): e.tree for e in examples}.values():
        tree.put("mine", Column("token", n_before + np.arange(int(tree.span[-1]), dtype=float)))
        n_before += int(tree.span[-1])
    order = random.sample(range(len(examples)), len(examples))

    def by_example(some):
        batch = pack(some, VOICES, ["mine"])
        rows = unroll(batch)
        seen = {}
        for p, k in enumerate(batch.example.tolist()):
            n = int(rows.mask[p].sum())
            mine = torch.where(rows.learns, batch.columns["mine"][1][rows.at], -1.0)
            seen.setdefault(k, []).append(
                (rows.token[p, :n].tolist(), mine[p, :n].tolist(), float(lengths(batch)[p]))
            )
        return len(batch.token), seen

    size, seen = by_example(examples)
    other_size, other = by_example([examples[i] for i in order])
    assert size == other_size
    assert all(other[place] == seen[i] for place, i in enumerate(order))


def test_a_layout_worked_by_hand():
    """Two trees open with 7 8; the second goes on with 9; the first has two answers, one of them pruned
    away.
    """
    one, two = Tree(Problem("one", "")), Tree(Problem("two", ""))
    root = one.add(-1, "task", [7, 8])
    kept = one.add(root, "policy", [1, 2])
    one.add(root, "policy", [3])
    long = two.add(-1, "task", [7, 8, 9])
    answer = two.add(long, "policy", [4])
    empty = two.add(answer, "policy", [])
    batch = pack([Example(one, (kept,)), Example(two, (answer, empty), since=(long, -1))], ["policy"])
    #                                0   1   2   3   4   5
    assert batch.token.tolist() == [7, 8, 1, 2, 9, 4]
    assert batch.parent.tolist() == [-1, 0, 1, 2, 1, 4]
    assert batch.depth.tolist() == [0, 1, 2, 3, 2, 3]
    assert batch.end.tolist() == [6, 6, 4, 4, 6, 6]
    assert batch.trained.tolist() == [False, False, True, True, False, True]
    assert batch.last.tolist() == [3, 5, 5]
    assert batch.since.tolist() == [-1, 4, -1]
    assert batch.example.tolist() == [0, 1, 1]


def test_a_trained_opening_is_not_shared_and_its_first_token_is_not_trained():
    one, two = Tree(Problem("one", "")), Tree(Problem("two", ""))
    nodes = [tree.add(-1, author, [7, 8]) for tree, author in ((one, "policy"), (two, "task"))]
    batch = pack([Example(one, (nodes[0],)), Example(two, (nodes[1],))], ["policy"])
    assert batch.token.tolist() == [7, 8, 7, 8]
    assert [batch.trained[last - 1 : last + 1].tolist() for last in batch.last.tolist()] == [
        [False, True],
        [False, False],
    ]


def test_a_path_learns_nothing_without_a_voice():
    tree = Tree(Problem("one", ""))
    node = tree.add(tree.add(-1, "task", [7, 8]), "policy", [1])
    batch = pack([Example(tree, (node,))], ["critic"])
    assert lengths(batch).tolist() == [0.0] and spread(torch.ones(1), batch).tolist() == [0.0, 0.0, 0.0]


def test_a_leaf_column_is_refused_for_an_inner_node():
    tree = Tree(Problem("one", ""))
    root = tree.add(-1, "task", [7, 8])
    tree.add(root, "policy", [1])
    tree.put("reward", Column("leaf", np.array([1.0])))
    with pytest.raises(SurpassError, match="node 0, no leaf"):
        pack([Example(tree, (root,))], ["policy"], ["reward"])


@pytest.mark.parametrize("n", [1, 2])
def test_openings_without_tokens_are_refused(n):
    examples = []
    for i in range(n):
        tree = Tree(Problem(f"p{i}", ""))
        examples.append(Example(tree, (tree.add(tree.add(-1, "task", []), "policy", [1, 2]),)))
    with pytest.raises(SurpassError, match="opens without tokens"):
        pack(examples, ["policy"])
