"""Search self-play: what a proposal is refused for, what it is paid, what is asked again; with a proposer and
solvers made of rules.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

from surpass import curricula, searches
from surpass.engines import ScriptedEngine
from surpass.methods.search_self_play import Paid, Rated, Raw, Side
from surpass.models import Models
from surpass.parts import shown
from surpass.searches.round import search_all
from surpass.tasks import kgqa
from surpass.types import Memory
from tiny import copy_letter

pytest.importorskip("bm25s")
TASK = kgqa(hops=1, persons=12, max_turns=4, limit=400, results=4)


def asks(text: str, key: int) -> str:
    """Searches for the name, then asks for it by a fact that was found; gives up where none was."""
    name = re.findall(r"Ask for (.*)\.", text)[-1]
    if "<result>" not in text:
        return f"<call>search {name}</call>"
    found = re.findall(rf"The (\w+) of ([\w ]+) is {re.escape(name)}\.", text)
    return f"Question: Who is the {found[0][0]} of {found[0][1]}?" if found else "Question: none"


def answers(right: float):
    """Reads the answer off an open book; searches, and then answers rightly as often as it should, where
    there is none.
    """

    def answer(text: str, key: int) -> str:
        asked = text.rpartition("user: ")[2] if "Answer from the text above" in text else text
        relation, entity = re.findall(r"is the (\w+) of ([\w ]+)\?", asked)[-1]
        found = re.findall(rf"The {relation} of {entity} is ([\w ]+)\.", asked)
        if "Answer from the text above" in asked:
            return f"Answer: {found[0]}" if found else "Answer: nobody"
        if "<result>" not in text:
            return f"<call>search {relation} of {entity}</call>"
        good = np.random.default_rng(key).random() < right
        return f"Answer: {found[0] if found and good else 'nobody'}"

    return answer


def a_round(
    proposer=asks, right: float = 0.5, round: int = 0, memory: Memory | None = None, n: int = 12, **knobs
):
    memory = memory or Memory()
    memory.round = round
    models = Models(policy=ScriptedEngine(answers(right)), proposer=ScriptedEngine(proposer))
    part = curricula.proposer(n, searches.samples(1, 0.8, 200, turns=4, role="proposer"), **knobs)
    problems, proposals = models.run(part(models, shown(TASK, part), memory, 3))
    solved = models.run(search_all(searches.samples(8, 1.0, 200, turns=4), models, TASK, problems, 5))
    trees = [*proposals, *solved]
    for tree, column in zip(trees, models.run(Paid()(models, TASK, trees)), strict=True):
        tree.put("reward", column)
    return problems, proposals, solved, memory


def test_what_can_be_answered_is_accepted_and_what_cannot_is_not():
    problems, proposals, _, _ = a_round()
    accepted = np.array([tree.get("accepted").values[0] for tree in proposals])
    assert 0.3 < accepted.mean() <= 1
    assert len(problems) == accepted.sum()
    writer = TASK.proposing()
    assert all(writer.truly(problem) for problem in problems), "the graph gives the same answer"

    def invents(text, key):
        name = re.findall(r"Ask for (.*)\.", text)[-1]
        return (
            f"<call>search {name}</call>"
            if "<result>" not in text
            else "Question: Who is the teacher of somebody else?"
        )

    problems, proposals, _, _ = a_round(invents)
    assert not problems and all(tree.get("accepted").values[0] == 0 for tree in proposals)
    problems, _, _, _ = a_round(invents, checked=False)
    assert problems and not any(writer.truly(problem) for problem in problems), (
        "without the check what nobody can answer comes through"
    )


@pytest.mark.parametrize(
    ("text", "state", "why"),
    [
        ("Answer: x", {"seen": [0], "searches": ["a"]}, "no question"),
        ("Question: Who is it?", {"seen": [0], "searches": ["a"]}, "too short"),
        ("Question: Who " + "is " * 200, {"seen": [0], "searches": ["a"]}, "too long"),
        ("Question: Who is the boss of NAME?", {"seen": [0], "searches": ["a"]}, "gives the answer away"),
        ("Question: Who is the boss of Mi?", {"seen": [], "searches": ["a"]}, "nothing was found"),
        ("Question: Who is the boss of Mi?", {"seen": [0], "searches": ["a", "a"]}, "the same search twice"),
    ],
)
def test_rules_refuse(text, state, why):
    writer = TASK.proposing()
    problem = next(writer.problems("train", 0))
    found, reason, _ = writer.posed(problem, state, text.replace("NAME", problem.answer["answer"]))
    assert found is None and reason == why


def test_proposers_are_paid_for_what_solvers_miss():
    _, proposals, solved, _ = a_round(right=0.5)
    rates = {tree.problem.meta["proposal"]: tree.get("reward").values.mean() for tree in solved}
    for tree in proposals:
        if tree.get("accepted").values[0]:
            assert tree.get("reward").values[0] == pytest.approx(1 - rates[tree.problem.id])
        else:
            assert tree.get("reward").values[0] == 0
    assert 0.2 < np.mean(list(rates.values())) < 0.8
    trees, memory = [*proposals, *solved], Memory()
    mine, theirs = Side(True)(trees, memory, 0), Side(False)(trees, memory, 0)
    assert {id(e.tree) for e in mine} == {id(t) for t in proposals} and {id(e.tree) for e in theirs} == {
        id(t) for t in solved
    }
    assert all(e.tree.author[e.nodes[0]] == "proposer" for e in mine)
    raw = Raw()(proposals, memory)
    assert [c["advantage"].values[0] for c in raw] == [t.get("reward").values[0] for t in proposals]


def test_what_was_hard_is_asked_again_where_a_proposal_is_refused():
    _, _, solved, memory = a_round(right=0.2)
    Rated()(solved, memory)
    assert memory.notes["pool"] and all(entry["rate"] is not None for entry in memory.notes["pool"])
    problems, _, _, memory = a_round(lambda text, key: "no", round=1, memory=memory)
    hard = {entry["id"] for entry in memory.notes["pool"] if entry["rate"] <= 0.5}
    assert problems and {problem.id for problem in problems} <= hard
    problems, _, _, memory = a_round(lambda text, key: "no", round=10, memory=memory)
    assert not problems and memory.notes["pool"] == [], "the pool is emptied every ten rounds"


def test_a_task_without_proposals_is_refused():
    from surpass.errors import SurpassError
    from surpass.tasks import maze

    models = Models(policy=ScriptedEngine(answers(1.0)))
    with pytest.raises(SurpassError, match="proposing"):
        models.run(curricula.proposer(2)(models, maze(), Memory(), 0))
    assert hasattr(copy_letter(), "proposing")
