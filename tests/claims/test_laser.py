"""LaSeR on the tiny model's sums: does the score after the last token know what is right on problems not
seen?
"""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass

import numpy as np
from at_once import at_once
from trees import grown, tiny

from conftest import listed
from surpass import choose, gates, measures, rewards
from surpass.loop import improve
from surpass.measures import auc
from surpass.methods.laser import Held, SelfScored, laser
from surpass.tasks.suite import suite
from surpass.types import DONE, Column

SEEDS, ROUNDS, ALPHA, BETA = (1, 2, 3), 4, 0.1, 0.1
# the exam's; problems that are voted on, more, because a vote says one thing a problem
PROBLEMS, N, VOTED = 48, 8, 96


@dataclass(frozen=True)
class Alike(SelfScored):
    """Without class weights: w = 1 for every attempt that ended."""

    def __call__(self, trees, memory):
        columns = super().__call__(trees, memory)
        judged = sum(int((~np.isnan(tree.get("reward").values)).sum()) for tree in trees)
        ended = sum(int((~np.isnan(c["balance"].values)).sum()) for c in columns)
        for c in columns:
            known = ~np.isnan(c["balance"].values)
            c["balance"] = Column("node", np.where(known, self.alpha * judged / max(1, ended), np.nan))
        return columns


@dataclass(frozen=True)
class Seen:
    """What a learnt model's scores come to on PROBLEMS x N attempts at test problems; votes on VOTED of
    them.
    """

    auc: float
    accuracy: float  # the share of right attempts
    caught: float  # of the right attempts, those whose score is above 1/2
    refused: float  # of the wrong ones, those whose score is not
    weighted: float  # accuracy of the vote weighted by the score
    majority: float
    # over attempts, of the reference's log-probability of the mark, nats^2; of one that learnt the score
    # alone
    variance: float

    @property
    def balanced(self) -> float:
        return (self.caught + self.refused) / 2


async def _before(models, trees) -> np.ndarray:
    """log p_0(z | x, y) of every attempt that ended."""
    mark, ended = (
        [models.reserved("policy")],
        [(t, leaf) for t in trees for leaf in t.leaves() if t.stop[leaf] == DONE],
    )
    return np.array(
        [float(p[0]) for p in await asyncio.gather(*(models.next("policy@0", *at, mark) for at in ended))]
    )


def learnt(seed: int, alpha: float, alike: bool = False) -> Seen:
    models, task = tiny(), suite("arithmetic").parts["arithmetic"]
    method = laser(
        problems=12, n=N, max_tokens=64, lr=2e-4, alpha=alpha, beta_v=BETA, warm=10**6, updates=2, every=10**6
    )
    exam = measures.sized(method.exam, {"gate": 1, "test": 1})
    method = dataclasses.replace(method, gate=gates.always(every=10**6), exam=exam)
    if alike:
        (row,) = method.learn
        method = dataclasses.replace(
            method, learn=(dataclasses.replace(row, advantage=Alike(alpha, 0.1, 10**6)),)
        )
    models.run(improve(method, task, models, rounds=ROUNDS, seed=seed))
    asked = alpha > 0 and not alike
    n = VOTED if asked else PROBLEMS
    everything, models = grown(dataclasses.replace(method.search, n=N), "arithmetic", n, seed, models)
    parts = {
        "own": rewards.marked(BETA, ""),
        "right": rewards.check(),
        "held": Held("own"),
        "votes": rewards.vote(weight="held"),
        "vote": rewards.vote(),
    }
    for name, part in parts.items():
        for tree, column in zip(everything, models.run(part(models, task, everything)), strict=True):
            tree.put(name, column)
    trees = everything[:PROBLEMS]
    score, truth = (np.concatenate([tree.get(name).values for tree in trees]) for name in ("own", "right"))
    known, right = ~np.isnan(score), truth >= 1

    def voted(chooser) -> float:
        return float(
            np.mean(
                [tree.get("right").values[tree.leaves().index(chooser(tree))] >= 1 for tree in everything]
            )
        )

    return Seen(
        auc(score[known], right[known])[0],
        float(right.mean()),
        float((score[known & right] > 0.5).mean()),
        float((score[known & ~right] <= 0.5).mean()),
        voted(choose.best("votes", then="held")),
        voted(choose.best("vote")),
        float(models.run(_before(models, trees)).var()) if asked else np.nan,
    )


def test_claims(claims):
    hows = (ALPHA, False), (0.0, False), (ALPHA, True)
    own, none, alike = at_once(*((learnt, [(seed, *how) for seed in SEEDS]) for how in hows))

    def of(seen: list[Seen], name: str) -> np.ndarray:
        return np.array([getattr(one, name) for one in seen])

    claims.primary(
        "after four rounds the self-score's AUC is above that without its loss",
        of(own, "auc") - of(none, "auc"),
        f"{listed(of(own, 'auc'))} against {listed(of(none, 'auc'))}",
        least=0.02,
    )
    claims.secondary("and above 0.8", of(own, "auc") - 0.8, listed(of(own, "auc")), least=0.02)
    claims.secondary(
        "accuracy is at most a point below the same run's without it",
        of(own, "accuracy") - of(none, "accuracy") + 0.01,
        f"{listed(of(own, 'accuracy'))} against {listed(of(none, 'accuracy'))}",
        least=0.005,
    )
    claims.secondary(
        "taken as right above 1/2, its balanced accuracy is above 0.7",
        of(own, "balanced") - 0.7,
        f"{listed(of(own, 'balanced'))}; of the right {listed(of(own, 'caught'))}, of the wrong "
        f"{listed(of(own, 'refused'))}",
        least=0.02,
    )
    claims.secondary(
        "without class weights it knows fewer of the right attempts, the rarer class",
        of(own, "caught") - of(alike, "caught"),
        f"{listed(of(own, 'caught'))} against {listed(of(alike, 'caught'))}; balanced "
        f"{listed(of(alike, 'balanced'))}",
        least=0.02,
    )
    claims.secondary(
        f"a vote weighted by it beats the plain majority of {N}",
        of(own, "weighted") - of(own, "majority"),
        f"{listed(of(own, 'weighted'))} against {listed(of(own, 'majority'))}",
        least=0.02,
    )
    claims.secondary(
        "the premise: over attempts log p_0(z) varies little against 1 / beta_v (its variance is below "
        "a tenth of that, 1)",
        1 - of(own, "variance"),
        listed(of(own, "variance")),
        least=0.1,
    )
