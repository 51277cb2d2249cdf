"""PromptAgent with a scripted player that obeys the rules of its prompt, and a scripted optimiser that sees
one broken rule at a time.
"""

from __future__ import annotations

import sys
from pathlib import Path

from conftest import listed

sys.path.insert(0, str(Path(__file__).parents[1]))
from surpass.models import Models
from test_prompts import ScriptedEngine, improve, optimiser, player, promptagent, words

SEEDS = (1, 2, 3)


def found(seed: int, guided: bool, iterations: int, width: int, depth: int) -> tuple[float, float, int]:
    """Test accuracy of the prompt at the start and of the chosen one, and how many prompts the optimiser
    wrote.
    """
    written: list[str] = []

    def counted(text: str, key: int) -> str:
        written.append(said := optimiser(guided)(text, key))
        return said

    models = Models(policy=ScriptedEngine(player), optimizer=ScriptedEngine(counted))
    method = promptagent(
        iterations=iterations, n=width, depth=depth, batch=4, held=24, guided=guided, answer_tokens=32
    )
    result = models.run(improve(method, words(), models, rounds=1, seed=seed))
    prompts = sum(said.startswith("<prompt>") for said in written)
    return result.before.mean("accuracy"), result.after.mean("accuracy"), prompts


def test_claims(claims):
    tree = [found(seed, True, 4, 2, 5) for seed in SEEDS]
    blind = [found(seed, False, 4, 2, 5) for seed in SEEDS]
    claims.primary(
        "the search finds better prompts than as many rewrites without looking at mistakes (test accuracy)",
        [t[1] - b[1] for t, b in zip(tree, blind, strict=True)],
        f"{listed([t[1] for t in tree])} against {listed([b[1] for b in blind])}",
        least=0.02,
    )
    once = [found(seed, True, 1, 40, 1) for seed in SEEDS]
    claims.secondary(
        "better than the one it began with",
        [t[1] - t[0] for t in tree],
        f"{listed([t[0] for t in tree])} -> {listed([t[1] for t in tree])}",
        least=0.02,
    )
    claims.secondary(
        "better than the best of as many rewrites of the first prompt alone",
        [t[1] - o[1] for t, o in zip(tree, once, strict=True)],
        f"{listed([t[1] for t in tree])} against {listed([o[1] for o in once])}, {[t[2] for t in tree]} "
        f"and {[o[2] for o in once]} prompts",
        least=0.02,
    )
    claims.exact(
        "at most iterations x depth x width prompts are written",
        all(t[2] <= 4 * 5 * 2 for t in tree),
        f"{[t[2] for t in tree]} of 40",
    )
