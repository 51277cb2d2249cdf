"""The house of the task rooms: how one is built, what is told in it, and what a command does."""

from __future__ import annotations

import random
from typing import Any

from surpass.types import Turn

ROOMS = tuple("hall kitchen cellar attic garden study library garage bedroom bathroom porch pantry".split())
THINGS = tuple("lamp coin book cup rope hat ball spoon map bell box ring pen candle apple knife".split())
KEY = "key"
DIRECTIONS = {"north": (0, 1), "east": (1, 0), "south": (0, -1), "west": (-1, 0)}
HAND = "you"
"""The place of a thing that the player carries; every other place is a room."""
COMMANDS = "Commands: go DIR, take THING, drop THING"


def built(
    rng: random.Random, names: list[str], extra: int, locks: int
) -> tuple[dict[str, dict[str, str]], list[str]]:
    """({room: {direction: room}}, the two rooms that the locked way joins, or [])."""
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
    side = side_of(_exits(spots, ways), names[0], locked)
    # a way around the lock would make the key useless, so both ends of an extra way lie on one side of it
    more = [
        (a, b)
        for a, b in _neighbours(spots)
        if not {(a, b), (b, a)} & set(ways) and (a in side) == (b in side)
    ]
    return _exits(spots, ways + rng.sample(more, min(extra, len(more)))), locked


def _neighbours(spots: dict[tuple[int, int], str]) -> list[tuple[str, str]]:
    """Every pair of rooms that lie side by side, once."""
    ahead = (DIRECTIONS["north"], DIRECTIONS["east"])
    return [
        (name, spots[x + dx, y + dy])
        for (x, y), name in spots.items()
        for dx, dy in ahead
        if (x + dx, y + dy) in spots
    ]


def _exits(spots: dict[tuple[int, int], str], ways: list[tuple[str, str]]) -> dict[str, dict[str, str]]:
    """{room: {direction: room}} of ways between rooms that lie side by side."""
    joined = {frozenset(way) for way in ways}
    house: dict[str, dict[str, str]] = {}
    for (x, y), name in spots.items():
        around = {way: spots.get((x + dx, y + dy), name) for way, (dx, dy) in DIRECTIONS.items()}
        house[name] = {way: there for way, there in around.items() if frozenset((name, there)) in joined}
    return house


def side_of(house: dict[str, dict[str, str]], room: str, locked: list[str]) -> set[str]:
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


def look(state: dict[str, Any]) -> str:
    """The line that tells what is in a room."""
    at = state["at"]
    exits = state["map"][at]
    ways = [
        f"{way} (locked)" if sorted((at, exits[way])) == state["locked"] else way
        for way in DIRECTIONS
        if way in exits
    ]
    things = sorted(thing for thing, place in state["places"].items() if place == at)
    return f"You are in the {at}. Exits: {', '.join(ways)}. You see: {', '.join(things) or 'nothing'}."


def passes(state: dict[str, Any], here: str, there: str, key: str) -> bool:
    """Whether the way from `here` to `there` is open while the key is at `key`."""
    return key == HAND or sorted((here, there)) != state["locked"]


def _read(text: str) -> tuple[str, str] | None:
    """(verb, direction or thing) of a command; case, "the" and a full stop do not matter; None for others."""
    words = (
        text.lower().strip().removesuffix(".").split() if len(text) < 100 and "\n" not in text.strip() else []
    )
    if len(words) == 3 and words[1] == "the":
        del words[1]
    if len(words) != 2 or words[0] not in ("go", "take", "drop"):
        return None
    known = words[1] in DIRECTIONS if words[0] == "go" else words[1] in THINGS or words[1] == KEY
    return (words[0], words[1]) if known else None


def played(state: dict[str, Any], text: str) -> Turn:
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
    """(the new state, what is said); the very same object where the command is refused."""
    at, places = state["at"], state["places"]
    if verb == "go":
        there = state["map"][at].get(what)
        if there is None or not passes(state, at, there, places.get(KEY, "")):
            return state, f"You cannot go {what}." if there is None else f"You cannot go {what}: locked."
        new = {**state, "at": there, "seen": state["seen"] + [there] * (there not in state["seen"])}
        return new, look(new)
    if verb == "take":
        if places.get(what) != at:
            return state, f"There is no {what} here."
        return {**state, "places": {**places, what: HAND}}, f"Taken: {what}."
    if places.get(what) != HAND:
        return state, f"You have no {what}."
    return {**state, "places": {**places, what: at}}, f"Dropped: {what}."


def possible(state: dict[str, Any]) -> list[str]:
    """Every command that is not refused."""
    at, places = state["at"], state["places"]
    ways = [
        f"go {way}"
        for way, to in sorted(state["map"][at].items())
        if passes(state, at, to, places.get(KEY, ""))
    ]
    takes = [f"take {thing}" for thing in sorted(places) if places[thing] == at]
    return ways + takes + [f"drop {thing}" for thing in sorted(places) if places[thing] == HAND]
