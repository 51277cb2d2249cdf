"""A grid with a key, a door and a goal, and a small learner in it, on which reward functions are tried."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

ACTIONS = ("up", "down", "left", "right")
World = Mapping[str, Any]
State = dict[str, Any]


def move(world: World, state: State, action: str) -> State:
    """The state after an action. A wall, the world's edge and the door without the key leave the agent where
    it is.
    """
    row = state["row"] + {"up": -1, "down": 1}.get(action, 0)
    column = state["column"] + {"left": -1, "right": 1}.get(action, 0)
    inside = 0 <= row < world["size"] and 0 <= column < world["size"]
    door = [row, column] == world["door"] and state["has_key"]
    if not inside or (column == world["wall"] and not door):
        row, column = state["row"], state["column"]
    return {"row": row, "column": column, "has_key": state["has_key"] or [row, column] == world["key"]}


def make(size: int, rng: random.Random) -> World:
    """A world with a wall from top to bottom: left of it the start and the key, right of it the goal."""
    wall = size // 2 + rng.randrange(-1, 1)
    left = [[r, c] for r in range(size) for c in range(wall)]
    start, key = rng.sample(left, 2)
    return {
        "size": size,
        "wall": wall,
        "door": [rng.randrange(size), wall],
        "key": key,
        "start": start,
        "goal": [rng.randrange(size), rng.randrange(wall + 1, size)],
    }


class Grid:
    """Every state of a world, numbered: states [S], after[S, 4] (the number of the state after each action),
    goal[S] (whether it is the goal), and the number of the start.
    """

    def __init__(self, world: World):
        size, door = world["size"], world["door"]
        cells = [(r, c) for r in range(size) for c in range(size) if c != world["wall"] or [r, c] == door]
        self.states = [
            {"row": r, "column": c, "has_key": has}
            for has in (False, True)
            for r, c in cells
            if has or [r, c] not in (world["key"], door)
        ]
        number = {tuple(state.values()): i for i, state in enumerate(self.states)}
        self.after = np.array(
            [[number[tuple(move(world, s, a).values())] for a in ACTIONS] for s in self.states]
        )
        self.goal = np.array([[s["row"], s["column"]] == world["goal"] for s in self.states])
        self.start = number[(*world["start"], False)]

    def steps(self) -> Iterator[tuple[State, str, State]]:
        """(state, action, state after it) in the order of after.ravel()."""
        for state, row in zip(self.states, self.after, strict=True):
            for action, there in zip(ACTIONS, row, strict=True):
                yield state, action, self.states[there]


class Record(NamedTuple):
    """What training brought at C checkpoints, all float[C]: the share of agents whose greedy walk reaches the
    goal, the mean length of these walks, and the mean of each part of the reward per training step since the
    last checkpoint.
    """

    success: np.ndarray
    length: np.ndarray
    parts: dict[str, np.ndarray]


def learn(
    grid: Grid,
    reward: np.ndarray,
    parts: Mapping[str, np.ndarray],
    episodes: int,
    agents: int,
    seed: int,
    checkpoints: int = 10,
    horizon: int = 0,
    rate: float = 0.5,
    discount: float = 0.97,
    random_moves: float = 0.2,
) -> Record:
    """Train `agents` independent Q-learners, Q(s, a) += rate (r + discount max Q(s', .) - Q(s, a)).

    An episode has at most `horizon` steps (0: four times the square root of the number of states);
    `random_moves` is the share of random moves. `reward` and `parts` are [S, 4].
    """
    rng, count = np.random.default_rng(seed), len(grid.states)
    horizon = horizon or int(4 * np.sqrt(count))
    q, who, visits = np.zeros((agents, count, 4)), np.arange(agents), np.zeros((count, 4))
    success, lengths = [], []
    logged: dict[str, list[float]] = {name: [] for name in parts}
    for episode in range(1, episodes + 1):
        state, live = np.full(agents, grid.start), np.ones(agents, bool)
        for _ in range(horizon):
            guess = q[who, state] + 1e-9 * rng.random((agents, 4))  # ties are broken by chance
            action = np.where(
                rng.random(agents) < random_moves, rng.integers(4, size=agents), guess.argmax(1)
            )
            there = grid.after[state, action]
            target = reward[state, action] + discount * np.where(grid.goal[there], 0.0, q[who, there].max(1))
            q[who, state, action] += np.where(live, rate * (target - q[who, state, action]), 0.0)
            np.add.at(visits, (state[live], action[live]), 1)
            live &= ~grid.goal[there]
            state = there
            if not live.any():
                break
        if episode * checkpoints // episodes > (episode - 1) * checkpoints // episodes:
            reached, length = _walks(grid, q, horizon)
            success.append(reached.mean())
            lengths.append(length.mean())
            for name, values in parts.items():
                logged[name].append(float((visits * values).sum() / visits.sum()))
            visits[:] = 0
    return Record(
        np.array(success), np.array(lengths), {name: np.array(values) for name, values in logged.items()}
    )


def _walks(grid: Grid, q: np.ndarray, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """(reached bool[agents], steps [agents]) of greedy walks from the start."""
    agents = np.arange(len(q))
    state, length = np.full(len(q), grid.start), np.zeros(len(q))
    for _ in range(horizon):
        live = ~grid.goal[state]
        length += live
        state = np.where(live, grid.after[state, q[agents, state].argmax(1)], state)
    return grid.goal[state], length
