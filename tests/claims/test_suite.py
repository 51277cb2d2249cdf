"""The suite is of use: GRPO and STaR each lift the tiny model on at least six of its tasks by three standard errors."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch

import surpass
from surpass.tasks.suite import FOR_TINY, suite

KNOBS = {
    "grpo": {"rounds": 24, "problems": 16, "n": 16, "temperature": 1.0, "lr": 2e-4, "every": 8},
    "star": {"rounds": 3, "problems": 256, "n": 8, "temperature": 1.0, "lr": 2e-4, "updates": 32},
}
TEST, TOKENS = 512, 160


@pytest.mark.parametrize("method", list(KNOBS))
def test_a_method_lifts_the_tiny_model_on_six_tasks(method, capsys):
    torch.set_num_threads(2)
    lifts = {}
    for name, task in suite().parts.items():
        if name not in FOR_TINY:
            continue
        began = time.monotonic()
        result = surpass.improve(
            method, task=task, model="tiny", seed=1, test=TEST, gate=192, max_tokens=TOKENS, quiet=True, **KNOBS[method]
        )
        before, after = (report.by_problem("accuracy") for report in (result.before, result.after))
        gains = np.array([after[problem] - before[problem] for problem in before])
        error = gains.std(ddof=1) / math.sqrt(len(gains))
        lifts[name] = gains.mean() / error if error else 0.0
        with capsys.disabled():
            print(f"\n| {method} | {name} | {result.before.mean('accuracy'):.3f} | {result.after.mean('accuracy'):.3f} "
                  f"| {gains.mean():+.3f} ± {error:.3f} | {time.monotonic() - began:.0f} s |", end="", flush=True)  # fmt: skip
    assert sum(lift >= 3 for lift in lifts.values()) >= 6, lifts
