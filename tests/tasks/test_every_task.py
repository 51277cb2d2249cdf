"""What holds for every task of the suite: splits, states that are values, oracles that are right, and stored
transcripts.
"""

from __future__ import annotations

import asyncio
import copy
import json
import os
import random
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import surpass.tasks
from surpass.assets.corpus import Skill, encode, example, make_task, transcript
from surpass.assets.letters import MARKS, make_tokenizer
from surpass.assets.skills import SKILLS
from surpass.engines.text import Text
from surpass.errors import SurpassError, UnmetNeed
from surpass.find import make_task as named_task
from surpass.parts import from_json, shown, to_json
from surpass.sample import play, readable, sample
from surpass.tasks.arithmetic import worked
from surpass.tasks.splits import SHARES, split_of
from surpass.tasks.suite import FIT, STANDARD, suite

PARTS = suite().parts
GAMES = ("tictactoe", "kuhn")  # luck is part of them: the best play does not always win
EXTRA = {
    "judge maze": surpass.tasks.judge("maze", "all"),
    "judge countdown": surpass.tasks.judge("countdown", "all"),
    "rooms locked": surpass.tasks.rooms(locks=1, steps=20),
    "kuhn self": surpass.tasks.kuhn(opponent="self"),
    "tictactoe self": surpass.tasks.tictactoe(opponent="self"),
}
EVERY = {**PARTS, **EXTRA}
every = pytest.mark.parametrize("name", list(EVERY))
TRANSCRIPTS = Path(__file__).parents[1] / "transcripts"


def run(work):
    return asyncio.run(work)


@every
def test_splits_do_not_overlap_and_repeat(name):
    task = EVERY[name]
    found = {split: list(islice(task.problems(split, 5), 100)) for split in SHARES}
    ids = [problem.id for problems in found.values() for problem in problems]
    assert len(set(ids)) == len(ids) == 300
    if "judge" not in name:  # a judgement belongs to the split of the problem that is judged
        assert all(split_of(problem.id) == split for split, problems in found.items() for problem in problems)
    again = list(islice(task.problems("test", 5), 100))
    assert [vars(p) for p in again] == [vars(p) for p in found["test"]], "the same seed, the same problems"
    other = [p.id for p in islice(task.problems("test", 6), 100)]
    assert other != [p.id for p in again]


def test_what_is_judged_in_training_is_never_solved_in_a_test():
    task = surpass.tasks.judge("arithmetic", parameters={"terms": 4, "digits": 2})
    trained = {problem.meta["of"] for problem in islice(task.problems("train", 0), 300)}
    tested = {problem.id for problem in islice(task.source.problems("test", 0), 300)}
    assert all(split_of(id) == "train" for id in trained) and not trained & tested


@every
def test_the_oracle_is_right_and_its_slips_are_not(name):
    task, rng = EVERY[name], random.Random(0)
    good = bad = 0.0
    problems = list(islice(task.problems("test", 0), 40))
    for problem in problems:
        right = run(play(None, task, problem, lambda state, p=problem: task.oracle.act(p, state, rng)))
        wrong = run(play(None, task, problem, lambda state, p=problem: task.oracle.slip(p, state, rng)))
        if len(task.players) > 1:
            assert sum(right.paid.values()) == sum(wrong.paid.values()) == 0
            continue
        if not any(game in name for game in GAMES):
            assert right.value == 1.0 or name.startswith("rooms"), (problem.asks, right.moves)
            assert wrong.value < 1.0, (problem.asks, wrong.moves)
        good, bad = good + right.value / len(problems), bad + wrong.value / len(problems)
    assert len(task.players) > 1 or good > bad + (0.1 if "kuhn" in name else 0.4)


@every
def test_a_state_is_a_value(name):
    """Any node can be branched, replayed and serialised: a state that went through JSON goes on like the
    original, and no step changes the state it began with.
    """
    task, rng = EVERY[name], random.Random(1)
    for problem in islice(task.problems("train", 2), 10):
        turn = run(task.start(None, problem))
        for _ in range(30):
            if turn.player is None:
                break
            state = turn.state
            kept, stored = copy.deepcopy(state), json.loads(json.dumps(state))
            assert stored == state, "JSON loses something of the state"
            moves = [
                task.oracle.act(problem, state, rng),
                task.oracle.slip(problem, state, rng),
                "junk \x00 \u00e9",
                "",
            ]
            first = [run(task.step(None, state, move)) for move in moves]
            assert state == kept, "a step changed the state it began with"
            again = [run(task.step(None, stored, move)) for move in reversed(moves)][::-1]
            assert first == again, "a branch depends on the branches before it"
            turn = first[rng.randrange(2)]


@every
@settings(max_examples=25, deadline=None)
@given(text=st.text(max_size=300))
def test_junk_is_answered_and_never_raises(name, text):
    task = EVERY[name]
    problem = next(task.problems("train", 0))
    turn = run(task.start(None, problem))
    turn = run(task.step(None, turn.state, text))
    json.dumps(turn.state)
    assert 0.0 <= run(task.check(None, problem, text)) <= 1.0


@every
def test_parts_are_configuration(name):
    assert from_json(json.loads(json.dumps(to_json(EVERY[name]))), ()) == EVERY[name]


def test_the_value_of_a_prefix_is_that_of_every_prefix():
    """Steps by steps: what the oracle plays keeps its value at 1; after a planted error it is 0 from some
    line on.
    """
    rng = random.Random(0)
    for name in ("arithmetic", "countdown", "maze"):
        task = PARTS[name]
        for problem in islice(task.problems("test", 3), 30):
            lines = task.oracle.act(problem, {}, rng).split("\n")
            values = [
                task.oracle.value(problem, {}, "\n".join(lines[:n]) + "\n") for n in range(1, len(lines) + 1)
            ]
            assert values == [1.0] * len(lines)
        for problem in islice(task.problems("test", 4), 30):
            lines = task.oracle.slip(problem, {}, rng).split("\n")
            values = [
                task.oracle.value(problem, {}, "\n".join(lines[:n]) + "\n") for n in range(1, len(lines) + 1)
            ]
            assert values == sorted(values, reverse=True), "what is lost stays lost"


# -- oracles are out of reach


class _Asks:
    def __call__(self, models, task, trees):
        return task.oracle


class _Declares(_Asks):
    needs = frozenset({"oracle"})


def test_an_oracle_is_shown_to_nobody_who_does_not_declare_it():
    task = PARTS["maze"]
    with pytest.raises(UnmetNeed, match="declares needs"):
        _Asks()(None, shown(task, _Asks()), [])
    with pytest.raises(UnmetNeed):
        _Asks()(None, shown(shown(task, _Asks()), _Asks()), [])
    assert _Declares()(None, shown(task, _Declares()), []) == task.oracle
    with pytest.raises(UnmetNeed, match="has no oracle"):
        shown(surpass.tasks.question("?"), _Declares())
    for outer, path in (
        (suite("maze"), lambda t: t.parts["maze"]),
        (EXTRA["judge maze"], lambda t: t.source),
    ):
        assert path(outer).oracle is not None
        with pytest.raises(UnmetNeed):
            _ = path(shown(outer, _Asks())).oracle
    veiled = shown(task, _Asks())
    assert not hasattr(veiled, "oracle")
    assert veiled.players == task.players and next(veiled.problems("test", 0)) == next(
        task.problems("test", 0)
    )


def test_the_verdict_is_yes_as_often_as_no():
    for task in (EXTRA["judge maze"], EXTRA["judge countdown"], PARTS["judge"]):
        found: dict[str, list[bool]] = {}
        for problem in islice(task.problems("train", 0), 600):
            found.setdefault(problem.meta["kind"], []).append(problem.answer in ("yes", "A"))
        for kind, answers in found.items():
            assert abs(sum(answers) / len(answers) - 0.5) < 0.15, kind


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: surpass.tasks.countdown(2, 1, 2, "*"), "no target"),
        (lambda: surpass.tasks.maze(20, 0.6, 38), "no grid"),
    ],
)
def test_knobs_that_allow_no_problem_are_refused_in_time(make, words):
    with pytest.raises(SurpassError, match=words):
        next(make().problems("train", 0))


# -- the suite


def test_the_suite_mixes_its_tasks_and_plays_them():
    task, rng = suite("maze, rooms kgqa"), random.Random(0)
    problems = list(islice(task.problems("test", 0), 6))
    assert [p.meta["task"] for p in problems] == ["maze", "rooms", "kgqa"] * 2
    for problem in problems:
        inner = task.parts[problem.meta["task"]].oracle
        played = run(play(None, task, problem, lambda s, o=inner, p=problem: o.act(p, s["state"], rng)))
        assert played.value == 1.0
    with pytest.raises(SurpassError, match='no task "mazes"'):
        suite("mazes")
    assert list(suite().parts) == list(suite("all").parts) == list(STANDARD)
    assert list(suite("tiny").parts) == list(FIT["tiny"]) == list(named_task("suite", model="tiny").parts)
    assert next(iter(suite("maze tiny maze").parts)) == "maze" and len(suite("maze tiny maze").parts) == len(
        {"maze", *FIT["tiny"]}
    )
    assert named_task("suite", model="other") == suite()


@pytest.mark.parametrize("name", ["maze", "kgqa", "kuhn self", "suite", "reasoning_gym"])
def test_samples_show_problem_attempt_and_score(name):
    task = {**EVERY, "suite": suite(), "reasoning_gym": surpass.tasks.reasoning_gym("leg_counting")}[name]
    text = sample(task, 2, 0)
    assert text.count("--- problem") == 2
    assert text.count("worth:") == (0 if name == "reasoning_gym" else 4)


# -- stored transcripts


def _moves(text: str, players) -> list[str]:
    """The turns of the players, from what is readable."""
    found: list[list[str]] = []
    mine = False
    for line in text.splitlines():
        head, colon, rest = line.partition(":")
        if line.startswith(" " * 11):
            if mine:
                found[-1].append(line[11:])
        elif colon:
            mine = head in players
            if mine:
                found.append([rest.strip()])
    return ["\n".join(lines) for lines in found]


@pytest.mark.parametrize("name", [*EVERY])
def test_stored_transcripts_replay_line_by_line(name):
    task, path = EVERY[name], TRANSCRIPTS / f"{name.replace(' ', '_')}.txt"
    problems = list(islice(task.problems("test", 0), 3))
    if os.environ.get("SURPASS_WRITE"):
        rng, texts = random.Random(0), []
        for problem, move in zip(problems, (task.oracle.act, task.oracle.slip, task.oracle.act), strict=True):
            played = run(play(None, task, problem, lambda state, p=problem, m=move: m(p, state, rng)))
            texts.append(readable(played, task.players))
        path.write_text("\n\n".join(texts) + "\n")
    stored = path.read_text().rstrip("\n").split("\n\n")
    assert len(stored) == len(problems)
    for problem, text in zip(problems, stored, strict=True):
        moves = iter(_moves(text, task.players))
        played = run(play(None, task, problem, lambda state, moves=moves: next(moves)))
        assert readable(played, task.players).splitlines() == text.splitlines()
        assert next(moves, None) is None, "the transcript goes on after the end"


# -- what the tiny models read


def test_the_corpus_is_what_the_template_writes():
    """Tokens of a transcript = the chat template's, turn by turn, as an engine opens and continues them."""
    text = Text(make_tokenizer())
    task = PARTS["kgqa"]
    problem = next(task.problems("train", 0))
    one = transcript(task, problem, random.Random(3))
    words = text.tokenizer.decode(one.tokens).split("<|assistant|>")
    opened = text.open(problem.prompt)
    assert one.tokens[: len(opened)] == opened
    rest, tokens = words[1], opened
    for reply in words[2:]:
        said, told = rest.split("<|end|>")[0], rest.split("<|user|>")[1].removesuffix("<|end|>")
        tokens = [*tokens, *text.encode(said), text.tokenizer.eos_token_id]
        tokens = [*tokens, *text.tell(told, tokens[-1])]
        assert one.tokens[: len(tokens)] == tokens
        rest = reply


@given(st.lists(st.sampled_from([*MARKS, "a", "<", "<call", "\n", "7", ">", "\u00e9"]), max_size=12))
def test_encoding_is_the_tokenizers(pieces):
    assert encode("".join(pieces)) == make_tokenizer()("".join(pieces), add_special_tokens=False)["input_ids"]


def test_examples_are_functions_of_their_number_and_skills_come_one_at_a_time():
    def same(i):
        return [vars(example(i, SKILLS)[1]) for _ in range(2)]

    for i in (0, 70_000, 300_000):
        first, second = same(i)
        assert first == second
    assert {example(i, SKILLS)[0] for i in range(50)} == {"arithmetic"}
    assert {skill.name for skill in SKILLS} == set(STANDARD)
    late = {example(i, SKILLS)[0] for i in range(299_000, 299_150)}
    assert late == set(STANDARD)


def test_only_what_the_player_should_say_counts():
    """A right attempt is learnt, a planted error is not; the verdict on either is."""
    skill = (Skill("arithmetic", 0, 1.0, ({"task": "arithmetic", "shots": 0},)),)
    tokenizer, kinds = make_tokenizer(), set()
    for i in range(120):
        one = example(i, skill)[1]
        text = tokenizer.decode(one.tokens)
        learnt = tokenizer.decode([t for t, w in zip(one.tokens, one.weights, strict=True) if w])
        asked, _, after = text.partition("<|assistant|>")
        said, _, verdict = after.partition("<|user|>")
        expression = asked.removeprefix("<|user|>").removesuffix(" =<|end|>")
        right = said == worked(expression) + "<|end|>"
        word = "<yes>" if "<yes><|end|>" in verdict else "<no>" if "<no><|end|>" in verdict else ""
        assert learnt == (said if right else "") + (word + "<|end|>" if word else "")
        assert not word or (word == "<yes>") == right
        kinds.add((right, word))
    assert kinds == {(True, ""), (True, "<yes>"), (False, "<no>")}


def test_every_setting_of_the_corpus_is_a_task():
    for skill in SKILLS:
        for knobs in skill.settings:
            assert next(make_task(knobs).problems("train", 0)).id
