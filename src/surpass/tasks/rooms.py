"""A small house in text: find a thing, bring it to a room, drop it there. The fewest turns are known."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from surpass.errors import SurpassError
from surpass.models import Models
from surpass.parts import Oracle, Task
from surpass.tasks.rooms_house import (
    COMMANDS,
    DIRECTIONS,
    HAND,
    KEY,
    ROOMS,
    THINGS,
    built,
    look,
    passes,
    played,
    possible,
    side_of,
)
from surpass.tasks.splits import problem_id, unique
from surpass.types import Problem, Turn, fold

Node = tuple[str, str, str]
"""What matters for the goal: the player's room, the place of the thing to bring, the key's ("": no key)."""


@dataclass(frozen=True)
class rooms(Task):
    """Bring a thing to a room, in a house that is explored by commands.

    `rooms` rooms (2 to 12) lie on a grid, joined as a tree with up to `extra` more ways; `objects` things (1
    to 16) lie in them. With `locks` = 1 one way is locked: it opens only to whoever carries the key, and the
    goal lies behind it. An attempt may take `steps` turns; a player who knows the house can always win in as
    many, and one who has to explore it nearly always does at the defaults (steps=16 with a lock). A reward of
    1.0 is paid when the thing is dropped where it belongs; check gives 0.
    """

    rooms: int = 5
    objects: int = 3
    steps: int = 12
    extra: int = 1
    locks: int = 0

    def __post_init__(self) -> None:
        fits = (
            2 <= self.rooms <= len(ROOMS)
            and 1 <= self.objects <= len(THINGS)
            and self.extra >= 0
            and self.locks in (0, 1)
        )
        if not fits or self.steps < 3 + self.locks:
            raise SurpassError(
                f"rooms needs rooms from 2 to {len(ROOMS)}, objects from 1 to {len(THINGS)}, extra >= 0, "
                f"locks 0 or 1 and steps >= 3 (4 with a lock); found {self}"
            )

    def problems(self, split: str, seed: int) -> Iterator[Problem]:
        """Problems of a split, ordered by the seed. `answer` is the world, meta["distance"] fewest turns."""
        return unique(lambda i: self._problem(random.Random(fold(seed, "rooms", i))), split)

    def _problem(self, rng: random.Random) -> Problem:
        while True:
            world = self._world(rng)
            turns = _plan(world, world["map"])[0] if world else None
            if turns is not None and turns <= self.steps:
                break
        prompt = (
            f"Goal: bring the {world['goal'][0]} to the {world['goal'][1]} and drop it there.\n"
            f"{look(world)}\n{COMMANDS}"
        )
        # different houses may have the same opening, so the id is that of the whole world
        return Problem(
            problem_id(f"rooms {json.dumps(world, sort_keys=True)}"), prompt, world, {"distance": turns}
        )

    def _world(self, rng: random.Random) -> dict[str, Any]:
        """A house, what lies where, the goal, and the player's place; {} where no lock need be passed."""
        names = rng.sample(ROOMS, self.rooms)
        house, locked = built(rng, names, self.extra, self.locks)
        at = rng.choice(names)
        places = {thing: rng.choice(names) for thing in rng.sample(THINGS, self.objects)}
        thing = next(iter(places))
        target = rng.choice([name for name in names if name != places[thing]])
        if self.locks:
            near = side_of(house, at, locked)
            if places[thing] in near and target in near:
                return {}
            places[KEY] = rng.choice([name for name in names if name in near])
        return {"map": house, "locked": locked, "places": places, "goal": [thing, target], "at": at}

    async def start(self, models: Models, problem: Problem) -> Turn:
        """The state is the world, `seen` (the rooms the player has been in, in order) and `left` (turns)."""
        world = problem.answer
        return Turn(
            {**world, "seen": [world["at"]], "left": self.steps}, {"policy": problem.prompt}, "policy"
        )

    async def step(self, models: Models, state: Any, text: str) -> Turn:
        """What a command brings about. Every turn counts; a finished game stays as it is and pays no more."""
        return played(state, text)

    async def check(self, models: Models, problem: Problem, text: str) -> float:
        """0.0: what an attempt is worth is paid by step."""
        return 0.0

    @property
    def oracle(self) -> RoomsOracle:
        """An explorer that knows only what it has seen, and the exact number of fewest turns."""
        return RoomsOracle()


@dataclass(frozen=True)
class RoomsOracle(Oracle):
    """`act` plays by what the player has seen; `distance`, `value` and `slip` judge by the whole house."""

    def act(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """The next command of a shortest way to the goal, if what was seen shows one; else take what is
        needed, or go to where it was seen, or go to the nearest room that was not seen.
        """
        return rng.choice(_best(state))

    def slip(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """A possible command that wastes at least one turn: a wrong way, a useless thing, a drop too soon.

        Commands that lose the game come first, then those that `act` would not choose. Only where every
        possible command is right does it run into a wall.
        """
        before, best = self.distance(problem, state), _best(state)
        found = [
            (command, self.distance(problem, played(state, command).state)) for command in possible(state)
        ]
        wasted = [(command, after) for command, after in found if after >= before]
        for some in (
            [command for command, after in wasted if before <= state["left"] and after > state["left"] - 1],
            [command for command, _ in wasted if command not in best],
            [command for command, _ in wasted],
        ):
            if some:
                return rng.choice(some)
        walls = [way for way in DIRECTIONS if way not in state["map"][state["at"]]]
        return f"go {rng.choice(walls)}" if walls else f"drop {state['goal'][0]}"

    def distance(self, problem: Problem, state: Any) -> int:
        """The fewest turns to success for a player who knows the house, `left` or not; 0 after success."""
        turns = _plan(state, state["map"])[0]
        if turns is None:
            raise SurpassError(
                "a state was wanted that the task rooms made; in this one the goal is out of reach"
            )
        return turns

    def value(self, problem: Problem, state: Any, text: str = "") -> float:
        """1.0 if a player who knows the whole house has succeeded or still can in the turns left, else 0.0;
        a command in `text` is carried out first.
        """
        after = played(state, text).state if text.strip() else state
        return float(self.distance(problem, after) <= after["left"])


def _shortest(
    start: Node, moves: Callable[[Node], list[tuple[str, Node]]], done: Callable[[Node], bool]
) -> tuple[int | None, list[str]]:
    """(fewest commands to a node that is done, the first commands of all shortest ways, sorted); (None, [])
    where no way leads to one.
    """
    layer: dict[Node, set[str]] = {start: set()}
    old = {start}
    depth = 0
    while layer:
        ends = [firsts for node, firsts in layer.items() if done(node)]
        if ends:
            return depth, sorted(set().union(*ends))
        after: dict[Node, set[str]] = {}
        for node, firsts in layer.items():
            for command, new in moves(node):
                if new not in old:
                    after.setdefault(new, set()).update(firsts or {command})
        old.update(after)
        layer = after
        depth += 1
    return None, []


def _node(state: dict[str, Any]) -> Node:
    return state["at"], state["places"][state["goal"][0]], state["places"].get(KEY, "")


def _walks(state: dict[str, Any], node: Node) -> list[tuple[str, Node]]:
    """The open ways out of a room, and where they lead."""
    room, thing, key = node
    return [
        (f"go {way}", (to, thing, key))
        for way, to in state["map"][room].items()
        if passes(state, room, to, key)
    ]


def _plan(state: dict[str, Any], known: Collection[str]) -> tuple[int | None, list[str]]:
    """_shortest to the goal through `known` rooms alone. To drop a thing elsewhere never helps."""
    name, target = state["goal"]

    def moves(node: Node) -> list[tuple[str, Node]]:
        room, thing, key = node
        found = [(command, new) for command, new in _walks(state, node) if new[0] in known]
        if thing == room:
            found.append((f"take {name}", (room, HAND, key)))
        if key == room:
            found.append((f"take {KEY}", (room, thing, HAND)))
        if thing == HAND and room == target:
            found.append((f"drop {name}", (room, room, key)))
        return found

    return _shortest(_node(state), moves, lambda node: node[1] == target)


def _best(state: dict[str, Any]) -> list[str]:
    """The equally good commands of a player who has seen only the rooms in `seen`; never empty.

    Rooms lie on a grid, so a player who has been in two neighbouring rooms knows the way between them, tried
    or not. The player remembers what it did in a room: things lie where they were seen last.
    """
    seen, places, at = set(state["seen"]), state["places"], state["at"]
    firsts = _plan(state, seen)[1]
    if firsts:
        return firsts
    needed = (state["goal"][0], KEY)  # if there is a key, it is needed
    for name in needed:
        if places.get(name) == at:
            return [f"take {name}"]
    wanted = {places[name] for name in needed if places.get(name) in seen}
    fetch = _shortest(
        _node(state),
        lambda node: [move for move in _walks(state, node) if move[1][0] in seen],
        lambda node: node[0] in wanted,
    )
    explore = _shortest(_node(state), lambda node: _walks(state, node), lambda node: node[0] not in seen)
    return fetch[1] or explore[1] or possible(state)
