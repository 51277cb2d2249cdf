"""A small house in text: find a thing, bring it to a room, drop it there; exact replay, and fewest turns
known exactly.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from surpass.errors import SurpassError
from surpass.models import Models
from surpass.parts import Oracle, Task
from surpass.tasks.splits import problem_id, unique
from surpass.types import Problem, Turn, fold

ROOMS = tuple("hall kitchen cellar attic garden study library garage bedroom bathroom porch pantry".split())
THINGS = tuple("lamp coin book cup rope hat ball spoon map bell box ring pen candle apple knife".split())
KEY = "key"
DIRECTIONS = {"north": (0, 1), "east": (1, 0), "south": (0, -1), "west": (-1, 0)}
HAND = "you"
"""The place of a thing that is carried; every other place is a room."""
COMMANDS = "Commands: go DIR, take THING, drop THING"

Node = tuple[str, str, str]
"""What matters for the goal: the player's room, the place of the thing to bring, the place of the key (""
without one).
"""


@dataclass(frozen=True)
class rooms(Task):
    """Bring a thing to a room, in a house that is explored by commands.

    `rooms` rooms (2 to 12) lie on a grid and hang together as a tree with up to `extra` more ways; `objects`
    things (1 to 16) lie in them. With `locks` = 1 one way is locked, passes only who carries the key, and has
    to be passed. An attempt may take `steps` turns; every world can be won in that many by who knows it. A
    reward of 1.0 is paid when the thing is dropped where it belongs, and check gives 0. Who has to find out
    first wins nearly always at the defaults (steps=16 with a lock).
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
        """Problems of a split in an order given by the seed. `answer` is the world, meta["distance"] its
        fewest turns.
        """
        return unique(lambda i: self._problem(random.Random(fold(seed, "rooms", i))), split)

    def _problem(self, rng: random.Random) -> Problem:
        while True:
            world = self._world(rng)
            turns = _plan(world, world["map"])[0] if world else None
            if turns is not None and turns <= self.steps:
                break
        prompt = (
            f"Goal: bring the {world['goal'][0]} to the {world['goal'][1]} and drop it there.\n"
            f"{_look(world)}\n{COMMANDS}"
        )
        # The same opening may hide different houses, so the name is that of all there is to see.
        return Problem(
            problem_id(f"rooms {json.dumps(world, sort_keys=True)}"), prompt, world, {"distance": turns}
        )

    def _world(self, rng: random.Random) -> dict[str, Any]:
        """A house, what lies where, the goal and the player's place; {} where the draw is of no use: its lock
        need not be passed.
        """
        names = rng.sample(ROOMS, self.rooms)
        house, locked = _house(rng, names, self.extra, self.locks)
        at = rng.choice(names)
        places = {thing: rng.choice(names) for thing in rng.sample(THINGS, self.objects)}
        thing = next(iter(places))
        target = rng.choice([name for name in names if name != places[thing]])
        if self.locks:
            near = _side(house, at, locked)
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

    async def step(self, models: Models, state, text: str) -> Turn:
        """What a command brings about. Every turn counts; a finished game stays as it is and pays nothing
        more.
        """
        return _after(state, text)

    async def check(self, models: Models, problem: Problem, text: str) -> float:
        """0.0: what an attempt is worth is paid by step."""
        return 0.0

    @property
    def oracle(self) -> RoomsOracle:
        """Fewest turns, and an explorer that knows no more than it has seen."""
        return RoomsOracle()


@dataclass(frozen=True)
class RoomsOracle(Oracle):
    """`act` plays by what the player has seen; `distance`, `value` and `slip` judge by the whole house."""

    def act(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """The next command of a shortest way to the goal, where what was seen shows one; else what brings it
        nearer: take what is needed, go where it was seen, go to the nearest exit that was not tried.
        """
        return rng.choice(_best(state))

    def slip(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """A possible command that wastes at least one turn: the wrong way, a thing of no use, a thing dropped
        too soon.

        Those that lose the game come first, then those `act` would not choose; a wall is run into only where
        every possible command is right.
        """
        before, best = self.distance(problem, state), _best(state)
        found = [
            (command, self.distance(problem, _after(state, command).state)) for command in _possible(state)
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
        """The fewest turns to success for a player who knows the whole house, however many are left; 0 after
        success.
        """
        turns = _plan(state, state["map"])[0]
        if turns is None:
            raise SurpassError(
                "a state was wanted that the task rooms made; in this one the goal is out of reach"
            )
        return turns

    def value(self, problem: Problem, state: Any, text: str = "") -> float:
        """1.0 if a player who knows the whole house can still succeed in the turns that are left (or has),
        else 0.0; a command in `text` is carried out first.
        """
        after = _after(state, text).state if text.strip() else state
        return float(self.distance(problem, after) <= after["left"])


def _house(
    rng: random.Random, names: list[str], extra: int, locks: int
) -> tuple[dict[str, dict[str, str]], list[str]]:
    """({room: {direction: room}}, the two rooms on either side of the locked way, or none)."""
    spots = {(0, 0): names[0]}
    ways = []
    for name in names[1:]:
        free = [
            ((x, y), (x + dx, y + dy))
            for x, y in spots
            for dx, dy in DIRECTIONS.values()
            if (x + dx, y + dy) not in spots
        ]
        here, there = rng.choice(free)
        spots[there] = name
        ways.append((spots[here], name))
    locked = sorted(rng.choice(ways)) if locks else []
    side = _side(_exits(spots, ways), names[0], locked)
    # A way around the lock would make the key worthless, so both ends of an extra way lie on one side of it.
    more = [
        (a, b)
        for a, b in _neighbours(spots)
        if not {(a, b), (b, a)} & set(ways) and (a in side) == (b in side)
    ]
    return _exits(spots, ways + rng.sample(more, min(extra, len(more)))), locked


def _neighbours(spots: dict[tuple[int, int], str]) -> list[tuple[str, str]]:
    """Each two rooms that lie side by side, once."""
    ahead = (DIRECTIONS["north"], DIRECTIONS["east"])
    return [
        (name, spots[x + dx, y + dy])
        for (x, y), name in spots.items()
        for dx, dy in ahead
        if (x + dx, y + dy) in spots
    ]


def _exits(spots: dict[tuple[int, int], str], ways: list[tuple[str, str]]) -> dict[str, dict[str, str]]:
    """{room: {direction: room}} of the ways, which join rooms side by side."""
    joined = {frozenset(way) for way in ways}
    house: dict[str, dict[str, str]] = {}
    for (x, y), name in spots.items():
        around = {way: spots.get((x + dx, y + dy), name) for way, (dx, dy) in DIRECTIONS.items()}
        house[name] = {way: there for way, there in around.items() if frozenset((name, there)) in joined}
    return house


def _side(house: dict[str, dict[str, str]], room: str, locked: list[str]) -> set[str]:
    """The rooms that can be reached from `room` without the key."""
    found, edge = {room}, [room]
    while edge:
        here = edge.pop()
        fresh = [
            there for there in house[here].values() if there not in found and sorted((here, there)) != locked
        ]
        found.update(fresh)
        edge += fresh
    return found


def _look(state: dict[str, Any]) -> str:
    """The line that is said in a room."""
    at = state["at"]
    exits = state["map"][at]
    ways = [
        f"{way} (locked)" if sorted((at, exits[way])) == state["locked"] else way
        for way in DIRECTIONS
        if way in exits
    ]
    things = sorted(thing for thing, place in state["places"].items() if place == at)
    return f"You are in the {at}. Exits: {', '.join(ways)}. You see: {', '.join(things) or 'nothing'}."


def _passes(state: dict[str, Any], here: str, there: str, key: str) -> bool:
    """Whether the way from `here` to `there` is open, the key being at `key`."""
    return key == HAND or sorted((here, there)) != state["locked"]


def _read(text: str) -> tuple[str, str] | None:
    """(verb, direction or thing) of one command, in capitals or not, with or without "the" and a full stop;
    None: no command.
    """
    words = (
        text.lower().strip().removesuffix(".").split() if len(text) < 100 and "\n" not in text.strip() else []
    )
    if len(words) == 3 and words[1] == "the":
        del words[1]
    if len(words) != 2 or words[0] not in ("go", "take", "drop"):
        return None
    known = words[1] in DIRECTIONS if words[0] == "go" else words[1] in THINGS or words[1] == KEY
    return (words[0], words[1]) if known else None


def _after(state: dict[str, Any], text: str) -> Turn:
    """The turn that a command brings about; see rooms.step."""
    thing, target = state["goal"]
    if state["left"] <= 0 or state["places"][thing] == target:
        return Turn(state)
    read = _read(text)
    new, said = _done(state, *read) if read else (state, f"That is no command. {COMMANDS}")
    refused = read is not None and new is state
    new = {**new, "left": state["left"] - 1}
    if new["places"][thing] == target:
        return Turn(new, reward={"policy": 1.0})
    over = new["left"] == 0
    counts = {"malformed": float(read is None), "refused": float(refused), "out_of_turns": float(over)}
    counts = {name: count for name, count in counts.items() if count}
    if over:
        return Turn(new, valid=read is not None, counts=counts)
    return Turn(new, {"policy": said}, "policy", valid=read is not None, counts=counts)


def _done(state: dict[str, Any], verb: str, what: str) -> tuple[dict[str, Any], str]:
    """(the new state, what is said); the very same state where the command is refused."""
    at, places = state["at"], state["places"]
    if verb == "go":
        there = state["map"][at].get(what)
        if there is None or not _passes(state, at, there, places.get(KEY, "")):
            return state, f"You cannot go {what}." if there is None else f"You cannot go {what}: locked."
        new = {**state, "at": there, "seen": state["seen"] + [there] * (there not in state["seen"])}
        return new, _look(new)
    if verb == "take":
        if places.get(what) != at:
            return state, f"There is no {what} here."
        return {**state, "places": {**places, what: HAND}}, f"Taken: {what}."
    if places.get(what) != HAND:
        return state, f"You have no {what}."
    return {**state, "places": {**places, what: at}}, f"Dropped: {what}."


def _possible(state: dict[str, Any]) -> list[str]:
    """Every command that is not refused."""
    at, places = state["at"], state["places"]
    ways = [
        f"go {way}"
        for way, to in sorted(state["map"][at].items())
        if _passes(state, at, to, places.get(KEY, ""))
    ]
    takes = [f"take {thing}" for thing in sorted(places) if places[thing] == at]
    return ways + takes + [f"drop {thing}" for thing in sorted(places) if places[thing] == HAND]


def _shortest(
    start: Node, moves: Callable[[Node], list[tuple[str, Node]]], done: Callable[[Node], bool]
) -> tuple[int | None, list[str]]:
    """(fewest commands to a node that is done, the first commands of all such ways, sorted); (None, []) if
    there is no way.
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
        if _passes(state, room, to, key)
    ]


def _plan(state: dict[str, Any], known: Collection[str]) -> tuple[int | None, list[str]]:
    """The shortest way to the goal through known rooms alone, as _shortest gives it. To drop a thing
    elsewhere never helps.
    """
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
    """The commands between which a player who has seen the rooms in `seen`, and no more, may choose freely;
    never empty.

    Rooms lie on a grid, so who has been in two neighbouring rooms knows the way between them, tried or not.
    What was done in a room is remembered: things lie where they were seen last.
    """
    seen, places, at = set(state["seen"]), state["places"], state["at"]
    firsts = _plan(state, seen)[1]
    if firsts:
        return firsts
    needed = (state["goal"][0], KEY)  # where there is a key it has to be used
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
    return fetch[1] or explore[1] or _possible(state)
