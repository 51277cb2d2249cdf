"""Runs of several seeds at the same time, one core each."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch


def at_once(function: Callable[..., Any], jobs: Sequence[tuple]) -> list[Any]:
    """function(*job) of every job, in order, each on one thread; here and in turn where there is one core."""
    cores = min(len(os.sched_getaffinity(0)), len(jobs))
    if cores < 2:
        return [function(*job) for job in jobs]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return list(pool.map(function, *zip(*jobs, strict=True)))
