"""PromptAgent with a scripted player that obeys the rules of its prompt, and a scripted optimiser that sees one broken rule at a time."""

from __future__ import annotations

import sys
from pathlib import Path

from conftest import listed

sys.path.insert(0, str(Path(__file__).parents[1]))
from surpass.models import Models
from test_prompts import ScriptedEngine, improve, optimiser, player, promptagent, words

SEEDS = (1, 2, 3)


def found(seed: int, guided: bool, iterations: int, width: int, depth: int) -> float:
    """Test accuracy of the chosen prompt."""
    models = Models(policy=ScriptedEngine(player), optimizer=ScriptedEngine(optimiser(guided)))
    method = promptagent(iterations=iterations, width=width, depth=depth, batch=4, held=24, guided=guided, answer_tokens=32)
    result = models.run(improve(method, words(), models, rounds=1, seed=seed))
    return result.after.mean("accuracy")


def test_claims(claims):
    tree = [found(seed, True, 4, 2, 5) for seed in SEEDS]
    blind = [found(seed, False, 4, 2, 5) for seed in SEEDS]
    claims.primary("the search finds better prompts than as many rewrites without looking at mistakes (test accuracy)",
                   [t - b for t, b in zip(tree, blind, strict=True)], f"{listed(tree)} against {listed(blind)}")  # fmt: skip
