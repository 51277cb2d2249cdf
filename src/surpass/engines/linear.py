"""Matrix products in float32 by oneDNN, on processors that MKL serves badly.

PyTorch's CPU builds leave float32 products to MKL, which runs its fast code only on Intel's processors.
oneDNN, in the same builds, takes half the time on an AMD EPYC with AVX-512 (docs/bench.md). Which of the two
computes depends on the processor alone, never on a measurement, because their last digits differ.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@functools.cache
def foreign() -> bool:
    """Whether this is an x86-64 processor that is not Intel's, and PyTorch has oneDNN."""
    if not (
        torch.backends.mkl.is_available()
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    ):
        return False
    try:
        about = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return False
    return (
        "vendor_id" in about
        and "GenuineIntel" not in about
        and torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    )


def times(a: Tensor, b: Tensor) -> Tensor:
    """a [..., k] times the transpose of b [n, k]: [..., n]. No gradient passes."""
    if (
        not foreign()
        or a.dtype != torch.float32
        or b.dtype != torch.float32
        or a.device.type != "cpu"
        or not a.numel()
        or not b.numel()
    ):
        return a @ b.T
    return torch.ops.mkldnn._linear_pointwise(_dense(a), _dense(b), None, "none", [], "")


def _dense(x: Tensor) -> Tensor:
    """The same values as a matrix or a transpose, the only views that oneDNN takes."""
    return x if x.is_contiguous() or (x.ndim == 2 and x.T.is_contiguous()) else x.contiguous()


class _Linear(torch.autograd.Function):
    """y = x W^T of rows x [n, k], and with the gradient g of y: g W for x, g^T x for W."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return times(x, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        grad = grad.contiguous()  # a sum's gradient is an expanded number: it is copied once, here
        to_x = times(grad, weight.T) if ctx.needs_input_grad[0] else None
        to_weight = times(grad.T, x.T) if ctx.needs_input_grad[1] else None
        return to_x, to_weight


class Linear(torch.nn.Linear):
    """torch.nn.Linear, whose products in float32 are those of `times`."""

    def forward(self, x: Tensor) -> Tensor:
        if (
            x.dtype != torch.float32
            or self.weight.dtype != torch.float32
            or torch.is_autocast_enabled(x.device.type)
            or x.ndim < 2
        ):
            return F.linear(x, self.weight, self.bias)
        # a view made outside the function may be changed in place, which some models do
        y = _Linear.apply(x.flatten(0, -2), self.weight).view(*x.shape[:-1], len(self.weight))
        return y if self.bias is None else y + self.bias


def adopt(module: torch.nn.Module) -> None:
    """From now on the linear layers of `module` compute with oneDNN, where that is faster (`foreign`). Their
    weights are not touched.
    """
    if foreign():
        for layer in module.modules():
            if type(layer) is torch.nn.Linear and layer.weight.device.type == "cpu":
                layer.__class__ = Linear
