"""Monte Carlo tree search over steps."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from surpass.errors import SurpassError
from surpass.models import Models
from surpass.parts import Task
from surpass.searches.steps import Steps
from surpass.searches.turns import begin
from surpass.searches.values import Value, constant
from surpass.types import Column, Problem, Tree


@dataclass(frozen=True)
class mcts:
    """`simulations` times: descend from the root by `choice` to a step without children, expand it by `n`
    next steps, judge these by `value`, and back up.

        choice     "ucb": Q_c + explore sqrt(2 ln N_parent / N_c), Q_c + `fresh` where N_c = 0 (ReST-MCTS*);
                   "puct": Q_c + explore P_c sqrt(N_parent) / (1 + N_c), P_c = exp(log p(step) / length **
                   penalty) (MCTS-DPO); "greedy": Q_c
        backup     what an expanded node is worth: "visits": sum_c N_c Q_c / sum_c N_c; "all": the same with
                   max(1, N_c); "max": the best child; "mean": the mean of the values that simulations through
                   it ended with
        rollout    draw so many further steps from the best new child, one at a time, aside; its worth becomes
                   (1 - mix) of its own + mix of the best on the way (ReST-MCTS*)
        to_end     a simulation expands until an attempt ends (MCTS-DPO)
        moves      after the simulations, play the most visited step and search on from it, until an attempt
                   ends (MCTS-DPO)
        outcome    finished attempts are worth what the task says (labels), not what `value` says
        enough     end the search when a finished attempt is worth this much
        in_flight  so many simulations descend before their steps are drawn together; meanwhile each counts as
                   a visit worth 0
        token_budget  begin no simulation after so many drawn tokens (0: no limit)

    A step is a line (`stop`), or `step_tokens` tokens, or a turn. An attempt has at most `depth` steps; the
    last runs to the end of its turn. Adds three node columns. "visits": with `outcome`, at least 1 at ends
    that the task judged. "q": the backup over judged values alone (`_Grown.told`); nan if there is none, so
    with `outcome` at steps below which the task judged no attempt. "worth": the step's own first value; nan:
    not known.
    """

    value: Value = field(default_factory=constant)
    simulations: int = 20
    n: int = 3
    choice: str = "ucb"
    backup: str = "visits"
    explore: float = 0.7
    fresh: float = 1.0
    penalty: float = 1.25
    rollout: int = 0
    mix: float = 0.5
    to_end: bool = False
    moves: bool = False
    outcome: bool = False
    enough: float = math.inf
    in_flight: int = 1
    token_budget: int = 0
    stop: str = "\n"
    step_tokens: int = 0
    depth: int = 16
    temperature: float = 1.0
    max_tokens: int = 256
    role: str = "policy"
    needs = frozenset({"tokens", "branching", "one_player"})  # half an answer is continued

    def __post_init__(self) -> None:
        if self.choice not in ("ucb", "puct", "greedy") or self.backup not in (
            "visits",
            "all",
            "max",
            "mean",
        ):
            raise SurpassError(
                "mcts needs a choice out of ucb, puct, greedy and a backup out of visits, all, max, mean; "
                f'found choice="{self.choice}", backup="{self.backup}"'
            )
        if min(self.simulations, self.n, self.depth, self.in_flight) < 1:
            raise SurpassError("mcts needs simulations, n, depth and in_flight of at least 1")

    def at_most(self) -> int:
        """The most tokens that one problem can draw, if every expansion runs to the end of an attempt."""
        return self.token_budget or self.simulations * (self.n + self.rollout) * self.max_tokens

    async def __call__(self, models: Models, task: Task, problem: Problem, rng: int) -> Tree:
        tree, root, plays = await begin(models, task, problem, rng, self.role)
        steps = Steps(
            models,
            task,
            tree,
            plays,
            self.value,
            self.outcome,
            {"temperature": self.temperature},
            self.stop,
            self.step_tokens,
            self.max_tokens,
            self.depth,
        )
        steps.begin(root)
        grown = _Grown(self, steps, root)
        while True:
            await self._simulate(grown, root)
            if not self.moves or grown.done or not grown.children.get(root):
                break
            root = max(grown.children[root], key=lambda c: (grown.visits[c], grown.q(c), -c))
            if steps.over(root):
                break
        grown.mark()
        return tree

    async def _simulate(self, grown: _Grown, root: int) -> None:
        left = self.simulations
        while (
            left > 0 and not grown.done and not (self.token_budget and grown.steps.drawn >= self.token_budget)
        ):
            wave = [grown.descend(root) for _ in range(min(left, self.in_flight))]
            left -= len(wave)
            for path in dict.fromkeys(map(tuple, wave)):  # simulations that meet at a step expand it once
                await grown.grow(list(path))
            for path in wave:
                grown.back_up(path)
            if self.token_budget and not grown.open():
                break  # nothing is left to draw, so the budget would never be reached


class _Grown:
    """The statistics of one search."""

    def __init__(self, search: mcts, steps: Steps, root: int):
        self.search, self.steps, self.root = search, steps, root
        self.children: dict[int, list[int]] = {}
        self.visits: dict[int, int] = {root: 0}
        self.total: dict[int, float] = {root: 0.0}
        self.worth = steps.worth
        self.worth[root] = 0.0
        self.flying: dict[int, int] = {}
        self.ends: dict[tuple[int, ...], int] = {}
        # values of the simulations through a node that ended in something judged
        self.heard: dict[int, list[float]] = {}
        self.done = False

    def open(self) -> bool:
        """Whether a step is left to expand."""
        return any(node not in self.children and not self.steps.over(node) for node in self.visits)

    def q(self, node: int) -> float:
        """The present estimate of a node's worth."""
        children, n = self.children.get(node), self.visits[node]
        if self.search.backup == "mean":
            return self.total[node] / n if n else self.worth[node]
        if not children:
            return self.worth[node]
        if self.search.backup == "max":
            return max(self.q(c) for c in children)
        weights = [max(self.visits[c], self.search.backup == "all") for c in children]
        return (
            float(np.average([self.q(c) for c in children], weights=weights))
            if sum(weights)
            else self.worth[node]
        )

    def told(self, node: int) -> float:
        """`q` over judged values alone; nan if nothing at or below the node was judged. Guesses and defaults
        guide the search, but rank no step above another.
        """
        own = self.worth[node] if self.steps.judged(node) else math.nan
        if self.search.backup == "mean":
            return float(np.mean(self.heard[node])) if node in self.heard else own
        found = {c: value for c in self.children.get(node, ()) if not math.isnan(value := self.told(c))}
        if not found:
            return own
        if self.search.backup == "max":
            return max(found.values())
        weights = [max(self.seen(c), self.search.backup == "all") for c in found]
        return float(np.average(list(found.values()), weights=weights)) if sum(weights) else own

    def seen(self, node: int) -> int:
        """Simulations through a node. An attempt's end that the task judged when drawn counts as one."""
        ended = (
            self.search.outcome and node != self.root and self.steps.over(node) and self.steps.judged(node)
        )
        return max(self.visits[node], int(ended))

    def _score(self, node: int, child: int) -> float:
        flying, n = self.flying.get(child, 0), self.visits[child]
        q = self.q(child) * max(n, 1) / (max(n, 1) + flying)  # simulations in flight count as losses
        if self.search.choice == "greedy":
            return q
        n, parent = n + flying, max(1, self.visits[node] + self.flying.get(node, 0))
        if self.search.choice == "puct":
            logp = self.steps.tree.drawn(child)[0].astype(float)
            prior = math.exp(float(logp.sum()) / max(1, len(logp)) ** self.search.penalty)
            return q + self.search.explore * prior * math.sqrt(parent) / (1 + n)
        return q + (self.search.explore * math.sqrt(2 * math.log(parent) / n) if n else self.search.fresh)

    def descend(self, root: int) -> list[int]:
        """The path from the root to a step without children, or to the end of an attempt."""
        path = [root]
        while self.children.get(path[-1]):
            path.append(max(self.children[path[-1]], key=lambda c: (self._score(path[-1], c), -c)))
        for node in path:
            self.flying[node] = self.flying.get(node, 0) + 1
        return path

    async def grow(self, path: list[int]) -> None:
        """Expand the last step of the path; if the search says so, go on to the end of an attempt."""
        began, steps = tuple(path), self.steps
        while not steps.over(path[-1]) and path[-1] not in self.children:
            new = await steps.expand(path[-1], self.search.n)
            self.children[path[-1]] = new
            for child in new:
                self.visits[child], self.total[child] = 0, 0.0
                self.done |= (
                    steps.over(child)
                    and child not in steps.unknown
                    and self.worth[child] >= self.search.enough
                )
            if self.search.rollout and new:
                await self._roll(max(new, key=lambda c: (self.worth[c], -c)))
            if not self.search.to_end or not new:
                break
            path.append(max(new, key=lambda c: (self._score(path[-1], c), -c)))
        self.ends[began] = path[-1]
        for node in path[len(began) :]:
            self._passed(node, path[-1])

    async def _roll(self, child: int) -> None:
        """Look ahead from the best new step, one step at a time."""
        steps, best, node = self.steps, self.worth[child], child
        for _ in range(self.search.rollout):
            if steps.over(node):
                break
            at = steps.models.put(steps.role, steps.tree, steps.at[node], [], steps.role, aside=True)
            steps.at[at], steps.depth[at] = at, steps.depth[node]
            (node,) = await steps.expand(at, 1)
            best = max(best, self.worth[node])
        self.worth[child] = (1 - self.search.mix) * self.worth[child] + self.search.mix * best
        self.visits[child] += 1
        self.total[child] += self.worth[child]

    def back_up(self, path: list[int]) -> None:
        """Add a visit along the path, with the value that the simulation ended with."""
        for node in path:
            self._passed(node, self.ends[tuple(path)])
            self.flying[node] -= 1

    def _passed(self, node: int, end: int) -> None:
        """Record a simulation through `node` that ended at `end`, which may be the same."""
        self.visits[node] += 1
        self.total[node] += self.worth[end]
        if self.steps.judged(end):
            self.heard.setdefault(node, []).append(self.worth[end])

    def mark(self) -> None:
        """Write the statistics to columns of the tree."""
        tree = self.steps.tree
        known = {i: math.nan if i in self.steps.unknown else self.worth[i] for i in self.visits}
        for name, of in (("visits", self.seen), ("worth", known.__getitem__), ("q", self.told)):
            values = [float(of(i)) if i in self.visits else np.nan for i in range(len(tree))]
            tree.put(name, Column("node", np.array(values)))
