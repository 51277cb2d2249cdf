"""Two games with exact values: tictactoe and kuhn poker. Rules are open-spiel's, moves are words, chance is a
player.

Seats are 0 (moves first) and 1; `skill` is the probability that a move of the environment's is an optimal
one.
"""

from __future__ import annotations

import dataclasses
import random
import re
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from surpass.errors import SurpassError
from surpass.models import Models
from surpass.parts import Oracle, Task
from surpass.tasks.game_values import (
    EQUILIBRIUM,
    at,
    expectimax,
    known,
    minimax,
    optimal,
    rules,
    sharpest,
    slips,
)
from surpass.tasks.splits import problem_id, unique
from surpass.types import Problem, Turn, fold

_OPPONENTS = ("random", "optimal", "mixed", "self")
_CARDS = "JQK"


@dataclass(frozen=True)
class _Game(Task):
    """What the games share: an environment that deals and plays the other seat, and two players where it does
    not.

    A state is {"history": actions with chance's, "seed", "seat": the policy's (0 for two players), "forfeit":
    seat or None}.
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

    def against(self, opponent: str) -> _Game:
        """The same game for one player against an opponent of the environment's."""
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
        """The legal action that a turn's text names, else None."""

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
        """What is counted at the end of a game against the environment."""
        return {}

    def _onward(self, state: dict[str, Any]) -> dict[str, Any]:
        """The state where a player is to move or the game is over: chance and the other seat have moved."""
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
        """What each seat won; who made an illegal move has lost the most that the game can cost."""
        if state["forfeit"] is None:
            return list(at(self._name, state["history"]).returns())
        most = rules(self._name).max_utility()
        return [-most if seat == state["forfeit"] else most for seat in (0, 1)]

    def _over(self, state: dict[str, Any]) -> bool:
        return state["forfeit"] is not None or at(self._name, state["history"]).is_terminal()

    def _turn(self, state: dict[str, Any]) -> Turn:
        """What is said and paid in a state in which the environment has nothing to do."""
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
        """The state right after a player's turn, before the environment answers; an illegal move forfeits the
        game.
        """
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
        """A new game's state after `history`, seed and seat drawn."""
        seat = 0 if self.opponent == "self" else rng.randrange(2)
        return self._onward(
            {"history": list(history), "seed": rng.randrange(2**31), "seat": seat, "forfeit": None}
        )

    def _problem(self, state: dict[str, Any], prompt: str) -> Problem:
        shown = f"{self._name} {prompt} {state['seat']} {state['seed']} {self.opponent} {self.skill}"
        return Problem(problem_id(shown), prompt, state, {"seat": state["seat"]})


@dataclass(frozen=True)
class tictactoe(_Game):
    """Tic-tac-toe from a board of `opening` random moves; the task plays the other side, `skill` says how
    well.

    A turn is the number of a free square, 1 to 9 from the top left; the last number in the text counts, and
    an illegal one loses. Pays 1 for a win, 0.5 for a draw, 0 for a loss. Boards lost to best play for whoever
    begins are not drawn. opponent: "random", "optimal", "mixed" or "self" (two players, paid 1, 0 or -1). The
    opponent's seed is part of a problem, so a board may be met again in another split, with other replies.
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
        """Problems of a split, without end: a board with the seat to play and the opponent's seed."""
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
        """Minimax moves, and values against the opponent as it plays."""
        return _Board(self)


@dataclass(frozen=True)
class _Board:
    """The oracle of tictactoe."""

    task: tictactoe

    def act(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """A minimax-optimal move that leaves the opponent the most ways to go wrong."""
        return str(rng.choice(sharpest(str(at("tic_tac_toe", state["history"])))) + 1)

    def slip(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """A legal move that gives something away; where none does, the worst there is."""
        return str(rng.choice(slips(str(at("tic_tac_toe", state["history"])), self.task._wise)) + 1)

    def value(self, problem: Problem, state: Any, text: str = "") -> float:
        """What the policy gets on average if it plays best from here on; for two players the first one's
        result, in [-1, 1].
        """
        if text.strip() and not self.task._over(state):
            state = self.task.moved(state, text)
        if self.task._over(state):
            share = self.task._pay(self.task._results(state)[state["seat"]])
        else:
            share = expectimax(str(at("tic_tac_toe", state["history"])), state["seat"], self.task._wise)
        return 2 * share - 1 if self.task.opponent == "self" else share


@dataclass(frozen=True)
class kuhn(_Game):
    """Kuhn poker: one card each of J, Q, K, one chip each in the pot, one bet of one chip; `skill` says how
    well the task plays.

    A turn is one word: check or bet, and call or fold after a bet; the last of these words counts, and an
    illegal move loses 2. pays="win" gives 1 if chips were won, else 0; pays="chips" gives (chips + 2) / 4.
    Chips are counted either way. Only chips make the equilibrium the best play: where wins alone count, a
    fold is never worth it. opponent: "random", "optimal", "mixed" or "self" (two players, paid in chips). A
    problem is the seed of the deal and of the opponent, and a seat.
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
        """Problems of a split, without end: a deal with the seat to play and the opponent's seed."""
        yield from unique(lambda i: self._drawn(random.Random(fold(seed, "kuhn", i))), split)

    def _drawn(self, rng: random.Random) -> Problem:
        state = self._opened(rng, [])
        # one prompt for two players must not show either's card
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
        """Equilibrium moves, and values against the opponent as it plays."""
        return _Cards(self)


@dataclass(frozen=True)
class _Cards:
    """The oracle of kuhn: it knows what the player who moves can know, and how the opponent plays."""

    task: kuhn

    def act(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """A move of the equilibrium with alpha = 1/3, drawn as often as the equilibrium makes it."""
        game = at("kuhn_poker", state["history"])
        return self._word(game, self.task._best(game, rng))

    def slip(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """The move that is paid less against this opponent on average; of equals the one that wins fewer
        chips, then the one that the equilibrium makes less often.
        """
        game = at("kuhn_poker", state["history"])
        seat, history, often = (
            game.current_player(),
            tuple(state["history"]),
            EQUILIBRIUM[game.information_state_string()],
        )

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
        """What the policy is paid on average if it plays the equilibrium from here on, judged by what it can
        know while the game lasts; for two players the first one's chips, judged by what the first can know.
        """
        over = self.task._over(state)
        if text.strip() and not over:
            state = self.task.moved(state, text)
            over = state["forfeit"] is not None
        # a turn that ends the game does not yet show the other card
        if over:
            return self._paid(self.task._results(state)[state["seat"]])
        chances = known(tuple(state["history"]), state["seat"], self.task._wise)
        return sum(self._paid(result) * chance for result, chance in chances.items())


def information_states() -> dict[str, list[tuple[str, Any]]]:
    """Kuhn poker as each player hears it: per information state (own card 0 to 2, then p and b) what was said
    to the player with what it answered, and last what is said now with the two words to choose from, the
    careful one first.
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
