"""Whole attempts, one example each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from surpass.parts import Selector
from surpass.types import FAILED, Example, Memory, Tree, fold


def judged_leaves(tree: Tree, score: str) -> list[tuple[int, float]]:
    """(leaf, score) of every leaf that was judged and did not fail."""
    values = tree.get(score).values
    return [
        (leaf, float(v))
        for leaf, v in zip(tree.leaves(), values, strict=True)
        if not np.isnan(v) and tree.stop[leaf] != FAILED
    ]


def _tokens(tree: Tree, leaf: int) -> bytes:
    """All tokens of an attempt, to find attempts that are the same."""
    return np.concatenate([tree.own(i) for i in tree.dialogue(leaf)]).tobytes()


@dataclass(frozen=True)
class every:
    """Every judged attempt."""

    score: str = "reward"

    def __call__(self, trees: Sequence[Tree], memory: Memory, rng: int) -> list[Example]:
        return [Example(tree, (leaf,)) for tree in trees for leaf, _ in judged_leaves(tree, self.score)]


@dataclass(frozen=True)
class nonconstant:
    """Every judged attempt of the first `limit` trees (0: all) whose scores differ; a tree of equal scores
    carries no signal. Yu et al. 2025 (DAPO), eq. 11.
    """

    score: str = "reward"
    limit: int = 0

    def __call__(self, trees: Sequence[Tree], memory: Memory, rng: int) -> list[Example]:
        groups = [(tree, judged_leaves(tree, self.score)) for tree in trees]
        differ = [(tree, judged) for tree, judged in groups if len({value for _, value in judged}) > 1]
        return [Example(tree, (leaf,)) for tree, judged in differ[: self.limit or None] for leaf, _ in judged]


@dataclass(frozen=True)
class correct:
    """Attempts that score at least `threshold`. Equal token sequences count once. Of more than `limit` at a
    problem (0: no limit) that many are chosen at random.

    Two right attempts say the same.

    >>> from surpass.types import Column, Problem
    >>> tree = Tree(Problem("p", ""))
    >>> opening = tree.add(-1, "task", [1])
    >>> attempts = [tree.add(opening, "policy", [token]) for token in (2, 3, 2, 4)]
    >>> tree.put("reward", Column("leaf", np.array([1.0, 0.0, 1.0, 1.0])))
    >>> [attempts.index(example.nodes[0]) for example in correct()([tree], Memory(), 0)]
    [0, 3]
    """

    score: str = "reward"
    threshold: float = 1.0
    limit: int = 0

    def __call__(self, trees: Sequence[Tree], memory: Memory, rng: int) -> list[Example]:
        out = []
        for tree in trees:
            right = {
                _tokens(tree, leaf): leaf
                for leaf, v in reversed(judged_leaves(tree, self.score))
                if v >= self.threshold
            }
            leaves = sorted(right.values())
            if self.limit and len(leaves) > self.limit:
                chooser = np.random.default_rng(fold(rng, tree.problem.id))
                leaves = sorted(chooser.choice(leaves, self.limit, replace=False).tolist())
            out += [Example(tree, (leaf,)) for leaf in leaves]
        return out


@dataclass(frozen=True)
class so_far:
    """What `select` chooses from the trees of all rounds so far, including rounds that the gate refused.
    Earlier trees keep the scores of their round. Where a problem came up in several rounds, only the last
    round in which `select` chose any of its attempts counts. The order is that of the problems' first choice.

    Zelikman et al. 2022 (STaR) and Singh et al. 2023 (ReST-EM) fit the start model to all that was generated.
    """

    select: Selector
    needs: ClassVar[frozenset[str]] = frozenset({"past"})

    def __call__(self, trees: Sequence[Tree], memory: Memory, rng: int) -> list[Example]:
        latest: dict[str, list[Example]] = {}
        for round in range(1, memory.round + 2):
            found: dict[str, list[Example]] = {}
            for example in self.select(memory.trees(round) if round <= memory.round else trees, memory, rng):
                found.setdefault(example.tree.problem.id, []).append(example)
            latest |= found
        return [example for examples in latest.values() for example in examples]


@dataclass(frozen=True)
class top:
    """The `limit` best attempts at each problem (0: all) that score at least `threshold`. The earlier of
    equals comes first, and equal token sequences count once. With `above` an attempt must score more than
    `threshold`, and a tree whose attempts all score the same gives none, because none of them is best.
    """

    score: str = "reward"
    limit: int = 1
    threshold: float = -np.inf
    above: bool = False

    def __call__(self, trees: Sequence[Tree], memory: Memory, rng: int) -> list[Example]:
        out = []
        for tree in trees:
            judged = judged_leaves(tree, self.score)
            if self.above and len({v for _, v in judged}) < 2:
                continue
            judged = [
                (leaf, v)
                for leaf, v in judged
                if v > self.threshold or (v == self.threshold and not self.above)
            ]
            best: dict[bytes, int] = {}
            for leaf, _ in sorted(judged, key=lambda lv: -lv[1]):
                best.setdefault(_tokens(tree, leaf), leaf)
            out += [Example(tree, (leaf,)) for leaf in list(best.values())[: self.limit or None]]
        return out


@dataclass(frozen=True)
class contexts:
    """Every context in which one of `voices` wrote, up to its last node there. A game gives each player's own
    side; an attempt that began a new context (a workspace) gives each of its contexts. Turns that a chat
    template rewrote still belong to one dialogue (Tree.parts). Contexts whose node column `score` is nan
    throughout, and attempts that failed, are left out.
    """

    score: str = "advantage"
    voices: tuple[str, ...] = ("policy",)

    def __call__(self, trees: Sequence[Tree], memory: Memory, rng: int) -> list[Example]:
        return [Example(tree, (node,)) for tree in trees for node in self._ends(tree)]

    def _ends(self, tree: Tree) -> list[int]:
        mine = [
            i
            for i in range(len(tree))
            if tree.author[i] in self.voices and not tree.aside[i] and tree.stop[i] != FAILED
        ]
        inner = {above for i in mine for above in tree.dialogue(i)[:-1]}
        values = tree.get(self.score).values
        return [i for i in mine if i not in inner and not np.isnan(values[tree.dialogue(i)]).all()]


@dataclass(frozen=True)
class prefixes:
    """The path up to every node whose node column `score` is not nan: what a value model learns from. At most
    `limit` a tree (0: all), chosen at random.
    """

    score: str = "target"
    limit: int = 0

    def __call__(self, trees: Sequence[Tree], memory: Memory, rng: int) -> list[Example]:
        out = []
        for tree in trees:
            nodes = np.flatnonzero(~np.isnan(tree.get(self.score).values)).tolist()
            if self.limit and len(nodes) > self.limit:
                chooser = np.random.default_rng(fold(rng, tree.problem.id))
                nodes = sorted(chooser.choice(nodes, self.limit, replace=False).tolist())
            out += [Example(tree, (node,)) for node in nodes]
        return out


@dataclass(frozen=True)
class steps:
    """Every judged step alone: each node whose node column `score` is not nan. Only the node's own tokens are
    learnt, not the path to it.
    """

    score: str = "step"

    def __call__(self, trees: Sequence[Tree], memory: Memory, rng: int) -> list[Example]:
        nodes = [
            (tree, node)
            for tree in trees
            for node in np.flatnonzero(~np.isnan(tree.get(self.score).values)).tolist()
        ]
        return [Example(tree, (node,), (int(tree.parent[node]),)) for tree, node in nodes]
