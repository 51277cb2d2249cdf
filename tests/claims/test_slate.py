"""SLATE against outcome-only GRPO (search_r1) on kgqa: what the tiny model learns from as many attempts, and
how much luck is in the advantage of one step of a scripted searcher.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from itertools import islice

import numpy as np
from at_once import at_once
from lifts import accuracy
from trees import Other

from conftest import listed
from surpass import advantages, gates, measures, rewards, searches
from surpass.engines import LocalEngine, ScriptedEngine
from surpass.loop import improve
from surpass.methods.search_r1 import search_r1
from surpass.methods.slate import slate
from surpass.models import Models
from surpass.searches.round import search_all
from surpass.tasks import kgqa
from surpass.tasks.suite import suite
from surpass.types import Memory

SEEDS, ROUNDS, HOPS, TURNS, TESTS = (1, 2, 3), 4, (1, 2, 3), 5, 64
KNOBS = {
    "problems": 12,
    "n": 5,
    "turns": 4,
    "max_tokens": 64,
    "lr": 2e-4,
    "updates": 2,
    "beta": 0.0,
    "every": 10**6,
}


@dataclass(frozen=True)
class flipped:
    """A judge's scores, a share of them with the wrong sign."""

    judge: object
    share: float

    async def values(self, models, task, tree, nodes):
        values = await self.judge.values(models, task, tree, nodes)
        wrong = np.random.default_rng([tree.key % 2**32, len(tree)]).random(len(nodes)) < self.share
        return np.where(wrong, -values, values)


def start(seed: int) -> float:
    """Share of right attempts at temperature 1 on TESTS test problems before anything is learnt."""
    models, task = Models(policy=LocalEngine("tiny", "mixed")), Other(suite("kgqa").parts["kgqa"], seed)
    return float(np.mean(list(accuracy(models, task, 1, 1.0, TESTS).values())))


def learnt(method, seed: int) -> tuple[float, int]:
    """That share afterwards, and the tokens drawn in search."""
    models, task = Models(policy=LocalEngine("tiny", "mixed")), Other(suite("kgqa").parts["kgqa"], seed)
    exam = measures.sized(method.exam, {"gate": 1, "test": 1})
    method = dataclasses.replace(method, gate=gates.always(every=10**6), exam=exam)
    result = models.run(improve(method, task, models, rounds=ROUNDS, seed=seed))
    after = np.mean(list(accuracy(models, task, 1, 1.0, TESTS).values()))
    return float(after), result.cost["search"]["generated"]


def searcher(good: float):
    """Searches fact by fact, each time rightly with probability `good`, and answers when it was told the last
    one.
    """

    def say(text: str, key: int) -> str:
        question = re.findall(r"(?:Who|What) is ((?:the \w+ of )+)([\w ]+)\?", text)[-1]
        at, draw = question[1], np.random.default_rng(key).random()
        for relation in reversed(re.findall(r"the (\w+) of", question[0])):
            told = re.findall(rf"The {relation} of {at} is ([\w ]+)\.", text)
            if not told:
                return (
                    f"<call>search {relation} of {at}</call>"
                    if draw < good
                    else "<call>search music and tea</call>"
                )
            at = told[-1]
        return f"Answer: {at}"

    return say


def spread(hops: int, seed: int, judged: bool, n: int = 24, again: int = 12) -> float:
    """The variance of the advantage that a right first search gets, over draws of all else; the mean over
    problems.
    """
    task, models = (
        kgqa(hops=hops, min_hops=hops, max_turns=TURNS),
        Models(policy=ScriptedEngine(searcher(0.7))),
    )
    problems = list(islice(task.problems("test", seed), n))
    whole, steps = searches.samples(5, 1.0, 200, turns=TURNS), slate(n=5, turns=TURNS, max_tokens=200).search
    found: dict[str, list[float]] = {}
    for draw in range(again):
        trees = models.run(search_all(steps if judged else whole, models, task, problems, 1000 * seed + draw))
        if not judged:
            for tree, column in zip(trees, models.run(rewards.check()(models, task, trees)), strict=True):
                tree.put("reward", column)
        credit = advantages.siblings("step", scale=True) if judged else advantages.group()
        for tree, columns in zip(trees, credit(trees, Memory()), strict=True):
            values = columns["advantage"].values
            firsts = tree.children(tree.children(-1)[0])
            by_node = dict(zip(tree.leaves(), values, strict=True)) if not judged else dict(enumerate(values))
            for first in firsts:
                end = first if judged else next(leaf for leaf in tree.leaves() if first in tree.path(leaf))
                if "music" not in models.text("policy", tree, first):
                    found.setdefault(tree.problem.id, []).append(float(by_node[end]))
    return float(np.mean([np.var(some) for some in found.values() if len(some) > 10]))


def test_claims(claims):
    ours, outcome = (slate(**KNOBS), search_r1(**KNOBS))
    noisy = dataclasses.replace(
        ours, search=dataclasses.replace(ours.search, judge=flipped(ours.search.judge, 0.3))
    )
    a, b, c, before, spreads = at_once(
        *((learnt, [(method, seed) for seed in SEEDS]) for method in (ours, outcome, noisy)),
        (start, [(seed,) for seed in SEEDS]),
        (spread, [(hops, seed, judged) for seed in SEEDS for hops in HOPS for judged in (False, True)]),
    )

    def ends(found) -> str:
        return f"{listed([x[0] for x in found])} ({sum(x[1] for x in found) // 3:,} tokens drawn)"

    claims.primary(
        "after as many attempts accuracy is above that of outcome-only GRPO (search_r1)",
        [x[0] - y[0] for x, y in zip(a, b, strict=True)],
        f"{ends(a)} against {ends(b)}, at the start {listed(before)}",
        least=0.02,
    )
    claims.secondary(
        "with 30% of the judge's scores flipped it still rises",
        [x[0] - y for x, y in zip(c, before, strict=True)],
        f"{listed(before)} -> {ends(c)}",
        least=0.02,
    )
    whole, steps = np.array(spreads).reshape(len(SEEDS), len(HOPS), 2).transpose(2, 0, 1)
    ratios = whole / steps
    claims.secondary(
        "a scripted searcher's right first step: its advantage varies more over whole attempts than "
        "among siblings (3 hops)",
        ratios[:, 2] - 1,
        f"ratio of variances at 1, 2, 3 hops {listed(ratios.mean(0), 2)}",
        least=0.2,
    )
    claims.secondary(
        "and the ratio grows with every hop",
        np.diff(ratios, axis=1).min(1),
        "; ".join(listed(row, 2) for row in ratios),
        least=0.2,
    )
