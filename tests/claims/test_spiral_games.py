"""SPIRAL on Kuhn poker with a policy whose every probability is known: self-play against the same loop with shuffled rewards."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch

from conftest import listed
from surpass import gates, measures, rewards, searches
from surpass.engines import TabularEngine
from surpass.loop import improve
from surpass.methods.spiral_games import spiral_games
from surpass.models import Models
from surpass.tasks.game_values import EQUILIBRIUM, at
from surpass.tasks.game_values import exploitability as exact
from surpass.tasks.games import kuhn
from surpass.types import Column

SEEDS, ROUNDS = (1, 2, 3), 60
NAMES = {"k": "check", "b": "bet", "c": "call", "f": "fold"}


@dataclass(frozen=True)
class letters(kuhn):
    """Kuhn poker whose moves are single letters, so that a table can play it."""

    opponent: str = "self"

    def _read(self, game, text):
        return super()._read(game, NAMES.get(text[:1], ""))

    def _told(self, game):
        told = super()._told(game)
        card = told.partition("Card: ")[2][:1]
        return card + ("B" if "bets" in told else "C" if "checks" in told else "") + ("?" if "call" in told else "!")

    def _ended(self, result):
        return "."


def player() -> Models:
    """A table that says any of the four letters: half of its moves are illegal."""
    engine = TabularEngine("JQKBC?!.kbcf", size=2**14)
    with torch.no_grad():
        engine.module["table"][:] = -9.0
        engine.module["table"][:, engine.text.encode("kbcf")] = 0.0
    return Models(policy=engine)


def known(models: Models) -> tuple[float, float]:
    """(exploitability in chips of the policy's legal moves, mean chance of an illegal one over information states)."""
    engine, task, bets, illegal = models.engine("policy"), letters(), {}, []
    for info in EQUILIBRIUM:
        moves = [int(move == "b") for move in info[1:]]
        cards = [int(info[0]), (int(info[0]) + 1) % 3]
        cards = cards if len(moves) % 2 == 0 else cards[::-1]
        context: list[int] = []
        for n in range(len(moves) % 2, len(moves) + 1, 2):
            told = task._told(at("kuhn_poker", [*cards, *moves[:n]]))
            context += engine.text.tell(told, None) if context else engine.text.open(told)
            if n < len(moves):
                context += engine.text.encode("fc"[moves[n]] if 1 in moves[:n] else "kb"[moves[n]])
        low, high = ("f", "c") if 1 in moves else ("k", "b")
        p = engine.module["table"][engine.row(context)].softmax(-1).detach().numpy()
        low, high = p[engine.text.encode(low)[0]], p[engine.text.encode(high)[0]]
        bets[info] = float(high / (low + high))
        illegal.append(float(1 - low - high))
    return exact(bets)[1] / 2, sum(illegal) / len(illegal)


@dataclass(frozen=True)
class shuffled:
    """The control: what a game paid goes to its players in random order."""

    async def __call__(self, models, task, trees):
        columns = await rewards.outcome()(models, task, trees)
        return [Column("node", c.values * (1 if tree.key % 2 else -1)) for tree, c in zip(trees, columns, strict=True)]


def trained(seed: int, control: bool) -> tuple[float, float]:
    models = player()
    method = spiral_games(problems=96, max_tokens=1, lr=0.1, updates=1, every=10**6)
    exam = measures.sized(measures.answers(searches.samples(1)), {"gate": 1, "test": 1})
    method = dataclasses.replace(method, gate=gates.always(every=10**6), exam=exam)
    if control:
        method = dataclasses.replace(method, scores={"outcome": shuffled()})
    models.run(improve(method, letters(), models, rounds=ROUNDS, seed=seed))
    return known(models)


def test_claims(claims):
    before = known(player())[0]
    real, control = [trained(seed, False) for seed in SEEDS], [trained(seed, True) for seed in SEEDS]
    claims.primary("self-play from random moves brings exploitability below half of where it was", [before / 2 - r[0] for r in real],
                   f"{before:.3f} -> {listed([r[0] for r in real])} chips")  # fmt: skip
    claims.secondary(
        "shuffled rewards do not", [c[0] - before / 2 for c in control], f"{before:.3f} -> {listed([c[0] for c in control])}"
    )
    claims.secondary(
        "fewer than 2% of the moves are illegal in the end",
        [0.02 - r[1] for r in real],
        listed([r[1] for r in real]),
        "not shown",
    )
