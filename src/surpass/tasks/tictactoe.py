"""Tic-tac-toe: one player against the environment, or two players."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from surpass.errors import SurpassError
from surpass.parts import Oracle
from surpass.tasks.game_values import at, expectimax, minimax, optimal, sharpest, slips
from surpass.tasks.games import Game
from surpass.tasks.splits import unique
from surpass.types import Problem, fold


@dataclass(frozen=True)
class tictactoe(Game):
    """Tic-tac-toe from a board after `opening` random moves, against an opponent of the given `skill`.

    A turn is the number of a free square, 1 to 9 from the top left. The last number in the text counts; an
    illegal move loses. Pays 1 for a win, 0.5 for a draw, 0 for a loss. A board on which the first player
    loses against best play is not drawn. opponent: "random", "optimal", "mixed" (optimal with probability
    `skill`, else random) or "self" (two players, paid 1, 0 or -1). The opponent's seed is part of a problem,
    so a board may come again in another split, with other replies.
    """

    opening: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.opening <= 6:
            raise SurpassError(f"tictactoe needs an opening of 0 to 6 moves; found {self.opening}")

    @property
    def _name(self) -> str:
        return "tic_tac_toe"

    def problems(self, split: str, seed: int) -> Iterator[Problem]:
        """Endless problems of a split: a board, the seat to play, and the opponent's seed."""
        yield from unique(lambda i: self._drawn(random.Random(fold(seed, "tictactoe", i))), split)

    def _drawn(self, rng: random.Random) -> Problem:
        while True:
            game = at(self._name, [])
            while not game.is_terminal() and len(game.history()) < self.opening:
                game.apply_action(rng.choice(game.legal_actions()))
            state = self._opened(rng, game.history())
            game = at(self._name, state["history"])
            if not game.is_terminal() and minimax(str(game), game.current_player()) > 0:
                return self._problem(state, self._told(game))

    def _read(self, game: Any, text: str) -> int | None:
        numbers = re.findall(r"[0-9]+", text)
        action = int(numbers[-1]) - 1 if numbers and len(numbers[-1]) == 1 else -1
        return action if action in game.legal_actions() else None

    def _told(self, game: Any) -> str:
        return f"{str(game).upper()}\n{'XO'[game.current_player()]} to move (1-9)"

    def _ended(self, result: float) -> str:
        return {1: "You win.", 0: "Draw.", -1: "You lose."}[int(result)]

    def _best(self, game: Any, rng: random.Random) -> int:
        return rng.choice(optimal(str(game)))

    def _pay(self, result: float) -> float:
        return (1 + result) / 2

    @property
    def oracle(self) -> Oracle:
        """Minimax moves, and exact values against this opponent."""
        return _Board(self)


@dataclass(frozen=True)
class _Board:
    """The oracle of tictactoe."""

    task: tictactoe

    def act(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """A minimax-optimal move that leaves the opponent the most ways to err."""
        return str(rng.choice(sharpest(str(at("tic_tac_toe", state["history"])))) + 1)

    def slip(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """A legal move that lowers the value; where none does, the worst one."""
        return str(rng.choice(slips(str(at("tic_tac_toe", state["history"])), self.task._wise)) + 1)

    def value(self, problem: Problem, state: Any, text: str = "") -> float:
        """What the policy gets on average if it plays best from here on; for two players, what the first one
        gets, in [-1, 1].
        """
        if text.strip() and not self.task._over(state):
            state = self.task.moved(state, text)
        if self.task._over(state):
            share = self.task._pay(self.task._results(state)[state["seat"]])
        else:
            share = expectimax(str(at("tic_tac_toe", state["history"])), state["seat"], self.task._wise)
        return 2 * share - 1 if self.task.opponent == "self" else share
