"""Short texts under several constraints at once (count, include, order, format), each judged by an exact
checker.

A word is what stands between blanks or newlines, without the punctuation around it; what holds no letter and
no digit is no word. Words and letters are compared without regard to case. Newlines at the end of a text do
not count; everything else does.
"""

from __future__ import annotations

import math
import random
import string
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from surpass.errors import SurpassError
from surpass.models import Models
from surpass.parts import Task
from surpass.tasks.gold import BLANK
from surpass.tasks.splits import problem_id, unique
from surpass.types import Problem, fold

WORDS = tuple(
    "ant bed box cat cow cup dog egg fox hat ink jar key map net owl pen red sun van bird blue boat "
    "book cake door fish frog gold hand king lamp leaf milk moon rain road star tree wolf apple bread "
    "chair cloud eagle grass green horse house knife lemon light music ocean paper plant river stone "
    "table water".split()
)
"""What problems name and what the oracle writes: twenty words each of three, four and five letters."""

LETTERS = "aeilnorst"
MARKS = "!?.;"
SIZES = ("words", "lines", "list")
RIVALS = (("lines", "list"), ("times", "distinct"))

Spec = Sequence[Any]
"""One constraint as JSON: the name of its family, then its arguments."""


class Seen(NamedTuple):
    """A text as the checkers see it: itself, its lines, its words as written and in lower case."""

    text: str
    lines: list[str]
    words: list[str]
    low: list[str]


def read(text: str) -> Seen:
    """The lines and words of a text; newlines at its end are dropped, an empty text has no lines."""
    text = text.rstrip("\n")
    words = [part.strip(string.punctuation) for part in text.split() if _spelt(part)]
    return Seen(text, text.split("\n") if text else [], words, [word.lower() for word in words])


def _spelt(text: str) -> bool:
    """Whether a letter or a digit that can be seen is in a text: a blank of no width is no word."""
    return any(c.isalnum() and c not in BLANK for c in text)


NOTHING = read("")


def _rows(seen: Seen, start: str = "") -> bool:
    """Whether every line begins with `start` and holds a word."""
    return all(line.startswith(start) and _spelt(line) for line in seen.lines)


def _before(seen: Seen, first: str, second: str) -> bool:
    """Whether `second` is absent or comes after the first `first`."""
    return second not in seen.low or first in seen.low[: seen.low.index(second)]


def _one_case(seen: Seen, case: str) -> bool:
    return not any(c.isupper() if case == "lower" else c.islower() for c in seen.text)


def _near(rng: random.Random, number: int) -> int:
    return number + rng.choice((-1, 1))


class Family(NamedTuple):
    """A kind of constraint. `args` are those of one constraint: JSON values, in the order of the places in
    `says`.

    draw(rng, words, fresh): arguments, no number above `words`; fresh() is a word that no other constraint
    names. holds(seen, *args): the finished text obeys. wrong(rng, *args): what somebody obeys instead who
    gets it slightly wrong. open(seen, *args): some text that goes on in a new line below it obeys; None: as
    holds.
    """

    says: str
    draw: Callable[[random.Random, int, Callable[[], str]], list[Any]]
    holds: Callable[..., bool]
    wrong: Callable[..., list[Spec]]
    open: Callable[..., bool] | None = None


FAMILIES: dict[str, Family] = {
    "words": Family(
        "Write {} words.",
        lambda rng, words, fresh: [rng.randint(2, words)],
        lambda seen, n: len(seen.words) == n,
        lambda rng, n: [["words", _near(rng, n)]],
        lambda seen, n: len(seen.words) <= n,
    ),
    "lines": Family(
        "Use exactly {} lines.",
        lambda rng, words, fresh: [rng.randint(2, min(4, words))],
        lambda seen, n: len(seen.lines) == n and _rows(seen),
        lambda rng, n: [["lines", _near(rng, n)]],
        lambda seen, n: len(seen.lines) < n and _rows(seen),
    ),
    "list": Family(
        'Make a list of {} lines, each starting with "- ".',
        lambda rng, words, fresh: [rng.randint(2, min(4, words))],
        lambda seen, n: len(seen.lines) == n and _rows(seen, "- "),
        lambda rng, n: [rng.choice((["list", _near(rng, n)], ["lines", n]))],
        lambda seen, n: len(seen.lines) < n and _rows(seen, "- "),
    ),
    "start": Family(
        'Start with the word "{}".',
        lambda rng, words, fresh: [fresh()],
        lambda seen, word: seen.low[:1] == [word],
        lambda rng, word: [["include", word]],
        lambda seen, word: seen.low[:1] in ([], [word]),
    ),
    "include": Family(
        'Include "{}".',
        lambda rng, words, fresh: [fresh()],
        lambda seen, word: word in seen.low,
        lambda rng, word: [],
        lambda seen, word: True,
    ),
    "times": Family(
        'Say "{}" {} times.',
        lambda rng, words, fresh: [fresh(), rng.randint(2, min(3, words))],
        lambda seen, word, n: seen.low.count(word) == n,
        lambda rng, word, n: [["times", word, _near(rng, n)]],
        lambda seen, word, n: seen.low.count(word) <= n,
    ),
    "order": Family(
        'Use "{}" before "{}".',
        lambda rng, words, fresh: [fresh(), fresh()],
        lambda seen, first, second: second in seen.low and _before(seen, first, second),
        lambda rng, first, second: [["order", second, first]],
        _before,
    ),
    "sorted": Family(
        "Put the words in alphabetical order.",
        lambda rng, words, fresh: [],
        lambda seen: all(a <= b for a, b in pairwise(seen.low)),
        lambda rng: [],
    ),
    "distinct": Family(
        "Do not repeat a word.",
        lambda rng, words, fresh: [],
        lambda seen: len(set(seen.low)) == len(seen.low),
        lambda rng: [["times", rng.choice(WORDS), 2]],
    ),
    "avoid": Family(
        'Do not use the letter "{}".',
        lambda rng, words, fresh: [rng.choice(LETTERS)],
        lambda seen, letter: letter not in seen.text.lower(),
        lambda rng, letter: [["include", rng.choice([word for word in WORDS if letter in word])]],
    ),
    "length": Family(
        "Use only words of {} letters.",
        lambda rng, words, fresh: [rng.randint(3, 5)],
        lambda seen, n: all(len(word) == n and word.isalpha() for word in seen.words),
        lambda rng, n: [["include", rng.choice([word for word in WORDS if len(word) != n])]],
    ),
    "case": Family(
        "Use only {} case.",
        lambda rng, words, fresh: [rng.choice(("lower", "upper"))],
        _one_case,
        lambda rng, case: [["case", "first"]],
    ),
    "end": Family(
        'End with "{}".',
        lambda rng, words, fresh: [rng.choice(MARKS)],
        lambda seen, mark: seen.text.endswith(mark),
        lambda rng, mark: rng.choice(([], [["end", rng.choice(MARKS.replace(mark, ""))]])),
        lambda seen, mark: True,
    ),
}
"""The families by name, in the order in which a prompt says them."""


def broken(specs: Sequence[Spec], text: str) -> list[str]:
    """The names of the constraints that a finished text does not obey; a text without a word obeys none.

    >>> broken([["words", 3], ["include", "fox"]], "the red dog")
    ['include']
    """
    seen = read(text)
    return [name for name, *args in specs if not seen.words or not FAMILIES[name].holds(seen, *args)]


def _named(specs: Sequence[Spec]) -> set[str]:
    """The words that constraints speak of."""
    return {arg for _, *args in specs for arg in args if arg in WORDS}


def _needed(specs: Sequence[Spec], low: Sequence[str]) -> list[str]:
    """The words still to be written after the words `low`; one that has to come first is the first."""
    need: list[str] = []
    for name, *args in specs:
        if name == "start" and not low:
            need.insert(0, args[0])
        elif name == "times":
            need += [args[0]] * (args[1] - low.count(args[0]))
        elif name in ("include", "order"):
            need += [word for word in args if word not in low and word not in need]
    return need


def _pick(
    specs: Sequence[Spec],
    need: list[str],
    low: list[str],
    count: int,
    barred: AbstractSet[str],
    rng: random.Random,
) -> list[str] | None:
    """`count` words in a right order, those needed among them; None if the inventory has too few that fit."""
    only: dict[str, Any] = {name: args for name, *args in specs}
    (letter,), (length,) = only.get("avoid", ("-",)), only.get("length", (0,))
    first = need[:1] if "start" in only and not low else []
    floor = (first or low[-1:] or [""])[0] if "sorted" in only else ""
    unused = barred | _named(specs) | (set(low) if "distinct" in only else set())
    pool = [w for w in WORDS if letter not in w and length in (0, len(w)) and w >= floor and w not in unused]
    if count - len(need) > len(pool):
        return None
    words = need[len(first) :] + rng.sample(pool, count - len(need))
    if "sorted" in only:
        return first + sorted(words)
    rng.shuffle(words)
    for one, two in [args for name, *args in specs if name == "order"]:
        if one in words and two in words and words.index(one) > words.index(two):
            i, j = words.index(one), words.index(two)
            words[i], words[j] = two, one
    return first + words


def _room(specs: Sequence[Spec], seen: Seen) -> tuple[int | None, int | None]:
    """(words, lines) that are to follow `seen`; None where their number is free."""
    only = {name: args[0] for name, *args in specs if name in SIZES}
    lines = only.get("lines", only.get("list"))
    words = only["words"] - len(seen.words) if "words" in only else None
    return words, None if lines is None else lines - len(seen.lines)


def compose(
    specs: Sequence[Spec],
    most: int,
    rng: random.Random,
    seen: Seen = NOTHING,
    barred: AbstractSet[str] = frozenset(),
) -> str | None:
    """What to write below `seen` so that the specs hold: about `most` words at most where their number is
    free, and none that is `barred`. None: no way was found. Specs may contradict each other: `broken` tells
    whether the text is right.
    """
    need = _needed(specs, seen.low)
    counted, lines = _room(specs, seen)
    least = max(len(need), lines or 0)
    if counted is None:
        least = max(least, 1)
        counts = range(rng.randint(least, max(least, most - len(seen.words))), least - 1, -1)
    else:
        counts = range(counted, max(counted, least) - 1, -1)
    picked = (_pick(specs, need, seen.low, count, barred, rng) for count in counts)
    words = next((found for found in picked if found is not None), None)
    if words is None:
        return None
    only: dict[str, Any] = {name: args[0] for name, *args in specs if args}
    cuts = [0, *sorted(rng.sample(range(1, len(words)), lines - 1 if lines else 0)), len(words)]
    bullet = "- " if "list" in only else ""
    rows = [" ".join(words[a:b]) for a, b in pairwise(cuts)]
    if only.get("case") == "upper":
        rows = [row.upper() for row in rows]
    if only.get("case") == "first":
        rows[0] = rows[0].capitalize()
    return "\n".join(bullet + row for row in rows) + only.get("end", "")


def _lost(specs: Sequence[Spec], seen: Seen) -> bool:
    """Whether nothing that is written in a new line below `seen` can make all specs hold."""
    if not all((FAMILIES[name].open or FAMILIES[name].holds)(seen, *args) for name, *args in specs):
        return True
    need = _needed(specs, seen.low)
    counted, lines = _room(specs, seen)
    if counted is not None and counted < max(len(need), lines or 0):
        return True
    return (
        bool(need and seen.low) and min(need) < seen.low[-1] and any(name == "sorted" for name, *_ in specs)
    )


@dataclass(frozen=True)
class Composer:
    """The oracle: writes at most `most` words where their number is free."""

    most: int

    def act(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """A text under which every constraint holds."""
        return compose(problem.answer, self.most, rng) or ""

    def slip(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """A text that gets one constraint slightly wrong, sometimes another with it: its check is below 1."""
        specs = problem.answer
        for _ in range(40):
            at = rng.randrange(len(specs))
            name, *args = specs[at]
            wrong = [*specs[:at], *FAMILIES[name].wrong(rng, *args), *specs[at + 1 :]]
            text = compose(wrong, self.most, rng, barred=_named(specs))
            if text and broken(specs, text):
                return text
        return ""

    def value(self, problem: Problem, state: Any, text: str = "") -> float:
        """1 if the lines of `text` are right or can still become so by going on in a new line, 0 if not, nan
        where that is not known (words outside the inventory might do). This is full success alone: what check
        pays for a part is left out.
        """
        if not broken(problem.answer, text):
            return 1.0
        seen = read(text)
        if _lost(problem.answer, seen):
            return 0.0
        rest = compose(problem.answer, self.most, random.Random(0), seen)
        whole = text + ("\n" if text and not text.endswith("\n") else "") + (rest or "")
        return math.nan if broken(problem.answer, whole) else 1.0


@dataclass(frozen=True)
class instructions(Task):
    """`fewest` to `constraints` constraints on a text of up to `words` words: count, include, order and
    format, exactly checked.

    `families` names the kinds of constraint to draw from, separated by blanks or commas; "": all. check gives
    1 if all hold, else half the share that does; a text without a word gets 0. With several constraints the
    first is one of size, where `families` has one. SurpassError if the knobs allow no problem.
    """

    constraints: int = 3
    fewest: int = 2
    words: int = 6
    families: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.families, str):
            raise SurpassError(
                f"instructions wants families as names separated by blanks; found {self.families!r}"
            )
        unknown = [name for name in self._families() if name not in FAMILIES]
        if unknown:
            raise SurpassError(f"instructions has the families {' '.join(FAMILIES)}; found {unknown[0]!r}")
        numbers = all(type(number) is int for number in (self.constraints, self.fewest, self.words))
        if not (numbers and 1 <= self.fewest <= self.constraints and 2 <= self.words <= 12):
            raise SurpassError(
                "instructions needs whole numbers, 1 <= fewest <= constraints and words from 2 to 12; "
                f"found {self}"
            )
        self._draw(random.Random(0), self.constraints, 400)

    def _families(self) -> list[str]:
        return self.families.replace(",", " ").split() or list(FAMILIES)

    def _draw(self, rng: random.Random, number: int, tries: int = 4000) -> list[Spec]:
        """Specs that hold together in at most `words` words, in the order in which they are said."""
        names = list(dict.fromkeys(self._families()))
        sizes = [name for name in names if name in SIZES]
        for _ in range(tries):
            chosen = [rng.choice(sizes)] if sizes and number > 1 else []
            for name in rng.sample(names, len(names)):
                rivals = {rival for pair in RIVALS if name in pair for rival in pair}
                if len(chosen) < number and name not in chosen and not rivals & set(chosen):
                    chosen.append(name)
            fresh = iter(rng.sample(WORDS, 10)).__next__
            specs: list[Spec] = [
                [name, *family.draw(rng, self.words, fresh)]
                for name, family in FAMILIES.items()
                if name in chosen
            ]
            text = compose(specs, self.words, rng) or ""
            if len(specs) == number and not broken(specs, text) and len(read(text).words) <= self.words:
                return specs
        raise SurpassError(
            f"{number} constraints out of {' '.join(names)} do not fit together in {self.words} words: "
            "allow fewer constraints, more words or more families"
        )

    def problems(self, split: str, seed: int) -> Iterator[Problem]:
        """Problems of a split in an order given by the seed; the answer of a problem is its constraints as
        JSON.
        """
        return unique(lambda i: self._problem(random.Random(fold(seed, "instructions", i))), split)

    def _problem(self, rng: random.Random) -> Problem:
        specs = self._draw(rng, rng.randint(self.fewest, self.constraints))
        said = [FAMILIES[name].says.format(*args) for name, *args in specs]
        if specs[0][0] not in ("words", "list"):
            said.insert(0, "Write words.")
        prompt = " ".join(said)
        return Problem(
            problem_id(f"instructions {prompt}"), prompt, specs, {"families": [spec[0] for spec in specs]}
        )

    async def check(self, models: Models, problem: Problem, text: str) -> float:
        kept = len(problem.answer) - len(broken(problem.answer, text))
        return 1.0 if kept == len(problem.answer) else kept / len(problem.answer) / 2

    def broken(self, problem: Problem, text: str) -> list[str]:
        """The names of the constraints that a finished text does not obey, in the order of the prompt."""
        return broken(problem.answer, text)

    @property
    def oracle(self) -> Composer:
        return Composer(self.words)
