"""The answer of a text that marks none: the only candidate that it names."""

from __future__ import annotations

import re

from surpass.answers.forms import clean, normal
from surpass.answers.texts import ending

_FUNCTIONS = frozenset(
    "and sin cos tan cot sec csc sinh cosh tanh arcsin arccos arctan log exp sqrt inf infinity det max "
    "min gcd lcm mod abs theta alpha beta or pi ln".split()
)
_SPAN = re.compile(r"\$\$.+?\$\$|\$[^$\n]+\$|\\\(.+?\\\)|\\\[.+?\\\]", re.DOTALL)
_VALUE = re.compile(
    r"(?<![\w.])(?:(?<![\d)] "
    r")[-+])?[$€£¥₹]?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:/\d+)?%?(?!\w|,\d)"
)
_WORKED = re.compile(r"[-+*/^×·÷<>=]|\\times|\\cdot|\\div")
_CONCLUDES = re.compile(
    r"(?:so|thus|therefore|hence|altogether|in total|that makes|this gives|that gives|we get|in "
    r"conclusion)\b",
    re.IGNORECASE,
)
_DENIES = re.compile(r"\b(?:not|cannot|never)\b|n't\b", re.IGNORECASE)
_EQUALS = re.compile(r"(?<=[\d)])\s+(?:is|are|equals|gives|makes)\b", re.IGNORECASE)
_HEDGES = re.compile(r"\b(?:may|might|could|perhaps|maybe|possibly|either|or|not|guess)\b|\?", re.IGNORECASE)


def candidate(text: str) -> str | None:
    """The answer of a text that marks none. The first of these that there is: the whole text, if it is one
    expression or a number with a few words; the only value that it names, apart from those that it computes
    with; the value in a last sentence that concludes ("so it is 42"). None where it names no value, or
    several, of which any may be meant.
    """
    text = ending(text).strip()
    if "boxed" in text:
        return None  # a box that is not closed
    if not text or is_expression(text):
        return clean(text) or None
    if re.search(r"\\[A-Za-z]", _SPAN.sub("", text)):
        return None  # mathematics outside its signs: the numbers in it are no answers
    values = _values(text)
    if len(values) == 1 and not _DENIES.search(text):
        return values[0]
    last = re.split(r"\n+|(?<=[.!?])\s+", text)[-1]
    ends = _values(last)
    if (
        len(ends) == 1
        and not _HEDGES.search(last)
        and (_CONCLUDES.match(last) or re.fullmatch(r"[^A-Za-z]*=[^A-Za-z]*", last))
    ):
        return ends[0]
    return None


def is_expression(text: str) -> bool:
    """Whether a text is one line of mathematics, or a number with at most three words after it."""
    if "\n" in text or (_SPAN.search(text) and not _SPAN.fullmatch(text)):
        return False
    words = re.findall(
        r"[A-Za-z]{2,}",
        re.sub(r"\\(?:text\w*|math\w+|mbox|operatorname|begin|end)\s*\{[^{}]*\}|\\[A-Za-z]+", " ", text),
    )
    if "=" not in text and all(word.lower() in _FUNCTIONS for word in words):
        return bool(re.search(r"[\w\\]", text))
    return bool(re.match(r"[-+$€£¥₹]*\.?\d", text)) and len(words) <= 3 and len(_VALUE.findall(text)) == 1


def _values(text: str) -> list[str]:
    """The different values that a text names, in order. In a = b the value is b; the text computes with the
    numbers in a, and they are no candidates.
    """
    named: dict[str, str] = {}
    used: set[str] = set()
    for sentence in re.split(r"[.,;](?=\s)|\n|\b(?:and|or|but)\b", text):
        spans = [
            clean(span[0])
            for span in _SPAN.finditer(sentence)
            if re.search(r"[\d\\=]", span[0][2:-2] or span[0])
        ]
        for piece in [*spans, _EQUALS.sub("=", _SPAN.sub(" ", sentence))]:
            *computed, value = piece.split("=")
            used |= {normal(v) for part in computed for v in _VALUE.findall(part)}
            in_span = piece in spans
            found = [value] if in_span else _VALUE.findall(value)
            if not in_span and _WORKED.search(re.sub(r"(?<=\d)/(?=\d)|(?<!\S)[-+](?=[\d.$])", "", value)):
                used |= {normal(v) for v in found}
                continue
            for v in found:
                if v.strip():
                    named.setdefault(normal(v), clean(v))
    return [value for key, value in named.items() if key not in used]
