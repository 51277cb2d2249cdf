"""A table that asks itself questions of known difficulty: what search self-play teaches a proposer and a
solver.

How hard a kind of question is at first is planted; what is asked more, and what is learnt, is the method's.
The open book is read by a rule.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass

import numpy as np
import torch

from surpass import curricula, gates, measures, searches
from surpass.engines import ScriptedEngine, TabularEngine
from surpass.loop import improve
from surpass.methods.search_self_play import search_self_play
from surpass.models import Models
from surpass.parts import Task
from surpass.types import Problem, Turn, fold

KINDS, SUBJECTS, ANSWERS = "1234", "abcdefgh", "uvwxyz"
KNOWS = (0.9, 0.6, 0.4, 0.2)  # the start's chance of the right answer, by kind
NOWHERE = "?"  # a question that no document answers: whatever was the answer in mind


def answer_to(question: str) -> str:
    return ANSWERS[fold(0, question) % len(ANSWERS)]


@dataclass(frozen=True)
class quiz(Task):
    """Answer a question: its kind and its subject, two letters."""

    def problems(self, split, seed):
        for question in (kind + subject for kind in KINDS for subject in SUBJECTS):
            yield Problem(f"{split}-{question}", question, answer_to(question))

    async def check(self, models, problem, text):
        return float(text[:1] == problem.answer)

    def final_answer(self, text):
        return text[:1] or None

    def proposing(self):
        return asking()


@dataclass(frozen=True)
class asking(Task):
    """Ask about a subject: one letter, the kind of the question. The documents found answer every kind but
    NOWHERE.
    """

    def problems(self, split, seed):
        for i in range(10**6):
            yield Problem(f"seed-{seed}-{i}", "!" + SUBJECTS[fold(seed, i) % len(SUBJECTS)], i)

    async def step(self, models, state, text):
        return Turn({"said": text})

    async def check(self, models, problem, text):
        return float("nan")

    def posed(self, problem, state, text):
        subject, kind = problem.prompt[1:], text[:1]
        documents = [f"{kind}{subject}: {answer_to(kind + subject)}" for kind in KINDS]
        if not kind or kind not in KINDS + NOWHERE:
            return None, "no question", documents
        right = answer_to(kind + subject) if kind in KINDS else ANSWERS[fold(0, problem.id) % len(ANSWERS)]
        return Problem(f"posed-{problem.id}", kind + subject, right), "", documents


def reads(text: str, key: int) -> str:
    """The answer that a document of the open book gives to the question below them."""
    found = dict(re.findall(r"^(?:user: )?(\S\S): (\w)$", text, re.MULTILINE))
    question = re.findall(r"^(\S\S)$", text, re.MULTILINE)
    return found.get(question[-1] if question else "", "nobody")


def start() -> Models:
    """A table that asks each kind, and NOWHERE, equally often, and knows the answers as KNOWS says."""
    engine = TabularEngine("!" + NOWHERE + KINDS + SUBJECTS + ANSWERS, size=2**16)
    table, end = engine.module["table"], engine.end
    with torch.no_grad():
        table[:] = -9.0
        table[:, end] = 9.0  # one letter, and the turn ends
        for subject in SUBJECTS:
            table[engine.row(engine.text.encode("!" + subject)), end] = -9.0
            table[engine.row(engine.text.encode("!" + subject)), engine.text.encode(NOWHERE + KINDS)] = 0.0
            for kind, known in zip(NOWHERE + KINDS, (1 / len(ANSWERS), *KNOWS), strict=True):
                chances = torch.full((len(ANSWERS),), (1 - known) / (len(ANSWERS) - 1))
                chances[ANSWERS.index(answer_to(kind + subject))] = known
                row = engine.row(engine.text.encode(kind + subject))
                table[row, end], table[row, engine.text.encode(ANSWERS)] = -9.0, chances.log()
    return Models(policy=engine, reader=ScriptedEngine(reads))


@dataclass
class Course:
    """What the table's own probabilities say, exactly."""

    # of the questions that documents answer: the share of wrong answers that the start would have given
    hardness: float
    sound: float  # share of all that is asked that documents answer: what the check lets through
    knows: float  # chance of the right answer, mean over all kinds and subjects


def seen(models: Models) -> Course:
    engine = models.engine("policy")

    def chances(context: str, letters: str) -> np.ndarray:
        p = engine.module["table"][engine.row(engine.text.encode(context))].softmax(-1).detach().numpy()
        return p[engine.text.encode(letters)]

    asked = np.mean([chances("!" + subject, KINDS) for subject in SUBJECTS], 0)
    knows = np.mean(
        [chances(kind + subject, answer_to(kind + subject))[0] for kind in KINDS for subject in SUBJECTS]
    )
    return Course(float(asked @ (1 - np.array(KNOWS)) / asked.sum()), float(asked.sum()), float(knows))


def played(seed: int, rounds: int, checked: bool = True, proposes: bool = True) -> list[Course]:
    """At the start and after every round of the method; without `proposes` the proposer stays as it began."""
    models, n = start(), 16
    method = search_self_play(problems=n, n=5, turns=1, temperature=1.0, max_tokens=2, lr=0.05, every=10**6)
    propose = searches.samples(1, 1.0, 2, turns=1, role="proposer")
    exam = measures.sized(measures.answers(searches.samples(1)), {"gate": 1, "test": 1})
    method = dataclasses.replace(
        method,
        curriculum=curricula.proposer(n, propose, checked, role="reader"),
        exam=exam,
        gate=gates.always(every=10**6),
        learn=method.learn if proposes else method.learn[1:],
    )
    course = [seen(models)]

    def say(what, round, event):
        if what == "learn" and len(course) <= round:
            course.append(seen(models))
        elif what == "learn":
            course[round] = seen(models)  # a second row of the same round

    models.run(improve(method, quiz(), models, rounds=rounds, seed=seed, say=say))
    return course
