"""Matrix products in float32 by PyTorch's own choice (MKL) and by oneDNN, at SmolLM2-135M's sizes: python
bench/products.py

Which of the two surpass takes, `surpass.engines.linear` decides by the processor alone.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from surpass.engines import linear

WIDTH, INNER, VOCABULARY, TIMES = 576, 1536, 49152, 15


def onednn(a: Tensor, b: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")


def seconds(product: Callable[[Tensor, Tensor], Tensor], a: Tensor, weights: list[Tensor]) -> float:
    """The median time of one product with one of many weights, which come from memory each time, as a model's
    do.
    """
    took = []
    for _ in range(TIMES):
        begin = time.perf_counter()
        for b in weights:
            product(a, b)
        took.append((time.perf_counter() - begin) / len(weights))
    return statistics.median(took[1:])


def main() -> None:
    torch.set_num_threads(2)
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    print(
        f"{names[0]}, torch {torch.__version__}; surpass takes "
        f"{'oneDNN' if linear.foreign() else 'MKL'} here\n"
    )
    print("| product | rows | MKL, GFLOP/s | oneDNN, GFLOP/s | times as fast |\n|---|---|---|---|---|")
    layers = [torch.randn(INNER, WIDTH) for _ in range(40)]
    for name, weights in (
        ("a layer", layers),
        ("its gradient for the input", [w.T for w in layers]),
        ("the head", [torch.randn(VOCABULARY, WIDTH)]),
    ):
        for rows in (2, 8, 64, 768):
            a = torch.randn(rows, weights[0].shape[1])
            work = 2 * rows * weights[0].numel()
            mkl, other = (seconds(product, a, weights) for product in (lambda a, b: a @ b.T, onednn))
            print(
                f"| {name} | {rows} | {work / mkl / 1e9:.0f} | {work / other / 1e9:.0f} | "
                f"{mkl / other:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    with torch.inference_mode():
        main()
