"""Exact values of tictactoe and kuhn poker: minimax, expectimax, equilibria, and what a player can know.

The rules are open-spiel's. Seat 0 moves first, then seat 1. `skill` is the probability that the other seat
makes an optimal move; else it draws uniformly from the legal moves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from surpass.errors import SurpassError


@cache
def rules(name: str) -> Any:
    """open-spiel's game of this name; a SurpassError names the extra where the package is missing."""
    try:
        import pyspiel
    except ImportError as error:
        raise SurpassError(
            "the tasks tictactoe and kuhn need their package: pip install 'surpass[games]'"
        ) from error
    return pyspiel.load_game(name)


def at(name: str, history: Sequence[int]) -> Any:
    """open-spiel's own state after the actions of `history`: a new one each time, because it is mutable."""
    state = rules(name).new_initial_state()
    for action in history:
        state.apply_action(action)
    return state


class _Position(NamedTuple):
    """A board: who moves (-1: it is over), the board after each action, and what the first player won."""

    player: int
    moves: Mapping[int, str]
    won: float


@cache
def positions() -> dict[str, _Position]:
    """Every reachable board of tictactoe, as open-spiel writes it ("x.o\\n.x.\\n..."), and what follows."""
    found: dict[str, _Position] = {}
    waiting = [at("tic_tac_toe", [])]
    while waiting:
        state = waiting.pop()
        if str(state) in found:
            continue
        after = {action: state.child(action) for action in state.legal_actions()}
        moves = {action: str(child) for action, child in after.items()}
        found[str(state)] = _Position(state.current_player() if moves else -1, moves, state.returns()[0])
        waiting += after.values()
    return found


@cache
def minimax(board: str, seat: int) -> float:
    """What the seat gets (1 win, 0.5 draw, 0 loss) if both play best from this board on."""
    here = positions()[board]
    if not here.moves:
        return (1 + (here.won if seat == 0 else -here.won)) / 2
    return (max if here.player == seat else min)(minimax(child, seat) for child in here.moves.values())


@cache
def optimal(board: str) -> tuple[int, ...]:
    """The minimax-optimal actions of whoever moves; if some of them win at once, only those."""
    here = positions()[board]
    kept = tuple(
        a for a, child in here.moves.items() if minimax(child, here.player) == minimax(board, here.player)
    )
    won = tuple(a for a in kept if positions()[here.moves[a]].won)
    return won or kept


@cache
def expectimax(board: str, seat: int, skill: float) -> float:
    """What the seat gets on average if it plays best and the other seat plays with `skill`, drawing uniformly
    among its optimal moves too. skill=1 is minimax.
    """
    here = positions()[board]
    if not here.moves:
        return minimax(board, seat)
    after = {action: expectimax(child, seat, skill) for action, child in here.moves.items()}
    if here.player == seat:
        return max(after.values())
    wise = [after[action] for action in optimal(board)]
    return skill * sum(wise) / len(wise) + (1 - skill) * sum(after.values()) / len(after)


@cache
def sharpest(board: str) -> tuple[int, ...]:
    """The optimal actions that leave the other player the most ways to err."""
    here = positions()[board]

    def traps(child: str) -> int:
        replies = positions()[child].moves.values()
        return sum(minimax(reply, here.player) > minimax(child, here.player) for reply in replies)

    ways = {action: traps(here.moves[action]) for action in optimal(board)}
    return tuple(action for action, number in ways.items() if number == max(ways.values()))


@cache
def slips(board: str, skill: float) -> tuple[int, ...]:
    """Actions that cost value both against best play and against this opponent; if there are none, the worst
    against this opponent.
    """
    here = positions()[board]
    after = {action: expectimax(child, here.player, skill) for action, child in here.moves.items()}
    floor = min(after[action] for action in sharpest(board))
    worse = [a for a in after if a not in optimal(board) and after[a] < floor - 1e-12]
    return tuple(worse or [a for a in after if after[a] == min(after.values())])


def equilibrium(alpha: float = 1 / 3) -> dict[str, float]:
    """Kuhn poker's equilibrium in which the first player bluffs with probability `alpha` in [0, 1/3].

    Gives the probability of a bet (or call) by open-spiel's information state: own card 0 to 2, then p for
    each pass and b for each bet.

    >>> equilibrium(alpha=0.25)["2"]
    0.75
    """
    first = {"0": alpha, "1": 0.0, "2": 3 * alpha, "0pb": 0.0, "1pb": alpha + 1 / 3, "2pb": 1.0}
    return first | {"0p": 1 / 3, "1p": 0.0, "2p": 1.0, "0b": 0.0, "1b": 1 / 3, "2b": 1.0}


EQUILIBRIUM = equilibrium()


def exploitability(bets: Mapping[str, float]) -> tuple[float, float]:
    """(chips that the first player wins per game, NashConv) of strategies for both seats of kuhn poker, given
    in the form of `equilibrium`.

    NashConv adds up what each player could gain by a best response: 0 exactly in an equilibrium. Raises a
    SurpassError if an information state is missing or a probability is not in [0, 1].
    """
    wrong = [info for info in EQUILIBRIUM if not 0 <= bets.get(info, -1) <= 1]
    if wrong:
        raise SurpassError(
            f"exploitability needs a probability in [0, 1] for {', '.join(wrong)}; found {dict(bets)}"
        )
    game = rules("kuhn_poker")
    import pyspiel

    policy = pyspiel.TabularPolicy({info: [(0, 1 - bets[info]), (1, bets[info])] for info in EQUILIBRIUM})
    return pyspiel.expected_returns(game.new_initial_state(), policy, -1, True)[0], pyspiel.nash_conv(
        game, policy
    )


@cache
def _expected(history: tuple[int, ...], seat: int, skill: float) -> dict[float, float]:
    """The probability of each result for a seat that plays the equilibrium; both cards are known."""
    game = at("kuhn_poker", history)
    if game.is_terminal():
        return {game.returns()[seat]: 1.0}
    bet = EQUILIBRIUM[game.information_state_string()]
    if game.current_player() != seat:
        bet = skill * bet + (1 - skill) / 2
    chances: dict[float, float] = {}
    for action, share in ((0, 1 - bet), (1, bet)):
        for result, chance in _expected((*history, action), seat, skill).items():
            chances[result] = chances.get(result, 0.0) + share * chance
    return chances


@cache
def known(history: tuple[int, ...], seat: int, skill: float) -> dict[float, float]:
    """As _expected, where only the seat's own card is known; the other seat's moves tell about its card."""
    chances: dict[float, float] = {}
    total = 0.0
    for card in {0, 1, 2} - {history[seat]}:
        deal = (history[0], card) if seat == 0 else (card, history[1])
        weight = 1.0
        for made, action in enumerate(history[2:]):
            if made % 2 != seat:
                info = at("kuhn_poker", [*deal, *history[2 : 2 + made]]).information_state_string()
                bet = skill * EQUILIBRIUM[info] + (1 - skill) / 2
                weight *= bet if action else 1 - bet
        # a move that the opponent never makes tells nothing: no card may become impossible by it
        weight = max(weight, 1e-300)
        total += weight
        for result, chance in _expected((*deal, *history[2:]), seat, skill).items():
            chances[result] = chances.get(result, 0.0) + weight * chance
    return {result: chance / total for result, chance in chances.items()}
