"""SPO on a cyclic preference: the average policy nears the minimax winner, where a scalar reward collapses to
one style. On a transitive one whose every fifth comparison says the opposite, against a reward that is fitted
to the comparisons.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

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

# a beats b with certainty, b beats c with 3/4, c beats a with 3/4: margins 1/2, 1/4, 1/4, so the mixed
# optimum is (1/4, 1/4, 1/2)
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
    """The control: one reward a style, its mean win rate against all three, whatever the policy does (a
    fitted scalar reward).
    """

    async def __call__(self, models, task, trees):
        values = [
            ["abc".find(models.text("policy", tree, leaf)[:1] or "?") for leaf in tree.leaves()]
            for tree in trees
        ]
        return [Column("leaf", np.array([P[i].mean() if i >= 0 else 0.0 for i in some])) for some in values]


RANKED, NOISE, ENOUGH = "abcdef", 0.2, 0.9  # the later the letter, the better


@dataclass(frozen=True)
class ranked(Task):
    """One prompt, six styles of which the later is better; a comparison says the opposite in a share NOISE of
    the cases, anew each time. `told[i, j]` counts how often i was preferred to j.
    """

    seed: int = 0
    told: np.ndarray = field(default_factory=lambda: np.zeros((len(RANKED), len(RANKED)), int), compare=False)

    def problems(self, split, seed):
        yield Problem("p", "a")

    async def check(self, models, problem, text):
        return float("nan")

    def prefer(self, models, problem, a, b):
        i, j = (RANKED.find(text[:1] or "?") for text in (a, b))
        if i < 0 or j < 0 or i == j:
            return 0.5 if i == j else float(j < 0)
        first = (i > j) != (np.random.default_rng([self.seed, int(self.told.sum())]).random() < NOISE)
        self.told[(i, j) if first else (j, i)] += 1
        return float(first)


@dataclass(frozen=True)
class fitted:
    """The baseline: per attempt its style's score in a Bradley-Terry model of all comparisons so far (with a
    ridge, so that there is one).
    """

    async def __call__(self, models, task, trees):
        told, score = task.told, np.zeros(len(RANKED))
        met = told + told.T
        for _ in range(50):  # Newton steps on the log-likelihood
            p = 1 / (1 + np.exp(score[None] - score[:, None]))
            slope = (told - met * p).sum(1) - 0.1 * score
            bend = met * p * (1 - p)
            score += np.linalg.solve(np.diag(bend.sum(1) + 0.1) - bend, slope)
        kinds = [
            [RANKED.find(models.text("policy", tree, leaf)[:1] or "?") for leaf in tree.leaves()]
            for tree in trees
        ]
        return [
            Column("leaf", np.array([score[i] if i >= 0 else score.min() for i in some])) for some in kinds
        ]


def ranking(seed: int, scalar: bool, rounds: int = 200) -> tuple[float, int, float]:
    """(the best style's chance in the end, comparisons until it was ENOUGH or all that were made, the
    furthest that a round's mean reward was from 1/2).
    """
    engine, task, spent, off = TabularEngine("abcdef", size=64), ranked(seed), [], [0.0]
    with torch.no_grad():
        for style in range(len(RANKED)):
            engine.module["table"][engine.row([0, style]), -1] = 18.0
        engine.module["table"][engine.row([0]), -1] = -9.0

    def best() -> float:
        return float(engine.module["table"][engine.row([0])].softmax(-1)[len(RANKED) - 1].detach())

    def say(what, round, event):
        if what == "learn" and not spent and best() >= ENOUGH:
            spent.append(int(task.told.sum()))
        if what == "search" and "reward" in event:
            off.append(abs(event["reward"] - 0.5))

    method = spo_minimax(problems=1, n=8, max_tokens=2, lr=0.05, every=10**6)
    exam = measures.sized(measures.answers(searches.samples(1)), {"gate": 1, "test": 1})
    method = dataclasses.replace(method, gate=gates.always(every=10**6), exam=exam)
    if scalar:
        method = dataclasses.replace(method, scores={"pairs": method.scores["pairs"], "reward": fitted()})
    models = Models(policy=engine)
    models.run(improve(method, task, models, rounds=rounds, seed=seed, say=say))
    return best(), (spent or [int(task.told.sum())])[0], max(off)


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
        method,
        gate=gates.always(every=10**6),
        exam=measures.sized(measures.answers(searches.samples(1)), {"gate": 1, "test": 1}),
    )
    if scalar:
        method = dataclasses.replace(method, scores={"reward": fixed()})
    models.run(improve(method, styles(), models, rounds=rounds, seed=seed, say=say))
    average = np.mean(seen, 0)
    return average / average.sum(), seen[-1] / seen[-1].sum()


def test_claims(claims):
    found, collapsed = (
        [played(seed, scalar=False)[0] for seed in SEEDS],
        [played(seed, scalar=True)[1] for seed in SEEDS],
    )
    nears, ends = (
        [exploitability(policy) for policy in found],
        [exploitability(policy) for policy in collapsed],
    )
    claims.exact(
        "the mixed optimum of this taste is (1/4, 1/4, 1/2)",
        abs(exploitability(WINNER)) < 1e-12,
        "nothing beats it",
    )
    claims.primary(
        "the average policy's exploitability is below 0.05",
        [0.05 - x for x in nears],
        listed(nears),
        least=0.01,
    )
    claims.secondary(
        "a fixed scalar reward collapses to one style: above 0.2",
        [x - 0.2 for x in ends],
        listed(ends),
        least=0.02,
    )
    own, fit = [ranking(seed, scalar=False) for seed in SEEDS], [ranking(seed, scalar=True) for seed in SEEDS]
    claims.secondary(
        "a transitive taste, a fifth of the comparisons flipped: the best of six styles gets a chance "
        f"above {ENOUGH}",
        [o[0] - ENOUGH for o in own],
        listed([o[0] for o in own]),
        least=0.02,
    )
    claims.secondary(
        "with no more comparisons than the same learning from a Bradley-Terry reward fitted to all of "
        "them so far",
        [f[1] - o[1] for o, f in zip(own, fit, strict=True)],
        f"{[o[1] for o in own]} against {[f[1] for f in fit]} (its end {listed([f[0] for f in fit])})",
        least=50,
    )
    furthest = max(o[2] for o in own)
    claims.exact(
        "the mean reward of a group is 1/2 in every round", furthest < 1e-9, f"at most {furthest:.0e} off"
    )
