"""What the two games, tictactoe and kuhn, share. Their rules are open-spiel's; a move is a word.

Seat 0 moves first, then seat 1. `skill` is the probability that the environment makes an optimal move; else
it moves at random.
"""

from __future__ import annotations

import dataclasses
import random
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from surpass.errors import SurpassError
from surpass.models import Models
from surpass.parts import Task
from surpass.tasks.game_values import at, rules
from surpass.tasks.splits import problem_id
from surpass.types import Problem, Turn, fold

_OPPONENTS = ("random", "optimal", "mixed", "self")


@dataclass(frozen=True)
class Game(Task):
    """A game of two seats. The environment deals, and plays the other seat unless there are two players.

    A state is {"history": the actions so far, those of chance among them, "seed", "seat": the policy's (0 for
    two players), "forfeit": the seat that made an illegal move, or None}.
    """

    opponent: str = "mixed"
    skill: float = 0.5
    seats: ClassVar[str] = "1 player, or 2 with --task.opponent self"

    def __post_init__(self) -> None:
        rules(self._name)
        if self.opponent not in _OPPONENTS or not 0 <= self.skill <= 1:
            wanted = f"{self._name} needs an opponent out of {', '.join(_OPPONENTS)} and a skill from 0 to 1"
            raise SurpassError(f'{wanted}; found opponent="{self.opponent}", skill={self.skill}')

    @property
    def players(self) -> tuple[str, ...]:
        return ("first", "second") if self.opponent == "self" else ("policy",)

    def against(self, opponent: str) -> Game:
        """The same game for one player, against this opponent of the environment's."""
        return dataclasses.replace(self, opponent=opponent)

    @property
    @abstractmethod
    def _name(self) -> str:
        """open-spiel's name of the game."""

    @property
    def _wise(self) -> float:
        """The probability that a move of the environment's is optimal; 1 where a player makes it."""
        return {"random": 0.0, "mixed": self.skill}.get(self.opponent, 1.0)

    @abstractmethod
    def _read(self, game: Any, text: str) -> int | None:
        """The legal action that a turn's text names; None where it names none."""

    @abstractmethod
    def _told(self, game: Any) -> str:
        """What whoever moves is told."""

    @abstractmethod
    def _ended(self, result: float) -> str:
        """What a player who got `result` is told at the end."""

    @abstractmethod
    def _best(self, game: Any, rng: random.Random) -> int:
        """An optimal action for whoever moves, judged by what that player can know."""

    @abstractmethod
    def _pay(self, result: float) -> float:
        """A result of open-spiel's as a value in [0, 1]."""

    def _counts(self, result: float) -> dict[str, float]:
        """What a game against the environment adds to Turn.counts when it ends."""
        return {}

    def _onward(self, state: dict[str, Any]) -> dict[str, Any]:
        """The next state in which a player moves or the game is over, after chance and the other seat."""
        history = list(state["history"])
        game = at(self._name, history)
        while not game.is_terminal():
            rng = random.Random(fold(state["seed"], "move", len(history)))
            if game.is_chance_node():
                actions, weights = zip(*game.chance_outcomes(), strict=True)
                (action,) = rng.choices(actions, weights)
            elif self.opponent == "self" or game.current_player() == state["seat"]:
                break
            else:
                action = (
                    self._best(game, rng) if rng.random() < self._wise else rng.choice(game.legal_actions())
                )
            history.append(action)
            game.apply_action(action)
        return {**state, "history": history}

    def _results(self, state: dict[str, Any]) -> list[float]:
        """What each seat won; whoever made an illegal move has lost the most that the game can cost."""
        if state["forfeit"] is None:
            return list(at(self._name, state["history"]).returns())
        most = rules(self._name).max_utility()
        return [-most if seat == state["forfeit"] else most for seat in (0, 1)]

    def _over(self, state: dict[str, Any]) -> bool:
        return state["forfeit"] is not None or at(self._name, state["history"]).is_terminal()

    def _turn(self, state: dict[str, Any]) -> Turn:
        """What is said and paid in a state where a player moves or the game is over."""
        if not self._over(state):
            game = at(self._name, state["history"])
            player = self.players[game.current_player()] if self.opponent == "self" else "policy"
            return Turn(state, {player: self._told(game)}, player)
        results = self._results(state)
        own = (
            dict(zip(self.players, results, strict=True))
            if self.opponent == "self"
            else {"policy": results[state["seat"]]}
        )
        say = {player: self._ended(result) for player, result in own.items()}
        if state["forfeit"] is not None:
            say = {player: f"Illegal move. {text}" for player, text in say.items()}
        if self.opponent == "self":
            return Turn(state, say, reward=own)
        return Turn(
            state, say, reward={"policy": self._pay(own["policy"])}, counts=self._counts(own["policy"])
        )

    async def start(self, models: Models, problem: Problem) -> Turn:
        return self._turn(problem.answer)

    def moved(self, state: dict[str, Any], text: str) -> dict[str, Any]:
        """The state right after a player's turn, before the environment moves; an illegal move forfeits."""
        game = at(self._name, state["history"])
        action = self._read(game, text)
        if action is None:
            return {**state, "forfeit": game.current_player()}
        return {**state, "history": [*state["history"], action]}

    async def step(self, models: Models, state: Any, text: str) -> Turn:
        if self._over(state):
            return Turn(state)
        after = self.moved(state, text)
        if after["forfeit"] is None:
            return self._turn(self._onward(after))
        turn = self._turn(after)
        return turn._replace(valid=False, counts={**turn.counts, "illegal": 1})

    async def check(self, models: Models, problem: Problem, text: str) -> float:
        return 0.0

    def _opened(self, rng: random.Random, history: Sequence[int]) -> dict[str, Any]:
        """The state of a new game after `history`, with a drawn seed and seat."""
        seat = 0 if self.opponent == "self" else rng.randrange(2)
        return self._onward(
            {"history": list(history), "seed": rng.randrange(2**31), "seat": seat, "forfeit": None}
        )

    def _problem(self, state: dict[str, Any], prompt: str) -> Problem:
        shown = f"{self._name} {prompt} {state['seat']} {state['seed']} {self.opponent} {self.skill}"
        return Problem(problem_id(shown), prompt, state, {"seat": state["seat"]})
