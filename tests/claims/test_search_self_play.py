"""Search self-play's barrier, with a proposer and solvers made of rules: what is paid and what comes through, with and without the check."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

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


def propose(text: str, key: int) -> str:
    """Searches for the name; asks for it by a fact that was found, or (a share of the time) by one that it makes up."""
    name = re.findall(r"Ask for (.*)\.", text)[-1]
    if "<result>" not in text:
        return f"<call>search {name}</call>"
    found = re.findall(rf"The (\w+) of ([\w ]+) is {re.escape(name)}\.", text)
    others = re.findall(r"The (\w+) of ([\w ]+) is", text)
    if found and np.random.default_rng(key).random() < HONEST:
        return f"Question: Who is the {found[0][0]} of {found[0][1]}?"
    return f"Question: Who is the rival of {others[-1][1] if others else 'somebody'}?"


@dataclass
class Found:
    paid: float
    true: float
    accepted: float


def a_round(seed: int, checked: bool) -> Found:
    models = Models(policy=ScriptedEngine(answers(1.0)), proposer=ScriptedEngine(propose))
    part = curricula.proposer(N, searches.samples(1, 0.8, 200, turns=4, role="proposer"), checked)
    problems, proposals = models.run(part(models, shown(TASK, part), Memory(seed=seed), seed))
    trees = [*proposals, *models.run(search_all(searches.samples(5, 1.0, 200, turns=4), models, TASK, problems, seed))]
    pay = [column.values.mean() for column in models.run(Paid()(models, TASK, trees))[:N]]
    writer = TASK.proposing()
    accepted = float(np.mean([tree.get("accepted").values[0] for tree in proposals]))
    return Found(float(np.mean(pay)), float(np.mean([writer.truly(problem) for problem in problems])), accepted)


def test_claims(claims):
    with_, without = [a_round(seed, True) for seed in SEEDS], [a_round(seed, False) for seed in SEEDS]
    pairs = list(zip(with_, without, strict=True))
    claims.primary("without the check fewer of the accepted questions can be answered from the documents", [a.true - b.true for a, b in pairs],
                   f"{listed([b.true for b in without])} against {listed([a.true for a in with_])}")  # fmt: skip
    claims.secondary("and the proposer is paid more", [b.paid - a.paid for a, b in pairs],
                     f"{listed([b.paid for b in without])} against {listed([a.paid for a in with_])}")  # fmt: skip
    claims.secondary("with the check more than 20% of the proposals come through", [a.accepted - 0.2 for a in with_],
                     listed([a.accepted for a in with_]))  # fmt: skip
