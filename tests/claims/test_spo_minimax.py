"""SPO on a cyclic preference: the average policy nears the minimax winner, where a scalar reward collapses to one style."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch

from conftest import listed
from surpass import gates, measures, searches
from surpass.engines import TabularEngine
from surpass.loop import improve
from surpass.methods.spo_minimax import spo_minimax
from surpass.models import Models
from surpass.parts import Task
from surpass.types import Column, Problem

# a beats b with certainty, b beats c with 3/4, c beats a with 3/4: margins 1/2, 1/4, 1/4, so the mixed optimum is (1/4, 1/4, 1/2)
P = np.array([[0.5, 1.0, 0.25], [0.0, 0.5, 0.75], [0.75, 0.25, 0.5]])
WINNER = np.array([0.25, 0.25, 0.5])
SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class styles(Task):
    """One prompt, three styles, a taste that goes round in a circle."""

    def problems(self, split, seed):
        yield Problem("p", "a")

    async def check(self, models, problem, text):
        return float("nan")

    def prefer(self, models, problem, a, b):
        i, j = ("abc".find(text[:1] or "?") for text in (a, b))
        return 0.5 if i == j else float(j < 0) if i < 0 or j < 0 else float(P[i, j])


@dataclass(frozen=True)
class fixed:
    """The control: one reward a style, its mean win rate against all three, whatever the policy does (a fitted scalar reward)."""

    async def __call__(self, models, task, trees):
        values = [["abc".find(models.text("policy", tree, leaf)[:1] or "?") for leaf in tree.leaves()] for tree in trees]
        return [Column("leaf", np.array([P[i].mean() if i >= 0 else 0.0 for i in some])) for some in values]


def exploitability(policy: np.ndarray) -> float:
    """max over styles q of E[P(q > policy)] - 1/2."""
    return float((P @ policy).max() - 0.5)


def played(seed: int, scalar: bool, rounds: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """(the average policy over rounds, the last one) over the three styles."""
    engine = TabularEngine("abc", size=64)
    with torch.no_grad():
        for style in range(3):
            engine.module["table"][engine.row([0, style])] = torch.tensor([-9.0, -9.0, -9.0, 9.0])
        engine.module["table"][engine.row([0])] = torch.tensor([1.0, 0.0, 0.0, -9.0])
    models, seen = Models(policy=engine), []

    def say(what, round, event):
        if what == "learn":
            seen.append(engine.module["table"][engine.row([0])].softmax(-1)[:3].detach().numpy())

    method = spo_minimax(problems=1, n=64, max_tokens=2, lr=0.02, every=10**6)
    method = dataclasses.replace(
        method, gate=gates.always(every=10**6), exam=measures.sized(measures.answers(searches.samples(1)), {"gate": 1, "test": 1})
    )
    if scalar:
        method = dataclasses.replace(method, scores={"reward": fixed()})
    models.run(improve(method, styles(), models, rounds=rounds, seed=seed, say=say))
    average = np.mean(seen, 0)
    return average / average.sum(), seen[-1] / seen[-1].sum()


def test_claims(claims):
    found, collapsed = [played(seed, scalar=False)[0] for seed in SEEDS], [played(seed, scalar=True)[1] for seed in SEEDS]
    nears, ends = [exploitability(policy) for policy in found], [exploitability(policy) for policy in collapsed]
    claims.exact("the mixed optimum of this taste is (1/4, 1/4, 1/2)", abs(exploitability(WINNER)) < 1e-12, "nothing beats it")
    claims.primary("the average policy's exploitability is below 0.05", [0.05 - x for x in nears], listed(nears))
    claims.secondary("a fixed scalar reward collapses to one style: above 0.2", [x - 0.2 for x in ends], listed(ends))
