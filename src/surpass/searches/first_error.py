"""Where attempts go wrong, found by completing their prefixes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from surpass.errors import SurpassError
from surpass.means import right
from surpass.models import Models
from surpass.parts import Task
from surpass.searches.steps import step_ends
from surpass.searches.turns import begin
from surpass.searches.values import completions
from surpass.types import Problem, Tree


@dataclass(frozen=True)
class first_error:
    """Complete prefixes, and find the first wrong step of wrong completions by binary search. All completions
    stay in the tree.

    MC(s) is the share of a prefix's `n` completions that are right (worth at least 1, by labels), over those
    that could be judged. If the root's MC is 0 or 1 the search ends. Else repeat at most `searches` times: of
    all wrong completions r of prefixes s with 0 < MC(s) < 1, take the one with the highest

        alpha^(1 - MC(s)) beta^(|r| / scale) + explore sqrt(sum_i N(s_i)) / (1 + N(s)),

    where |r| is its length in tokens and N(s) counts how often s was taken from. Then search its steps
    (lines, `stop`) by halves: complete the prefix up to the middle step n times. If any completion is right,
    the first error lies later; else it lies there or before. Luo et al. 2024 (OmegaPRM), algorithm 1.

    Adds the node columns "mc" (at prefixes; 1 or 0 at finished attempts) and "wrong_step" (1, 2, ..., at
    completions whose first wrong step was found). A prefix copies the completion's tokens, with the
    log-probabilities of their draw (Tree.cut).
    """

    n: int = 8
    searches: int = 20
    alpha: float = 0.5
    beta: float = 0.9
    scale: float = 64.0
    explore: float = 0.125
    linear: bool = False  # test every step in order instead: the slow reference
    stop: str = "\n"
    temperature: float = 1.0
    max_tokens: int = 256
    role: str = "policy"
    needs = frozenset({"tokens", "branching", "one_player"})

    def at_most(self) -> int:
        """The tokens that one problem can draw, for completions of at most 16 steps."""
        return self.n * self.max_tokens * (1 + self.searches * 4)

    async def __call__(self, models: Models, task: Task, problem: Problem, rng: int) -> Tree:
        if len(task.players) > 1:
            raise SurpassError(
                f"first_error completes one player's attempt; this task has {len(task.players)} players"
            )
        tree, root, plays = await begin(models, task, problem, rng, self.role)
        found = _Found(self, models, task, tree, plays)
        await found.complete(root)
        for _ in range(self.searches):
            taken = found.take()
            if taken is None:
                break
            await found.locate(*taken)
        found.mark()
        return tree


@dataclass
class _Found:
    """The state of one search."""

    search: first_error
    models: Any
    task: Any
    tree: Tree
    role: str
    mc: dict[int, float] = field(default_factory=dict)
    taken: dict[int, int] = field(default_factory=dict)
    pool: list[tuple[int, int]] = field(default_factory=list)  # (prefix, wrong completion)
    ends: dict[int, float] = field(default_factory=dict)
    wrong: dict[int, float] = field(default_factory=dict)

    async def complete(self, node: int) -> float:
        """The MC of a prefix. If some completions are right, the wrong ones join the pool."""
        search, before = self.search, len(self.tree)
        part = completions(search.n, search.temperature, search.max_tokens, role=self.role)
        (values,) = await part.each(self.models, self.task, self.tree, [node], aside=False)
        drawn = [i for i in range(before, len(self.tree)) if self.tree.parent[i] == node]
        judged = {
            leaf: right(value) for leaf, value in zip(drawn, values, strict=True) if not np.isnan(value)
        }
        self.ends |= judged
        self.mc[node], self.taken[node] = float(np.mean(list(judged.values()))) if judged else math.nan, 0
        if 0 < self.mc[node] < 1:
            self.pool += [(node, leaf) for leaf, good in judged.items() if not good]
        return self.mc[node]

    def take(self) -> tuple[int, int] | None:
        """The most promising wrong completion and the prefix it continues; None if none is left."""
        if not self.pool:
            return None
        search, total = self.search, math.sqrt(sum(self.taken.values()))

        def promise(entry: tuple[int, int]) -> float:
            prefix, leaf = entry
            q = search.alpha ** (1 - self.mc[prefix]) * search.beta ** (
                len(self.tree.own(leaf)) / search.scale
            )
            return q + search.explore * total / (1 + self.taken[prefix])

        best = max(self.pool, key=lambda entry: (promise(entry), -entry[1]))
        self.pool.remove(best)
        self.taken[best[0]] += 1
        return best

    async def locate(self, prefix: int, leaf: int) -> None:
        """Find the first wrong step of a completion."""
        tokens = self.tree.own(leaf)
        cuts = step_ends(self.models.engine(self.role).text.decode, tokens, self.search.stop)
        low, high, node = 0, len(cuts), prefix
        while low + 1 < high:
            middle = low + 1 if self.search.linear else (low + high) // 2
            probe = self.tree.cut(leaf, cuts[middle - 1], begin=cuts[low - 1] if low else 0, after=node)
            found = await self.complete(probe)
            if math.isnan(found):  # not judged: the error may be on either side
                return
            if found > 0:
                low, node = middle, probe
            else:
                high = middle
        self.wrong[leaf] = float(high)

    def mark(self) -> None:
        """Write what was found to node columns."""
        for name, known in (("mc", self.mc | self.ends), ("wrong_step", self.wrong)):
            self.tree.put_nodes(name, known)
