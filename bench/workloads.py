"""What both sides of a comparison compute, as data: token ids by seed, so that neither chooses its own."""

from __future__ import annotations

import numpy as np

VOCABULARY = 49152  # SmolLM2's
DEMO = "reasoning_gym:chain_sum", {"min_terms": "3", "max_terms": "3", "min_digits": "1", "max_digits": "1"}


def widths(work: dict) -> list[int]:
    """How many branches follow each node, level by level; without any all answers leave the prompt."""
    return work.get("widths") or [work["n"]]


def answers(work: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(prompts [P, prompt], answers [P, n, length], advantages [P, n], none of them 0). Answers of a tree
    share its branches' tokens, each level an equal part of the length.
    """
    rng = np.random.default_rng(work.get("seed", 0))
    n, prompts = work["n"], rng.integers(100, VOCABULARY, (work["prompts"], work["prompt"]))
    parts, nodes = [], 1
    for width in widths(work):
        nodes *= width
        part = rng.integers(100, VOCABULARY, (work["prompts"], nodes, work["length"] // len(widths(work))))
        parts.append(np.repeat(part, n // nodes, axis=1))
    assert nodes == n, "widths that do not make n answers"
    return prompts, np.concatenate(parts, axis=2), rng.normal(size=(work["prompts"], n))


def lengths(work: dict) -> np.ndarray:
    """[P, n]: how long each rollout is, uniform from 1 to `length`."""
    rng = np.random.default_rng(work.get("seed", 0) + 1)
    return rng.integers(1, work["length"] + 1, (work["prompts"], work["n"]))


def right(text: str, answer: object) -> float:
    """1 where what follows the last "Answer:" on its line is the answer, else 0."""
    said = text.rpartition("Answer:")[2].partition("\n")[0].strip().rstrip(".") if "Answer:" in text else ""
    return float(said == str(answer))
