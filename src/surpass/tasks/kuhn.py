"""Kuhn poker: one player against the environment, or two players."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from surpass.errors import SurpassError
from surpass.parts import Oracle
from surpass.tasks.game_values import EQUILIBRIUM, at, known
from surpass.tasks.games import Game
from surpass.tasks.splits import unique
from surpass.types import Problem, fold

_CARDS = "JQK"


@dataclass(frozen=True)
class kuhn(Game):
    """Kuhn poker: each player gets one card of J, Q, K, antes one chip, and may bet one more.

    A turn is one word: check or bet; after a bet, call or fold. The last such word in the text counts; an
    illegal move loses 2. pays="win" gives 1 if chips were won, else 0; pays="chips" gives (chips + 2) / 4;
    the report counts chips in both cases. The equilibrium is best play only for chips: for wins alone a fold
    never pays. opponent: "random", "optimal", "mixed" (optimal with probability `skill`, else random) or
    "self" (two players, paid in chips). A problem is a seat and the seed of the deal and of the opponent.
    """

    pays: str = "chips"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pays not in ("win", "chips"):
            raise SurpassError(f'kuhn pays "win" or "chips"; found "{self.pays}"')

    @property
    def _name(self) -> str:
        return "kuhn_poker"

    def problems(self, split: str, seed: int) -> Iterator[Problem]:
        """Endless problems of a split: a deal, the seat to play, and the opponent's seed."""
        yield from unique(lambda i: self._drawn(random.Random(fold(seed, "kuhn", i))), split)

    def _drawn(self, rng: random.Random) -> Problem:
        state = self._opened(rng, [])
        # two players share one prompt, so it shows neither card
        two = "Kuhn poker, two players, cards J, Q, K."
        return self._problem(
            state, two if self.opponent == "self" else self._told(at(self._name, state["history"]))
        )

    def _read(self, game: Any, text: str) -> int | None:
        words = re.findall(r"\b(?:check|bet|call|fold)\b", text.lower())
        choices = ("fold", "call") if 1 in game.history()[2:] else ("check", "bet")
        return choices.index(words[-1]) if words and words[-1] in choices else None

    def _told(self, game: Any) -> str:
        moves = game.history()[2:]
        card = f"Card: {_CARDS[game.history()[game.current_player()]]}. " if len(moves) < 2 else ""
        theirs = f"Opponent {('checks', 'bets')[moves[-1]]}. " if moves else ""
        choice = "call or fold" if 1 in moves else "check or bet"
        return f"{card}{theirs}Pot: {2 + sum(moves)}. You: {choice}?"

    def _ended(self, result: float) -> str:
        return f"You {'win' if result > 0 else 'lose'} {abs(int(result))}."

    def _best(self, game: Any, rng: random.Random) -> int:
        return int(rng.random() < EQUILIBRIUM[game.information_state_string()])

    def _pay(self, result: float) -> float:
        return float(result > 0) if self.pays == "win" else (result + 2) / 4

    def _counts(self, result: float) -> dict[str, float]:
        return {"chips": result}

    @property
    def oracle(self) -> Oracle:
        """Moves of the equilibrium, and exact values against this opponent."""
        return _Cards(self)


@dataclass(frozen=True)
class _Cards:
    """The oracle of kuhn. It knows how the opponent plays, and the cards that the mover can know."""

    task: kuhn

    def act(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """A move drawn from the equilibrium with alpha = 1/3."""
        game = at("kuhn_poker", state["history"])
        return self._word(game, self.task._best(game, rng))

    def slip(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """The move that is paid less on average against this opponent. Ties go to the one that wins fewer
        chips, then to the one that the equilibrium makes less often.
        """
        game, history = at("kuhn_poker", state["history"]), tuple(state["history"])
        seat, often = game.current_player(), EQUILIBRIUM[game.information_state_string()]

        def worth(action: int) -> tuple[float, ...]:
            chances = known((*history, action), seat, self.task._wise)
            paid = sum(self._paid(result) * chance for result, chance in chances.items())
            chips = sum(result * chance for result, chance in chances.items())
            return round(paid, 9), round(chips, 9), often if action else 1 - often

        return self._word(game, min((0, 1), key=worth))

    def _paid(self, result: float) -> float:
        return result if self.task.opponent == "self" else self.task._pay(result)

    def _word(self, game: Any, action: int) -> str:
        return (("fold", "call") if 1 in game.history()[2:] else ("check", "bet"))[action]

    def value(self, problem: Problem, state: Any, text: str = "") -> float:
        """What the policy is paid on average if it plays the equilibrium from here on, given what it can know
        while the game lasts. For two players: the first one's chips, given what the first can know.
        """
        over = self.task._over(state)
        if text.strip() and not over:
            state = self.task.moved(state, text)
            over = state["forfeit"] is not None
        # where this turn ends the game, the other card is not yet known
        if over:
            return self._paid(self.task._results(state)[state["seat"]])
        chances = known(tuple(state["history"]), state["seat"], self.task._wise)
        return sum(self._paid(result) * chance for result, chance in chances.items())


def information_states() -> dict[str, list[tuple[str, Any]]]:
    """Kuhn poker as each player hears it. Per information state (own card 0 to 2, then p and b): pairs of
    what the player was told and what it answered; in the last pair, what it is told now and its two words,
    the careful one first.
    """
    task, found = kuhn(opponent="self"), {}
    for info in EQUILIBRIUM:
        moves, said = [int(move == "b") for move in info[1:]], []
        cards = [int(info[0]), (int(info[0]) + 1) % 3]
        cards = cards if len(moves) % 2 == 0 else cards[::-1]
        for n in range(len(moves) % 2, len(moves) + 1, 2):
            words = ("fold", "call") if 1 in moves[:n] else ("check", "bet")
            told = task._told(at("kuhn_poker", [*cards, *moves[:n]]))
            said.append((told, words[moves[n]] if n < len(moves) else words))
        found[info] = said
    return found
