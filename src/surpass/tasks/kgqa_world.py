"""The world of kgqa: made-up people, towns and companies, the documents that state facts about them, and the
search over these documents.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from surpass.errors import SurpassError
from surpass.types import fold

RELATIONS = {
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


class Fact(NamedTuple):
    """Document number `document` says that the `relation` of `entity` is `value`."""

    relation: str
    entity: str
    value: str
    document: int


@dataclass(frozen=True)
class World:
    """A graph of facts, the documents (those that state the facts, and others), and the index over them."""

    kinds: dict[str, str]
    facts: dict[tuple[str, str], Fact]
    documents: tuple[str, ...]
    index: Any

    def search(self, words: str, results: int) -> list[int]:
        """The numbers of at most `results` documents that share a word with the search, ranked by BM25."""
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


def library() -> Any:
    """The module bm25s; a SurpassError names the extra where it is missing."""
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
    """The world that a seed names: `persons` people, a third as many towns, and as many companies. One
    document states each relation of each; up to `distractors` other documents lie among them.
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
        for relation, to in RELATIONS[kind].items()
    }
    said = {_fact(*key, value): key for key, value in links.items()}
    documents = list(dict.fromkeys([*said, *_distractors(rng, members, people[persons:], distractors)]))
    rng.shuffle(documents)
    facts = {
        said[text]: Fact(*said[text], links[said[text]], i)
        for i, text in enumerate(documents)
        if text in said
    }
    index = library().BM25(method="lucene")
    index.index([_tokens(text) for text in documents], show_progress=False)
    return World(kinds, facts, tuple(documents), index)


def _distractors(
    rng: random.Random, members: dict[str, list[str]], outsiders: list[str], count: int
) -> Iterator[str]:
    """Documents that no question needs and that contradict none: facts about outsiders with the same first
    and family names, what was true formerly, small talk.
    """
    known: dict[tuple[str, str], str] = {}
    for _ in range(count):
        person, other = rng.sample(members["person"], 2)
        kind = rng.randrange(3)
        if kind == 0:
            relation, to = rng.choice(list(RELATIONS["person"].items()))
            outsider = rng.choice(outsiders)
            yield _fact(relation, outsider, known.setdefault((relation, outsider), rng.choice(members[to])))
        elif kind == 1:
            relation = rng.choice(_FORMER)
            value = other if relation != "employer" else rng.choice(members["company"])
            yield f"The former {relation} of {person} was {value}."
        else:
            yield f"{person} and {other} like {rng.choice(_PASTIMES)}."
