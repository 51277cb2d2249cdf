"""Whole attempts, one example each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from surpass.parts import Selector
from surpass.types import FAILED, Example, Memory, Tree, fold


def judged_leaves(tree: Tree, score: str) -> list[tuple[int, float]]:
    """(leaf, score) of every leaf that did not fail and was judged."""
    values = tree.get(score).values
    return [
        (leaf, float(v))
        for leaf, v in zip(tree.leaves(), values, strict=True)
        if not np.isnan(v) and tree.stop[leaf] != FAILED
    ]


def _tokens(tree: Tree, leaf: int) -> bytes:
    """All tokens of an attempt: equal where two attempts are the same."""
    return np.concatenate([tree.own(i) for i in tree.dialogue(leaf)]).tobytes()


@dataclass(frozen=True)
class every:
    """Every judged attempt."""

    score: str = "reward"

    def __call__(self, trees: Sequence[Tree], memory: Memory, rng: int) -> list[Example]:
        return [Example(tree, (leaf,)) for tree in trees for leaf, _ in judged_leaves(tree, self.score)]


@dataclass(frozen=True)
class nonconstant:
    """Every judged attempt of the trees whose scores differ: the others carry no signal. At most the first
    `limit` such trees (0: all). Yu et al. 2025 (DAPO), eq. 11.
    """

    score: str = "reward"
    limit: int = 0

    def __call__(self, trees: Sequence[Tree], memory: Memory, rng: int) -> list[Example]:
        groups = [(tree, judged_leaves(tree, self.score)) for tree in trees]
        differ = [(tree, judged) for tree, judged in groups if len({value for _, value in judged}) > 1]
        return [Example(tree, (leaf,)) for tree, judged in differ[: self.limit or None] for leaf, _ in judged]


@dataclass(frozen=True)
class correct:
    """Attempts that score at least `threshold`, at most `limit` a problem (0: all), chosen at random; equal
    token sequences count once.
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
    """What `select` chooses of this round's trees and of those of all rounds before, refused ones too, with
    the columns they had when they were scored. Of a problem that was asked again only the last round in which
    anything was chosen counts. In the order in which the problems were first asked.

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
    """The `limit` best attempts at each problem (0: all; the earlier of equals first) among those that score
    at least `threshold`; equal token sequences count once. With `above` those that score more than
    `threshold`, and nothing of a tree whose attempts all score the same: there is no best among them.
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
    """Every context that a voice spoke in, up to its last word there: of a game, each player's own side; of
    an attempt that opened a workspace anew, each part. What a template rewrote is one dialogue still
    (Tree.parts). Contexts without a number in the node column `score`, and attempts that failed, are left
    out.
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
    """Every node whose node column `score` is a number, as a path up to it: what a value model learns from.
    At most `limit` a tree (0: all), chosen at random.
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
    """Every judged step alone: each node whose node column `score` is a number, learning only what follows
    its parent.
    """

    score: str = "step"

    def __call__(self, trees: Sequence[Tree], memory: Memory, rng: int) -> list[Example]:
        nodes = [
            (tree, node)
            for tree in trees
            for node in np.flatnonzero(~np.isnan(tree.get(self.score).values)).tolist()
        ]
        return [Example(tree, (node,), (int(tree.parent[node]),)) for tree, node in nodes]
