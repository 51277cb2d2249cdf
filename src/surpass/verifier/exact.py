"""What a formula is worth, by rational arithmetic."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import comb, factorial, gcd, lcm
from typing import Any

from surpass.verifier.notation import Node

BITS = 40_000  # of the largest exact number


class Undefined(ArithmeticError):
    """A division by zero, a logarithm of zero, or a number too large."""


@lru_cache(maxsize=4096)
def exact(node: Node) -> Fraction | None:
    """The rational value of a formula; None where it has none, or one of more than BITS bits."""
    kind = node[0]
    if kind == "num":
        return node[1]
    if kind in ("sym", "const", "inf", "pm", "mp"):
        return None
    parts = [exact(part) for part in node[2 if kind == "fn" else 1 :]]
    if any(part is None for part in parts):
        return None
    value = _exact(kind, node[1] if kind == "fn" else "", parts)
    if value is not None and max(value.numerator.bit_length(), value.denominator.bit_length()) > BITS:
        return None
    return value


def _exact(kind: str, name: str, parts: list[Any]) -> Fraction | None:
    if kind == "neg":
        return -parts[0]
    if kind == "add":
        return parts[0] + parts[1]
    if kind == "mul":
        return parts[0] * parts[1]
    if kind == "div":
        if not parts[1]:
            raise Undefined("division by zero")
        return parts[0] / parts[1]
    if kind == "pow":
        return _power(*parts)
    if name == "root":
        return _power(parts[0], 1 / parts[1]) if parts[1] else None
    if name == "abs":
        return abs(parts[0])
    if name in ("floor", "ceil"):
        return Fraction(parts[0].__floor__() if name == "floor" else parts[0].__ceil__())
    if name in ("max", "min"):
        return max(parts) if name == "max" else min(parts)
    if any(part.denominator != 1 for part in parts):
        return None
    whole = [int(part) for part in parts]
    if name in ("gcd", "lcm"):
        return Fraction(gcd(*whole) if name == "gcd" else lcm(*whole))
    if name == "factorial" and 0 <= whole[0] <= 3000:
        return Fraction(factorial(whole[0]))
    if name == "binom" and 0 <= whole[0] <= 3000:
        return Fraction(comb(*whole) if whole[1] >= 0 else 0)
    return None


def _power(base: Fraction, exponent: Fraction) -> Fraction | None:
    if base == 0:
        if exponent <= 0:
            if exponent == 0:
                return Fraction(1)
            raise Undefined("division by zero")
        return Fraction(0)
    if exponent.denominator == 1:
        size = max(base.numerator.bit_length(), base.denominator.bit_length())
        return base ** int(exponent) if abs(exponent) * size <= 2 * BITS or abs(base) == 1 else None
    if exponent.denominator > 64:
        return None
    above, below = (_root(abs(part), exponent.denominator) for part in (base.numerator, base.denominator))
    if above is None or below is None or (base < 0 and exponent.denominator % 2 == 0):
        return None
    return _power(Fraction(above if base > 0 else -above, below), Fraction(exponent.numerator))


def _root(number: int, n: int) -> int | None:
    """The n-th root of a natural number where it is one."""
    low, high = 0, 1 << (number.bit_length() // n + 1)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if middle**n < number else (low, middle)
    return low if low**n == number else None
