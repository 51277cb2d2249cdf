"""ReST-MCTS*'s inferred step values on the tiny model's trees, against exhaustive knowledge; and what two
rounds of learning from such trees bring: to the value model, to the search that it guides, and to the policy.
"""

from __future__ import annotations

import dataclasses
from itertools import islice
from typing import NamedTuple

import numpy as np
from at_once import at_once
from lifts import accuracy
from trees import Other, grown, sibling_auc, tiny

from conftest import listed
from surpass import gates, measures, rewards, searches
from surpass.loop import improve
from surpass.methods.rest_mcts import rest_mcts
from surpass.models import Models
from surpass.parts import Method
from surpass.searches.round import search_all
from surpass.tasks.suite import suite
from surpass.types import Memory, Tree

SEEDS, N, TASK = (1, 2, 3), 48, "countdown"
ROUNDS, PROBLEMS, HELD, EXAM, GREEDY = 2, 24, 24, 64, 192
KNOBS = {
    "problems": PROBLEMS,
    "simulations": 10,
    "max_tokens": 64,
    "lr": 2e-4,
    "lr_value": 3e-4,
    "updates": 8,
    "every": 10**6,
}


def targets(method: Method, models: Models, task, trees: list[Tree]) -> list[Tree]:
    """The trees with the values inferred from the check of their finished attempts."""
    for tree, column in zip(trees, models.run(rewards.check()(models, task, trees)), strict=True):
        tree.put("reward", column)
    return [
        tree.with_columns(some)
        for tree, some in zip(trees, method.learn[1].advantage(trees, Memory()), strict=True)
    ]


def labelled(name: str, seed: int) -> tuple[float, int]:
    """AUC of the labels over siblings of the first round's trees (the value model still knows nothing)."""
    method = rest_mcts(simulations=20, max_tokens=64, temperature=1.0)
    models = tiny()
    models.cast(method.cast)
    trees, models = grown(method.search, name, N, seed, models)
    return sibling_auc(targets(method, models, suite(name).parts[name], trees), models, name, "target")


class Run(NamedTuple):
    """Models after some rounds; tokens drawn a problem and attempts imitated on the way."""

    models: Models
    tokens: float
    traces: int


def learnt(method: Method, seed: int) -> Run:
    models, traces = tiny(), 0

    def say(what, round, event):
        nonlocal traces
        traces += event["examples"] if what == "learn" and event["role"] == "policy" else 0

    exam = measures.sized(measures.answers(searches.samples(1, 0.0, 64)), {"gate": 1, "test": 1})
    method = dataclasses.replace(method, gate=gates.always(every=10**6), exam=exam)
    models.run(improve(method, suite(TASK).parts[TASK], models, rounds=ROUNDS, seed=seed, say=say))
    return Run(models, models.cost["search"]["generated"] / (ROUNDS * PROBLEMS), traces)


def rejection(method: Method, ours: Run, seed: int) -> tuple[Run, int]:
    """(the same rounds on independent attempts, as many as need the tokens of the trees, attempts a
    problem).
    """
    search, models = searches.samples(16, method.search.temperature, 64), tiny()
    task = suite(TASK).parts[TASK]
    models.run(search_all(search, models, task, list(islice(task.problems("train", 0), PROBLEMS)), 0))
    n = round(ours.tokens / (models.cost["search"]["generated"] / (PROBLEMS * search.n)))
    return learnt(
        dataclasses.replace(method, search=dataclasses.replace(search, n=n), learn=method.learn[:1], cast={}),
        seed,
    ), n


def gaps(method: Method, trained: Models, seed: int) -> tuple[float, float, float]:
    """Mean squared error of the values on trees of the start for test problems: of the value model at its
    beginning (0 everywhere), as it is now, and of the best constant, which no value model can know
    beforehand.
    """
    models, task, found = tiny(), suite(TASK).parts[TASK], []
    models.cast(method.cast)
    problems = list(islice(task.problems("test", seed), HELD))
    trees = targets(method, models, task, models.run(search_all(method.search, models, task, problems, seed)))
    for tree in trees:
        known = tree.get("target").values
        nodes = np.flatnonzero(~np.isnan(known)).tolist()
        if nodes:
            both = [m.run(method.search.value.values(m, task, tree, nodes)) for m in (models, trained)]
            found += list(zip(known[nodes], *both, strict=True))
    y, before, now = np.array(found).T
    return float(((before - y) ** 2).mean()), float(((now - y) ** 2).mean()), float(y.var())


def searched(method: Method, trained: Models, seed: int) -> dict[str, float]:
    """Accuracy and tokens drawn of the search, and of the best of independent attempts by the same values and
    the majority among these, which get what the search used on average: a search that has seen all it can
    reach does not spend what it may.
    """
    task, score = Other(suite(TASK).parts[TASK], seed), {"v": rewards.process("value", "last")}
    search = dataclasses.replace(method.search, simulations=20)
    part = measures.strategies(1, 1, method.search.temperature, 64, {}, {"search": search}, {"test": EXAM})
    ours = {name: m["mean"] for name, m in trained.run(part(trained, task, "test", seed)).metrics.items()}
    part = dataclasses.replace(part, budget=round(ours["tokens/search"]), pool=32, scores=score, searches={})
    theirs = {name: m["mean"] for name, m in trained.run(part(trained, task, "test", seed)).metrics.items()}
    return ours | theirs


def course(seed: int) -> tuple:
    """Of one seed: the value model's errors, what the search finds, and per policy (ours, after rejection
    sampling, at the start) its greedy accuracy; (right attempts, tokens a problem) of the first two; the
    attempts a problem of the second.
    """
    method, task = rest_mcts(**KNOBS), Other(suite(TASK).parts[TASK], seed)
    ours = learnt(method, seed)
    errors, found = gaps(method, ours.models, seed), searched(method, ours.models, seed)
    theirs, n = rejection(method, ours, seed)
    greedy = [
        float(np.mean(list(accuracy(run.models, task, 1, 0.0, GREEDY).values())))
        for run in (ours, theirs, Run(tiny(), 0, 0))
    ]
    return errors, found, greedy, [(run.traces, run.tokens) for run in (ours, theirs)], n


def trained(claims) -> None:
    """Two rounds, and what they are good for."""
    errors, found, greedy, told, n = zip(*at_once((course, [(seed,) for seed in SEEDS]))[0], strict=True)
    before, now, constant = ([e[i] for e in errors] for i in range(3))
    claims.secondary(
        "after two rounds the value model's squared error on trees for test problems is smaller",
        np.subtract(before, now),
        f"{listed(before)} -> {listed(now)}",
        least=0.01,
    )
    claims.secondary(
        "and smaller than that of the best constant",
        np.subtract(constant, now),
        f"{listed(now)} against {listed(constant)}",
        least=0.01,
    )
    for name, text in (
        (
            "best/v",
            "the search solves more test problems than the best of n by the same values at equal tokens",
        ),
        ("majority", "and than the majority of n"),
    ):
        figures = [
            listed([f[f"accuracy/{key}"] for f in found])
            + f" ({np.mean([f[f'tokens/{key}'] for f in found]):.0f} tokens)"
            for key in ("search", name)
        ]
        claims.secondary(
            text,
            [f["accuracy/search"] - f[f"accuracy/{name}"] for f in found],
            " against ".join(figures),
            least=0.02,
        )

    def worked(which: int) -> str:
        runs = [some[which] for some in told]
        return (
            f"{[traces for traces, _ in runs]} right attempts, "
            f"{np.mean([tokens for _, tokens in runs]):.0f} tokens a problem"
        )

    high, low, first = np.transpose(greedy)
    claims.secondary(
        "after two rounds the policy's greedy accuracy is above that after rejection sampling with as "
        "many tokens",
        np.subtract(high, low),
        f"{listed(high)} ({worked(0)}) against {listed(low)} ({worked(1)}, n = {list(n)}), "
        f"at the start {listed(first)}",
        least=0.02,
    )


def test_claims(claims):
    found = [labelled("countdown", seed) for seed in SEEDS]
    claims.primary(
        "of two unfinished next steps of a countdown the right one has the higher inferred value in "
        "more than 80% of the pairs",
        [x - 0.8 for x, _ in found],
        f"{listed([x for x, _ in found])} ({[n for _, n in found]} pairs)",
        least=0.02,
    )
    trained(claims)
