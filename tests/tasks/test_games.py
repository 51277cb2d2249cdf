"""Tictactoe and kuhn: exact values against brute force that knows nothing of open-spiel, turns, and what each
player sees.
"""

from __future__ import annotations

import asyncio
import copy
import json
import random
from fractions import Fraction
from functools import cache, partial
from itertools import islice, permutations, product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from surpass.engines import ScriptedEngine
from surpass.errors import SurpassError
from surpass.models import Models
from surpass.tasks.game_values import (
    EQUILIBRIUM,
    equilibrium,
    expectimax,
    exploitability,
    minimax,
    optimal,
    positions,
    sharpest,
    slips,
)
from surpass.tasks.kuhn import information_states, kuhn
from surpass.tasks.splits import SHARES, split_of
from surpass.tasks.tictactoe import tictactoe
from surpass.types import Problem

EMPTY = "...\n...\n..."
LINES = [(0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6)]
TASKS = [
    make(opponent=opponent)
    for make in (tictactoe, kuhn)
    for opponent in ("mixed", "random", "optimal", "self")
] + [kuhn(pays="win")]


def first(task, n, split="train", seed=0):
    return list(islice(task.problems(split, seed), n))


def step(task, state, text):
    return asyncio.run(task.step(None, state, text))


def played(task, problem, pick):
    """(every turn of the task's, every move) of an attempt whose moves are pick(state)."""
    turns, moves = [asyncio.run(task.start(None, problem))], []
    while turns[-1].player is not None:
        moves.append(pick(turns[-1].state))
        turns.append(step(task, turns[-1].state, moves[-1]))
    return turns, moves


def dealt(task, history, seat=0, seed=0):
    """A state and its problem, made by hand."""
    state = {"history": list(history), "seed": seed, "seat": seat, "forfeit": None}
    return Problem("by hand", "", state), state


def winner(cells):
    return next((cells[a] for a, b, c in LINES if cells[a] == cells[b] == cells[c] != "."), None)


@cache
def by_hand(cells, me, skill):
    """What `me` gets by best play; skill None: the other one plays against it, else it is that good on
    average.
    """
    won = winner(cells)
    if won or "." not in cells:
        return 0.5 if not won else float(won == me)
    mover = "x" if cells.count("x") == cells.count("o") else "o"
    after = [cells[:i] + mover + cells[i + 1 :] for i in range(9) if cells[i] == "."]
    values = [by_hand(child, me, skill) for child in after]
    if mover == me:
        return max(values)
    if skill is None:
        return min(values)
    exact = [by_hand(child, me, None) for child in after]
    wise = [value for value, kept in zip(values, exact, strict=True) if kept == min(exact)]
    if any(winner(child) for child in after):
        wise = [0.0]
    return skill * sum(wise) / len(wise) + (1 - skill) * sum(values) / len(values)


def test_tictactoe_is_solved():
    boards = positions()
    assert len(boards) == 5478
    assert minimax(EMPTY, 0) == minimax(EMPTY, 1) == 0.5
    for board in boards:
        for seat in (0, 1):
            assert minimax(board, seat) == by_hand(board.replace("\n", ""), "xo"[seat], None)


@pytest.mark.parametrize("skill", [0.0, 0.3, 1.0])
def test_expectimax_is_the_average_over_all_replies(skill):
    for board in positions():
        for seat in (0, 1):
            value = expectimax(board, seat, skill)
            assert value == pytest.approx(by_hand(board.replace("\n", ""), "xo"[seat], skill), abs=1e-12)
            if skill == 1:
                assert value == minimax(board, seat)


@pytest.mark.parametrize("skill", [0.0, 0.5, 1.0])
def test_slips_of_tictactoe_are_worth_less(skill):
    for board, at in positions().items():
        if at.moves:
            after = {action: expectimax(child, at.player, skill) for action, child in at.moves.items()}
            good, bad = min(after[a] for a in sharpest(board)), max(after[a] for a in slips(board, skill))
            assert bad < good or bad == good == min(after.values()), board
            assert set(sharpest(board)) <= set(optimal(board))


def test_a_win_at_once_is_taken_and_a_threat_is_met():
    assert sharpest("xx.\noo.\n...") == (2,)
    assert sharpest("xx.\n.o.\n...") == (2,)
    assert sharpest("...\n.x.\n...") == (0, 2, 6, 8), "an edge loses"
    assert slips("xx.\n.o.\n...", 0.5) and 2 not in slips("xx.\n.o.\n...", 0.5)


def test_two_oracles_always_draw():
    task, rng = tictactoe(opponent="self", opening=0), random.Random(0)
    for problem in first(task, 60):
        turns, moves = played(task, problem, partial(task.oracle.act, problem, rng=rng))
        assert turns[-1].reward == {"first": 0, "second": 0} and len(moves) == 9
        assert [turn.player for turn in turns[:4]] == ["first", "second", "first", "second"]


@pytest.mark.parametrize("opponent", ["random", "mixed", "optimal"])
def test_the_oracle_of_tictactoe_never_loses_and_values_are_paid(opponent):
    task, rng = tictactoe(opponent=opponent), random.Random(1)
    values, paid = [], []
    for problem in first(task, 250):
        turns, _ = played(task, problem, partial(task.oracle.act, problem, rng=rng))
        values.append(task.oracle.value(problem, problem.answer))
        paid.append(turns[-1].reward["policy"])
        assert paid[-1] == task.oracle.value(problem, turns[-1].state)
    assert min(paid) >= 0.5 and max(paid) == 1
    if opponent == "optimal":
        assert paid == values
    assert sum(paid) / 250 == pytest.approx(sum(values) / 250, abs=0.06)


def test_the_opponent_is_as_good_as_its_skill():
    """X threatens to win; one reply of six meets that, so the share of it is skill + (1 - skill) / 6."""
    task = tictactoe(skill=0.5)
    met = 0
    for seed in range(1000):
        _, state = dealt(task, [0, 4], seed=seed)
        met += step(task, state, "2").state["history"][3] == 2
    assert met / 1000 == pytest.approx(0.5 + 0.5 / 6, abs=0.06)


def test_the_same_moves_bring_the_same_replies():
    for task in TASKS:
        for problem in first(task, 20):
            turns, moves = played(task, problem, partial(task.oracle.slip, problem, rng=random.Random(3)))
            turn = asyncio.run(task.start(None, problem))
            for move, after in zip(moves, turns[1:], strict=True):
                turn = step(task, turn.state, move)
                assert turn == after


# cards 0 to 2; what the first player wins by the moves that were made
ENDS = {"pp": 1, "pbp": None, "pbb": 2, "bp": None, "bb": 2}


def chips(deal, moves):
    if moves == "bp":
        return 1
    if moves == "pbp":
        return -1
    return ENDS[moves] * (1 if deal[0] > deal[1] else -1)


def expected(deal, bets, moves="", stop=""):
    """What the first player wins on average, from the moves on."""
    if moves in ENDS:
        return chips(deal, moves)
    bet = bets[f"{deal[len(moves) % 2]}{moves}"]
    return bet * expected(deal, bets, moves + "b") + (1 - bet) * expected(deal, bets, moves + "p")


def brute_force(bets):
    """(value of the first player, NashConv) by trying all 64 pure strategies of either seat."""
    deals = list(permutations(range(3), 2))

    def value(of):
        return sum(expected(deal, of) for deal in deals) / Fraction(6)

    own = [[info for info in bets if len(info) in lengths] for lengths in ((1, 3), (2,))]
    best, worst = (
        pick(value({**bets, **dict(zip(infos, pure, strict=True))}) for pure in product((0, 1), repeat=6))
        for pick, infos in zip((max, min), own, strict=True)
    )
    return value(bets), best - worst


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.25, 1 / 3])
def test_equilibria_of_kuhn(alpha):
    value, gap = exploitability(equilibrium(alpha))
    assert value == pytest.approx(-1 / 18, abs=1e-9) and gap == pytest.approx(0, abs=1e-9)


def test_exploitability_agrees_with_brute_force():
    uniform = dict.fromkeys(EQUILIBRIUM, Fraction(1, 2))
    assert brute_force(uniform) == (Fraction(1, 8), Fraction(11, 12))
    assert exploitability(dict.fromkeys(EQUILIBRIUM, 0.5)) == pytest.approx((1 / 8, 11 / 12), abs=1e-12)
    assert exploitability(equilibrium(0.5) | {"2": 1.0})[1] > 0.01, "no equilibrium: it bluffs too often"
    rng = random.Random(0)
    for _ in range(5):
        bets = {info: rng.random() for info in EQUILIBRIUM}
        assert exploitability(bets) == pytest.approx(tuple(map(float, brute_force(bets))), abs=1e-9)
    with pytest.raises(SurpassError, match="2pb"):
        exploitability({info: 0.5 for info in EQUILIBRIUM if info != "2pb"})


def shares(task, seat, card, moves):
    """What the policy's seat is paid on average if it plays the equilibrium: over all deals and replies, by
    hand.
    """
    skill = {"random": 0.0, "optimal": 1.0}.get(task.opponent, task.skill)

    def chance(deal, made):
        """of the opponent's moves alone"""
        total = 1.0
        for i, move in enumerate(made):
            if i % 2 != seat:
                bet = skill * EQUILIBRIUM[f"{deal[i % 2]}{made[:i]}"] + (1 - skill) / 2
                total *= bet if move == "b" else 1 - bet
        return total

    def paid(deal, made):
        if made in ENDS:
            won = chips(deal, made) * (1 if seat == 0 else -1)
            return float(won > 0) if task.pays == "win" else (won + 2) / 4
        bet = EQUILIBRIUM[f"{deal[len(made) % 2]}{made}"]
        if len(made) % 2 != seat:
            bet = skill * bet + (1 - skill) / 2
        return bet * paid(deal, made + "b") + (1 - bet) * paid(deal, made + "p")

    deals = [deal for deal in permutations(range(3), 2) if deal[seat] == card]
    weights = [chance(deal, moves) for deal in deals]
    return sum(w * paid(deal, moves) for w, deal in zip(weights, deals, strict=True)) / sum(weights)


@pytest.mark.parametrize("pays", ["win", "chips"])
@pytest.mark.parametrize("opponent", ["random", "mixed", "optimal"])
def test_values_and_slips_of_kuhn(opponent, pays):
    task = kuhn(opponent=opponent, skill=0.7, pays=pays)
    words = {0: ("check", "bet"), 1: ("fold", "call")}
    for deal in permutations(range(3), 2):
        for seat, made in [(0, ""), (0, "pb"), (1, "p"), (1, "b")]:
            problem, state = dealt(task, [*deal, *("pb".index(move) for move in made)], seat)
            value = task.oracle.value(problem, state)
            assert value == pytest.approx(shares(task, seat, deal[seat], made), abs=1e-9), (
                "judged without the other card"
            )
            choice = words["b" in made]
            after = {word: task.oracle.value(problem, state, word) for word in choice}
            for word, move in zip(choice, "pb", strict=True):
                assert after[word] == pytest.approx(shares(task, seat, deal[seat], made + move), abs=1e-9)
            slip, acts = task.oracle.slip(problem, state, random.Random(0)), set()
            for seed in range(40):
                acts.add(task.oracle.act(problem, state, random.Random(seed)))
            assert after[slip] <= min(after[act] for act in acts) + 1e-9
            bet = EQUILIBRIUM[f"{deal[seat]}{made}"]
            assert (
                acts == {choice[1]} if bet == 1 else acts == {choice[0]} if bet == 0 else acts == set(choice)
            )
            dominated = {"0pb": "call", "0b": "call", "2pb": "fold", "2b": "fold", "2p": "check"}
            assert slip == dominated.get(f"{deal[seat]}{made}", slip)


def test_kuhn_is_paid_as_it_says():
    rng = random.Random(0)
    for task in (kuhn(), kuhn(pays="win")):
        paid, values, seen = [], [], set()
        for problem in first(task, 600):
            turns, _ = played(task, problem, partial(task.oracle.act, problem, rng=rng))
            won = turns[-1].counts["chips"]
            seen.add(won)
            assert turns[-1].reward["policy"] == (won > 0 if task.pays == "win" else (won + 2) / 4)
            values.append(task.oracle.value(problem, problem.answer))
            paid.append(turns[-1].reward["policy"])
        assert seen == {-2, -1, 1, 2} and {min(paid), max(paid)} == {0, 1}
        assert sum(paid) / 600 == pytest.approx(sum(values) / 600, abs=0.06)


def test_two_players_of_kuhn_see_their_own_card_only_and_win_what_the_other_loses():
    task = kuhn(opponent="self")
    told: dict[tuple, set] = {}
    finished = 0
    for *deal, made in product(range(3), range(3), ENDS):
        if deal[0] == deal[1]:
            continue
        _, state = dealt(task, deal)
        turn = asyncio.run(task.start(None, Problem("by hand", "", state)))
        for i, move in enumerate(made):
            assert set(turn.say) == {turn.player} and turn.player == task.players[i % 2]
            text = turn.say[turn.player]
            told.setdefault((i % 2, deal[i % 2], made[:i]), set()).add(text)
            assert ("Card" in text) == (i < 2)
            faced = "b" in made[:i]
            turn = step(
                task, turn.state, ("fold" if faced else "check", "call" if faced else "bet")["pb".index(move)]
            )
        assert turn.player is None and turn.reward == {
            "first": chips(deal, made),
            "second": -chips(deal, made),
        }
        finished += 1
    assert finished == 30 and all(len(texts) == 1 for texts in told.values()), (
        "the text is a function of one's own card"
    )
    assert len({frozenset(texts) for (_, _, made), texts in told.items() if len(made) < 2}) == 9
    assert {problem.prompt for problem in first(task, 20)} == {"Kuhn poker, two players, cards J, Q, K."}


def test_kuhn_reads_like_this():
    task = kuhn(opponent="optimal")
    _, state = dealt(task, [2, 1, 1], seat=1)
    turn = asyncio.run(task.start(None, Problem("by hand", "", state)))
    assert turn.say == {"policy": "Card: Q. Opponent bets. Pot: 3. You: call or fold?"}
    turn = step(task, state, "I call.")
    assert (
        turn.say == {"policy": "You lose 2."}
        and turn.reward == {"policy": 0}
        and turn.counts == {"chips": -2}
    )
    assert not step(task, state, "check").valid, "not a move after a bet"


def test_tictactoe_reads_like_this():
    task = tictactoe(opponent="optimal", opening=0)
    _, state = dealt(task, [4, 0, 2])
    state["seat"] = 1
    turn = asyncio.run(task.start(None, Problem("by hand", "", state)))
    assert turn.say == {"policy": "O.X\n.X.\n...\nO to move (1-9)"}
    assert step(task, state, "  7\n").state["history"][:4] == [4, 0, 2, 6]
    assert step(task, state, "not 5 but 7").state["history"][:4] == [4, 0, 2, 6]
    assert step(task, state, "9").say == {"policy": "You lose."}


@pytest.mark.parametrize("text", ["", "5", "0", "17", "seven", "\x00", "9" * 10_000])
def test_an_illegal_move_loses(text):
    task = tictactoe()
    _, state = dealt(task, [4, 0])
    turn = step(task, state, text)
    assert (turn.valid, turn.player, turn.reward, turn.counts) == (False, None, {"policy": 0}, {"illegal": 1})
    assert turn.say["policy"].startswith("Illegal move.")
    assert task.oracle.value(None, turn.state) == 0 and (
        text == "" or task.oracle.value(None, state, text) == 0
    )
    assert step(task, turn.state, "3") == (turn.state, {}, None, {}, True, {}), "it is over"
    two = step(tictactoe(opponent="self"), state, text)
    assert two.reward == {"first": -1, "second": 1} and two.counts == {"illegal": 1}
    poker = step(kuhn(opponent="self"), dealt(kuhn(), [2, 0, 1])[1], text)
    assert poker.reward == {"first": 2, "second": -2}, "as much as can be lost"


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, len(TASKS) - 1),
    st.integers(0, 3),
    st.lists(
        st.one_of(
            st.text(),
            st.sampled_from(["1", "2", "3", "4", "5", "6", "7", "8", "9", "check", "bet", "call", "fold"]),
        ),
        min_size=1,
        max_size=6,
    ),
)
@example(0, 0, ["9" * 100_000, "\x00"])
def test_junk_never_raises_and_states_are_values(which, at, texts):
    task = TASKS[which]
    problem = first(task, 4)[at]
    turn = asyncio.run(task.start(None, problem))
    for text in texts:
        before = copy.deepcopy(turn.state)
        again = json.loads(json.dumps(turn.state))
        assert again == turn.state
        value = task.oracle.value(problem, turn.state, text)
        assert value == task.oracle.value(problem, again, text) and -2 <= value <= 2
        following = step(task, turn.state, text)
        assert turn.state == before, "the old state is left alone"
        assert following == step(task, again, text)
        assert asyncio.run(task.check(None, problem, text)) == 0.0
        assert all(ord(c) in (10, *range(32, 127)) for said in following.say.values() for c in said)
        turn = following


@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{type(task).__name__}-{task.opponent}")
def test_splits_are_disjoint_and_repeat(task):
    seen = {split: first(task, 150, split, 3) for split in SHARES}
    ids = [problem.id for problems in seen.values() for problem in problems]
    assert len(set(ids)) == 450
    for split, problems in seen.items():
        assert all(split_of(problem.id) == split for problem in problems)
        assert first(task, 20, split, 3) == problems[:20] and first(task, 20, split, 4) != problems[:20]
        assert {problem.meta["seat"] for problem in problems} == ({0} if task.opponent == "self" else {0, 1})
        assert all(json.loads(json.dumps(p.answer)) == p.answer for p in problems)


def test_openings():
    for opening in (0, 1, 6):
        task = tictactoe(opening=opening)
        for problem in first(task, 30):
            made = len(problem.answer["history"])
            assert made in (opening, opening + 1) and made % 2 == problem.answer["seat"], (
                "the policy is to move"
            )
            assert minimax(problem.prompt.rpartition("\n")[0].lower(), problem.answer["seat"]) > 0


@pytest.mark.parametrize(
    "make, knobs, wanted",
    [
        (tictactoe, {"opening": 7}, "0 to 6"),
        (tictactoe, {"skill": 1.1}, "skill=1.1"),
        (kuhn, {"opponent": "best"}, "best"),
        (kuhn, {"pays": "euros"}, "euros"),
    ],
)
def test_wrong_knobs_are_named(make, knobs, wanted):
    with pytest.raises(SurpassError, match=wanted):
        make(**knobs)


# -- measures


def test_information_states_are_what_a_player_hears():
    states = information_states()
    assert set(states) == set(EQUILIBRIUM)
    assert states["0"] == [("Card: J. Pot: 2. You: check or bet?", ("check", "bet"))]
    assert states["2b"] == [("Card: K. Opponent bets. Pot: 3. You: call or fold?", ("fold", "call"))]
    (first, said), (then, words) = states["1pb"]
    assert (
        (said, words) == ("check", ("fold", "call"))
        and first.startswith("Card: Q.")
        and "Opponent bets" in then
    )


def test_exploitability_is_read_off_the_probabilities_of_both_words():
    """A table without preferences says each character, and the end, with probability 1/V: bet is V^2 times as
    likely as check, call and fold alike.
    """
    import string

    from surpass.engines import TabularEngine
    from surpass.measures import kuhn_exploitability

    alphabet = string.ascii_letters + string.digits + " .:?"
    models = Models(policy=TabularEngine(alphabet, size=64))
    report = models.run(kuhn_exploitability()(models, kuhn(opponent="self"), "test", 0))
    bet = (len(alphabet) + 1) ** 2 / ((len(alphabet) + 1) ** 2 + 1)
    bets = {info: 0.5 if info.endswith("b") else bet for info in EQUILIBRIUM}
    value, gap = exploitability(bets)
    assert report.mean("exploitability") == pytest.approx(gap / 2, abs=1e-5)
    assert report.mean("value") == pytest.approx(value, abs=1e-5)
    assert report.mean("words") == pytest.approx((len(alphabet) + 1.0) ** -5 * 2, rel=1e-3)


def test_play_against_opponents_is_counted_for_each():
    from surpass.measures import against

    models = Models(
        policy=ScriptedEngine(
            lambda text, key: "bet" if "check or bet" in text.rpartition("You:")[2] else "call"
        )
    )
    report = models.run(
        against(("random", "optimal"), n={"test": 64})(models, kuhn(opponent="self"), "test", 0)
    )
    m = report.metrics
    assert m["reward"]["n"] == 128 and m["reward/random"]["n"] == m["reward/optimal"]["n"] == 64
    assert m["reward"]["mean"] == pytest.approx(
        (m["reward/random"]["mean"] + m["reward/optimal"]["mean"]) / 2
    )
    assert m["illegal/random"]["mean"] == 0 if "illegal/random" in m else True
