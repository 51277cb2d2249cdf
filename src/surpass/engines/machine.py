"""The device that a model computes on, and its memory."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Any

import torch
from torch import Tensor

from surpass.errors import SurpassError
from surpass.types import Batch


def hold_memory() -> None:
    """Tell glibc to keep large freed blocks: giving each temporary tensor back to the system costs a training
    step many page faults. Does nothing on other platforms.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        m_trim_threshold, m_mmap_threshold = -1, -3
        libc.mallopt(m_mmap_threshold, 2**30)
        libc.mallopt(m_trim_threshold, 2**31 - 1)


def give_back_memory() -> None:
    """Tell glibc to return free memory: each phase needs other blocks, and the gaps between them add up."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def device_of(name: str) -> str:
    """The torch device of this name; "auto" takes a GPU if there is one. SurpassError if it is not there."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:  # AssertionError: a build without CUDA
        raise SurpassError(
            f'there is no device "{name}" for PyTorch here; give cpu, cuda, cuda:1 ... or auto'
        ) from error
    return name


def on(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on a device."""
    if batch.token.device == device:
        return batch
    fields: dict[str, Any] = {
        name: value.to(device) if isinstance(value, Tensor) else value for name, value in vars(batch).items()
    }
    fields["columns"] = {name: (axis, values.to(device)) for name, (axis, values) in batch.columns.items()}
    return Batch(**fields)
