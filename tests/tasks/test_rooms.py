"""rooms: exact distances against search through step, an explorer that knows only what it saw, and commands
of any kind.
"""

from __future__ import annotations

import asyncio
import copy
import json
import random
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surpass.errors import SurpassError
from surpass.tasks.rooms import rooms
from surpass.tasks.rooms_house import DIRECTIONS, KEY
from surpass.tasks.splits import SHARES, split_of

TASKS = [
    rooms(),
    rooms(rooms=6, extra=2, locks=1, steps=16),
    rooms(rooms=2, objects=1, steps=3, extra=0),
    rooms(rooms=12, objects=9, steps=40),
]
IDS = ["default", "locked", "tiny", "large"]


def some(task, n=30, split="train", seed=0):
    return list(islice(task.problems(split, seed), n))


def start(task, problem):
    return asyncio.run(task.start(None, problem))


def step(task, state, text):
    return asyncio.run(task.step(None, state, text))


def commands(state):
    """Every command worth a try, whatever the rules make of it."""
    things = sorted(state["places"])
    return [f"go {way}" for way in DIRECTIONS] + [
        f"{verb} {thing}" for verb in ("take", "drop") for thing in things
    ]


def searched(task, state, limit=14):
    """The fewest turns to a reward, by trying every command in every state; None beyond the limit."""

    def key(s):
        return json.dumps([s["at"], s["places"]], sort_keys=True)

    layer, old = [{**state, "left": 10**6}], set()
    for depth in range(1, limit):
        after = []
        for here in layer:
            for command in commands(here):
                turn = step(task, here, command)
                if turn.reward:
                    return depth
                if key(turn.state) not in old:
                    old.add(key(turn.state))
                    after.append(turn.state)
        layer = after
    return None


def wander(task, problem, rng, turns):
    """A state after some random commands that did not end the game."""
    state = start(task, problem).state
    for _ in range(turns):
        turn = step(task, state, rng.choice(commands(state)))
        if turn.player:
            state = turn.state
    return state


def played(task, problem, rng):
    """(turns, [(state, command)], the last Turn) of the oracle's game."""
    turn, past = start(task, problem), []
    while turn.player:
        command = task.oracle.act(problem, turn.state, rng)
        past.append((turn.state, command))
        turn = step(task, turn.state, command)
    return past, turn


@pytest.mark.parametrize(
    "task", [rooms(rooms=4, objects=2, extra=1), rooms(rooms=4, objects=1, locks=1)], ids=["open", "locked"]
)
def test_distance_and_value_agree_with_search_through_step(task):
    rng = random.Random(1)
    wandered = 0
    for problem in some(task, 12):
        late = played(task, problem, rng)[0][-1][0]
        states = [start(task, problem).state, wander(task, problem, rng, 6), late]
        for state in [*states, step(task, late, f"drop {KEY}").state]:
            turns = searched(task, state)
            assert turns is not None and task.oracle.distance(problem, state) == turns
            for left in (turns - 1, turns):
                assert task.oracle.value(problem, {**state, "left": left}) == float(left >= turns)
            wandered += turns != problem.meta["distance"]
    assert wandered > 3, "states that differ from the first ones were wanted"


@pytest.mark.parametrize("task", TASKS, ids=IDS)
def test_every_problem_can_be_won_in_time_and_the_house_is_as_the_knobs_say(task):
    for problem in some(task):
        state = start(task, problem).state
        assert (
            problem.meta["distance"] == task.oracle.distance(problem, state) <= task.steps
            and problem.meta["distance"] >= 3
        )
        assert task.oracle.value(problem, state) == 1
        house = state["map"]
        ways = [(room, way, there) for room in house for way, there in house[room].items()]
        back = {"north": "south", "south": "north", "east": "west", "west": "east"}
        assert len(house) == task.rooms and all(house[there][back[way]] == room for room, way, there in ways)
        assert 2 * (task.rooms - 1) <= len(ways) <= 2 * (task.rooms - 1 + task.extra)
        assert len(state["places"]) == task.objects + task.locks and set(state["places"].values()) <= set(
            house
        )
        assert state["goal"][0] != KEY and state["places"][state["goal"][0]] != state["goal"][1]


def test_the_lock_has_to_be_passed_and_asks_for_the_key():
    task, refused = TASKS[1], 0
    for problem in some(task):
        state = start(task, problem).state
        nowhere = {**state, "places": {**state["places"], KEY: "nowhere"}}
        with pytest.raises(SurpassError, match="out of reach"):
            task.oracle.distance(problem, nowhere)
        door = state["locked"]
        for here, there in (door, door[::-1]):
            (way,) = [way for way, to in state["map"][here].items() if to == there]
            turn = step(task, {**state, "at": here}, f"go {way}")
            assert (
                turn.state["at"] == here
                and turn.counts == {"refused": 1}
                and turn.say["policy"] == f"You cannot go {way}: locked."
            )
            turn = step(task, {**state, "at": here, "places": {**state["places"], KEY: "you"}}, f"go {way}")
            assert turn.state["at"] == there and "(locked)" in turn.say["policy"]
            refused += 1
    assert refused == 60


@pytest.mark.parametrize("task, share", zip(TASKS, (0.97, 0.97, 1.0, 0.97), strict=True), ids=IDS)
def test_the_oracles_games_are_won(task, share):
    rng, won, lengths = random.Random(0), 0.0, []
    problems = some(task, 100)
    for problem in problems:
        past, last = played(task, problem, rng)
        won += last.reward.get("policy", 0)
        assert len(past) <= task.steps and (bool(last.reward) or last.counts == {"out_of_turns": 1})
        lengths.append(len(problem.prompt) + sum(len(command) + 55 for _, command in past))
        for state, command in past:
            if set(state["seen"]) == set(state["map"]):
                after = step(task, state, command).state
                assert task.oracle.distance(problem, after) == task.oracle.distance(problem, state) - 1, (
                    "nothing is left to find"
                )
    assert won >= share * len(problems)
    if task == rooms():
        assert 300 < sum(lengths) / len(lengths) < 700


@pytest.mark.parametrize("task", TASKS[1::2], ids=IDS[1::2])
def test_the_oracle_acts_on_what_was_seen_alone(task):
    """Rooms that were not seen change names, and the things in them places: the command stays the same."""
    rng, hidden, moved = random.Random(3), 0, 0
    for problem in some(task, 40):
        for state, _ in played(task, problem, random.Random(5))[0]:
            unseen = [room for room in state["map"] if room not in state["seen"]]
            names = dict(zip(unseen, rng.sample(unseen, len(unseen)), strict=True))
            other = copy.deepcopy(state)
            other["map"] = {
                names.get(room, room): {way: names.get(to, to) for way, to in sorted(exits.items())}
                for room, exits in sorted(state["map"].items())
            }
            other["locked"] = sorted(names.get(room, room) for room in state["locked"])
            for thing, place in state["places"].items():
                if place in unseen:
                    other["places"][thing] = rng.choice(unseen)
                    moved += 1
            acts = [task.oracle.act(problem, s, random.Random(9)) for s in (state, other)]
            assert acts[0] == acts[1]
            hidden += len(unseen) > 1
    assert hidden > 100 and moved > 50


@pytest.mark.parametrize("task", TASKS, ids=IDS)
def test_slips_waste_a_turn_and_lose_the_game_where_they_can(task):
    rng, lost, kinds = random.Random(2), 0, set()
    for problem in some(task, 12):
        states = [state for state, _ in played(task, problem, rng)[0]] + [wander(task, problem, rng, 4)]
        for state in states:
            oracle = task.oracle
            command = oracle.slip(problem, state, rng)
            after = step(task, state, command)
            assert after.valid and not after.reward
            assert oracle.distance(problem, after.state) >= oracle.distance(problem, state)
            tight = {**state, "left": oracle.distance(problem, state)}
            assert (
                oracle.value(problem, tight) == 1
                and oracle.value(problem, tight, oracle.slip(problem, tight, rng) + "\n") == 0
            )
            loses = [
                c
                for c in commands(state)
                if not step(task, state, c).counts.get("refused") and oracle.value(problem, state, c) == 0
            ]
            if loses:
                assert oracle.value(problem, state, command) == 0
                lost += 1
            elif after.counts.get("refused"):
                possible = [step(task, state, c) for c in commands(state)]
                ahead = oracle.distance(problem, state)
                assert all(
                    oracle.distance(problem, t.state) < ahead for t in possible if not t.counts.get("refused")
                )
            kinds.add(command.split()[0])
    assert lost > 0 if task.steps < 40 else kinds == {"go", "take", "drop"}


def test_what_is_said_word_for_word():
    task = rooms(rooms=2, objects=2, extra=0)
    world = {
        "map": {"hall": {"north": "study"}, "study": {"south": "hall"}},
        "locked": [],
        "places": {"lamp": "study", "cup": "hall"},
        "goal": ["lamp", "hall"],
        "at": "hall",
    }
    state = {**world, "seen": ["hall"], "left": 12}
    said = []
    for text in (
        "go west",
        "take lamp",
        "drop cup",
        "look",
        "Take the cup.",
        "drop cup",
        "go north",
        "take lamp",
        "go south",
    ):
        turn = step(task, state, text)
        said.append((turn.say["policy"], turn.valid, dict(turn.counts)))
        state = turn.state
    assert said == [
        ("You cannot go west.", True, {"refused": 1}),
        ("There is no lamp here.", True, {"refused": 1}),
        ("You have no cup.", True, {"refused": 1}),
        ("That is no command. Commands: go DIR, take THING, drop THING", False, {"malformed": 1}),
        ("Taken: cup.", True, {}),
        ("Dropped: cup.", True, {}),
        ("You are in the study. Exits: south. You see: lamp.", True, {}),
        ("Taken: lamp.", True, {}),
        ("You are in the hall. Exits: north. You see: cup.", True, {}),
    ]
    last = step(task, state, "drop lamp")
    assert last.player is None and last.reward == {"policy": 1.0} and last.state["left"] == 2
    assert task.oracle.value(None, last.state) == 1 and task.oracle.distance(None, last.state) == 0
    assert step(task, last.state, "take lamp") == (last.state, {}, None, {}, True, {}), "a won game pays once"
    late = step(task, {**state, "left": 1}, "go north")
    assert (
        late.player is None
        and not late.reward
        and late.counts == {"out_of_turns": 1}
        and task.oracle.value(None, late.state) == 0
    )
    assert step(task, {**state, "left": 1}, "drop lamp").reward == {"policy": 1.0}, "the last turn counts"
    assert step(task, late.state, "drop lamp").reward == {}


@pytest.mark.parametrize("task", TASKS, ids=IDS)
def test_splits_share_no_house(task):
    seen = {split: some(task, 40 if task.rooms > 2 else 20, split, 3) for split in SHARES}
    houses = {split: {json.dumps(p.answer, sort_keys=True) for p in found} for split, found in seen.items()}
    assert all(len(houses[split]) == len(seen[split]) >= 20 for split in SHARES)
    assert (
        not houses["train"] & houses["test"]
        and not houses["train"] & houses["gate"]
        and not houses["gate"] & houses["test"]
    )
    for split, found in seen.items():
        assert all(split_of(p.id) == split for p in found)
        assert found == some(task, len(found), split, 3) and [p.id for p in found] != [
            p.id for p in some(task, len(found), split, 4)
        ]
        assert all(set(p.prompt) <= {chr(i) for i in range(32, 127)} | {"\n"} for p in found)


@pytest.mark.parametrize("task", TASKS, ids=IDS)
def test_states_are_json_and_are_not_changed(task):
    rng = random.Random(4)
    for problem in some(task, 8):
        world = copy.deepcopy(problem.answer)
        state = start(task, problem).state
        for _ in range(10):
            before = copy.deepcopy(state)
            copied = json.loads(json.dumps(state, sort_keys=True))
            assert copied == state
            command = rng.choice(
                [*commands(state), "nonsense", task.oracle.act(problem, state, random.Random(1))]
            )
            turn = step(task, state, command)
            assert state == before and step(task, copied, command) == turn == step(task, state, command)
            for play in (task.oracle.act, task.oracle.slip):
                assert play(problem, copied, random.Random(7)) == play(problem, state, random.Random(7))
            assert (
                task.oracle.value(problem, copied, command) == task.oracle.value(problem, state, command)
                and state == before
            )
            if turn.player is None:
                break
            state = turn.state
        assert problem.answer == world


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.text(),
        st.lists(
            st.sampled_from(["go", "take", "the", "drop", "north", "lamp", "you", ".", "\n", "\x00", " "])
        ).map(" ".join),
    )
)
def test_junk_is_no_command_and_takes_a_turn(text):
    task = rooms()
    (problem,) = some(task, 1)
    state = start(task, problem).state
    turn = step(task, state, text)
    assert (
        turn.valid != ("malformed" in turn.counts)
        and turn.state["left"] == state["left"] - 1
        and turn.player == "policy"
    )
    assert turn.state["places"] == state["places"] or text.lower().split()[0] == "take"
    assert task.oracle.value(problem, state, text) in (0.0, 1.0)
    assert asyncio.run(task.check(None, problem, text)) == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "x" * 10**6,
        "go " + " " * 10**5 + "north",
        "go north\ngo north",
        "take you",
        "drop",
        "go",
        "go the",
        "\x00\x1b",
    ],
)
def test_malformed_commands_are_counted_to_the_end(text):
    task = rooms(steps=3)
    turn = start(task, some(task, 1)[0])
    for left in (2, 1, 0):
        turn = step(task, turn.state, text)
        assert not turn.valid and turn.state["left"] == left and (turn.player is None) == (left == 0)
        assert turn.counts == {"malformed": 1} | ({"out_of_turns": 1} if left == 0 else {})


@pytest.mark.parametrize(
    "wrong",
    [
        {"rooms": 1},
        {"rooms": 13},
        {"objects": 0},
        {"objects": 17},
        {"steps": 2},
        {"steps": 3, "locks": 1},
        {"extra": -1},
        {"locks": 2},
    ],
)
def test_knobs_out_of_range_are_refused(wrong):
    with pytest.raises(SurpassError, match=r"rooms from 2 to 12.*found rooms"):
        rooms(**wrong)
