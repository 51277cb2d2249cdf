"""Search self-play's barrier, with a proposer and solvers made of rules: what is paid and what comes through,
with and without the check or its distractors. And what a table learns to ask itself.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import asking
import numpy as np

from conftest import listed
from surpass import curricula, searches
from surpass.engines import ScriptedEngine
from surpass.methods.search_self_play import Paid
from surpass.models import Models
from surpass.parts import shown
from surpass.searches.round import search_all
from surpass.types import Memory

sys.path.insert(0, str(Path(__file__).parents[1]))
from test_proposer import TASK, answers

SEEDS, N, HONEST = (1, 2, 3), 96, 0.6
ROUNDS = 60  # of the table
LEAK = "somebody we met"  # a question about it is answered by chance, or because of which documents lie there


def propose(text: str, key: int) -> str:
    """Searches for the name; asks for it by a fact that was found, or (a share of the time) by one that it
    makes up.
    """
    name = re.findall(r"Ask for (.*)\.", text)[-1]
    if "<result>" not in text:
        return f"<call>search {name}</call>"
    found = re.findall(rf"The (\w+) of ([\w ]+) is {re.escape(name)}\.", text)
    others = re.findall(r"The (\w+) of ([\w ]+) is", text)
    if found and np.random.default_rng(key).random() < HONEST:
        return f"Question: Who is the {found[0][0]} of {found[0][1]}?"
    return f"Question: Who is the rival of {others[-1][1] if others else 'somebody'}?"


def leaks(text: str, key: int) -> str:
    """Searches for the name; asks who has the part that it has in a fact, and does not say of whom."""
    name = re.findall(r"Ask for (.*)\.", text)[-1]
    found = re.findall(rf"The (\w+) of [\w ]+ is {re.escape(name)}\.", text)
    if "<result>" not in text:
        return f"<call>search {name}</call>"
    return f"Question: Who is the {found[0]} of {LEAK}?" if found else "Question: none"


def guesses(text: str, key: int) -> str:
    """Where the question does not say of whom, any fact of the open book that has the relation; else as
    `answers`.
    """
    asked = text.rpartition("user: ")[2]
    if LEAK not in asked:
        return answers(1.0)(text, key)
    relation = re.findall(rf"is the (\w+) of {LEAK}\?", asked)[-1]
    found = re.findall(rf"The {relation} of [\w ]+ is ([\w ]+)\.", asked)
    return (
        f"Answer: {found[int(np.random.default_rng(key).integers(len(found)))]}"
        if found
        else "Answer: nobody"
    )


def leaked(seed: int, noise: int) -> float:
    """The share that the check lets through of the questions that do not say of whom."""
    models = Models(policy=ScriptedEngine(guesses), proposer=ScriptedEngine(leaks))
    part = curricula.proposer(N, searches.samples(1, 0.8, 200, turns=4, role="proposer"), noise=noise)
    _, proposals = models.run(part(models, shown(TASK, part), Memory(seed=seed), seed))
    said = [LEAK in models.text("proposer", tree, tree.leaves()[0]) for tree in proposals]
    return float(
        np.mean([tree.get("accepted").values[0] for tree, leak in zip(proposals, said, strict=True) if leak])
    )


@dataclass
class Found:
    paid: float
    true: float
    accepted: float


def a_round(seed: int, checked: bool) -> Found:
    models = Models(policy=ScriptedEngine(answers(1.0)), proposer=ScriptedEngine(propose))
    part = curricula.proposer(N, searches.samples(1, 0.8, 200, turns=4, role="proposer"), checked)
    problems, proposals = models.run(part(models, shown(TASK, part), Memory(seed=seed), seed))
    trees = [
        *proposals,
        *models.run(search_all(searches.samples(5, 1.0, 200, turns=4), models, TASK, problems, seed)),
    ]
    pay = [column.values.mean() for column in models.run(Paid()(models, TASK, trees))[:N]]
    writer = TASK.proposing()
    accepted = float(np.mean([tree.get("accepted").values[0] for tree in proposals]))
    return Found(
        float(np.mean(pay)), float(np.mean([writer.truly(problem) for problem in problems])), accepted
    )


def test_claims(claims):
    with_, without = [a_round(seed, True) for seed in SEEDS], [a_round(seed, False) for seed in SEEDS]
    pairs = list(zip(with_, without, strict=True))
    claims.primary(
        "without the check fewer of the accepted questions can be answered from the documents",
        [a.true - b.true for a, b in pairs],
        f"{listed([b.true for b in without])} against {listed([a.true for a in with_])}",
        least=0.02,
    )
    claims.secondary(
        "and the proposer is paid more",
        [b.paid - a.paid for a, b in pairs],
        f"{listed([b.paid for b in without])} against {listed([a.paid for a in with_])}",
        least=0.02,
    )
    claims.secondary(
        "with the check more than 20% of the proposals come through",
        [a.accepted - 0.2 for a in with_],
        listed([a.accepted for a in with_]),
        least=0.02,
    )
    few, none = [leaked(seed, 4) for seed in SEEDS], [leaked(seed, 0) for seed in SEEDS]
    claims.secondary(
        "without the others' documents more questions that do not say of whom come through",
        [b - a for a, b in zip(few, none, strict=True)],
        f"{listed(none)} against {listed(few)} of them",
        least=0.02,
    )
    runs = [asking.played(seed, ROUNDS) for seed in SEEDS]
    still, open_ = (
        [asking.played(seed, ROUNDS, proposes=False) for seed in SEEDS],
        [asking.played(seed, ROUNDS, checked=False) for seed in SEEDS],
    )
    tenth, last = [run[ROUNDS // 10].hardness for run in runs], [run[-1].hardness for run in runs]
    claims.secondary(
        "a table that asks itself: what it asks gets harder (the start's errors at it)",
        [run[-1].hardness - run[0].hardness for run in runs],
        f"{runs[0][0].hardness:.3f} -> {listed(tenth)} after a tenth of the {ROUNDS} rounds, "
        f"{listed(last)} in the end",
        least=0.02,
    )
    least = [min(one.sound for one in run) for run in runs]
    claims.secondary(
        "there more than 20% of what it asks comes through in every round",
        [x - 0.2 for x in least],
        f"at least {listed(least)}; {runs[0][0].sound:.3f} -> {listed([run[-1].sound for run in runs])}",
        least=0.02,
    )
    claims.secondary(
        "there without the check it asks less that can be answered",
        [run[-1].sound - o[-1].sound for run, o in zip(runs, open_, strict=True)],
        f"{listed([o[-1].sound for o in open_])} against {listed([run[-1].sound for run in runs])}",
        least=0.02,
    )
    claims.secondary(
        "there it learns more than from a proposer that stays as it was",
        [run[-1].knows - s[-1].knows for run, s in zip(runs, still, strict=True)],
        f"{runs[0][0].knows:.3f} -> {listed([run[-1].knows for run in runs])} against "
        f"{listed([s[-1].knows for s in still])}",
        least=0.02,
    )
