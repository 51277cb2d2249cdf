"""What an engine is asked for, and what it replies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from surpass.errors import SurpassError
from surpass.types import Example, Problem, Tree


@dataclass(frozen=True)
class Sampling:
    """How to draw. temperature 0 takes the most probable token; top_k 0, top_p 1 and min_p 0 do not truncate.

    Truncation comes after the temperature, in the order top_k, top_p, min_p. A draw ends at one of the
    model's own end-of-turn tokens, at one of `stop_tokens`, after the token that completes one of `stop`
    (nothing is cut), or after `max_tokens`.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    stop_tokens: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        limits = {
            "temperature": self.temperature >= 0,
            "top_p": 0 < self.top_p <= 1,
            "top_k": self.top_k >= 0,
            "min_p": 0 <= self.min_p < 1,
            "max_tokens": self.max_tokens >= 1,
        }
        for name, fine in limits.items():
            if not fine:
                raise SurpassError(
                    f"sampling needs temperature >= 0, 0 < top_p <= 1, top_k >= 0, 0 <= min_p < 1 and "
                    f"max_tokens >= 1; found {name}={getattr(self, name)}"
                )


@dataclass(frozen=True)
class Generate:
    """Draw len(keys) continuations of `tokens` (int32[t]); each key seeds one, whatever the batch holds."""

    tokens: np.ndarray
    keys: tuple[int, ...]
    sampling: Sampling


@dataclass(frozen=True)
class Drawn:
    """One continuation: tokens int32[t], logp and logq float32[t], and how it ended (surpass.types).

    `used`: the server's own count of tokens, if it differs from len(tokens).
    """

    tokens: np.ndarray
    logp: np.ndarray
    logq: np.ndarray
    stop: int
    text: str | None = None
    used: int | None = None


PAUSED = -1  # the stop of a draw that goes on when asked for again
NOTHING = Drawn(np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.float32), PAUSED)


@dataclass(frozen=True)
class Context:
    """The tokens up to a node of a tree, in the tree's pieces. An engine computes a piece that several
    contexts share only once. A context holds all that is asked, so it can be sent to another machine.

    `nodes` are the tree's numbers of the pieces, first to last; `forest` names the tree.
    """

    forest: tuple[str, int]
    nodes: tuple[int, ...]
    pieces: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, tree: Tree, node: int) -> Context:
        """The context that ends at a node of a tree."""
        path = tree.path(node)
        return cls((tree.problem.id, tree.key), tuple(path), tuple(tree.own(i) for i in path))

    @property
    def tokens(self) -> np.ndarray:
        """int32[t]: all tokens of the context."""
        return np.concatenate(self.pieces)

    def __len__(self) -> int:
        return sum(map(len, self.pieces))


def grown(contexts: Sequence[Context]) -> list[Example]:
    """The contexts as paths of trees again, one each; equal pieces of one forest become one node."""
    trees: dict[tuple[str, int], Tree] = {}
    places: dict[tuple[Any, ...], int] = {}
    ends: list[Example | None] = [None] * len(contexts)
    # in the order of the trees' nodes, as a forest is laid out
    for at, context in sorted(enumerate(contexts), key=lambda found: found[1].nodes):
        tree = trees.setdefault(context.forest, Tree(Problem(context.forest[0], ""), context.forest[1]))
        node = -1
        for number, piece in zip(context.nodes, context.pieces, strict=True):
            place = (context.forest, node, number, piece.tobytes())
            if place not in places:
                places[place] = tree.add(node, "", piece)
            node = places[place]
        ends[at] = Example(tree, (node,))
    return [end for end in ends if end is not None]


@dataclass(frozen=True)
class Score:
    """float32[t]: the log-probability of every token of a context ("logp"), or the certainty KL(uniform ||
    p), in nats, of the distribution it was predicted with; nan for the first. Or the "value" after each
    token, float32[t, H].
    """

    context: Context
    what: str = "logp"


@dataclass(frozen=True)
class Next:
    """float32[len(candidates)]: the log-probability of each candidate as the next token of a context."""

    context: Context
    candidates: tuple[int, ...]


def uniforms(key: int, n: int) -> np.ndarray:
    """float64[n] in [0, 1): the random numbers of one draw, a function of its key alone.

    >>> bool((uniforms(7, 3) == uniforms(7, 3)).all()), bool((uniforms(7, 3) == uniforms(8, 3)).any())
    (True, False)
    """
    return np.random.Generator(np.random.Philox(key=key)).random(n)


def fitting(entries: Sequence[Any], of: Callable[[Any], tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    """(entries to serve now, entries that wait), both in order; of(entry) gives its engine and its request.

    An engine with `room` takes draws as long as their keys and values fit. So the first dialogues end while
    their prefixes are still in memory, and the others begin after them.
    """
    left: dict[int, float] = {}
    now: list[Any] = []
    later: list[Any] = []
    for entry in entries:
        engine, request = of(entry)
        if isinstance(request, Generate) and hasattr(engine, "room"):
            before = left.setdefault(id(engine), engine.room)
            left[id(engine)] -= len(request.tokens) + len(request.keys) * request.sampling.max_tokens
            if before < engine.room and left[id(engine)] < 0:
                later.append(entry)
                continue
        now.append(entry)
    return now, later
