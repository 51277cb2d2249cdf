"""A tree: everything that happened for one problem, token by token, and its columns.

Axes: N nodes, T tokens, L leaves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from surpass.columns import Column, aligned
from surpass.errors import SurpassError
from surpass.problem import OPEN, Problem, fold


class Tree:
    """Everything that happened for one problem. It grows during search and gets columns afterwards.

    Node i owns `tokens[span[i]:span[i + 1]]`. It continues the context of `parent[i] < i` (-1: it opens one)
    and follows `cause[i]` in time; the two differ where players alternate or a context was rebuilt. A leaf
    has no child by `parent` and no successor by `cause`. A node `aside` (a judge's verdict, a dropped draft)
    and all after it are no leaves and nobody's successors. `key` seeds every draw.

    >>> tree = Tree(Problem("p", "2 + 2 ="), key=0)
    >>> root = tree.add(-1, "task", [5, 6])
    >>> right, wrong = tree.add(root, "policy", [7]), tree.add(root, "policy", [8, 9])
    >>> tree.leaves(), tree.path(wrong), tree.path_tokens(wrong).tolist()
    ([1, 2], [0, 2], [5, 6, 8, 9])
    """

    def __init__(self, problem: Problem, key: int = 0):
        self.problem, self.key, self.opened = problem, key, 0
        self.past = False  # whether it comes from an earlier round
        self.keys: list[int] = []
        self.draws: list[int] = []  # requests made at each node, part of its children's keys
        self.unheard: dict[str, Any] = {}  # what players who move later were told at the start
        self._parent: list[int] = []
        self._cause: list[int] = []
        self.author: list[str] = []
        self._stop: list[int] = []
        self._version: list[int] = []
        self.aside: list[bool] = []
        self.state: list[Any] = []
        self.text: list[str | None] = []
        # the messages that a node was rendered from; not stored on disk
        self.said: dict[int, Sequence[Mapping[str, Any]]] = {}
        # who wrote a context's tokens: (role, its tokenizer's vocabulary); not stored on disk
        self.vocabulary: dict[int, tuple[str, str]] = {}
        self._tokens: list[np.ndarray] = []
        self._logp: list[np.ndarray] = []
        self._logq: list[np.ndarray] = []
        self._columns: dict[str, tuple[Column, tuple[int, ...]]] = {}
        self._children: list[list[int]] = []
        # each with the number of changes to the tree when it was built
        self._arrays: dict[str, tuple[int, np.ndarray]] = {}
        self._changes = [0]  # shared by all views of the tree (with_columns)

    def __len__(self) -> int:
        return len(self._parent)

    def add(
        self,
        parent: int,
        author: str,
        tokens: Iterable[int] = (),
        *,
        cause: int | None = None,
        logp: np.ndarray | None = None,
        logq: np.ndarray | None = None,
        stop: int = OPEN,
        version: int = -1,
        state: Any = None,
        text: str | None = None,
        key: int | None = None,
        aside: bool = False,
    ) -> int:
        """Add a node and return its number. Tokens without `logp` were not drawn: logp and logq are nan."""
        node = len(self._parent)
        cause = parent if cause is None else cause
        if not (-1 <= parent < node and -1 <= cause < node):
            raise ValueError(f"node {node} cannot come after parent {parent} and cause {cause}")
        tokens = np.asarray(list(tokens), np.int32)
        unknown = np.full(len(tokens), np.nan, np.float32)
        logp = unknown if logp is None else np.asarray(logp, np.float32)
        logq = logp if logq is None else np.asarray(logq, np.float32)
        if not len(tokens) == len(logp) == len(logq):
            raise ValueError(f"{len(tokens)} tokens came with {len(logp)} logp and {len(logq)} logq")
        aside = aside or (parent >= 0 and self.aside[parent])
        fields: tuple[tuple[list[Any], Any], ...] = (
            (self._parent, parent),
            (self._cause, cause),
            (self.author, author),
            (self._stop, stop),
            (self._version, version),
            (self.aside, aside),
            (self.state, state),
            (self.text, text),
            (self._tokens, tokens),
            (self._logp, logp),
            (self._logq, logq),
            (self.keys, fold(self.key, "node", node) if key is None else key),
            (self.draws, 0),
        )
        for values, value in fields:
            values.append(value)
        self._children.append([])
        if parent >= 0:
            self._children[parent].append(node)
        self._changes[0] += 1
        return node

    def cut(self, node: int, end: int, begin: int = 0, after: int | None = None, stop: int = OPEN) -> int:
        """Copy the tokens from `begin` to `end` of a node into a new one, with their log-probabilities. It
        continues `after` (default: what the other continues). So a draw is split into steps to train on.
        """
        if not 0 <= begin <= end <= len(self._tokens[node]):
            raise ValueError(
                f"node {node} has {len(self._tokens[node])} tokens; it has none from {begin} to {end}"
            )
        parent = self._parent[node] if after is None else after
        key = fold(
            self.keys[parent] if parent >= 0 else self.key, "put", self.draws[parent] if parent >= 0 else node
        )
        if parent >= 0:
            self.draws[parent] += 1
        tokens, logp, logq = (values[node][begin:end] for values in (self._tokens, self._logp, self._logq))
        return self.add(
            parent,
            self.author[node],
            tokens,
            logp=logp,
            logq=logq,
            stop=stop,
            version=self._version[node],
            key=key,
        )

    def _array(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """An array over nodes or tokens, built once until the tree changes; read-only."""
        made, found = self._arrays.get(name, (-1, None))
        if found is None or made != self._changes[0]:
            found = make()
            found.flags.writeable = False
            self._arrays[name] = self._changes[0], found
        return found

    @property
    def parent(self) -> np.ndarray:
        """int32[N]: the node whose context each continues; -1: none."""
        return self._array("parent", lambda: np.array(self._parent, np.int32))

    @property
    def cause(self) -> np.ndarray:
        """int32[N]: the node that each follows in time; -1: none."""
        return self._array("cause", lambda: np.array(self._cause, np.int32))

    @property
    def stop(self) -> np.ndarray:
        """int8[N]: OPEN, DONE, LENGTH, INVALID or FAILED."""
        return self._array("stop", lambda: np.array(self._stop, np.int8))

    @property
    def version(self) -> np.ndarray:
        """int32[N]: the weights' version at each draw, as models.made counts; -1: not known."""
        return self._array("version", lambda: np.array(self._version, np.int32))

    @property
    def span(self) -> np.ndarray:
        """int64[N + 1]: node i owns the tokens from span[i] to span[i + 1]."""
        return self._array("span", lambda: np.cumsum([0, *(len(t) for t in self._tokens)], dtype=np.int64))

    @property
    def tokens(self) -> np.ndarray:
        """int32[T]: all tokens, in node order."""
        return self._array("tokens", lambda: np.concatenate([*self._tokens, np.zeros(0, np.int32)]))

    @property
    def logp(self) -> np.ndarray:
        """float32[T]: log-probability at the draw (temperature 1, untruncated); nan where not drawn."""
        return self._array("logp", lambda: np.concatenate([*self._logp, np.zeros(0, np.float32)]))

    @property
    def logq(self) -> np.ndarray:
        """float32[T]: log-probability under the distribution that was sampled from; nan where not drawn."""
        return self._array("logq", lambda: np.concatenate([*self._logq, np.zeros(0, np.float32)]))

    def own(self, node: int) -> np.ndarray:
        """int32[t]: the tokens of one node alone."""
        return self._tokens[node]

    def length(self, node: int) -> int:
        """How many tokens a node has, as its engine counts (an API's own count is the column "used")."""
        used = self._columns["used"][0].values if "used" in self._columns else ()
        return int(used[node]) if node < len(used) and not math.isnan(used[node]) else len(self._tokens[node])

    def drawn(self, node: int) -> tuple[np.ndarray, np.ndarray]:
        """(logp, logq) float32[t] of one node."""
        return self._logp[node], self._logq[node]

    def end(self, node: int, stop: int, state: Any = None) -> None:
        """Record how a node ended and, if given, the task's state after it."""
        self._stop[node] = stop
        self._changes[0] += 1
        if state is not None:
            self.state[node] = state

    def unfinished(self, node: int) -> bool:
        """Whether a search stopped here before the end: the task has not answered, or its answer is last."""
        return self.author[node] == "task" or (self._stop[node] == OPEN and self.state[node] is None)

    def path(self, node: int) -> list[int]:
        """Nodes from the opening of this context to `node`, along `parent`."""
        nodes = []
        while node >= 0:
            nodes.append(node)
            node = self._parent[node]
        return nodes[::-1]

    def parts(self, node: int) -> list[int]:
        """The last node of each context that the dialogue up to `node` went through: [node], unless a
        template rewrote earlier turns. Then a new context opened, and its node column "continues" holds the
        node that it goes on from.
        """
        if "continues" not in self._columns:
            return [node]
        before = self.get("continues").values[self.path(node)[0]]
        return [node] if math.isnan(before) else [*self.parts(int(before)), node]

    def dialogue(self, node: int) -> list[int]:
        """The nodes of all `parts`, in order. Each drawn token is in it once: the task wrote what was
        rendered again.
        """
        return [i for end in self.parts(node) for i in self.path(end)]

    def history(self, node: int) -> list[int]:
        """Nodes from the beginning of time to `node`, along `cause`: credit flows this way."""
        nodes = []
        while node >= 0:
            nodes.append(node)
            node = self._cause[node]
        return nodes[::-1]

    def attempt(self, node: int) -> list[int]:
        """The part of `history` that is one attempt: from the last opening that holds a task's state."""
        nodes = self.history(node)
        begins = [i for i, n in enumerate(nodes) if self._parent[n] < 0 and self.state[n] is not None]
        return nodes[begins[-1] :] if begins else nodes

    def state_at(self, node: int) -> Any:
        """The task's last state on the way to a node in time; None if there is none."""
        return next((self.state[i] for i in reversed(self.history(node)) if self.state[i] is not None), None)

    def path_tokens(self, node: int) -> np.ndarray:
        """int32[t]: exactly what an engine gets in order to continue `node`."""
        return np.concatenate([self._tokens[i] for i in self.path(node)])

    def children(self, node: int) -> list[int]:
        """Nodes that continue the context of `node`; for -1, the openings."""
        return (
            list(self._children[node])
            if node >= 0
            else [i for i, parent in enumerate(self._parent) if parent < 0]
        )

    def leaves(self) -> list[int]:
        """Nodes without a child by `parent` or a successor by `cause`, in order; none is aside."""
        told = [i for i in range(len(self)) if not self.aside[i]]
        inner = {self._parent[i] for i in told} | {self._cause[i] for i in told}
        return [i for i in told if i not in inner]

    def leaf_index(self) -> dict[int, int]:
        """Each leaf's place along the leaf axis."""
        return {leaf: i for i, leaf in enumerate(self.leaves())}

    def put_nodes(self, name: str, values: Mapping[int, float]) -> None:
        """Put a node column from the values of some nodes; the others get nan."""
        self.put(name, Column("node", np.array([values.get(i, math.nan) for i in range(len(self))], float)))

    def put(self, name: str, column: Column) -> None:
        """Put a column. SurpassError if its length does not fit the tree as it is now."""
        values = np.asarray(column.values)
        leaves = tuple(self.leaves())
        n = {"node": len(self), "token": int(self.span[-1]), "leaf": len(leaves), "pair": len(leaves)}.get(
            column.axis
        )
        if n is None:
            raise SurpassError(
                f'column "{name}" has the axis "{column.axis}"; an axis is node, token, leaf or pair'
            )
        if values.shape[:1] != (n,) or (column.axis == "pair" and values.shape[:2] != (n, n)):
            raise SurpassError(
                f'column "{name}" needs {n} values along the {column.axis} axis and got shape {values.shape}'
            )
        self._columns[name] = (Column(column.axis, values), leaves)

    def mark(self, name: str, node: int, value: float) -> None:
        """Set one node's value in a node column; a new column is nan elsewhere."""
        values = self.get(name).values.copy() if name in self._columns else np.full(len(self), np.nan)
        values[node] = value
        self.put(name, Column("node", values))

    def get(self, name: str) -> Column:
        """A column, aligned to the tree as it is now: nan at later additions. SurpassError if missing."""
        if name not in self._columns:
            known = ", ".join(sorted(self._columns)) or "none"
            raise SurpassError(
                f'column "{name}" was asked for; this tree has: {known}. Add a score of that name to '
                "the method"
            )
        column, leaves = self._columns[name]
        n = len(self) if column.axis == "node" else int(self.span[-1])
        return aligned(column, leaves, self.leaves() if column.axis in ("leaf", "pair") else (), n)

    def values_at(self, name: str, nodes: Sequence[int]) -> np.ndarray:
        """float64[len(nodes)]: a leaf or node column at some nodes; nan where a leaf column has no value."""
        column = self.get(name)
        if column.axis == "node":
            return np.asarray(column.values, float)[list(nodes)]
        if column.axis == "leaf":
            where = self.leaf_index()
            return np.array([column.values[where[i]] if i in where else np.nan for i in nodes], float)
        raise SurpassError(
            f'column "{name}" lies along the {column.axis} axis; a value per leaf or node was wanted'
        )

    def has(self, name: str) -> bool:
        """Whether there is a column of this name."""
        return name in self._columns

    @property
    def columns(self) -> dict[str, Column]:
        """All columns, aligned to the tree as it is now."""
        return {name: self.get(name) for name in self._columns}

    def with_columns(self, columns: Mapping[str, Column]) -> Tree:
        """A view of the tree with more columns: nodes are shared, the original keeps its own columns."""
        other = Tree.__new__(Tree)
        other.__dict__.update(self.__dict__)
        other._columns, other._arrays = dict(self._columns), {}
        for name, column in columns.items():
            other.put(name, column)
        return other
