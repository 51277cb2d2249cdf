"""Constraints on a text: what each kind asks for, and an exact check of it.

A word is what stands between blanks or newlines, without the punctuation around it; what holds no letter and
no digit is no word. Words and letters are compared without regard to case. Newlines at the end of a text do
not count; everything else does.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from surpass.tasks.gold import BLANK

WORDS = tuple(
    "ant bed box cat cow cup dog egg fox hat ink jar key map net owl pen red sun van bird blue boat "
    "book cake door fish frog gold hand king lamp leaf milk moon rain road star tree wolf apple bread "
    "chair cloud eagle grass green horse house knife lemon light music ocean paper plant river stone "
    "table water".split()
)
"""What problems name and what the oracle writes: twenty words each of three, four and five letters."""

LETTERS = "aeilnorst"
MARKS = "!?.;"

Spec = Sequence[Any]
"""One constraint as JSON: the name of its family, then its arguments."""


class Seen(NamedTuple):
    """A text as the checks see it: whole, in lines, in words as written, in words in lower case."""

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
    """Whether a text has a visible letter or digit: a blank of no width is no word."""
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
    """A kind of constraint; `args` are the arguments of one such constraint, JSON values.

    says: its sentence in a prompt, with a place for each argument.
    draw(rng, words, fresh): arguments for a text of `words` words; fresh() gives a word that no other
    constraint names.
    holds(seen, *args): whether a finished text obeys.
    wrong(rng, *args): the constraints that a slightly wrong text obeys instead.
    open(seen, *args): whether a text can still obey if it goes on in a new line; None: as holds.
    """

    says: str
    draw: Callable[[random.Random, int, Callable[[], str]], list[Any]]
    holds: Callable[..., bool]
    wrong: Callable[..., list[Spec]]
    open: Callable[..., bool] | None = None


FAMILIES: dict[str, Family] = {
    "words": Family(
        says="Write {} words.",
        draw=lambda rng, words, fresh: [rng.randint(2, words)],
        holds=lambda seen, n: len(seen.words) == n,
        wrong=lambda rng, n: [["words", _near(rng, n)]],
        open=lambda seen, n: len(seen.words) <= n,
    ),
    "lines": Family(
        says="Use exactly {} lines.",
        draw=lambda rng, words, fresh: [rng.randint(2, min(4, words))],
        holds=lambda seen, n: len(seen.lines) == n and _rows(seen),
        wrong=lambda rng, n: [["lines", _near(rng, n)]],
        open=lambda seen, n: len(seen.lines) < n and _rows(seen),
    ),
    "list": Family(
        says='Make a list of {} lines, each starting with "- ".',
        draw=lambda rng, words, fresh: [rng.randint(2, min(4, words))],
        holds=lambda seen, n: len(seen.lines) == n and _rows(seen, "- "),
        wrong=lambda rng, n: [rng.choice((["list", _near(rng, n)], ["lines", n]))],
        open=lambda seen, n: len(seen.lines) < n and _rows(seen, "- "),
    ),
    "start": Family(
        says='Start with the word "{}".',
        draw=lambda rng, words, fresh: [fresh()],
        holds=lambda seen, word: seen.low[:1] == [word],
        wrong=lambda rng, word: [["include", word]],
        open=lambda seen, word: seen.low[:1] in ([], [word]),
    ),
    "include": Family(
        says='Include "{}".',
        draw=lambda rng, words, fresh: [fresh()],
        holds=lambda seen, word: word in seen.low,
        wrong=lambda rng, word: [],
        open=lambda seen, word: True,
    ),
    "times": Family(
        says='Say "{}" {} times.',
        draw=lambda rng, words, fresh: [fresh(), rng.randint(2, min(3, words))],
        holds=lambda seen, word, n: seen.low.count(word) == n,
        wrong=lambda rng, word, n: [["times", word, _near(rng, n)]],
        open=lambda seen, word, n: seen.low.count(word) <= n,
    ),
    "order": Family(
        says='Use "{}" before "{}".',
        draw=lambda rng, words, fresh: [fresh(), fresh()],
        holds=lambda seen, first, second: second in seen.low and _before(seen, first, second),
        wrong=lambda rng, first, second: [["order", second, first]],
        open=_before,
    ),
    "sorted": Family(
        says="Put the words in alphabetical order.",
        draw=lambda rng, words, fresh: [],
        holds=lambda seen: all(a <= b for a, b in pairwise(seen.low)),
        wrong=lambda rng: [],
    ),
    "distinct": Family(
        says="Do not repeat a word.",
        draw=lambda rng, words, fresh: [],
        holds=lambda seen: len(set(seen.low)) == len(seen.low),
        wrong=lambda rng: [["times", rng.choice(WORDS), 2]],
    ),
    "avoid": Family(
        says='Do not use the letter "{}".',
        draw=lambda rng, words, fresh: [rng.choice(LETTERS)],
        holds=lambda seen, letter: letter not in seen.text.lower(),
        wrong=lambda rng, letter: [["include", rng.choice([word for word in WORDS if letter in word])]],
    ),
    "length": Family(
        says="Use only words of {} letters.",
        draw=lambda rng, words, fresh: [rng.randint(3, 5)],
        holds=lambda seen, n: all(len(word) == n and word.isalpha() for word in seen.words),
        wrong=lambda rng, n: [["include", rng.choice([word for word in WORDS if len(word) != n])]],
    ),
    "case": Family(
        says="Use only {} case.",
        draw=lambda rng, words, fresh: [rng.choice(("lower", "upper"))],
        holds=_one_case,
        wrong=lambda rng, case: [["case", "first"]],
    ),
    "end": Family(
        says='End with "{}".',
        draw=lambda rng, words, fresh: [rng.choice(MARKS)],
        holds=lambda seen, mark: seen.text.endswith(mark),
        wrong=lambda rng, mark: rng.choice(([], [["end", rng.choice(MARKS.replace(mark, ""))]])),
        open=lambda seen, mark: True,
    ),
}
"""The families by name, in the order in which a prompt says them."""


def broken(specs: Sequence[Spec], text: str) -> list[str]:
    """The names of the constraints that a finished text breaks; a text without a word breaks all of them.

    >>> broken([["words", 3], ["include", "fox"]], "the red dog")
    ['include']
    """
    seen = read(text)
    return [name for name, *args in specs if not seen.words or not FAMILIES[name].holds(seen, *args)]
