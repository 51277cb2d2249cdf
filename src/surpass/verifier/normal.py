r"""Formulas in one form for things that can be written in several: \pm, x = 5, x < 3."""

from __future__ import annotations

from typing import Any

from surpass.verifier import values
from surpass.verifier.alike import alike
from surpass.verifier.notation import Node, Unreadable


def normal(node: Node) -> Node:
    r"""A formula in one form: \pm as two values, x = 5 as 5, alternatives as a list, x < 2 as an interval."""
    kind = node[0]
    if kind in ("list", "set", "tuple", "union"):
        items = [normal(item) for item in node[1]]
        if kind == "list":
            return _listed(node[1], items, node[2] if len(node) > 2 else ",")
        items = [
            part for item in items for part in (item[1] if item[0] == "list" and kind == "set" else (item,))
        ]
        return (kind, tuple(items))
    if kind == "rel":
        return _relation(node)
    if kind == "interval":
        if any(end[0] in ("list", "set", "tuple") for end in node[2:4]):
            return ("tuple", tuple(map(normal, node[2:4])))
        return node
    if _signs(node):
        return ("list", (_signed(node, 1), _signed(node, -1)))
    return node


def _listed(parts: tuple[Node, ...], items: list[Node], joined: str) -> Node:
    """A list: x = 1, x = 2 as values; x = 1, y = 2 as a value for each name; "x < 1 or x > 2" as a union, "x
    > 1 and x < 2" as an interval.
    """
    names = [
        part[2][0][1] for part in parts if part[0] == "rel" and part[1] == ("=",) and part[2][0][0] == "sym"
    ]
    if len(names) == len(parts) and len(set(names)) == len(names) > 1:
        return ("named", tuple(sorted((name, part[2][1]) for name, part in zip(names, parts, strict=True))))
    if names and len(set(names)) > 1:
        return ("list", parts)
    if all(item[0] == "interval" for item in items) and any(part[0] == "rel" for part in parts):
        if joined == "or":
            return ("union", tuple(items))
        return _both(*items)
    return ("list", tuple(part for item in items for part in (item[1] if item[0] == "list" else (item,))))


def _both(*items: Node) -> Node:
    """The interval of x > 1 and x < 2."""
    above, below = (
        next((item for item in items if item[end] in (("inf",), ("neg", ("inf",)))), None) for end in (3, 2)
    )
    if len(items) != 2 or above is None or below is None or above is below:
        raise Unreadable("and")
    low, high = values.exact(above[2]), values.exact(below[3])
    if low is None or high is None or low >= high:
        raise Unreadable("and")
    return ("interval", above[1], above[2], below[3], below[4])


def _relation(node: Node) -> Node:
    operators, sides = node[1], node[2]
    free = [bool(values.symbols(side)) for side in sides]
    if set(operators) == {"="}:
        first = 1 if sides[0][0] == "sym" else 0
        if not any(free[first:]) and all(alike(side, sides[-1]) for side in sides[first:-1]):
            return normal(sides[-1])  # 2 + 3 = 5; x = 2 + 3 = 5
        if (
            len(sides) == 2
            and free[0]
            and sides[0][0] == "sym"
            and sides[0][1] not in values.symbols(sides[1])
        ):
            return normal(sides[1])
        if len(sides) == 2 and sides[1][0] == "sym" and not free[0]:
            return normal(sides[0])  # 5 = x
        if not any(free):
            raise Unreadable("a false equation")
        return node
    return _interval(operators, sides) or node


def _interval(operators: tuple[str, ...], sides: tuple[Node, ...]) -> Node | None:
    """The interval of x < 3 or 1 <= x < 3."""
    if set(operators) <= {">", ">="}:
        operators, sides = tuple(o.replace(">", "<") for o in reversed(operators)), tuple(reversed(sides))
    if not set(operators) <= {"<", "<="}:
        return None
    low: Node = ("neg", ("inf",))
    kinds = [side[0] == "sym" for side in sides]
    if kinds == [True, False] and not values.symbols(sides[1]):
        return ("interval", "(", low, sides[1], ")" if operators[0] == "<" else "]")
    if kinds == [False, True] and not values.symbols(sides[0]):
        return ("interval", "(" if operators[0] == "<" else "[", sides[0], ("inf",), ")")
    if kinds == [False, True, False] and not (values.symbols(sides[0]) | values.symbols(sides[2])):
        opening, closing = ("(" if operators[0] == "<" else "["), (")" if operators[1] == "<" else "]")
        return ("interval", opening, sides[0], sides[2], closing)
    return None


def _signs(node: Any) -> bool:
    return (
        isinstance(node, tuple)
        and bool(node)
        and (node[0] in ("pm", "mp") or any(_signs(part) for part in node))
    )


def _signed(node: Any, sign: int) -> Any:
    """A formula with \\pm replaced by + (sign 1) or - (sign -1)."""
    if not isinstance(node, tuple) or not node:
        return node
    if node[0] in ("pm", "mp"):
        inner = _signed(node[1], sign)
        return inner if (node[0] == "pm") == (sign > 0) else ("neg", inner)
    return tuple(_signed(part, sign) for part in node)
