"""SPIRAL on Kuhn poker with a policy whose every probability is known: self-play against the same loop with
shuffled rewards, with one baseline for both seats, and against a fixed opponent. How noisy its gradient is,
on tic-tac-toe between random players.
"""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import islice

import numpy as np
from at_once import at_once
from poker import RANDOM, head_to_head, known, letters, player

from conftest import listed
from surpass import advantages, gates, measures, rewards, searches
from surpass.engines import ScriptedEngine
from surpass.loop import improve
from surpass.methods.spiral_games import spiral_games
from surpass.models import Models
from surpass.searches.round import search_all
from surpass.tasks.game_values import exploitability as exact
from surpass.tasks.tictactoe import tictactoe
from surpass.types import Column, Memory

SEEDS, ROUNDS, GAMES = (1, 2, 3), 60, 1024


def exploitability(bets: dict[str, float]) -> float:
    """In chips."""
    return exact(bets)[1] / 2


@dataclass(frozen=True)
class shuffled:
    """The control: what a game paid goes to its players in random order."""

    async def __call__(self, models, task, trees):
        columns = await rewards.outcome()(models, task, trees)
        return [
            Column("node", c.values * (1 if tree.key % 2 else -1))
            for tree, c in zip(trees, columns, strict=True)
        ]


def trained(
    seed: int, control: bool = False, apart: bool = True, opponent: str = "self"
) -> tuple[dict[str, float], float]:
    """What `known` says after ROUNDS rounds. One side alone is learnt from against a fixed opponent, so there
    are twice the games then.
    """
    models, games = player(), 96 if opponent == "self" else 192
    method = spiral_games(problems=games, max_tokens=1, apart=apart, lr=0.1, updates=1, every=10**6)
    exam = measures.sized(measures.answers(searches.samples(1)), {"gate": 1, "test": 1})
    method = dataclasses.replace(method, gate=gates.always(every=10**6), exam=exam)
    if control:
        method = dataclasses.replace(method, scores={"outcome": shuffled()})
    models.run(improve(method, letters(opponent=opponent), models, rounds=ROUNDS, seed=seed))
    return known(models)


def anywhere(text: str, key: int) -> str:
    """A free square of the last board, each as likely."""
    board = re.findall(r"[XO.]{3}\n[XO.]{3}\n[XO.]{3}", text)[-1].replace("\n", "")
    free = [i for i, mark in enumerate(board) if mark == "."]
    return str(np.random.default_rng(key).choice(free) + 1)


def gradient_variances(seed: int) -> tuple[float, float]:
    """The trace of the covariance of a game's policy gradient, with a baseline a seat and with one for both,
    for a table with a row for every board that plays at random: a move's gradient is A (1[move] - 1 / free)
    over the free squares of its board.
    """
    models, task = Models(policy=ScriptedEngine(anywhere)), tictactoe(opponent="self", opening=0)
    problems = list(islice(task.problems("train", seed), GAMES))
    trees = models.run(search_all(searches.samples(1, 1.0, 4), models, task, problems, seed))
    for tree, column in zip(trees, models.run(rewards.outcome()(models, task, trees)), strict=True):
        tree.put("outcome", column)
    found = []
    for apart in (True, False):
        square, halves = 0.0, [defaultdict(float), defaultdict(float)]
        for k, (tree, columns) in enumerate(
            zip(trees, advantages.seats(apart=apart)(trees, Memory()), strict=True)
        ):
            turns, played = [node for node, author in enumerate(tree.author) if author != "task"], ()
            for node in turns:  # in the order of time
                free, credit = (
                    [i for i in range(9) if i not in played],
                    float(columns["advantage"].values[node]),
                )
                move = int(models.text(tree.author[node], tree, node)[-1]) - 1
                board = frozenset(played[0::2]), frozenset(played[1::2])
                for i in free:
                    slope = credit * ((i == move) - 1 / len(free))
                    square += slope**2 / GAMES
                    halves[k % 2][board, i] += slope * 2 / GAMES
                played = (*played, move)
        # two halves: no bias
        found.append(square - sum(value * halves[1][key] for key, value in halves[0].items()))
    return found[0], found[1]


def test_claims(claims):
    before = exploitability(RANDOM)
    kinds = (False, True, "self"), (True, True, "self"), (False, True, "random"), (False, False, "self")
    real, control, tame, both, noise = at_once(
        *((trained, [(seed, *kind) for seed in SEEDS]) for kind in kinds),
        (gradient_variances, [(seed,) for seed in SEEDS]),
    )
    ends, ends_control = [exploitability(r[0]) for r in real], [exploitability(c[0]) for c in control]
    claims.primary(
        "self-play from random moves brings exploitability below half of where it was",
        [before / 2 - e for e in ends],
        f"{before:.3f} -> {listed(ends)} chips",
        least=0.02,
    )
    claims.secondary(
        "shuffled rewards do not",
        [e - before / 2 for e in ends_control],
        f"{before:.3f} -> {listed(ends_control)}",
        least=0.02,
    )
    claims.secondary(
        "fewer than 2% of the moves are illegal in the end",
        [0.02 - r[1] for r in real],
        listed([r[1] for r in real]),
        least=0.005,
    )
    duels = [head_to_head(r[0], t[0]) for r, t in zip(real, tame, strict=True)]
    claims.secondary(
        "it wins more than 55% of the games against what training against a random opponent comes to, "
        "on as many turns",
        [won - 0.55 for won, _ in duels],
        f"{listed([won for won, _ in duels])} ({listed([chips for _, chips in duels])} chips a game)",
        least=0.02,
    )
    easy = [head_to_head(r[0], RANDOM) for r in real]
    claims.secondary(
        "against the random moves that it began with it wins chips",
        [chips for _, chips in easy],
        f"{listed([chips for _, chips in easy])} a game",
        least=0.02,
    )
    shared = [head_to_head(run[0], RANDOM) for run in both]
    claims.secondary(
        "and at most a hundredth of a chip less than with one baseline for both seats",
        [a[1] - b[1] + 0.01 for a, b in zip(easy, shared, strict=True)],
        f"{listed([chips for _, chips in easy])} against {listed([chips for _, chips in shared])}",
        least=0.005,
    )
    claims.secondary(
        "tic-tac-toe between random players: a baseline a seat makes the gradient's variance smaller "
        "than one for both",
        [one - apart for apart, one in noise],
        f"{listed([a for a, _ in noise])} against {listed([b for _, b in noise])}",
        least=0.1,
    )
