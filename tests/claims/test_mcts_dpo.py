"""MCTS-DPO's search on the tiny model's countdowns (its sums have too few siblings that differ): does Q know
which of two next steps is right? And what its pairs teach, on a table of attempts of three steps, where the
chance of a right attempt is known exactly.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from paths import N as PROMPTS
from paths import chance, start, ways
from trees import grown, sibling_auc

from conftest import listed
from surpass import selectors
from surpass.methods.mcts_dpo import mcts_dpo
from surpass.searches.round import search_all
from surpass.types import Example, Memory, fold

SEEDS, N = (1, 2, 3), 96
TABLES, ROUNDS = (1, 2, 3, 4, 5), 4


@dataclass(frozen=True)
class as_many:
    """Of each tree as many pairs of steps, or of a right and a wrong whole attempt, as there are of both
    kinds, drawn by chance: the two differ in what a pair compares, not in how many there are.
    """

    steps: object
    whole: bool

    def __call__(self, trees, memory, rng):
        out = []
        for tree in trees:
            values = dict(zip(tree.leaves(), tree.get("reward").values, strict=True))
            pairs = [Example(tree, (a, b)) for a in values for b in values if values[a] > values[b]]
            steps = [dataclasses.replace(e, confidence=1.0) for e in self.steps([tree], memory, rng)]
            n, chosen = min(len(pairs), len(steps)), pairs if self.whole else steps
            order = np.random.default_rng(fold(rng, tree.problem.id)).permutation(len(chosen))[:n]
            out += [chosen[i] for i in sorted(order)]
        return out


def learnt(seed: int, select=None, online: bool = True) -> tuple[float, int]:
    """(exact chance of a right attempt, pairs learnt from) after rounds of one tree a prompt each; not
    `online`: all trees are grown by the start. Both take as many gradient steps, on as many trees, in the
    same order.
    """
    models, task, memory, pairs = start(seed), ways(), Memory(seed=seed), 0
    method = mcts_dpo(
        problems=PROMPTS, simulations=8, n=3, self_evaluate=False, max_tokens=8, lr=0.1, updates=2
    )
    learn = dataclasses.replace(method.learn[0], select=select or method.learn[0].select)
    models.weights.remember(["policy@0"])

    def grow(round: int):
        trees = models.run(
            search_all(
                method.search, models, task, list(task.problems("train", 0)), fold(seed, "round", round)
            )
        )
        for tree, column in zip(trees, models.run(method.scores["reward"](models, task, trees)), strict=True):
            tree.put("reward", column)
        return trees

    ahead = [] if online else [grow(round) for round in range(ROUNDS)]
    for round in range(ROUNDS):
        rng = fold(seed, "learn", round)
        examples = learn.select(grow(round) if online else ahead[round], memory, rng)
        models.run(learn.learner(models, learn, examples, memory, rng))
        pairs += len(examples)
    return chance(models, task), pairs


def compared(ours, theirs) -> str:
    """Two runs' chances, and how many pairs they saw."""
    pairs = [int(np.mean([n for _, n in some])) for some in (ours, theirs)]
    return (
        f"{listed([x for x, _ in ours])} ({pairs[0]} pairs) against {listed([x for x, _ in theirs])} "
        f"({pairs[1]})"
    )


def taught(claims) -> None:
    """What the pairs are good for."""
    hard = selectors.siblings("q")
    fresh = [learnt(seed) for seed in TABLES]
    once = [learnt(seed, online=False) for seed in TABLES]
    plain = [learnt(seed, hard) for seed in TABLES]
    steps = [learnt(seed, as_many(hard, False)) for seed in TABLES]
    whole = [learnt(seed, as_many(hard, True)) for seed in TABLES]
    before = listed([chance(start(seed), ways()) for seed in TABLES])
    for text, ours, theirs in (
        (
            "a table of three steps, four rounds: pairs of the policy as it is beat pairs of as many "
            "trees of the start's (chance of a right attempt)",
            fresh,
            once,
        ),
        ("labels softened by visits beat hard ones with 8 simulations a move", fresh, plain),
        ("pairs of steps beat as many pairs of whole attempts, tree by tree", steps, whole),
    ):
        claims.secondary(
            text,
            [a - b for (a, _), (b, _) in zip(ours, theirs, strict=True)],
            f"{compared(ours, theirs)}, at the start {before}",
            least=0.01,
        )


def test_claims(claims):
    q, own, blind = [], [], []
    for seed in SEEDS:
        knobs = {"simulations": 32, "n": 4, "in_flight": 4, "max_tokens": 64}
        trees, models = grown(mcts_dpo(**knobs).search, "countdown", N, seed)
        q.append(sibling_auc(trees, models, "countdown", "q")[0])
        own.append(sibling_auc(trees, models, "countdown", "worth")[0])
        trees, models = grown(mcts_dpo(self_evaluate=False, **knobs).search, "countdown", N, seed)
        blind.append(sibling_auc(trees, models, "countdown", "q")[0])
    claims.primary(
        "of two next steps the right one has the higher Q in more than 80% of the pairs",
        [x - 0.8 for x in q],
        listed(q),
        least=0.02,
    )
    claims.secondary(
        "Q knows more than the model's own verdict on the step",
        [a - b for a, b in zip(q, own, strict=True)],
        f"{listed(q)} against {listed(own)}",
        least=0.02,
    )
    claims.secondary(
        "and so without any verdict, from outcomes alone", [x - 0.8 for x in blind], listed(blind), least=0.02
    )
    taught(claims)
