"""kgqa: every question can be answered, and in one way, from what the search shows; tool calls; turns that
are junk.
"""

from __future__ import annotations

import asyncio
import copy
import json
import random
import re
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surpass.errors import SurpassError
from surpass.parts import from_json, to_json
from surpass.tasks.kgqa import kgqa
from surpass.tasks.splits import SHARES
from surpass.tasks.tools import Call, parse, result

KNOBS = [
    {},
    {"hops": 4, "min_hops": 4},
    {"persons": 6, "distractors": 0, "results": 1, "limit": 80},
    {"persons": 60, "results": 5},
]
FACT = re.compile(r"The (\w+) of ([\w ]+) is ([\w ]+)\.")  # the test's own reader of documents
QUESTION = re.compile(r"(Who|What) is ((?:the \w+ of )+)([\w ]+)\?\n")


def start(task, problem):
    return asyncio.run(task.start(None, problem)).state


def step(task, state, text):
    return asyncio.run(task.step(None, state, text))


def check(task, problem, text):
    return asyncio.run(task.check(None, problem, text))


def play(task, problem, choose):
    """(texts of the player, what it was told, the value, counts) of an attempt in which choose(state)
    moves.
    """
    turn = asyncio.run(task.start(None, problem))
    texts, told, counts = [], [turn.say["policy"]], {}
    while turn.player:
        texts.append(choose(turn.state))
        turn = step(task, turn.state, texts[-1])
        told += [turn.say["policy"]] if turn.player else []
        for name, count in turn.counts.items():
            counts[name] = counts.get(name, 0) + count
    return texts, told, check(task, problem, texts[-1]), counts


def read(texts):
    """{(relation, entity): the values stated} by the sentences in texts."""
    stated: dict[tuple[str, str], set[str]] = {}
    for relation, entity, value in FACT.findall("\n".join(texts)):
        stated.setdefault((relation, entity), set()).add(value)
    return stated


def asked(problem):
    """(relations in the order they are followed, the entity they start from) by the question's text alone."""
    _, relations, entity = QUESTION.match(problem.prompt).groups()
    return re.findall(r"the (\w+) of", relations)[::-1], entity


def follow(stated, relations, entity):
    """Every entity that the statements allow as an answer."""
    reached = {entity}
    for relation in relations:
        reached = set().union(*(stated.get((relation, at), set()) for at in reached))
    return reached


@pytest.mark.parametrize("knobs", KNOBS, ids=str)
def test_every_question_is_answered_by_what_its_searches_really_show_and_in_one_way(knobs):
    task = kgqa(**knobs, max_turns=5)
    for split in SHARES:
        for problem in islice(task.problems(split, 1), 25):
            relations, entity = asked(problem)
            assert len(relations) == problem.meta["hops"] and task.min_hops <= len(relations) <= task.hops
            texts, told, value, counts = play(
                task, problem, lambda s, p=problem: task.oracle.act(p, s, random.Random(0))
            )
            answer = problem.answer["answer"]
            assert value == 1 and texts[-1] == f"Answer: {answer}"
            assert follow(read(told[1:]), relations, entity) == {answer}, "from the results alone"
            documents = task.world(problem.answer["world"]).documents
            assert follow(read(documents), relations, entity) == {answer}, (
                "nothing in the world says otherwise"
            )
            assert counts == {"searches": len(texts) - 1.0} | (
                {"cut": counts["cut"]} if "cut" in counts else {}
            )
            assert answer not in problem.prompt and all(answer not in text for text in texts[:-1])


def test_a_world_states_every_fact_once_and_few_hops_need_few_searches():
    task = kgqa()
    problem = next(task.problems("train", 0))
    world = task.world(problem.answer["world"])
    assert all(len(values) == 1 for values in read(world.documents).values()), "relations are functions"
    assert {(k, v) for k, (v,) in read(world.documents).items()} >= {
        (k, f.value) for k, f in world.facts.items()
    }
    assert len(world.facts) == 12 * 6 + 4 * 2 + 4 * 2 and 12 < len(world.documents) - len(world.facts) <= 24
    assert len(kgqa(distractors=0).world(1).documents) == len(world.facts)


def test_bm25_agrees_with_the_formula():
    """Lucene's BM25 (k1 1.5, b 0.75) written out by hand ranks as the index does."""
    from math import log

    world = kgqa().world(3)
    bags = [
        [w for w in re.findall("[a-z]+", d.lower()) if w not in {"the", "of", "is", "was", "and"}]
        for d in world.documents
    ]
    mean = sum(map(len, bags)) / len(bags)
    fact = next(iter(world.facts.values()))
    query = f"{fact.relation} {fact.entity}".lower().split()
    having = {w: sum(w in bag for bag in bags) for w in query}
    scores = []
    for bag in bags:
        norm = 1.5 * (0.25 + 0.75 * len(bag) / mean)
        idf = {w: log(1 + (len(bags) - n + 0.5) / (n + 0.5)) for w, n in having.items()}
        scores.append(sum(idf[w] * bag.count(w) / (bag.count(w) + norm) for w in query))
    best = sorted(range(len(bags)), key=lambda i: (-round(scores[i], 4), i))[:10]
    found = world.search(" ".join(query), 10)
    assert [round(scores[i], 3) for i in found] == [round(scores[i], 3) for i in best]
    assert world.search("the of is", 5) == [] and world.search("Zzyzx", 5) == []


def test_splits_share_neither_a_question_nor_a_world():
    task = kgqa()
    found = {split: list(islice(task.problems(split, 0), 120)) for split in SHARES}
    for key in (lambda p: p.id, lambda p: p.prompt, lambda p: p.answer["world"]):
        values = [{key(p) for p in problems} for problems in found.values()]
        assert len(set().union(*values)) == sum(map(len, values))
    assert all(len({p.id for p in problems}) == 120 for problems in found.values())
    assert [p.id for p in islice(task.problems("train", 0), 20)] == [p.id for p in found["train"][:20]]
    assert [p.id for p in islice(task.problems("train", 1), 20)] != [p.id for p in found["train"][:20]]


def test_evidence_is_what_the_searches_show_hop_by_hop():
    task = kgqa(hops=4)
    for problem in islice(task.problems("test", 2), 25):
        evidence = task.oracle.evidence(problem)
        relations, entity = asked(problem)
        for relation, document in zip(relations, evidence, strict=True):
            assert document.startswith(f"The {relation} of {entity} is ")
            entity = document.split(" is ")[1].rstrip(".")
        assert entity == problem.answer["answer"]
        _, told, _, _ = play(task, problem, lambda s, p=problem: task.oracle.act(p, s, random.Random(0)))
        assert all(any(document in shown for shown in told) for document in evidence)


@pytest.mark.parametrize("max_turns", [3, 5, 8])
def test_slips_are_worth_less_and_values_come_true(max_turns):
    """The value of any state that is reached by good and bad moves is what playing on by act brings."""
    task = kgqa(hops=2, max_turns=max_turns)
    oracle, rng, kinds = task.oracle, random.Random(max_turns), {"search": 0, "Answer": 0}
    for problem in islice(task.problems("train", 5), 30):
        state = start(task, problem)
        while True:
            now = oracle.value(problem, state)
            assert now == play_on(task, problem, state)
            slip, act = oracle.slip(problem, state, rng), oracle.act(problem, state, rng)
            after = step(task, state, slip)
            assert oracle.value(problem, state, act) == now
            assert oracle.value(problem, state, slip) == oracle.value(problem, after.state) == 0
            if after.player is None:
                assert check(task, problem, slip) == 0
            kinds["Answer" if slip.startswith("Answer: ") else "search"] += now > 0
            turn = step(task, state, rng.choice([act, act, "<call>search tea</call>"]))
            if turn.player is None:
                break
            state = turn.state
    assert kinds["Answer"] > 20
    assert kinds["search"] > 5 or max_turns > 3, "a wrong search costs the attempt where no turn is to spare"


def play_on(task, problem, state):
    """1 if act answers rightly within the turns left: told by check alone."""
    while True:
        text = task.oracle.act(problem, state, random.Random(0))
        turn = step(task, state, text)
        if turn.player is None:
            return check(task, problem, text)
        state = turn.state


def test_what_was_told_decides_not_what_was_asked():
    """A search that shows the second hop early is remembered; an answer needs no searches but is worth its
    rightness.
    """
    task = kgqa(hops=2, min_hops=2)
    problem = next(task.problems("train", 0))
    first, second = task.world(problem.answer["world"]).chain(problem.answer["start"], problem.answer["path"])
    state = start(task, problem)
    early = step(task, state, f"<call>search {second.relation} of {second.entity}</call>").state
    assert (
        task.oracle.act(problem, early, random.Random(0))
        == f"<call>search {first.relation} of {first.entity}</call>"
    )
    done = step(task, early, f"I need one more. <call>search {first.relation} of {first.entity}").state
    assert task.oracle.act(problem, done, random.Random(0)) == f"Answer: {second.value}"
    over = step(task, state, f"Answer: {second.value.upper()}.")
    assert over.player is None and task.oracle.value(problem, over.state) == 1


def test_turns_run_out_and_bad_turns_are_told_why():
    task = kgqa(hops=1, max_turns=3)
    problem = next(task.problems("train", 0))
    right = f"Answer: {problem.answer['answer']}"
    state = start(task, problem)
    for text, why in [
        ("hello", "write <call>"),
        ("<call>find x</call>", 'no tool "find"'),
        ("<call></call>", "empty"),
        (f"<call>search</call> {right}", "needs an argument"),
        ("Answer: ", "write <call>"),
    ]:
        turn = step(task, state, text)
        assert turn.player == "policy" and not turn.valid and turn.counts == {"malformed": 1}
        assert turn.say["policy"].startswith("<result>error: ") and why in turn.say["policy"]
        assert check(task, problem, text) == 0
    for left in (2, 1):
        turn = step(task, state, "<call>search tea</call>")
        assert turn.player == "policy" and turn.valid and turn.state["turn"] == 3 - left
        state = turn.state
    assert step(task, state, right).state["said"] and check(task, problem, right) == 1
    text = f"<call>search tea</call>\n{right}"
    last = step(task, state, text)
    assert last.player is None and last.counts["out_of_turns"] == 1 and check(task, problem, text) == 0
    assert step(task, state, "hm").counts == {"malformed": 1, "out_of_turns": 1}
    assert task.oracle.value(problem, last.state) == 0
    assert (
        step(task, start(task, problem), "<call>search Zzyzx</call>").say["policy"]
        == "<result>nothing found</result>"
    )


def test_long_results_are_cut_and_what_was_cut_off_was_not_told():
    task = kgqa(results=10, limit=80)
    problem = next(task.problems("train", 0))
    turn = step(task, start(task, problem), task.oracle.act(problem, start(task, problem), random.Random(0)))
    told = turn.say["policy"].removeprefix("<result>").removesuffix("</result>")
    assert turn.counts == {"searches": 1, "cut": 1} and len(told) == 80 and told.endswith(" ...")
    documents = task.world(turn.state["world"]).documents
    assert turn.state["seen"] == [i for i, document in enumerate(documents) if document in told] != []


JUNK = st.one_of(
    st.text(max_size=300),
    st.lists(
        st.sampled_from(
            [
                "<call>",
                "</call>",
                "search ",
                "Answer: ",
                "teacher ",
                "\x00",
                "\u2028",
                "é",
                "x" * 500,
                "\n",
                "Mira",
            ]
        ),
        max_size=8,
    ).map("".join),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(JUNK, min_size=1, max_size=5))
def test_junk_never_raises_and_states_are_plain_values(texts):
    task = kgqa()
    problem = next(task.problems("train", 0))
    state = start(task, problem)
    for text in texts:
        before = copy.deepcopy(state)
        turn = step(task, state, text)
        assert state == before and json.loads(json.dumps(turn.state)) == turn.state
        assert step(task, json.loads(json.dumps(state)), text) == turn
        assert 0 <= check(task, problem, text) <= 1
        thinking = task.final_answer(text) is None and "call>" not in text  # not yet a whole turn
        assert task.oracle.value(problem, state, text) == task.oracle.value(
            problem, state if thinking else turn.state
        )
        assert re.fullmatch(r"[\n -~]*", turn.say.get("policy", ""))
        if turn.player is None:
            return
        assert len(turn.say["policy"]) < task.limit + 60
        state = turn.state


def test_a_huge_turn_is_refused_quickly():
    task = kgqa()
    problem = next(task.problems("train", 0))
    for text in (
        "<call>search " + "tea " * 500_000,
        "answer " * 300_000,
        "<call>" * 300_000,
        "answer" + " " * 1_000_000,
    ):
        turn = step(task, start(task, problem), text)
        assert not turn.valid and len(turn.say["policy"]) < 200 and check(task, problem, text) == 0


@pytest.mark.parametrize(
    "text, call",
    [
        ("<call>search tea in Bo</call>", Call("search", "tea in Bo")),
        ("so:\n<call> search  a\nb ", Call("search", "a\nb")),
        ("<call>search a</call><call>search b</call>", Call("search", "a")),
        ("no call", None),
        ("", None),
        ("<call></call>", "empty"),
        ("<call>sql x</call>", 'no tool "sql", there is: search, run'),
        ("<call>search </call>", "needs"),
        ("search a</call>", "begins with <call>"),
        ("<call>search " + "a" * 41, "longer than 40"),
        ("<call>search " + "a" * 40, Call("search", "a" * 40)),
        ("<call>\u00e9\x00 a", 'no tool "??"'),
    ],
)
def test_calls(text, call):
    found = parse(text, ("search", "run"), 40)
    assert call in found if isinstance(call, str) and isinstance(found, str) else found == call


@given(st.text(max_size=40), st.integers(0, 30))
def test_results_keep_their_limit(text, limit):
    shown, cut = result(text, limit)
    inside = shown.removeprefix("<result>").removesuffix("</result>")
    assert len(inside) <= limit and cut == (len(text) > limit) and len(shown) == len(inside) + 17
    assert re.fullmatch(r"[\n -~]*", inside)
    if cut:
        assert len(inside) == limit and (limit < 4 or inside.endswith(" ..."))
    elif text.isascii() and text.isprintable():
        assert inside == text


def test_wrong_knobs_are_named():
    for knobs in (
        {"hops": 5},
        {"hops": 0},
        {"min_hops": 4},
        {"max_turns": 3},
        {"limit": 20},
        {"results": 0},
        {"persons": 2.5},
        {"hops": "2"},
        {"hops": None},
    ):
        with pytest.raises(SurpassError, match=f"kgqa needs {next(iter(knobs))} to be a whole number from"):
            kgqa(**knobs)
    with pytest.raises(SurpassError, match='no split "dev"'):
        next(kgqa().problems("dev", 0))
    assert from_json(json.loads(json.dumps(to_json(kgqa(hops=2))))) == kgqa(hops=2)
