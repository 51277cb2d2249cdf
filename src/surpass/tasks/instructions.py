"""Short texts under several constraints at once (count, include, order, format), each judged exactly."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from surpass.errors import SurpassError
from surpass.models import Models
from surpass.parts import Task
from surpass.tasks.constraints import FAMILIES, NOTHING, WORDS, Seen, Spec, broken, read
from surpass.tasks.splits import problem_id, unique
from surpass.types import Problem, fold

SIZES = ("words", "lines", "list")
RIVALS = (("lines", "list"), ("times", "distinct"))


def _named(specs: Sequence[Spec]) -> set[str]:
    """The words that the constraints name."""
    return {arg for _, *args in specs for arg in args if arg in WORDS}


def _needed(specs: Sequence[Spec], low: Sequence[str]) -> list[str]:
    """The words still to be written after the words `low`; the one that has to come first stands first."""
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
    """`count` words in a right order, the needed ones among them; None if too few words of WORDS fit."""
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
    """How many (words, lines) have to follow `seen`; None where their number is free."""
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
    """A text to write below `seen` so that the specs hold, without the `barred` words; None: none was found.
    Where the number of words is free, it has about `most` at most. Specs may contradict each other, so
    `broken` has the last word.
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
    """Whether no text in new lines below `seen` can make all specs hold."""
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
    """The oracle of instructions: it writes at most `most` words where their number is free."""

    most: int

    def act(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """A text under which every constraint holds."""
        return compose(problem.answer, self.most, rng) or ""

    def slip(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """A text that gets one constraint slightly wrong, sometimes one more: its check is below 1."""
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
        """1 if the lines of `text` are right, or can become so by going on in a new line; 0 if they cannot;
        nan if that is not known, because words outside WORDS might help. What check pays for a part of the
        constraints is left out.
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
    """Texts of up to `words` words under `fewest` to `constraints` constraints, each checked exactly.

    `families` names the kinds of constraint to draw from, separated by blanks or commas; "": all. check gives
    1 if all hold, else half the share that holds; a text without a word gets 0. Among several constraints one
    sets the size, where `families` has one that does. SurpassError if the settings allow no problem.
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
        """Specs that can hold together in at most `words` words, in the order of FAMILIES."""
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
        """Problems of a split, ordered by the seed; a problem's answer is its constraints as JSON."""
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
        """The names of the constraints that a finished text breaks, in the order of the prompt."""
        return broken(problem.answer, text)

    @property
    def oracle(self) -> Composer:
        """A writer of texts under which all constraints hold."""
        return Composer(self.words)
