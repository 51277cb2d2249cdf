"""Kuhn poker for a table: every probability of the player's is known, so what it wins is computed and not
sampled.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from surpass.engines import TabularEngine
from surpass.models import Models
from surpass.tasks.game_values import EQUILIBRIUM, at
from surpass.tasks.kuhn import kuhn

NAMES = {"k": "check", "b": "bet", "c": "call", "f": "fold"}
RANDOM = dict.fromkeys(EQUILIBRIUM, 0.5)  # the chance of a bet or call, by information state


@dataclass(frozen=True)
class letters(kuhn):
    """Kuhn poker whose moves are single letters, so that a table can play it."""

    opponent: str = "self"

    def _read(self, game, text):
        return super()._read(game, NAMES.get(text[:1], ""))

    def _told(self, game):
        told = super()._told(game)
        card = told.partition("Card: ")[2][:1]
        return (
            card
            + ("B" if "bets" in told else "C" if "checks" in told else "")
            + ("?" if "call" in told else "!")
        )

    def _ended(self, result):
        return "."


def player() -> Models:
    """A table that says any of the four letters: half of its moves are illegal."""
    engine = TabularEngine("JQKBC?!.kbcf", size=2**14)
    with torch.no_grad():
        engine.module["table"][:] = -9.0
        engine.module["table"][:, engine.text.encode("kbcf")] = 0.0
    return Models(policy=engine)


def known(models: Models) -> tuple[dict[str, float], float]:
    """(the chance of a bet or call among the policy's legal moves, mean chance of an illegal one, by and over
    information states).
    """
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
    return bets, sum(illegal) / len(illegal)


def head_to_head(one: dict[str, float], other: dict[str, float]) -> tuple[float, float]:
    """(share of the games that `one` wins, chips it wins a game), mean over both seats and all deals, with
    legal moves; no game is drawn.
    """
    deals = [(a, b) for a in range(3) for b in range(3) if a != b]
    seats = [(_played(deal, (one, other)), 0) for deal in deals] + [
        (_played(deal, (other, one)), 1) for deal in deals
    ]
    first = [won if seat == 0 else 1 - won for (won, _), seat in seats]
    chips = [paid if seat == 0 else -paid for (_, paid), seat in seats]
    return sum(first) / len(first), sum(chips) / len(chips)


def _played(
    history: tuple[int, ...], players: tuple[dict[str, float], dict[str, float]]
) -> tuple[float, float]:
    """(chance that the first player wins, its chips) from here on."""
    game = at("kuhn_poker", history)
    if game.is_terminal():
        return float(game.returns()[0] > 0), game.returns()[0]
    bet = players[game.current_player()][game.information_state_string()]
    low, high = (_played((*history, move), players) for move in (0, 1))
    return (1 - bet) * low[0] + bet * high[0], (1 - bet) * low[1] + bet * high[1]
