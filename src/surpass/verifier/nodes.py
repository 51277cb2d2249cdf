r"""Formulas: nested tuples whose first item names the kind.

    ("num", value, step)    an exact Fraction; step: the value of a decimal's last digit, None where no
                            decimal was written
    ("sym", name)  ("const", "pi" | "e" | "i")  ("inf",)
    ("add" | "mul", a, b)  ("div", a, b)  ("pow", a, b)  ("neg", a)  ("pm" | "mp", a)  ("fn", name, a, ...)
    ("list", items, "," | "and" | "or")   1, 2   1 or 2
    ("tuple" | "set", items)   (1, 2)   \{1, 2\}
    ("interval", "[" | "(", a, b, "]" | ")")   [1, 2] and half-open ones; (1, 2) is read as a tuple
    ("union", items)  ("matrix", rows)  ("rel", operators, sides)

The functions here make formulas of parts; Unreadable where the parts make none.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from surpass.verifier.notation import Node, Unreadable

DEEPEST = 120  # levels of a formula
_VALUES = {"num", "sym", "const", "inf", "add", "mul", "div", "pow", "neg", "pm", "mp", "fn"}


def plain(node: Node) -> Node:
    """The formula, if arithmetic can use it: no list, set or relation."""
    if node[0] not in _VALUES:
        raise Unreadable(node[0])
    return node


def proper(above: Node, below: Node) -> Fraction:
    """The value of a proper fraction, such as that of a mixed number."""
    if above[2] or below[2] or not above[1] < below[1]:
        raise Unreadable("no proper fraction")
    return above[1] / below[1]


def repeating(text: str, digits: str) -> Node:
    r"""A decimal and the digits that repeat after it: 0.1\overline{6} = 1/6."""
    if not digits.isdigit():
        raise Unreadable(digits)
    places = len(text.partition(".")[2])
    whole = Fraction(text + "0" if text.endswith(".") else text)
    return ("num", whole + Fraction(int(digits), (10 ** len(digits) - 1) * 10**places), None)


def applied(name: str, arguments: tuple[Node, ...], base: Node | None, power: Node | None) -> Node:
    r"""A function of its arguments; `base` is that of \log_2 8, `power` that of \sin^2 x."""
    if name == "log" and base is not None:
        if base[0] == "const" and base[1] == "e":
            node: Node = ("fn", "ln", *arguments)
        else:
            node = ("div", ("fn", "ln", *arguments), ("fn", "ln", plain(base)))
    elif base is not None or name == "det":
        raise Unreadable(name)
    else:
        node = ("fn", {"lg": "log"}.get(name, name), *arguments)
    return node if power is None else ("pow", node, plain(power))


def bracketed(opening: str, inner: Node, closing: str) -> Node:
    """What a pair of brackets means: a set, a tuple, an interval, a matrix, or only the formula inside."""
    items = inner[1] if inner[0] == "list" else (inner,)
    if opening == "{" or closing == "}":
        if (opening, closing) != ("{", "}"):
            raise Unreadable("brackets")
        return ("set", items)
    if opening == "langle" or closing == "rangle" or (opening, closing) == ("(", ")"):
        if (opening == "langle") != (closing == "rangle"):
            raise Unreadable("brackets")
        return items[0] if len(items) == 1 else ("tuple", items)
    if all(item[0] == "interval" for item in items) and (opening, closing) == ("[", "]"):
        return ("matrix", tuple((row[2], row[3]) for row in items))  # [[1, 2], [3, 4]]
    if len(items) == 2:
        return ("interval", opening, *items, closing)
    if (opening, closing) != ("[", "]"):
        raise Unreadable("brackets")
    return items[0] if len(items) == 1 else ("tuple", items)


def matrix(rows: Sequence[Sequence[Node]]) -> Node:
    """A matrix; its rows must have the same length, and hold values alone."""
    if not rows or len({len(row) for row in rows}) > 1:
        raise Unreadable("matrix")
    return ("matrix", tuple(tuple(map(plain, row)) for row in rows))


def bounded(node: Node) -> None:
    """Unreadable where a formula is deeper than DEEPEST."""
    level, depth = [node], 0
    while level:
        level = [part for item in level for part in item if isinstance(part, tuple)]
        depth += 1
        if depth > DEEPEST:
            raise Unreadable("nested too deeply")
