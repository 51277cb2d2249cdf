"""Strategies at equal tokens on the tiny model's sums."""

from __future__ import annotations

import dataclasses

from trees import Other, tiny

from conftest import listed
from surpass import measures
from surpass.loop import evaluate
from surpass.methods.bag_of_tricks_itc import bag_of_tricks_itc
from surpass.tasks.suite import suite

SEEDS, N = (1, 2, 3), 96


def test_claims(claims):
    found = []
    for seed in SEEDS:
        method = bag_of_tricks_itc(budget=256, pool=8, max_tokens=64)
        exam = measures.sized(method.exam, {"gate": N, "test": N})
        exam = dataclasses.replace(
            exam, searches={"beam": exam.searches["beam"], "mcts": exam.searches["mcts"]}
        )
        report = tiny_report(dataclasses.replace(method, exam=exam), seed)
        found.append(
            {
                name.removeprefix("accuracy/"): m["mean"]
                for name, m in report.metrics.items()
                if name.startswith("accuracy/")
            }
        )

    def line(*names: str) -> str:
        return "; ".join(f"{name} {listed([f[name] for f in found])}" for name in names)

    claims.primary(
        "a vote weighted by certainty beats the plain majority",
        [f["weighted/certainty"] - f["majority"] for f in found],
        line("weighted/certainty", "majority"),
        least=0.02,
    )
    claims.secondary(
        "searches do not automatically beat the majority at equal tokens (mcts below it)",
        [f["majority"] - f["mcts"] for f in found],
        line("mcts", "beam", "majority"),
        least=0.02,
    )
    claims.secondary(
        "the model's own verdict chooses better than chance",
        [f["best/verdict"] - f["mean"] for f in found],
        line("best/verdict", "mean", "any"),
        least=0.02,
    )


def tiny_report(method, seed: int):
    models, task = tiny(), Other(suite("arithmetic").parts["arithmetic"], seed)
    return models.run(evaluate(method, task, models, seed=seed))
