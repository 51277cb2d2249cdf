"""OmegaPRM's binary search on the tiny model's sums and on a scripted writer's long attempts, against the exact first error."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import numpy as np
from trees import grown, tiny

from conftest import listed
from surpass import searches
from surpass.engines import ScriptedEngine
from surpass.models import Models
from surpass.parts import Task
from surpass.searches.round import search_all
from surpass.tasks.suite import suite
from surpass.types import Problem

SEEDS, N = (1, 2, 3), 40


def located(seed: int, linear: bool) -> tuple[float, float, float, int]:
    """(share of wrong completions whose first wrong step was found, completions drawn, share of prefixes after an error with MC 0,
    completions that were searched)."""
    models, oracle = tiny(), suite("arithmetic").parts["arithmetic"]
    search = searches.first_error(k=8, searches=4, linear=linear, max_tokens=64)
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
    return float(np.mean(hits)), float(models.cost["search"]["calls"]), float(np.mean(later)) if later else np.nan, len(hits)


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
    """Goes on to the last line; of every line it is equally likely to be bad, so that a share `solved` of whole attempts is right."""

    def write(text: str, key: int) -> str:
        rng, written = np.random.default_rng(key), text.rpartition("assistant: ")[2].count("\n")
        return "".join("ok\n" if rng.random() < solved ** (1 / lines) else "bad\n" for _ in range(lines - written))

    return write


def scripted(seed: int, linear: bool, lines: int = 12, n: int = 100) -> tuple[float, float]:
    """(share of wrong attempts whose first bad line was found, completions a search drew after the root's)."""
    models, task = Models(policy=ScriptedEngine(writer(lines, 0.5))), chain(lines)
    search = searches.first_error(k=8, searches=1, linear=linear, max_tokens=400)
    trees = models.run(search_all(search, models, task, list(islice(task.problems("train", seed), n)), seed))
    hits, drawn = [], []
    for tree in trees:
        found = tree.get("wrong_step").values
        for node in np.flatnonzero(~np.isnan(found)):
            hits.append(models.text("policy", tree, int(node)).split().index("bad") + 1 == found[node])
            drawn.append(sum(not np.isnan(tree.drawn(i)[0]).all() for i in range(len(tree))) - 8)
    return float(np.mean(hits)), float(np.mean(drawn))


def test_claims(claims):
    halves, all_ = [located(seed, False) for seed in SEEDS], [located(seed, True) for seed in SEEDS]
    claims.primary("binary search finds the first wrong step of more than 80% of wrong attempts", [h[0] - 0.8 for h in halves],
                   f"{listed([h[0] for h in halves])} of {[h[3] for h in halves]}", "not shown")  # fmt: skip
    claims.secondary("with fewer completions than trying every step in order", [1 - h[1] / a[1] for h, a in zip(halves, all_, strict=True)],
                     f"{[int(h[1]) for h in halves]} against {[int(a[1]) for a in all_]}", "not shown")  # fmt: skip
    claims.secondary("after an error hardly any prefix is completed to a right answer (MC is 0 in more than 80%)", [h[2] - 0.8 for h in halves],
                     listed([h[2] for h in halves]), "not shown")  # fmt: skip
    halves, all_ = [scripted(seed, False) for seed in SEEDS], [scripted(seed, True) for seed in SEEDS]
    claims.secondary("a scripted writer's attempts of 12 lines, half of them right: found in more than 80% of the wrong ones", [h[0] - 0.8 for h in halves],
                     listed([h[0] for h in halves]))  # fmt: skip
    claims.secondary("there with fewer than 0.6 of the completions of trying every step in order", [0.6 - h[1] / a[1] for h, a in zip(halves, all_, strict=True)],
                     f"{listed([h[1] for h in halves], 1)} against {listed([a[1] for a in all_], 1)} an attempt", "not shown")  # fmt: skip
