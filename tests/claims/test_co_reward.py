"""Co-reward: votes crossed between two wordings against votes on one, on the tiny model's sums; on a table
that errs at each wording by itself also against true labels, for longer, and with wordings that change the
problem.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import wordings
from at_once import at_once
from trees import Other, tiny

from conftest import listed
from surpass import gates, measures, searches
from surpass.loop import improve
from surpass.methods.co_reward import co_reward
from surpass.methods.grpo import grpo
from surpass.methods.ttrl import ttrl
from surpass.tasks.suite import suite

SEEDS, ROUNDS, LONG = (1, 2, 3), 5, 36


def learnt(method, seed: int) -> tuple[float, float]:
    """Greedy accuracy on 384 test problems, before and after."""
    models, task = tiny(), Other(suite("arithmetic").parts["arithmetic"], seed)
    exam = measures.sized(measures.answers(searches.samples(1, 0.0, 64)), {"gate": 1, "test": 384})
    method = dataclasses.replace(method, gate=gates.always(every=10**6), exam=exam)
    result = models.run(improve(method, task, models, rounds=ROUNDS, seed=seed))
    return result.before.mean("accuracy"), result.after.mean("accuracy")


def on_the_table(which, n: int, seed: int, bad: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """(accuracy at the start and after every round, the share of right labels in every round)."""
    method = which(problems=16, n=n, max_tokens=2, temperature=1.0, lr=0.1, every=10**6)
    course, labels = wordings.trained(method, seed, LONG, bad)
    return np.array(course), np.array(labels)


def test_claims(claims):
    knobs = {"max_tokens": 64, "lr": 2e-4, "temperature": 1.0, "every": 10**6}
    methods = co_reward(problems=6, n=8, **knobs), ttrl(problems=6, n=16, **knobs)
    tables = (co_reward, 8, 0.0), (ttrl, 16, 0.0), (grpo, 16, 0.0), (co_reward, 8, 0.2)
    crossed, plain, runs, *others = at_once(
        *((learnt, [(method, seed) for seed in SEEDS]) for method in methods),
        *((on_the_table, [(which, n, seed, share) for seed in SEEDS]) for which, n, share in tables),
    )
    crossed, plain = np.array(crossed), np.array(plain)
    claims.primary(
        "five rounds of votes crossed between wordings end above plain votes on as many attempts",
        crossed[:, 1] - plain[:, 1],
        f"{listed(crossed[:, 1])} against {listed(plain[:, 1])}, {listed(crossed[:, 0])} at the start",
        least=0.02,
    )
    claims.secondary(
        "and above the start",
        crossed[:, 1] - crossed[:, 0],
        f"{listed(crossed[:, 0])} -> {listed(crossed[:, 1])}",
        least=0.02,
    )
    course, labels = np.array([run[0] for run in runs]), np.array([run[1] for run in runs])
    votes, truth, bad = (np.array([run[0] for run in some]) for some in others)
    begin, ends, rises = course[:, 0], course[:, -1], f"{listed(course[:, 0])} -> {listed(course[:, -1])}"
    claims.secondary(
        f"on a table that errs at each wording by itself accuracy rises over {LONG} rounds",
        ends - begin,
        rises,
        least=0.02,
    )
    claims.secondary(
        "there it ends above plain votes on as many attempts",
        ends - votes[:, -1],
        f"{listed(ends)} against {listed(votes[:, -1])}",
        least=0.02,
    )
    claims.secondary(
        "there plain votes lose at least five points of their best accuracy",
        votes.max(1) - votes[:, -1] - 0.05,
        f"{listed(votes.max(1))} -> {listed(votes[:, -1])}",
        least=0.02,
    )
    claims.secondary(
        "and crossed votes less than two",
        0.02 - (course.max(1) - ends),
        f"{listed(course.max(1))} -> {listed(ends)}",
        least=0.005,
    )
    claims.secondary(
        "there in every round more than 1.1 times as many labels are right as answers were at the start",
        labels.min(1) - 1.1 * begin,
        f"at least {listed(labels.min(1))} against {listed(begin)}",
        least=0.02,
    )
    claims.secondary(
        "there it ends within three points of GRPO with true labels",
        ends - truth[:, -1] + 0.03,
        f"{listed(ends)} against {listed(truth[:, -1])}",
        least=0.01,
    )
    claims.secondary(
        "there, where a fifth of the wordings ask another problem, it ends lower",
        ends - bad[:, -1],
        f"{listed(ends)} against {listed(bad[:, -1])}",
        least=0.02,
    )
    claims.secondary(
        "and nothing of the gain is left",
        begin - bad[:, -1],
        f"{listed(begin)} -> {listed(bad[:, -1])}",
        least=0.02,
    )
