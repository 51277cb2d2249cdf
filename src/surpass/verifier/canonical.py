r"""One text for a value, so that votes count together whatever the verifier takes for equal.

Rational numbers are written as p/q, irrational ones with ten significant digits. Rational functions are in
sympy's cancelled form; other functions are their values at four of the points at which formulas are compared.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import mpmath
import sympy
from mpmath import mp, mpc, mpf

from surpass.verifier import values
from surpass.verifier.compare import quotient
from surpass.verifier.notation import Node, Unreadable
from surpass.verifier.reading import read
from surpass.verifier.units import NOTHING, Unit

SHOWN = 10  # significant digits of an irrational number
SMALL = 100  # the largest denominator of which rounded decimals are recognised: 0.333333 is 1/3
DEGREE = 30  # the largest degree of a power that is multiplied out
_UNNAMED = {"dollar", "degree"}  # units that votes leave out, because many writers do


def canonical(answer: str) -> str | None:
    """One text for all forms of an answer that `equal` takes for the same (docs/verifier.md names the
    exceptions); None for an empty answer.
    """
    found = read(answer)
    if found.kind == "nothing":
        return None
    if found.kind == "choice":
        return found.value[0]
    if found.kind in ("date", "time"):
        return " ".join("?" if part is None else str(part) for part in found.value[:4])
    if found.kind == "words":
        return " ".join(found.value)
    try:
        if found.kind == "ratio" and len(found.value) > 2:
            return ":".join(written(("div", part, found.value[0])) for part in found.value)
        return written(quotient(found), found.unit)
    except (values.Undefined, Unreadable):
        return found.text


def written(node: Node, unit: Unit = NOTHING) -> str:
    """The text of an answer with a unit: 1.2 m for 120 cm; dollars and degrees unnamed; 1/2 for 50%."""
    names = [name for name, _ in unit.dims]
    if unit.words:
        return f"{written(node)} {' '.join(unit.words)}"
    if not unit.dims:
        return _structure(node)
    node = ("mul", node, ("num", unit.factor, None)) if unit.factor != 1 else node
    if names == ["percent"]:
        return _structure(("div", node, ("num", Fraction(100), None)))
    if len(names) == 1 and names[0] in _UNNAMED:
        return _structure(node)
    return (
        f"{_structure(node)} "
        f"{' '.join(name if power == 1 else f'{name}^{power}' for name, power in unit.dims)}"
    )


def _structure(node: Node) -> str:
    kind = node[0]
    if kind in ("list", "set"):
        items = sorted({_structure(item) for item in node[1]} if kind == "set" else map(_structure, node[1]))
        return items[0] if len(items) == 1 else f"{{{', '.join(items)}}}"
    if kind == "tuple":
        return f"({', '.join(map(_structure, node[1]))})"
    if kind == "named":
        return f"({', '.join(_structure(value) for _, value in node[1])})"
    if kind == "interval":
        return f"{node[1]}{_structure(node[2])}, {_structure(node[3])}{node[4]}"
    if kind == "union":
        return " U ".join(sorted(map(_structure, node[1])))
    if kind == "matrix":
        rows = [", ".join(map(_structure, row)) for row in node[1]]
        return f"({', '.join(rows if len(node[1][0]) == 1 else (f'({row})' for row in rows))})"
    if kind == "rel":
        return _relation(node)
    return _value(node)


def _relation(node: Node) -> str:
    """An equation as f = 0 without common factors; linear relations in one symbol are solved."""
    sides, operators = node[2], node[1]
    if len(operators) > 1:
        return " ".join(
            part for pair in zip(map(_structure, sides), [*operators, ""], strict=True) for part in pair
        ).strip()
    operator, (left, right) = operators[0], sides
    if operator in (">", ">="):
        operator, left, right = operator.replace(">", "<"), right, left
    try:
        f = sympy.cancel(sympy.together(_sympy(left) - _sympy(right)))
    except _Other:
        return f"{_structure(left)} {operator} {_structure(right)}"
    above, below = f.as_numer_denom()
    free = sorted(f.free_symbols, key=str)
    if len(free) == 1 and not below.free_symbols and sympy.degree(above, free[0]) == 1:
        slope, offset = sympy.Poly(above, free[0]).all_coeffs()
        root = -offset / slope
        if operator == "=":
            return _constant(root)
        if operator in ("<", "<="):
            edge = operator == "<="
            return (
                f"(-infinity, {_constant(root)}{']' if edge else ')'}"
                if slope / below > 0
                else f"{'[' if edge else '('}{_constant(root)}, infinity)"
            )
    if operator in ("=", "!="):
        if below.free_symbols:
            return f"{above} {operator} 0 ({below})"
        return f"{sympy.Poly(above, *free).monic().as_expr()} {operator} 0"
    return f"{f} {operator} 0"


def _constant(value: Any) -> str:
    return str(value) if value.is_Rational else mpmath.nstr(mpf(str(value.evalf(40))), SHOWN)


def _value(node: Node) -> str:
    infinite = values.infinity(node)
    if infinite:
        return "infinity" if infinite > 0 else "-infinity"
    known = values.exact(node)
    if known is not None:
        return str(_unrounded(node, known))
    names = values.symbols(node)
    if not names:
        return _number(node, 0)
    whole = values.counted(node)
    seen = [_number(node, point, whole) for point in (0, 1, 3, 4)]
    if len(set(seen)) == 1 and seen[0] != "undefined":
        return seen[0]
    try:
        return str(sympy.cancel(sympy.together(_sympy(node))))
    except _Other:
        return f"f({', '.join(sorted(names))}) = {'; '.join(seen)}"


def _unrounded(node: Node, value: Fraction) -> Fraction:
    """The fraction of small denominator that a decimal of six or more digits rounds; else SHOWN digits."""
    bare = node[1] if node[0] == "neg" else node
    if bare[0] != "num" or bare[2] is None or abs(value / bare[2]) < 10 ** (values.DIGITS_GIVEN - 1):
        return value
    near = value.limit_denominator(SMALL)
    if near.denominator > 1 and values.same(("num", near, None), node):
        return near
    digits = len(str(int(abs(value / bare[2]))))
    if digits <= SHOWN:
        return value
    unit = bare[2] * Fraction(10) ** (digits - SHOWN)
    return round(value / unit) * unit if unit < 1 else value


def _number(node: Node, point: int, whole: frozenset[str] = frozenset()) -> str:
    """A value as a fraction, if it is one, else with SHOWN digits."""
    try:
        evaluated = values.Values(values.DIGITS[0] + 4 * values.largest(node), point, whole)
        found = evaluated.of(node)
    except (values.Undefined, Unreadable):
        return "undefined"
    if evaluated.vanished:
        raise Unreadable("a sum of which one part is too small to be seen")
    mp.dps = values.DIGITS[0]
    if not isinstance(found, mpc):
        return _real(found)
    if abs(found.imag) < abs(found) * mpf(10) ** -60:
        return _real(found.real)
    real = "" if abs(found.real) < abs(found) * mpf(10) ** -60 else _real(found.real) + " + "
    return f"{real}{_real(found.imag)}*i"


def _real(x: Any) -> str:
    if x == 0:
        return "0"
    if abs(x) < 10**15 and abs(x) > mpf(10) ** -15:
        near = Fraction(int(mpmath.nint(x * mpf(10) ** 90)), 10**90).limit_denominator(10**6)
        if abs(x - mpf(near.numerator) / near.denominator) < mpf(10) ** -70:
            return str(near)
    return mpmath.nstr(x, SHOWN)


class _Other(Exception):
    """A formula that is no rational function."""


def _sympy(node: Node) -> Any:
    """A rational function for sympy, with pi and e as indeterminates."""
    kind = node[0]
    known = values.exact(node)
    if known is not None:
        return sympy.Rational(known.numerator, known.denominator)
    if kind == "sym" or (kind == "const" and node[1] != "i"):
        return sympy.Symbol(node[1])
    if kind == "neg":
        return -_sympy(node[1])
    if kind in ("add", "mul", "div"):
        a, b = _sympy(node[1]), _sympy(node[2])
        if kind == "div" and b == 0:
            raise _Other
        return a + b if kind == "add" else a * b if kind == "mul" else a / b
    power = values.exact(node[2]) if kind == "pow" else None
    if power is not None and power.denominator == 1 and abs(power) <= DEGREE:
        return _sympy(node[1]) ** int(power)
    below = values.exact(node[3]) if node[:2] == ("fn", "binom") else None
    if below is not None and below.denominator == 1 and 0 <= below <= DEGREE:
        return sympy.expand(
            sympy.ff(_sympy(node[2]), int(below), evaluate=True) / sympy.factorial(int(below))
        )
    raise _Other
