"""What both sides of a comparison compute, as data: token ids by seed, so that neither chooses its own."""

from __future__ import annotations

import numpy as np

VOCABULARY = 49152  # SmolLM2's


def answers(work: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(prompts [P, prompt], answers [P, n, length], advantages [P, n], none of them 0)."""
    rng = np.random.default_rng(work.get("seed", 0))
    shape = (work["prompts"], work["n"])
    prompts = rng.integers(100, VOCABULARY, (work["prompts"], work["prompt"]))
    found = rng.integers(100, VOCABULARY, (*shape, work["length"]))
    return prompts, found, rng.normal(size=shape)


def lengths(work: dict) -> np.ndarray:
    """[P, n]: how long each rollout is, uniform from 1 to `length`."""
    rng = np.random.default_rng(work.get("seed", 0) + 1)
    return rng.integers(1, work["length"] + 1, (work["prompts"], work["n"]))
