"""The shapes of data in surpass. Trees are in surpass.tree, and can be imported from here, too.

Axes: N nodes, T tokens, L leaves, K examples, P paths (an example names one or more), V vocabulary. Arrays
are numpy until the learner turns a `Batch` into tensors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from surpass.columns import Column
from surpass.errors import SurpassError
from surpass.means import measured
from surpass.problem import DONE, FAILED, INVALID, LENGTH, OPEN, STOPS, Problem, fold
from surpass.tree import Tree

if TYPE_CHECKING:
    import torch

__all__ = [
    "DONE",
    "FAILED",
    "INVALID",
    "LENGTH",
    "OPEN",
    "STOPS",
    "Batch",
    "Cast",
    "Column",
    "Example",
    "Figures",
    "Memory",
    "Out",
    "Problem",
    "Report",
    "Row",
    "Tree",
    "Turn",
    "Verdict",
    "fold",
]


class Turn(NamedTuple):
    """What a task says after a move: its new state, the messages to each player, who moves next (None: it is
    over), rewards by player, whether the move was legal, and counts by name (e.g. {"malformed": 1}).
    """

    state: Any
    say: Mapping[str, str | Sequence[Mapping[str, str]]] = {}
    player: str | None = None
    reward: Mapping[str, float] = {}
    valid: bool = True
    counts: Mapping[str, float] = {}


@dataclass(frozen=True)
class Example:
    """What one update learns from: paths of a tree, named by their last nodes.

    One node: imitate or reinforce this path. Two: the first is preferred to the second. More: a ranking or a
    group. Learning starts after `since[i]`, an ancestor of nodes[i] (-1, or None for all: the whole path).
    `weight` scales the example's loss. `confidence` in [0, 1] is the probability that the order is right.
    """

    tree: Tree
    nodes: tuple[int, ...]
    since: tuple[int, ...] | None = None
    weight: float = 1.0
    confidence: float = 1.0


@dataclass
class Batch:
    """Paths of many trees, pruned to what the examples use and laid out in depth-first order (surpass.flat).

    token, parent, depth, end [T]; trained bool[T]: written by an author that learns. Path p ends at token
    last[p] and learns from the tokens after since[p] (-1: from all). example[p] is its example; weight and
    confidence are per example [K].

    A path is a whole dialogue. Where a template rewrote earlier turns, path part_of[q] also learns from the
    context that ends at token part_last[q], after part_since[q]. voice int64[T] is each token's author as an
    index into `voices`, the authors that learn (-1: another). A column is ("token", [T]) or ("path", [P]).
    totals holds the normalisers of the whole update, of which this may be one micro-batch: examples, paths,
    tokens, and tokens/VOICE for one voice alone.
    """

    token: torch.Tensor
    parent: torch.Tensor
    depth: torch.Tensor
    end: torch.Tensor
    trained: torch.Tensor
    last: torch.Tensor
    since: torch.Tensor
    example: torch.Tensor
    weight: torch.Tensor
    confidence: torch.Tensor
    voice: torch.Tensor
    voices: tuple[str, ...]
    part_last: torch.Tensor
    part_since: torch.Tensor
    part_of: torch.Tensor
    columns: dict[str, tuple[str, torch.Tensor]] = field(default_factory=dict)
    totals: dict[str, float] = field(default_factory=dict)


# by name (a sum, a count): micro-batches add up both, and their ratio is reported
Figures = dict[str, tuple[float, int]]


@dataclass
class Out:
    """The outputs of a forward pass that were asked for: logp [T], entropy [T], certainty [T], value [T, H].

    With p = softmax(logits / temperature): logp[t] = log p(token[t] | its ancestors), entropy[t] is that of p
    and certainty[t] is KL(uniform || p), both in nats. All are 0 at tokens that are not wanted. The
    temperature is 1 unless the learner trains at another. Then plain [T] is logp at temperature 1, detached.
    """

    logp: torch.Tensor
    entropy: torch.Tensor | None = None
    value: torch.Tensor | None = None
    certainty: torch.Tensor | None = None
    plain: torch.Tensor | None = None


@dataclass(frozen=True)
class Cast:
    """Who plays a role that has no model of its own: `like`. With `shared` both have the same weights; else
    the role gets a copy, made when the run begins, with `heads` value heads.
    """

    like: str = "policy"
    heads: int = 0
    shared: bool = False


class Row(NamedTuple):
    """One measured value: which problem, which sample of it, which metric."""

    problem: str
    sample: int
    metric: str
    value: float


@dataclass
class Report:
    """Measured values and their cost. Every mean comes with its standard error over problems."""

    name: str
    rows: list[Row] = field(default_factory=list)
    cost: dict[str, float] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    # the judged attempts; their column "chosen" [L] is the answer's value
    trees: list[Tree] = field(default_factory=list)

    def by_problem(self, metric: str) -> dict[str, float]:
        """A metric's mean over each problem's judged samples (nan is left out).

        >>> Report("", [Row("p", 0, "reward", 1.0), Row("p", 1, "reward", 0.0)]).by_problem("reward")
        {'p': 0.5}
        """
        values: dict[str, list[float]] = {}
        for row in self.rows:
            if row.metric == metric and not math.isnan(row.value):
                values.setdefault(row.problem, []).append(row.value)
        return {problem: sum(v) / len(v) for problem, v in values.items()}

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """{"mean", "stderr", "n", "missing"} per metric; stderr = std(problem means, ddof=1) / sqrt(n), nan
        if n < 2.
        """
        out = {}
        for metric in dict.fromkeys(row.metric for row in self.rows):
            values = np.array(list(self.by_problem(metric).values()), float)
            missing = sum(math.isnan(row.value) for row in self.rows if row.metric == metric)
            n = len(values)
            stderr = float(values.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan
            out[metric] = {
                "mean": float(values.mean()) if n else math.nan,
                "stderr": stderr,
                "n": n,
                "missing": missing,
            }
        return out

    def mean(self, metric: str) -> float:
        """The mean of a metric over problems; nan if none was judged."""
        return self.metrics[metric]["mean"]

    def to_pandas(self) -> Any:
        """A DataFrame with a row per measured value: problem, sample, metric, value."""
        return frame([row._asdict() for row in self.rows], ("problem", "sample", "metric", "value"))

    def __str__(self) -> str:
        return "\n".join(f"{metric:28} {measured(metric, m)}" for metric, m in self.metrics.items())


def frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> Any:
    """A pandas DataFrame; SurpassError if pandas is not installed."""
    try:
        import pandas
    except ImportError as error:
        raise SurpassError("to_pandas needs its package: pip install pandas") from error
    return pandas.DataFrame(list(rows), columns=None if columns is None else list(columns))


class Verdict(NamedTuple):
    """A gate's decision: whether to keep the trial, why in one sentence, the p-value (nan: no test)."""

    keep: bool
    why: str
    p: float = math.nan


@dataclass
class Memory:
    """What outlives a round: `notes`, a JSON object that a refused trial rolls back, and earlier trees."""

    notes: dict[str, Any] = field(default_factory=dict)
    read: Any = None  # round -> list[Tree]; None: nothing is stored
    round: int = 0
    seed: int = 0

    def trees(self, round: int) -> list[Tree]:
        """The trees of a finished round, with the columns they had. A part that reads them declares needs =
        {"past"}: without a folder, only such a run keeps them.
        """
        return self.read(round) if self.read else []
