"""CREAM: what its trust measures, and what it does to a model that learns from its own likelihood."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import torch
from modes import letter, sampled_accuracy, start

from conftest import listed
from surpass import gates
from surpass.engines import TabularEngine
from surpass.loop import improve
from surpass.methods.cream import cream
from surpass.models import Models
from surpass.searches.round import search_all

SEEDS, NOISES = (1, 2, 3), (0.0, 0.3, 1.0, 3.0)


def trust(seed: int) -> list[float]:
    """C for every strength of noise in the weights of the model before."""
    engine = TabularEngine("abcd", size=2**14, seed=seed, scale=1.0)
    models, task, method = Models(policy=engine), letter(), cream(n=6, max_tokens=3, temperature=1.0)
    problems = [p for p, _ in zip(task.problems("train", 0), range(48), strict=False)]
    trees = models.run(search_all(method.search, models, task, problems, seed))
    now = engine.weights()
    far = {name: torch.zeros_like(value) for name, value in now.items()}
    found = []
    for noise in NOISES:
        generator = torch.Generator().manual_seed(seed)
        before = {name: value + noise * torch.randn(value.shape, generator=generator) for name, value in now.items()}
        models.snapshots = {"policy@0": far, "policy@-1": before}
        for name, part in method.scores.items():
            for tree, column in zip(trees, models.run(part(models, task, trees)), strict=True):
                tree.put(name, column)
        found.append(float(trees[0].get("trust").values[0]))
    return found


def learnt(seed: int, least: float) -> float:
    models, task = start(0.4, 0.3), letter(0.7)
    method = cream(problems=32, n=5, temperature=1.0, max_tokens=2, least=least, lr=0.05, updates=2, every=10**6)
    method = dataclasses.replace(method, gate=gates.always(every=10**6))
    models.run(improve(method, task, models, rounds=6, seed=seed))
    return sampled_accuracy(models, task)


def test_claims(claims):
    cs = [trust(seed) for seed in SEEDS]
    own, plain = [learnt(seed, 0.0) for seed in SEEDS], [learnt(seed, 1.0) for seed in SEEDS]
    claims.primary("accuracy after six rounds is above that of the same with C = 1, plain self-rewarding DPO",
                   np.subtract(own, plain), f"{listed(own)} against {listed(plain)}, {sampled_accuracy(start(0.4, 0.3), letter(0.7)):.3f} at the start", "refuted")  # fmt: skip
    claims.secondary("noise in the model before lowers C at every step", [min(a - b for a, b in itertools.pairwise(c)) for c in cs],
                     "; ".join(listed(c, 2) for c in cs))  # fmt: skip
