"""One training pass (forward and backward) over a tree against the same paths as padded rows: python bench/tree_step.py

Both sides run in turn, pair by pair, on the same weights and tokens; printed are the medians, the ratio's median and its spread.
"""

from __future__ import annotations

import statistics
import time

import numpy as np

from surpass.engines import LocalEngine
from surpass.engines.forward import row_forward, tree_forward
from surpass.flat import pack
from surpass.types import Example, Problem, Tree

PAIRS = 3


def batch_of(prompt: int, n: int, length: int, vocabulary: int):
    """n random answers of `length` tokens to one random prompt."""
    rng = np.random.default_rng(0)
    tree = Tree(Problem("bench", ""))
    root = tree.add(-1, "task", rng.integers(100, vocabulary, prompt))
    leaves = [tree.add(root, "policy", rng.integers(100, vocabulary, length)) for _ in range(n)]
    return pack([Example(tree, (leaf,)) for leaf in leaves], ["policy"])


def seconds(forward, engine: LocalEngine, batch) -> float:
    begin = time.perf_counter()
    forward(engine.causal, batch, batch.trained).logp.sum().backward()
    engine.causal.zero_grad(set_to_none=True)
    return time.perf_counter() - begin


def main() -> None:
    engine = LocalEngine("smollm2-135m")
    print("prompt  answers      tree s     rows s   rows / tree (min to max)")
    for prompt, n, length in ((256, 8, 64), (64, 8, 128), (200, 8, 22)):
        batch = batch_of(prompt, n, length, engine.causal.config.vocab_size)
        seconds(tree_forward, engine, batch), seconds(row_forward, engine, batch)  # warm up
        pairs = [(seconds(tree_forward, engine, batch), seconds(row_forward, engine, batch)) for _ in range(PAIRS)]
        ratios = sorted(rows / tree for tree, rows in pairs)
        tree, rows = (statistics.median(side) for side in zip(*pairs, strict=True))
        print(
            f"{prompt:6}  {n} x {length:<6} {tree:8.2f} {rows:10.2f}   {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )


if __name__ == "__main__":
    main()
