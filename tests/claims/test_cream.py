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
        before = {
            name: value + noise * torch.randn(value.shape, generator=generator) for name, value in now.items()
        }
        models.weights.snapshots = {"policy@0": far, "policy@-1": before}
        for name, part in method.scores.items():
            for tree, column in zip(trees, models.run(part(models, task, trees)), strict=True):
                tree.put(name, column)
        found.append(float(trees[0].get("trust").values[0]))
    return found


def learnt(seed: int, least: float) -> float:
    models, task = start(0.4, 0.3), letter(0.7)
    # all 64 prompts every round: on a table a prompt that was left out has no log-ratio, and no pair, ever
    # after
    method = cream(problems=64, n=5, temperature=1.0, max_tokens=2, least=least, lr=0.05, every=10**6)
    method = dataclasses.replace(method, gate=gates.always(every=10**6))
    models.run(improve(method, task, models, rounds=6, seed=seed))
    return sampled_accuracy(models, task)


def sorted_pairs(seed: int, rounds: int = 2) -> tuple[float, float]:
    """Share of pairs in which the preferred letter is right and the other is not, among those where just one
    is: where a problem's own C is at least the median (which may be 1, the largest there is), and elsewhere.
    """
    models, task = start(0.4, 0.3), letter(0.7)
    method = dataclasses.replace(
        cream(problems=64, n=5, temperature=1.0, max_tokens=2, shared=False, lr=0.05, every=10**6),
        gate=gates.always(every=10**6),
    )
    seen: list = []
    select = method.learn[0].select
    method = dataclasses.replace(
        method, learn=(dataclasses.replace(method.learn[0], select=Watched(select, seen)),)
    )
    models.run(improve(method, task, models, rounds=rounds, seed=seed))
    examples = seen[-1]
    median = float(np.median([e.confidence for e in examples]))
    found: dict[bool, list[float]] = {True: [], False: []}
    for e in examples:
        good, bad = (models.text("policy", e.tree, node)[:1] == e.tree.problem.answer for node in e.nodes)
        if good != bad:
            found[e.confidence >= median].append(float(good))
    return float(np.mean(found[True])), float(np.mean(found[False]))


@dataclasses.dataclass(frozen=True)
class Watched:
    """A selector whose choices are kept."""

    select: object
    seen: list

    def __call__(self, trees, memory, rng):
        self.seen.append(self.select(trees, memory, rng))
        return self.seen[-1]


def test_claims(claims):
    cs = [trust(seed) for seed in SEEDS]
    own, plain = [learnt(seed, 0.0) for seed in SEEDS], [learnt(seed, 1.0) for seed in SEEDS]
    claims.primary(
        "accuracy after six rounds is above that of the same with C = 1, plain self-rewarding DPO",
        np.subtract(own, plain),
        f"{listed(own)} against {listed(plain)}, {sampled_accuracy(start(0.4, 0.3), letter(0.7)):.3f} "
        "at the start",
        least=0.01,
    )
    claims.secondary(
        "noise in the model before lowers C at every step",
        [min(a - b for a, b in itertools.pairwise(c)) for c in cs],
        "; ".join(listed(c, 2) for c in cs),
        least=0.02,
    )
    pairs = [sorted_pairs(seed) for seed in SEEDS]
    claims.secondary(
        "where a problem's own C is at least the median its pairs are more often in the right order",
        [a - b for a, b in pairs],
        f"{listed([a for a, _ in pairs])} against {listed([b for _, b in pairs])}",
        least=0.02,
    )
