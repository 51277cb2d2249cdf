"""The next step of an attempt: what searches over steps share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from surpass.errors import SurpassError
from surpass.searches.turns import step_on, worth
from surpass.searches.values import Value
from surpass.types import LENGTH, OPEN, Tree


@dataclass
class Steps:
    """A tree that grows by steps: lines of a turn (`stop`, or `step_tokens` tokens), or turns.

    at[node]: the node after which the attempt goes on (the task's answer, if there is one); -1: it is over.
    worth[node]: the estimated worth of a step, by `value`, or with `outcome`, for a finished attempt, by the
    task. If neither can say (nan), the node is in `unknown` and worth holds a neutral value: the mean of the
    known new steps beside it, else that of the step before.
    """

    models: Any
    task: Any
    tree: Tree
    role: str
    value: Value
    outcome: bool
    sampling: dict[str, Any]
    stop: str
    step_tokens: int
    max_tokens: int
    deepest: int
    at: dict[int, int] = field(default_factory=dict)
    worth: dict[int, float] = field(default_factory=dict)
    depth: dict[int, int] = field(default_factory=dict)
    unknown: set[int] = field(default_factory=set)
    drawn: int = 0

    def begin(self, root: int) -> None:
        """Begin at a root: an attempt of no steps."""
        if len(self.task.players) > 1:
            raise SurpassError(
                f"a search over steps plays one player; this task has {len(self.task.players)}"
            )
        self.at[root], self.depth[root] = root, 0

    def over(self, node: int) -> bool:
        """Whether the attempt ends at this node."""
        return self.at[node] < 0

    def judged(self, node: int) -> bool:
        """Whether a node's worth is a judgement (with `outcome`, the task's), not a neutral value."""
        return (
            node in self.depth
            and self.depth[node] > 0
            and node not in self.unknown
            and (self.over(node) or not self.outcome)
        )

    async def expand(self, node: int, n: int) -> list[int]:
        """Up to `n` different next steps after `node`. A step drawn a second time is put aside."""
        tree, start = self.tree, self.at[node]
        spoken = sum(len(tree.own(i)) for i in self._turn(start))
        left = self.max_tokens - spoken
        step = min(left, self.step_tokens) if self.step_tokens else left
        stop = () if self.step_tokens else (self.stop,)
        if self.depth[node] + 1 >= self.deepest:  # the last step runs to the end of its turn
            step, stop = left, ()
        drawn = await self.models.generate(
            self.role, tree, start, n, **self.sampling, max_tokens=step, stop=stop
        )
        new: dict[bytes, int] = {}
        for child in drawn:
            self.drawn += len(tree.own(child))
            if tree.own(child).tobytes() in new:
                tree.aside[child] = True
                continue
            new[tree.own(child).tobytes()] = child
            self.depth[child] = self.depth[node] + 1
            if self.step_tokens and tree.stop[child] == LENGTH and len(tree.own(child)) < left:
                tree.end(child, OPEN)  # the step used its tokens; the attempt is not cut off
        nodes = list(new.values())
        await asyncio.gather(*(self._settle(child, left) for child in nodes))
        await self._judge(nodes, self.worth.get(node, 0.0))
        return nodes

    def _turn(self, node: int) -> list[int]:
        """The nodes of the unfinished turn that ends at `node`."""
        path = self.tree.path(node)
        first = len(path)
        while first > 0 and self.tree.author[path[first - 1]] == self.role:
            first -= 1
        return path[first:]

    async def _settle(self, node: int, left: int) -> None:
        """Find out whether the attempt goes on after a step, and from where."""
        if self.tree.stop[node] == OPEN and len(self.tree.own(node)) < left:
            self.at[node] = node
            return
        self.at[node] = await step_on(self.models, self.task, self.tree, node, self.role)
        if self.at[node] >= 0 and self.depth[node] >= self.deepest:
            self.at[node] = -1

    async def _judge(self, nodes: Sequence[int], before: float) -> None:
        ended = [node for node in nodes if self.over(node)] if self.outcome else []
        open_ = [node for node in nodes if node not in ended]
        paid = await asyncio.gather(
            *(worth(self.models, self.task, self.tree, node, self.role) for node in ended)
        )
        thought = await self.value.values(self.models, self.task, self.tree, open_) if open_ else np.zeros(0)
        found = {
            node: float(value)
            for node, value in [*zip(ended, paid, strict=True), *zip(open_, thought, strict=True)]
        }
        self.unknown |= {node for node, value in found.items() if np.isnan(value)}
        known = [value for value in found.values() if not np.isnan(value)]
        least_harm = float(np.mean(known)) if known else before
        self.worth |= {node: least_harm if np.isnan(value) else value for node, value in found.items()}


def step_ends(
    decode: Callable[[Sequence[int]], str], tokens: Sequence[int] | np.ndarray, stop: str
) -> list[int]:
    """How many tokens there are up to the end of each step: after each token that completes `stop`, and at
    the last token.

    >>> step_ends(lambda tokens: "".join("a;"[token] for token in tokens), [0, 1, 0, 0], stop=";")
    [2, 4]
    """
    ends, seen = [], 0
    for n in range(1, len(tokens) + 1):
        found = decode([int(token) for token in tokens[:n]]).count(stop)
        if found > seen or n == len(tokens):
            ends.append(n)
        seen = found
    return ends
