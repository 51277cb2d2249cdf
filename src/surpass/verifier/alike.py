"""Whether two formulas are the same answer: lists, sets, tuples, intervals, matrices, equations."""

from __future__ import annotations

from surpass.verifier import values
from surpass.verifier.notation import Node, Unreadable

_ORDERED = ("tuple", "interval")


def alike(a: Node, b: Node) -> bool:
    """Whether two formulas are the same answer."""
    if a == b:
        return True
    kinds = {a[0], b[0]}
    if "named" in kinds:
        return _alike_named(a, b)
    if "matrix" in kinds:
        one, other = _rows(a), _rows(b)
        return (
            one is not None
            and other is not None
            and len(one) == len(other)
            and all(map(_in_order, one, other))
        )
    if "rel" in kinds:
        return a[0] == b[0] and _alike_relations(a, b)
    if "union" in kinds:
        return a[0] == b[0] and _in_any_order(a[1], b[1])
    if "interval" in kinds and kinds <= {"interval", "tuple"}:
        one, other = _ends(a), _ends(b)
        return one is not None and other is not None and one[0] == other[0] and _in_order(one[1], other[1])
    if kinds == {"tuple"} or kinds == {"tuple", "list"}:
        return _in_order(a[1], b[1])
    if kinds <= {"list", "set"}:
        return _in_any_order(a[1], b[1])
    if "set" in kinds:
        one, other = (a, b) if a[0] == "set" else (b, a)
        return len(one[1]) == 1 and other[0] not in _ORDERED and alike(one[1][0], other)
    return not kinds & {"list", "tuple", "interval"} and values.same(a, b)


def _in_order(a: tuple[Node, ...], b: tuple[Node, ...]) -> bool:
    return len(a) == len(b) and all(map(alike, a, b))


def _in_any_order(a: tuple[Node, ...], b: tuple[Node, ...]) -> bool:
    """Whether the items of two sides pair up."""
    left = list(b)
    for item in a:
        found = next((i for i, other in enumerate(left) if alike(item, other)), None)
        if found is None:
            return False
        left.pop(found)
    return not left


def _ends(node: Node) -> tuple[str, tuple[Node, ...]] | None:
    """The brackets and ends of an interval; (1, 2) may be one."""
    if node[0] == "interval":
        return node[1] + node[4], node[2:4]
    return ("()", node[1]) if len(node[1]) == 2 else None


def _rows(node: Node) -> tuple[tuple[Node, ...], ...] | None:
    """The rows of a matrix; a tuple counts as a column, and a tuple of tuples as rows."""
    if node[0] == "matrix":
        return node[1]
    if node[0] != "tuple":
        return None
    return tuple(item[1] if item[0] == "tuple" else (item,) for item in node[1])


def _alike_named(a: Node, b: Node) -> bool:
    """Whether x = 1, y = 2 equals y = 2, x = 1, or (1, 2) with the names in alphabetical order."""
    if a[0] == b[0]:
        return [name for name, _ in a[1]] == [name for name, _ in b[1]] and _in_order(
            *(tuple(v for _, v in node[1]) for node in (a, b))
        )
    named, other = (a, b) if a[0] == "named" else (b, a)
    return other[0] == "tuple" and _in_order(tuple(value for _, value in named[1]), other[1])


def _alike_relations(a: Node, b: Node) -> bool:
    """Whether one equation or inequality is a multiple of the other: 2x + 4y = 6 and x + 2y = 3."""
    (operator, one), (other, two) = _moved(a), _moved(b)
    if operator != other or one is None or two is None or values.symbols(one) != values.symbols(two):
        return False
    factors = []
    for point in range(values.POINTS):
        try:
            x, y = (values.Values(values.DIGITS[0], point).of(node) for node in (one, two))
            factors.append(x / y)
        except (values.Undefined, Unreadable, ZeroDivisionError):
            return False
    near = all(abs(factor - factors[0]) <= abs(factors[0]) * 10**-50 for factor in factors)
    return (
        near
        and factors[0] != 0
        and (operator in ("=", "!=") or (getattr(factors[0], "imag", 0) == 0 and factors[0].real > 0))
    )


def _moved(node: Node) -> tuple[str, Node | None]:
    """The operator and f of a relation, rewritten as f = 0 or f < 0."""
    if len(node[1]) != 1 or any(side[0] in ("list", "set", "tuple", "interval") for side in node[2]):
        return "", None
    (operator,), (left, right) = node[1], node[2]
    if operator in (">", ">="):
        operator, left, right = operator.replace(">", "<"), right, left
    return operator, ("add", left, ("neg", right))
