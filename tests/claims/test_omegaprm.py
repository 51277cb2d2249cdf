"""OmegaPRM's binary search on the tiny model's sums and on a scripted writer's long attempts, against the
exact first error; and what a process-reward model that learnt its labels knows of the steps of sums it has
not seen.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import defaultdict
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
from at_once import at_once
from trees import grown, tiny

from conftest import listed
from surpass import choose, rewards, searches
from surpass.engines import ScriptedEngine
from surpass.measures import auc
from surpass.methods.omegaprm import omegaprm
from surpass.models import Models
from surpass.parts import Task
from surpass.searches.round import search_all
from surpass.searches.steps import step_ends
from surpass.tasks.suite import suite
from surpass.types import Memory, Problem

SEEDS, N = (1, 2, 3), 40
TAUGHT, TESTS, VOTES = 48, 48, 16


def located(seed: int, linear: bool) -> tuple[float, float, float, int]:
    """(share of wrong completions whose first wrong step was found, completions drawn, share of prefixes
    after an error with MC 0, completions that were searched).
    """
    models, oracle = tiny(), suite("arithmetic").parts["arithmetic"]
    search = searches.first_error(n=8, searches=4, linear=linear, max_tokens=64)
    trees, models = grown(search, "arithmetic", N, seed, models)
    hits, later = [], []
    for tree in trees:
        found, mc = tree.get("wrong_step").values, tree.get("mc").values
        for node in np.flatnonzero(~np.isnan(found)):
            above = [i for i in tree.path(int(node))[:-1] if tree.author[i] == "policy"]
            before = models.text("policy", tree, above[-1]).count("\n") if above else 0
            true = oracle.first_wrong_step(tree.problem, models.text("policy", tree, int(node)))
            hits.append(true is not None and true - before + 1 == found[node])
        for node in range(len(tree)):
            probe = (
                tree.author[node] == "policy"
                and not np.isnan(mc[node])
                and not np.isfinite(found[node])
                and (tree.parent == node).any()
            )
            if probe and oracle.first_wrong_step(tree.problem, models.text("policy", tree, node)) is not None:
                later.append(mc[node] == 0)
    return (
        float(np.mean(hits)),
        float(models.cost["search"]["calls"]),
        float(np.mean(later)) if later else np.nan,
        len(hits),
    )


@dataclass(frozen=True)
class chain(Task):
    """Write so many lines without a bad one."""

    lines: int = 8

    def problems(self, split, seed):
        for i in range(1000):
            yield Problem(f"{split}-{seed}-{i}", f"{self.lines} lines, number {i}", "")

    async def check(self, models, problem, text):
        return float("bad" not in text and text.count("\n") >= self.lines)


def writer(lines: int, solved: float):
    """Goes on to the last line; of every line it is equally likely to be bad, so that a share `solved` of
    whole attempts is right.
    """

    def write(text: str, key: int) -> str:
        rng, written = np.random.default_rng(key), text.rpartition("assistant: ")[2].count("\n")
        return "".join(
            "ok\n" if rng.random() < solved ** (1 / lines) else "bad\n" for _ in range(lines - written)
        )

    return write


def scripted(seed: int, linear: bool, lines: int = 12, n: int = 100) -> tuple[float, float]:
    """(share of wrong attempts whose first bad line was found, completions a search drew after the
    root's).
    """
    models, task = Models(policy=ScriptedEngine(writer(lines, 0.5))), chain(lines)
    search = searches.first_error(n=8, searches=1, linear=linear, max_tokens=400)
    trees = models.run(search_all(search, models, task, list(islice(task.problems("train", seed), n)), seed))
    hits, drawn = [], []
    for tree in trees:
        found = tree.get("wrong_step").values
        for node in np.flatnonzero(~np.isnan(found)):
            hits.append(models.text("policy", tree, int(node)).split().index("bad") + 1 == found[node])
            drawn.append(sum(not np.isnan(tree.drawn(i)[0]).all() for i in range(len(tree))) - 8)
    return float(np.mean(hits)), float(np.mean(drawn))


def judge(seed: int) -> tuple[Models, int]:
    """(models with a process-reward model that learnt from the trees of train problems in four passes,
    labels).
    """
    method = omegaprm(n=8, searches_each=4, max_tokens=64, limit=16, lr_value=3e-4, updates=24)
    models, task, memory, learn = (
        tiny(),
        suite("arithmetic").parts["arithmetic"],
        Memory(seed=seed),
        method.learn[0],
    )
    models.cast(method.cast)
    trees = models.run(
        search_all(method.search, models, task, list(islice(task.problems("train", seed), TAUGHT)), seed)
    )
    examples = learn.select(trees, memory, seed)
    models.run(dataclasses.replace(learn.learner, epochs=4)(models, learn, examples, memory, seed))
    return models, len(examples)


class Known(NamedTuple):
    """What a process-reward model knows: AUC of its p between right and wrong next steps, over all and among
    those after the same steps (with the number of such pairs); accuracy of the vote it weighs, and of the
    majority.
    """

    auc: float
    siblings: float
    pairs: int
    weighted: float
    majority: float


def known(models: Models, seed: int) -> Known:
    """On VOTES attempts at each of TESTS test problems. A next step is a line after right lines only; one
    that several attempts have counts once.
    """
    task = suite("arithmetic").parts["arithmetic"]
    trees, models = grown(searches.samples(VOTES, 1.0, 64), "arithmetic", TESTS, seed, models)
    scores = {
        "prm": rewards.process("prm"),
        "votes": rewards.vote(weight="prm"),
        "majority": rewards.vote(),
        "reward": rewards.check(),
    }
    for name, reward in scores.items():
        for tree, column in zip(trees, models.run(reward(models, task, trees)), strict=True):
            tree.put(name, column)
    # (problem, steps so far) -> {step: (p, right)}
    after: dict[tuple, dict[tuple, tuple[float, bool]]] = defaultdict(dict)

    async def read(tree, leaf):
        start, tokens = len(tree.path_tokens(leaf)) - len(tree.own(leaf)), tree.own(leaf)
        wrong, began = task.first_wrong_step(tree.problem, models.text("policy", tree, leaf)), 0
        logits = (await models.value("prm", tree, leaf))[:, 0]
        for i, end in enumerate(step_ends(models.engine("policy").text.decode, tokens, "\n")):
            if wrong is None or i <= wrong:
                key = (tree.problem.id, *tokens[:began].tolist())
                after[key][tuple(tokens[began:end].tolist())] = float(logits[start + end - 1]), i != wrong
            began = end

    async def everything():
        await asyncio.gather(*(read(tree, leaf) for tree in trees for leaf in tree.leaves()))

    models.run(everything())
    steps = [list(some.values()) for some in after.values()]
    p, right = (np.array(values) for values in zip(*(step for some in steps for step in some), strict=True))
    pairs = [
        (a > b) + 0.5 * (a == b) for some in steps for a, good in some for b, bad in some if good and not bad
    ]
    picks = {
        name: [float(tree.values_at("reward", [choose.best(name, then)(tree)])[0]) for tree in trees]
        for name, then in (("votes", "prm"), ("majority", ""))
    }
    return Known(
        auc(p, right)[0],
        float(np.mean(pairs)),
        len(pairs),
        float(np.mean(picks["votes"])),
        float(np.mean(picks["majority"])),
    )


def taught(seed: int) -> tuple[Known, int]:
    """What a process-reward model knows, and after how many labels."""
    models, labels = judge(seed)
    return known(models, seed), labels


def judged(claims, found, labels) -> None:
    """What the labels teach."""
    claims.secondary(
        "a process-reward model that learnt them has an AUC above 0.8 between right and wrong next "
        "steps of sums not seen",
        [f.auc - 0.8 for f in found],
        f"{listed([f.auc for f in found])} after {list(labels)} labels; among the steps after the same ones "
        f"{listed([f.siblings for f in found])} of {[f.pairs for f in found]} pairs",
        least=0.02,
    )
    claims.secondary(
        "the vote of 16 that it weighs is right more often than the majority",
        [f.weighted - f.majority for f in found],
        f"{listed([f.weighted for f in found])} against {listed([f.majority for f in found])} of "
        f"{TESTS} problems",
        least=0.02,
    )


def test_claims(claims):
    each = [[(seed, linear) for seed in SEEDS] for linear in (False, True)]
    learnt, halves, all_, halves_written, all_written = at_once(
        (taught, [(seed,) for seed in SEEDS]),
        *((located, some) for some in each),
        *((scripted, some) for some in each),
    )
    claims.primary(
        "binary search finds the first wrong step of more than 80% of wrong attempts",
        [h[0] - 0.8 for h in halves],
        f"{listed([h[0] for h in halves])} of {[h[3] for h in halves]}",
        least=0.02,
    )
    claims.secondary(
        "with fewer completions than trying every step in order",
        [1 - h[1] / a[1] for h, a in zip(halves, all_, strict=True)],
        f"{[int(h[1]) for h in halves]} against {[int(a[1]) for a in all_]}",
        least=0.02,
    )
    claims.secondary(
        "after an error hardly any prefix is completed to a right answer (MC is 0 in more than 80%)",
        [h[2] - 0.8 for h in halves],
        listed([h[2] for h in halves]),
        least=0.02,
    )
    halves, all_ = halves_written, all_written
    claims.secondary(
        "a scripted writer's attempts of 12 lines, half of them right: found in more than 80% of the "
        "wrong ones",
        [h[0] - 0.8 for h in halves],
        listed([h[0] for h in halves]),
        least=0.02,
    )
    claims.secondary(
        "there with fewer than 0.6 of the completions of trying every step in order",
        [0.6 - h[1] / a[1] for h, a in zip(halves, all_, strict=True)],
        f"{listed([h[1] for h in halves], 1)} against {listed([a[1] for a in all_], 1)} an attempt",
        least=0.02,
    )
    judged(claims, *zip(*learnt, strict=True))
