"""A tree's own arithmetic: what it keeps, what it finds, and that it notices when it grows."""

from __future__ import annotations

import numpy as np
import pytest

from surpass.types import DONE, LENGTH, Column, Problem, Tree


def grown(seed: int, n: int = 60) -> Tree:
    rng, tree = np.random.default_rng(seed), Tree(Problem("p", "q"), 3)
    for i in range(n):
        size = int(rng.integers(0, 4))
        tree.add(
            int(rng.integers(-1, i)) if i else -1,
            "policy",
            rng.integers(0, 9, size),
            logp=-rng.random(size),
            version=i % 3,
        )
    return tree


@pytest.mark.parametrize("seed", range(4))
def test_children_and_arrays_are_those_of_the_tree_as_it_is(seed):
    tree = grown(seed)
    for _ in range(3):
        parent = [tree.path(i)[-2] if len(tree.path(i)) > 1 else -1 for i in range(len(tree))]
        assert tree.parent.tolist() == parent
        for node in range(-1, len(tree)):
            assert tree.children(node) == [i for i, p in enumerate(parent) if p == node]
        assert tree.tokens.tolist() == [t for i in range(len(tree)) for t in tree.own(i).tolist()]
        assert tree.span.tolist() == [0, *np.cumsum([len(tree.own(i)) for i in range(len(tree))])]
        new = tree.add(len(tree) // 2, "policy", [1, 2], logp=[-1.0, -2.0])
        tree.end(new, DONE)
        assert tree.stop[new] == DONE and tree.logp[-1] == -2.0


def test_a_view_with_more_columns_sees_the_tree_grow():
    tree = grown(0)
    view = tree.with_columns({"x": Column("node", np.ones(len(tree)))})
    assert view.stop.shape == tree.stop.shape
    node = tree.add(0, "policy", [5], logp=[-0.5], stop=LENGTH)
    assert (
        view.stop[node] == LENGTH
        and view.children(0)[-1] == node
        and np.isnan(view.get("x").values[node])
        and not tree.has("x")
    )


def test_arrays_cannot_be_written_by_whoever_reads_them():
    with pytest.raises(ValueError, match="read-only"):
        grown(0).parent[0] = 3


def test_a_cut_draw_keeps_its_log_probs_and_its_version():
    """They were nan, so that no ratio could learn from a step of what was drawn in one piece."""
    tree = Tree(Problem("p", "q"), 1)
    root = tree.add(-1, "task", [1])
    drawn = tree.add(
        root,
        "policy",
        [4, 5, 6, 7],
        logp=[-1, -2, -3, -4],
        logq=[-0.1, -0.2, -0.3, -0.4],
        version=3,
        stop=DONE,
    )
    first = tree.cut(drawn, 2)
    second = tree.cut(drawn, 3, begin=2, after=first)
    assert [tree.own(i).tolist() for i in (first, second)] == [[4, 5], [6]] and tree.path(second) == [
        root,
        first,
        second,
    ]
    np.testing.assert_allclose(
        np.concatenate([*tree.drawn(first), *tree.drawn(second)]), [-1, -2, -0.1, -0.2, -3, -0.3]
    )
    assert (
        tree.version[[first, second]].tolist() == [3, 3]
        and tree.author[second] == "policy"
        and len(set(tree.keys)) == len(tree)
    )
    for begin, end in ((0, 5), (-1, 2), (3, 2)):
        with pytest.raises(ValueError, match="has none from"):
            tree.cut(drawn, end, begin=begin)
