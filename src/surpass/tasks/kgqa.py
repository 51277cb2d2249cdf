"""Questions over a graph of made-up people, towns and companies that are answered by searching short
documents.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

from surpass.answers import final_answer, plain
from surpass.errors import SurpassError
from surpass.parts import Oracle, Task
from surpass.tasks.splits import problem_id, split_of, unique
from surpass.tasks.tools import Call, parse, refusal, result
from surpass.types import Problem, Turn, fold

_RELATIONS = {
    "person": {
        "teacher": "person",
        "boss": "person",
        "doctor": "person",
        "rival": "person",
        "birthplace": "town",
        "employer": "company",
    },
    "company": {"owner": "person", "seat": "town"},
    "town": {"mayor": "person", "founder": "person"},
}
_FORMER = ("teacher", "boss", "doctor", "rival", "employer")
_FIRST = (
    "Mi Ra Te Lo Ve Su Ka No Be Di Fa Go He Jo Li Mo Pa Ru Sa Ti".split(),
    "ra ven lo na rik sa mo del ta lin bo ney sha dan ri ko ma vin la zo".split(),
)
_STEMS = "Tol Bas Ren Kor Mal Vor Hal Pem Dun Gar Wes Fel Nor Sil Bran Cas Lun Tar Os Yar".split()
_FAMILY = (_STEMS, "k v by den er fin ic ley man nik ow pas rin sen tov um vik wyn yer zen".split())
_TOWN = (_STEMS, "bury dale ford haven holm mere port stad vale wick".split())
_COMPANY = (_STEMS, ["an ", "ex ", "in ", "o "], "Bank Farms Foods Glass Lines Mills Tools Works".split())
_PASTIMES = "apples birds chess dogs fishing horses maps music plums tea".split()
_STOPWORDS = {"a", "and", "in", "is", "of", "the", "was"}
_SHARED = 8  # questions asked about one world
_WORLDS = 50  # worlds drawn before giving up on finding a question
_DRAWS = 60  # questions drawn from a world before the next one is tried
_LONGEST = 100  # characters of a search


class Fact(NamedTuple):
    """The `relation` of `entity` is `value`: what document number `document` says."""

    relation: str
    entity: str
    value: str
    document: int


@dataclass(frozen=True)
class World:
    """A graph, the documents that state it among others, and the index over them."""

    kinds: dict[str, str]
    facts: dict[tuple[str, str], Fact]
    documents: tuple[str, ...]
    index: Any

    def search(self, words: str, results: int) -> list[int]:
        """The numbers of the best documents by BM25 that share a word with the search, best first, at most
        `results`.
        """
        tokens = sorted(set(_tokens(words)))
        if not tokens:
            return []
        # rounded, so that ties fall the same way on every machine
        scores = self.index.get_scores(tokens).round(4)
        return [int(i) for i in (-scores).argsort(kind="stable")[:results] if scores[i] > 0]

    def chain(self, start: str, path: list[str]) -> list[Fact]:
        """The facts that lead from an entity along a path of relations."""
        chain: list[Fact] = []
        for relation in path:
            chain.append(self.facts[relation, chain[-1].value if chain else start])
        return chain


def _tokens(text: str) -> list[str]:
    return [word for word in re.findall("[a-z]+", text.lower()) if word not in _STOPWORDS]


def _library() -> Any:
    try:
        import bm25s
    except ImportError as error:
        raise SurpassError("the task kgqa needs a search index: pip install 'surpass[kgqa]'") from error
    return bm25s


def _names(rng: random.Random, parts: tuple[list[str], ...], count: int) -> list[str]:
    """`count` different names made of one piece of every part."""
    found: dict[str, None] = {}
    while len(found) < count:
        found["".join(rng.choice(part) for part in parts)] = None
    return list(found)


def _fact(relation: str, entity: str, value: str) -> str:
    return f"The {relation} of {entity} is {value}."


@lru_cache(maxsize=256)
def world_of(seed: int, persons: int, distractors: int) -> World:
    """The world that a seed names: `persons` people, a third as many towns and companies, every relation of
    each in one document, and up to `distractors` other documents (repeats are dropped).
    """
    rng = random.Random(fold(seed, "kgqa world"))
    firsts, families = (_names(rng, parts, persons // 2 + 2) for parts in (_FIRST, _FAMILY))
    people = rng.sample(
        [f"{first} {family}" for first in firsts for family in families], persons + persons // 2
    )
    members = {"person": people[:persons]}
    members |= {
        kind: _names(rng, parts, max(2, persons // 3))
        for kind, parts in (("town", _TOWN), ("company", _COMPANY))
    }
    kinds = {entity: kind for kind, entities in members.items() for entity in entities}
    links = {
        (relation, entity): rng.choice([other for other in members[to] if other != entity])
        for entity, kind in kinds.items()
        for relation, to in _RELATIONS[kind].items()
    }
    said = {_fact(*key, value): key for key, value in links.items()}
    documents = list(dict.fromkeys([*said, *_distractors(rng, members, people[persons:], distractors)]))
    rng.shuffle(documents)
    facts = {
        said[text]: Fact(*said[text], links[said[text]], i)
        for i, text in enumerate(documents)
        if text in said
    }
    index = _library().BM25(method="lucene")
    index.index([_tokens(text) for text in documents], show_progress=False)
    return World(kinds, facts, tuple(documents), index)


def _distractors(
    rng: random.Random, members: dict[str, list[str]], outsiders: list[str], count: int
) -> Iterator[str]:
    """Documents that no question needs and none contradicts: facts of outsiders with the same first and
    family names, what was so formerly, small talk.
    """
    known: dict[tuple[str, str], str] = {}
    for _ in range(count):
        person, other = rng.sample(members["person"], 2)
        kind = rng.randrange(3)
        if kind == 0:
            relation, to = rng.choice(list(_RELATIONS["person"].items()))
            outsider = rng.choice(outsiders)
            yield _fact(relation, outsider, known.setdefault((relation, outsider), rng.choice(members[to])))
        elif kind == 1:
            relation = rng.choice(_FORMER)
            value = other if relation != "employer" else rng.choice(members["company"])
            yield f"The former {relation} of {person} was {value}."
        else:
            yield f"{person} and {other} like {rng.choice(_PASTIMES)}."


def _same(name: str) -> str:
    """A name as it is compared: in one form (surpass.answers.plain), without marks around it."""
    return plain(name).strip(" .,;:!?*'\"()<>")


@dataclass(frozen=True)
class kgqa(Task):
    """Questions of several hops over made-up people, towns and companies, answered by searching short
    documents.

    `min_hops` to `hops` facts lead to an answer, in a world of `persons` people and about 8 documents for
    each, and `distractors` more. A search shows the best `results` documents in at most `limit` characters;
    an attempt has `max_turns` turns (searches, refused turns and the answer). check gives 1 for a turn that
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
        _library()

    def world(self, seed: int) -> World:
        """The world of a problem or a state, by its number."""
        return world_of(seed, self.persons, self.distractors)

    def problems(self, split: str, seed: int) -> Iterator[Problem]:
        """Problems of a split in an order given by the seed; no world and no question's text is in two
        splits.
        """
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
                # the same text could come up in another world, so the text alone decides whether this split
                # may ask it
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
        """The other side: a task whose attempts ask questions."""
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
            path.append(rng.choice(list(_RELATIONS[world.kinds[at]])))
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

    async def start(self, models: Any, problem: Problem) -> Turn:
        state = {key: problem.answer[key] for key in ("world", "start", "path")} | {
            "turn": 0,
            "seen": [],
            "said": None,
        }
        return Turn(state, {"policy": problem.prompt}, "policy")

    async def step(self, models: Any, state: Any, text: str) -> Turn:
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

    async def check(self, models: Any, problem: Problem, text: str) -> float:
        said = self.final_answer(text)
        return float(said is not None and said == _same(problem.answer["answer"]))

    def final_answer(self, text: str) -> str | None:
        """The name that a turn answers with, as it is compared; None for a turn that calls a tool or states
        no name.
        """
        found = None if parse(text, self.tools, _LONGEST) is not None else final_answer(text)
        return None if found is None else _same(found) or None

    @property
    def oracle(self) -> Oracle:
        return Guide(self)


def _kind(world: World, start: str, path: list[str]) -> str:
    return world.kinds[world.chain(start, path)[-1].value]


@dataclass(frozen=True)
class Guide:
    """Searches fact by fact and answers when the last one has been told; knows every fact, uses those that
    were told.
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
        """A search that costs the turn which was needed, or a wrong name: an entity on the way, one that was
        told, one of the right kind.
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
        """(1 for a search that shows a fact which leads on or for the right name, 0 for a search that shows
        nothing needed, -1 for a search that was made before, a turn that cannot be played or a wrong name;
        whether the turn answers).
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
            for relation in _RELATIONS[world.kinds[fact.entity]]
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
        """Entities that are not the answer: on the way or told so far and of its kind, else any of its kind,
        never empty.
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
        """1 if searching fact by fact still reaches the right answer within the turns left, else 0. A text
        that holds a call or an answer counts as a whole turn.
        """
        if parse(text, self.task.tools, _LONGEST) is not None or self.task.final_answer(text) is not None:
            state = self.task._after(state, text).state
        rng = random.Random(0)
        while state["said"] is None and state["turn"] < self.task.max_turns:
            state = self.task._after(state, self.act(problem, state, rng)).state
        return float(state["said"] == _same(self._chain(state)[1][-1].value))


def _search(relation: str, entity: str) -> str:
    return f"<call>search {relation} of {entity}</call>"
