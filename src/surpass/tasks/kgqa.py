"""Multi-hop questions over made-up people, towns and companies, answered by searching documents."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from surpass.answers import final_answer, plain
from surpass.errors import SurpassError
from surpass.models import Models
from surpass.parts import Oracle, Task
from surpass.tasks.kgqa_world import RELATIONS, Fact, World, library, world_of
from surpass.tasks.splits import problem_id, split_of, unique
from surpass.tasks.tools import Call, parse, refusal, result
from surpass.types import Problem, Turn, fold

_SHARED = 8  # questions asked about one world
_WORLDS = 50  # worlds drawn before giving up on finding a question
_DRAWS = 60  # questions drawn from a world before the next one is tried
_LONGEST = 100  # characters of a search


def _same(name: str) -> str:
    """The form in which names are compared: surpass.answers.plain, without marks around it."""
    return plain(name).strip(" .,;:!?*'\"()<>")


@dataclass(frozen=True)
class kgqa(Task):
    """Questions of several hops over made-up people, towns and companies, answered by searching documents.

    `min_hops` to `hops` facts lead to an answer. A world has `persons` people, about 8 documents for each,
    and `distractors` more. A search shows the best `results` documents in at most `limit` characters. An
    attempt has `max_turns` turns; searches, refused turns and the answer count. check gives 1 for a turn that
    answers with the right name, else 0.
    """

    hops: int = 3
    min_hops: int = 1
    persons: int = 12
    distractors: int = 24
    results: int = 2
    max_turns: int = 5
    limit: int = 160
    tools: ClassVar[tuple[str, ...]] = ("search",)

    def __post_init__(self) -> None:
        ranges = {
            "hops": (1, 4),
            "min_hops": (1, self.hops),
            "persons": (6, 300),
            "distractors": (0, 2000),
            "results": (1, 10),
            "max_turns": (self.hops, 100),
            "limit": (80, 4000),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            low += name == "max_turns"  # one turn a fact, and one to answer
            if type(value) is not int or not low <= value <= high:
                raise SurpassError(
                    f"kgqa needs {name} to be a whole number from {low} to {high}; found {value!r}"
                )
        library()

    def world(self, seed: int) -> World:
        """The world of a problem or a state, by its number."""
        return world_of(seed, self.persons, self.distractors)

    def problems(self, split: str, seed: int) -> Iterator[Problem]:
        """Problems of a split, ordered by the seed; no world and no question's text is in two splits."""
        return unique(lambda i: self._problem(split, seed, i), split)

    def _problem(self, split: str, seed: int, i: int) -> Problem:
        for attempt in range(_WORLDS):
            number = fold(seed, "kgqa", split, i // _SHARED, attempt)
            rng = random.Random(fold(number, "question", i))
            for _ in range(_DRAWS):
                start, path = self._draw(number, rng)
                world = self.world(number)
                who = "Who" if _kind(world, start, path) == "person" else "What"
                question = f"{who} is {''.join(f'the {relation} of ' for relation in reversed(path))}{start}?"
                # another world may yield the same text, so the text alone decides which split may ask it
                if split_of(problem_id(question)) != split or not self._answerable(world, start, path):
                    continue
                prompt = self.prompt(question)
                answer = {
                    "answer": world.chain(start, path)[-1].value,
                    "world": number,
                    "start": start,
                    "path": path,
                }
                return Problem(problem_id(f"kgqa {question} {number}"), prompt, answer, {"hops": len(path)})
        raise SurpassError(
            "kgqa found no question that its documents answer; wanted more persons, results or limit "
            f"than {self}"
        )

    def prompt(self, question: str) -> str:
        """What a player is told to do with a question."""
        return f"{question}\nLook up facts with <call>search WORDS</call>, then write Answer: NAME"

    def proposing(self) -> Task:
        """The task of a proposer, whose attempts are questions of this task."""
        from surpass.tasks.kgqa_proposals import kgqa_proposals

        return kgqa_proposals(self)

    def look_up(self, number: int, words: str) -> tuple[str, list[int], bool]:
        """(what a search in a world tells, the documents that are whole in it, whether it was cut)."""
        return self._look_up(self.world(number), words)

    def _draw(self, number: int, rng: random.Random) -> tuple[str, list[str]]:
        """An entity to start from and a path of relations that exist."""
        world = self.world(number)
        start = at = rng.choice(list(world.kinds))
        path: list[str] = []
        for _ in range(rng.randint(self.min_hops, self.hops)):
            path.append(rng.choice(list(RELATIONS[world.kinds[at]])))
            at = world.facts[path[-1], at].value
        return start, path

    def _answerable(self, world: World, start: str, path: list[str]) -> bool:
        """Whether no entity comes twice and the search for each fact really shows it."""
        chain = world.chain(start, path)
        if len({start, *(fact.value for fact in chain)}) <= len(chain):
            return False
        return all(
            fact.document in self._look_up(world, f"{fact.relation} of {fact.entity}")[1] for fact in chain
        )

    def _look_up(self, world: World, words: str) -> tuple[str, list[int], bool]:
        """(what is told, the documents that are whole in it, whether it was cut)."""
        found = world.search(words, self.results)
        told, cut = result("\n".join(world.documents[i] for i in found) or "nothing found", self.limit)
        return told, [i for i in found if world.documents[i] in told], cut

    async def start(self, models: Models, problem: Problem) -> Turn:
        state = {key: problem.answer[key] for key in ("world", "start", "path")}
        return Turn({**state, "turn": 0, "seen": [], "said": None}, {"policy": problem.prompt}, "policy")

    async def step(self, models: Models, state: Any, text: str) -> Turn:
        return self._after(state, text)

    def _after(self, state: Any, text: str) -> Turn:
        call, said = parse(text, self.tools, _LONGEST), self.final_answer(text)
        state = {**state, "turn": state["turn"] + 1}
        if said is not None:
            return Turn({**state, "said": said[:_LONGEST]})
        if isinstance(call, Call):
            told, seen, cut = self._look_up(self.world(state["world"]), call.argument)
            state["seen"] = sorted({*state["seen"], *seen})
            counts = {"searches": 1.0} | ({"cut": 1.0} if cut else {})
        else:
            told = refusal(call or "write <call>search WORDS</call> or Answer: NAME")
            counts = {"malformed": 1.0}
        if state["turn"] >= self.max_turns:
            return Turn(state, valid=isinstance(call, Call), counts=counts | {"out_of_turns": 1.0})
        return Turn(state, {"policy": told}, "policy", valid=isinstance(call, Call), counts=counts)

    async def check(self, models: Models, problem: Problem, text: str) -> float:
        said = self.final_answer(text)
        return float(said is not None and said == _same(problem.answer["answer"]))

    def final_answer(self, text: str) -> str | None:
        """The name that a turn answers with, in the form that is compared; None where it calls a tool or
        states no name.
        """
        found = None if parse(text, self.tools, _LONGEST) is not None else final_answer(text)
        return None if found is None else _same(found) or None

    @property
    def oracle(self) -> Oracle:
        """A player that searches for one fact after another."""
        return Guide(self)


def _kind(world: World, start: str, path: list[str]) -> str:
    return world.kinds[world.chain(start, path)[-1].value]


@dataclass(frozen=True)
class Guide:
    """Searches for one fact after another and answers once all have been told. It knows every fact and uses
    those that the task has told.
    """

    task: kgqa

    def evidence(self, problem: Problem) -> list[str]:
        """The document that states each hop, in order."""
        world = self.task.world(problem.answer["world"])
        return [
            world.documents[fact.document]
            for fact in world.chain(problem.answer["start"], problem.answer["path"])
        ]

    def _chain(self, state: Any) -> tuple[World, list[Fact], int]:
        """The world, the facts that lead to the answer, and how many of them are known without a gap."""
        world = self.task.world(state["world"])
        chain = world.chain(state["start"], state["path"])
        known = next((i for i, fact in enumerate(chain) if fact.document not in state["seen"]), len(chain))
        return world, chain, known

    def act(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """The search for the first fact that has not been told, or the answer."""
        _, chain, known = self._chain(state)
        if known == len(chain):
            return f"Answer: {chain[-1].value}"
        return _search(chain[known].relation, chain[known].entity)

    def slip(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """A search that wastes a turn which was needed, or a wrong name: an entity on the way, one that was
        told, or one of the right kind.
        """
        _, chain, known = self._chain(state)
        if known < len(chain) and rng.random() < 0.7:
            now, searches = self.value(problem, state), self._wrong_searches(state)
            # where a turn is to spare, all of them are harmless
            for text in rng.sample(searches, min(3, len(searches))):
                if self.value(problem, state, text) < now:
                    return text
        return f"Answer: {rng.choice(self._wrong_names(state))}"

    def grade(self, problem: Problem, state: Any, text: str) -> tuple[float, bool]:
        """(grade of a turn, whether the turn answers). The grade is 1 for the right name, or for a search
        that shows the next fact; 0 for a search that shows nothing needed; -1 for a wrong name, a turn that
        cannot be played, or a search that shows nothing new.
        """
        said = self.task.final_answer(text)
        if said is not None:
            return (1.0 if said == _same(self._chain(state)[1][-1].value) else -1.0), True
        after = self.task._after(state, text)
        if not after.valid or set(after.state["seen"]) == set(state["seen"]):
            return -1.0, False
        return float(self._chain(after.state)[2] > self._chain(state)[2]), False

    def _wrong_searches(self, state: Any) -> list[str]:
        """Searches for another relation, for the next one too early, and of another entity."""
        world, chain, known = self._chain(state)
        fact = chain[min(known, len(chain) - 1)]
        asked = [
            (relation, fact.entity)
            for relation in RELATIONS[world.kinds[fact.entity]]
            if relation != fact.relation
        ]
        asked += [(later.relation, fact.entity) for later in chain[known + 1 :]]
        asked += [(fact.relation, before.entity) for before in chain[:known]]
        told = " ".join(world.documents[i] for i in state["seen"])
        asked += [
            (fact.relation, entity) for entity in world.kinds if entity in told and entity != fact.entity
        ]
        return [_search(relation, entity) for relation, entity in asked]

    def _wrong_names(self, state: Any) -> list[str]:
        """Entities that are not the answer: those on the way, and those told so far that are of its kind;
        where there are none, all of its kind. Never empty.
        """
        world, chain, known = self._chain(state)
        answer = chain[-1].value
        kind = world.kinds[answer]
        told = " ".join(world.documents[i] for i in state["seen"])
        near = [fact.value for fact in chain[:known] if fact.value != answer]
        near += [
            entity
            for entity in world.kinds
            if entity in told and world.kinds[entity] == kind and entity != answer
        ]
        return near or [entity for entity in world.kinds if world.kinds[entity] == kind and entity != answer]

    def value(self, problem: Problem, state: Any, text: str = "") -> float:
        """1 if searching for one fact after another still reaches the right answer within the turns left,
        else 0. A text that holds a call or an answer counts as a whole turn.
        """
        if parse(text, self.task.tools, _LONGEST) is not None or self.task.final_answer(text) is not None:
            state = self.task._after(state, text).state
        rng = random.Random(0)
        while state["said"] is None and state["turn"] < self.task.max_turns:
            state = self.task._after(state, self.act(problem, state, rng)).state
        return float(state["said"] == _same(self._chain(state)[1][-1].value))


def _search(relation: str, entity: str) -> str:
    return f"<call>search {relation} of {entity}</call>"
