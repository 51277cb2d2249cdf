"""The proposer's side of kgqa: given an answer, find facts and ask a question that only it answers."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from surpass.models import Models
from surpass.parts import Task
from surpass.tasks.splits import problem_id, unique
from surpass.tasks.tools import Call, parse, refusal
from surpass.types import Problem, Turn, fold

if TYPE_CHECKING:
    from surpass.tasks.kgqa import kgqa

_SHARED = 8  # answers drawn from one world
_ASKED = re.compile(r"Question:\s*(.+)")


@dataclass(frozen=True)
class kgqa_proposals(Task):
    """Problems that give an answer and want a question. A turn searches, as in kgqa, or ends the attempt with
    "Question: ...".

    Whoever tries to answer a question decides later what it is worth, so check gives nan.
    """

    of: kgqa

    def problems(self, split: str, seed: int) -> Iterator[Problem]:
        """Entities to ask about, of the worlds of a split."""
        yield from unique(lambda i: self._problem(split, seed, i), split)

    def _problem(self, split: str, seed: int, i: int) -> Problem:
        number = fold(seed, "kgqa", split, i // _SHARED, 0)
        name = random.Random(fold(number, "asked", i)).choice(list(self.of.world(number).kinds))
        prompt = f"Ask for {name}.\nLook up facts with <call>search WORDS</call>, then write Question: ..."
        return Problem(problem_id(f"{prompt} {number}"), prompt, {"answer": name, "world": number})

    async def start(self, models: Models, problem: Problem) -> Turn:
        state = {"world": problem.answer["world"], "turn": 0, "seen": [], "searches": []}
        return Turn(state, {"policy": problem.prompt}, "policy")

    async def step(self, models: Models, state: Any, text: str) -> Turn:
        state = {**state, "turn": state["turn"] + 1}
        if _ASKED.search(text):
            return Turn(state)
        call = parse(text, self.of.tools)
        if isinstance(call, Call):
            told, seen, _ = self.of.look_up(state["world"], call.argument)
            state["seen"] = sorted({*state["seen"], *seen})
            state["searches"] = [*state["searches"], call.argument]
            counts = {"searches": 1.0}
        else:
            told = refusal(call or "write <call>search WORDS</call> or Question: ...")
            counts = {"malformed": 1.0}
        if state["turn"] >= self.of.max_turns:
            return Turn(state, valid=isinstance(call, Call), counts=counts | {"out_of_turns": 1.0})
        return Turn(state, {"policy": told}, "policy", valid=isinstance(call, Call), counts=counts)

    async def check(self, models: Models, problem: Problem, text: str) -> float:
        return float("nan")

    def posed(self, problem: Problem, state: Any, text: str) -> tuple[Problem | None, str, list[str]]:
        """(the question as a problem of kgqa, or None; why it is refused, or ""; the documents found).
        Refused are: no question, fewer than 5 words or more than 300 characters, the answer in the question,
        nothing found, a search made twice.
        """
        world, name = self.of.world(problem.answer["world"]), problem.answer["answer"]
        documents = [world.documents[i] for i in state["seen"]]
        found = _ASKED.search(text)
        if found is None:
            return None, "no question", documents
        question = found[1].strip()
        wrong = {
            "too short": len(question.split()) < 5,
            "too long": len(question) > 300,
            "gives the answer away": name.lower() in question.lower(),
            "nothing was found": not documents,
            "the same search twice": len(set(state["searches"])) < len(state["searches"]),
        }
        for why, holds in wrong.items():
            if holds:
                return None, why, documents
        start, path = self._read(question)
        answer = {"answer": name, "world": problem.answer["world"], "start": start, "path": path}
        id = problem_id(f"kgqa {question} {problem.answer['world']}")
        posed = Problem(id, self.of.prompt(question), answer, {"hops": len(path)})
        return posed, "", documents

    def _read(self, question: str) -> tuple[str, list[str]]:
        """(entity, relations) of "... the R of the R of NAME?", for the oracle; ("", []) of any other."""
        parts = re.split(r"\bof\b", question.rstrip("?. "))
        relations = [part.replace("the", "").split()[-1] for part in parts[:-1] if part.split()]
        if len(parts) < 2 or len(relations) != len(parts) - 1:
            return "", []
        return parts[-1].strip(), relations[::-1]

    def truly(self, problem: Problem) -> bool:
        """Whether the documents give this answer to a question of the usual form. For measures alone."""
        at, path = problem.answer["start"], problem.answer["path"]
        said = re.findall(
            r"^The (\w+) of (.+) is (.+)\.$",
            "\n".join(self.of.world(problem.answer["world"]).documents),
            re.MULTILINE,
        )
        known = {(relation, entity): value for relation, entity, value in said}
        for relation in path:
            at = known.get((relation, at))
        return bool(path) and at == problem.answer["answer"]
