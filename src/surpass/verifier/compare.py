"""Whether two readings are the same answer."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from surpass.verifier import values
from surpass.verifier.alike import alike
from surpass.verifier.grammar import parse
from surpass.verifier.notation import Node, Unreadable
from surpass.verifier.reading import DEGREE, PERCENT, Reading, read, read_amount, read_value, times
from surpass.verifier.units import NOTHING


def equal(gold: str, answer: str) -> bool:
    """Whether an answer is the right one. An answer without any visible character never is."""
    right, given = read(gold), read(answer)
    if "nothing" in (right.kind, given.kind):
        return False
    if right.text == given.text:
        return True
    if right.name and given.name and right.name != given.name:
        return right.kind == given.kind == "maths" and alike(_whole(right), _whole(given))
    if "choice" in (right.kind, given.kind):
        return _same_choice(right, given)
    if right.kind == given.kind and right.kind in ("date", "time"):
        return _same_time(right.value, given.value)
    try:
        return _same_amount(right, given)
    except (values.Undefined, Unreadable):  # nothing can be said without a value
        return False


def _same_time(a: tuple, b: tuple) -> bool:
    """Equal in all parts that are given; either side may leave out the weekday."""
    return a[:4] == b[:4] and (len(a) < 5 or None in (a[4], b[4]) or a[4] == b[4])


def _same_choice(right: Reading, given: Reading) -> bool:
    """The same letter; words after it must agree where both have some. An answer without a letter is compared
    with these words.
    """
    if right.kind == given.kind:
        (letter, rest), (other, others) = right.value, given.value
        return letter == other and (not rest or not others or equal(rest, others))
    (_, rest), other = (right.value, given.text) if right.kind == "choice" else (given.value, right.text)
    if rest:
        return equal(rest, other) if right.kind == "choice" else equal(other, rest)
    choice, amount = (right, given) if right.kind == "choice" else (given, right)
    return _same_amount(read_value(choice.text), amount)  # e, or the a of "x = a"


def _same_amount(right: Reading, given: Reading) -> bool:
    """The same value and unit. A unit that one side leaves out is taken from the other; a bare 45 may be
    percent or degrees.
    """
    for one, other in ((right, given), (given, right)):
        if one.unit == PERCENT and other.unit != PERCENT:
            share = ("div", one.value, ("num", Fraction(100), None))
            if other.unit != NOTHING or other.kind not in ("maths", "amount", "ratio"):
                return False
            plain = quotient(other)
            return (
                alike(times(one.value, Fraction(1, 100)), plain)
                or alike(share, plain)
                or (_above_one(plain) and alike(one.value, plain))
            )
        if one.unit == DEGREE and other.unit == NOTHING and other.kind == "maths":
            angle = ("mul", one.value, ("div", ("const", "pi"), ("num", Fraction(180), None)))
            return alike(one.value, other.value) or alike(angle, other.value)
    if right.unit.words or given.unit.words:
        if right.unit.words and given.unit.words:
            return right.unit.words == given.unit.words and alike(right.value, given.value)
        if right.unit.dims or given.unit.dims:
            return False
    if right.unit.dims and given.unit.dims:
        if right.unit.dims != given.unit.dims:
            return False
        return alike(times(right.value, right.unit.factor / given.unit.factor), given.value)
    for one, other in ((right, given), (given, right)):
        if (
            one.unit.dims
            and not other.unit.dims
            and other.kind == "maths"
            and _glued(other.text) not in (None, one)
        ):
            glued = _glued(other.text)
            return glued is not None and glued.unit.dims == one.unit.dims and _same_amount(one, glued)
    if {right.kind, given.kind} <= {"maths", "amount", "ratio", "time"}:
        if right.kind == given.kind == "ratio":
            return len(right.value) == len(given.value) and all(
                alike(("div", a, right.value[0]), ("div", b, given.value[0]))
                for a, b in zip(right.value, given.value, strict=True)
            )
        a, b = quotient(right), quotient(given)
        if (
            right.kind != given.kind
            and "ratio" in (right.kind, given.kind)
            and any(node and node[0] == "num" and not node[2] and node[1].denominator == 1 for node in (a, b))
        ):
            return False  # 4:2 is no 2
        if a is None or b is None or alike(a, b):
            return a is not None and b is not None
        return "rel" in (a[0], b[0]) and alike(_whole(right), _whole(given))  # 2x < 6 and x < 3
    return right.kind == given.kind == "words" and right.value == given.value


def _glued(text: str) -> Reading | None:
    """5m read as five metres, if the other side is a length."""
    found = re.match(r"^([-\d.,]+)([^\W\d_])$", text)
    return read_amount(f"{found[1]} {found[2]}") if found else None


def _above_one(node: Node | None) -> bool:
    """Whether a number is above 1, so that "25" may mean 25%."""
    value = (
        values.exact(node) if node is not None and node[0] in ("num", "neg", "div", "add", "mul") else None
    )
    return value is not None and abs(value) > 1


def quotient(found: Reading) -> Any:
    """The value; of a ratio of two numbers their quotient."""
    if found.kind == "ratio":
        return ("div", *found.value) if len(found.value) == 2 else None
    if found.kind == "time":
        parts = found.text.split(":")
        return (
            ("div", *(("num", Fraction(int(part)), None) for part in parts))
            if len(parts) == 2 and all(map(str.isdigit, parts))
            else None
        )
    return found.value


def _whole(found: Reading) -> Node:
    """The whole equation that a text states, with its left side."""
    try:
        return parse(found.text)
    except Unreadable:
        return ("rel", ("?",), (("sym", found.name), found.value))
