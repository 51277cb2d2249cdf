"""Random forests for tests, and what a path is, read from the trees alone and without surpass.flat."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from surpass.types import Example, Problem, Tree

# prefixes of one another, and not
OPENINGS = ([1], [1, 2], [1, 2, 3], [1, 2, 4, 5], [2], [2, 2], [2, 2, 1], [1, 2, 3, 1, 1])


@st.composite
def forests(draw, voices=("policy",), leaves_only=False) -> list[Example]:
    """Examples over one to four trees: shared and nested openings, several roots, trained roots, empty nodes,
    any author.
    """
    examples = []
    trees = []
    for number in range(draw(st.integers(1, 4))):
        tree = Tree(Problem(f"p{number}", ""))
        for node in range(draw(st.integers(1, 8))):
            parent = draw(st.integers(-1, node - 1)) if node else -1
            if parent < 0:
                tokens = draw(st.sampled_from(OPENINGS))
                author = draw(st.sampled_from(["task", "task", "task", "policy"]))
            else:
                tokens = draw(st.lists(st.integers(1, 3), max_size=3))
                author = draw(st.sampled_from(["policy", "policy", "task", "critic"]))
            tree.add(parent, author, tokens)
        trees.append(tree)
    for _ in range(draw(st.integers(1, 5))):
        tree = draw(st.sampled_from(trees))
        nodes = tuple(
            draw(
                st.lists(
                    st.sampled_from(tree.leaves() if leaves_only else range(len(tree))),
                    min_size=1,
                    max_size=3,
                )
            )
        )
        since = None
        if draw(st.booleans()):
            since = tuple(draw(st.sampled_from([-1, *tree.path(node)])) for node in nodes)
        weight = draw(st.sampled_from([1.0, 0.5, 2.0]))
        examples.append(Example(tree, nodes, since, weight, draw(st.sampled_from([1.0, 0.75]))))
    return examples


def paths_of(examples):
    """(example number, example, node, since) of every path, in order."""
    for k, example in enumerate(examples):
        for j, node in enumerate(example.nodes):
            yield k, example, node, -1 if example.since is None else example.since[j]


def row_of(tree: Tree, node: int, since: int, voices) -> list[tuple[int, bool, int, int]]:
    """(token, whether the path learns from it, its node, its number in the tree) for every token of a
    path.
    """
    row, after = [], since < 0
    for at in tree.path(node):
        for i, token in enumerate(tree.own(at).tolist()):
            row.append((token, after and tree.author[at] in voices and bool(row), at, int(tree.span[at]) + i))
        after = after or at == since
    return row


def some_forest(seed: int, vocabulary: int = 64, n_trees: int = 3, shared: bool = True) -> list[Tree]:
    """Trees for a real model: a prompt (two trees share theirs), three answers, two of them continued by tool
    and policy.

    Drawn tokens have log-probs; node, leaf and token columns are filled with random numbers.
    """
    rng = np.random.default_rng(seed)
    trees = []
    prompt = rng.integers(3, vocabulary, 6)

    def words(n):
        return rng.integers(3, vocabulary, n)

    for number in range(n_trees):
        tree = Tree(Problem(f"p{number}", ""), key=seed * 100 + number)
        own = prompt if shared and number < 2 else np.concatenate([prompt[:3], words(3 + number)])
        root = tree.add(-1, "task", own)
        for branch in range(3):
            n = 2 + (3 * branch + number) % 5
            first = tree.add(root, "policy", words(n), logp=-rng.random(n))
            if branch < 2:
                told = tree.add(first, "task", words(1 + branch))
                for _ in range(2):
                    n = int(rng.integers(1, 6))
                    tree.add(told, "policy", words(n), logp=-rng.random(n))
        trees.append(_columns(tree, rng))
    return trees


def _columns(tree: Tree, rng) -> Tree:
    from surpass.types import Column

    n, t, leaves = len(tree), int(tree.span[-1]), len(tree.leaves())
    return tree.with_columns(
        {
            "node": Column("node", rng.normal(size=n)),
            "leaf": Column("leaf", rng.normal(size=leaves)),
            "noise": Column("token", 0.3 * rng.normal(size=t)),
        }
    )
