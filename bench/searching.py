"""Searches served together against one by one, and scoring a tree against its unrolled paths: python
bench/searching.py [search] [score]

On SmolLM2-135M in float32 and two threads. The first table also says how many rows the engine's batches held;
the second sets the ratio of seconds beside the ratio of operations (matrix products, attention and head),
which no program can surpass by more than its luck.
"""

from __future__ import annotations

import statistics
import sys
import time
from itertools import islice

import numpy as np
import torch

from surpass import searches
from surpass.engines import LocalEngine
from surpass.engines.requests import Generate
from surpass.engines.scoring import SCORE_TOKENS
from surpass.find import make_task
from surpass.flat import pack
from surpass.models import Models
from surpass.searches.round import search_all
from surpass.types import Example, Problem, Tree

PROBLEMS, SIMULATIONS, PAIRS = 32, 32, 3


class Counting:
    """An engine whose batches are counted."""

    def __init__(self, engine: LocalEngine):
        self._engine, self.rows = engine, []

    def __getattr__(self, name: str):
        return getattr(self._engine, name)

    def serve(self, requests, **others):
        if rows := sum(len(request.keys) for request in requests if isinstance(request, Generate)):
            self.rows.append(rows)
        yield from self._engine.serve(requests, **others)


def search_table(engine: LocalEngine) -> None:
    """MCTS, so many problems at a time. One by one only a few problems are searched: each takes about as long
    as the others.
    """
    task = make_task(
        "reasoning_gym:chain_sum", {"min_terms": "4", "max_terms": "4", "min_digits": "1", "max_digits": "1"}
    )
    search = searches.mcts(
        searches.values.constant(), simulations=SIMULATIONS, n=2, max_tokens=48, temperature=1.0
    )
    problems = list(islice(task.problems("test", 0), PROBLEMS))
    print(
        "| problems at a time | problems | s a problem | times as fast as one by one | rows in a "
        "batch: mean, median, most | batches |\n|---|---|---|---|---|---|"
    )
    alone = 0.0
    for together in (1, 8, 32):
        some = problems[:: 8 if together == 1 else 1]
        counting = Counting(engine)
        models = Models(policy=counting)
        begin = time.perf_counter()
        for i in range(0, len(some), together):
            models.fresh()
            models.run(search_all(search, models, task, some[i : i + together], 0))
        seconds = (time.perf_counter() - begin) / len(some)
        alone = alone or seconds
        rows = counting.rows
        print(
            f"| {together} | {len(some)} | {seconds:.2f} | {alone / seconds:.1f} | "
            f"{statistics.mean(rows):.1f}, {statistics.median(rows):.0f}, {max(rows)} | {len(rows)} |",
            flush=True,
        )


def tree_of(prompt: int, step: int, width: int, depth: int, vocabulary: int) -> Tree:
    rng, tree = np.random.default_rng(0), Tree(Problem("bench", ""))
    level = [tree.add(-1, "policy", rng.integers(100, vocabulary, prompt))]
    for _ in range(depth):
        level = [
            tree.add(node, "policy", rng.integers(100, vocabulary, step))
            for node in level
            for _ in range(width)
        ]
    return tree


def operations(engine: LocalEngine, batch) -> float:
    """Multiplications and additions of a forward pass that scores every token."""
    config = engine.causal.config
    body = sum(
        p.numel()
        for name, p in engine.causal.named_parameters()
        if p.dim() == 2 and "embed" not in name and "lm_head" not in name
    )
    attention = 4 * config.num_hidden_layers * config.hidden_size * float((batch.depth + 1).sum())
    return 2.0 * len(batch.token) * (body + config.hidden_size * config.vocab_size) + attention


def score_table(engine: LocalEngine) -> None:
    print(
        "| tree | tokens | as rows | rows / tree, operations | rows / tree, seconds (min to max) | of "
        "the operations' ratio |\n|---|---|---|---|---|---|"
    )
    models = Models(policy=engine)
    for prompt, step, width, depth in ((256, 16, 4, 2), (256, 16, 2, 5), (64, 16, 4, 3), (256, 64, 8, 1)):
        tree = tree_of(prompt, step, width, depth, engine.causal.config.vocab_size)
        leaves = tree.leaves()
        paths = []
        for leaf in leaves:
            row = Tree(Problem(f"bench {leaf}", ""))
            row.add(-1, "policy", tree.path_tokens(leaf))
            paths.append(row)
        cost = [
            operations(engine, pack(some, ["policy"]))
            for some in ([Example(tree, (leaf,)) for leaf in leaves], [Example(row, (0,)) for row in paths])
        ]
        pairs = []
        for _ in range(PAIRS + 1):
            pairs.append([])
            begin = time.perf_counter()
            models.run(scored(models, [(tree, leaf) for leaf in leaves]))
            pairs[-1].append(time.perf_counter() - begin)
            begin = time.perf_counter()
            score_rows(engine, paths)
            pairs[-1].append(time.perf_counter() - begin)
        ratios = sorted(rows / one for one, rows in pairs[1:])  # the first pair warms up
        ratio = statistics.median(ratios)
        print(
            f"| prompt {prompt}, {depth} levels of {width} x {step} | {len(tree.tokens)} | "
            f"{sum(len(row.tokens) for row in paths)} | {cost[1] / cost[0]:.2f} | **{ratio:.2f}** "
            f"({ratios[0]:.2f} to {ratios[-1]:.2f}) | {ratio / (cost[1] / cost[0]):.2f} |",
            flush=True,
        )


def score_rows(engine: LocalEngine, paths: list[Tree]) -> None:
    """Every path by itself, as many at a time as the engine scores at most."""
    each = max(1, SCORE_TOKENS // len(paths[0].tokens))
    for i in range(0, len(paths), each):
        # what is trained is shared with nobody
        batch = pack([Example(row, (0,)) for row in paths[i : i + each]], ["policy"])
        with torch.inference_mode():
            engine.forward(batch, batch.parent >= 0)


async def scored(models: Models, wanted: list[tuple[Tree, int]]) -> None:
    import asyncio

    await asyncio.gather(*(models.logprobs("policy", tree, node) for tree, node in wanted))


def main() -> None:
    torch.set_num_threads(2)
    engine, chosen = LocalEngine("smollm2-135m"), sys.argv[1:] or ["search", "score"]
    for name, table in (("search", search_table), ("score", score_table)):
        if name in chosen:
            table(engine)
            print()


if __name__ == "__main__":
    main()
