"""Runs of several seeds at the same time, one core each."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch


def at_once(*kinds: tuple[Any, Sequence[tuple]]) -> list[list[Any]]:
    """For every (function, jobs) the results of function(*job), in order, each on one thread; here and in
    turn where there is one core. What takes longest stands first.
    """
    jobs = [(function, job) for function, some in kinds for job in some]
    cores = min(len(os.sched_getaffinity(0)), len(jobs))
    if cores < 2:
        found = [_go(*job) for job in jobs]
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(cores, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            found = list(pool.map(_go, *zip(*jobs, strict=True)))
    left = iter(found)
    return [[next(left) for _ in some] for _, some in kinds]


def _go(function: Any, job: tuple) -> Any:
    return function(*job)
