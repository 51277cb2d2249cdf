r"""What a formula is worth, and whether two are worth the same.

Rational arithmetic is exact. Everything else is evaluated by mpmath to 100 digits, then to 400. Formulas with
symbols are compared at POINTS of them, of both signs; a name decides its points, so x + 1 and y + 1 differ.
"""

from __future__ import annotations

import hashlib
from fractions import Fraction
from typing import Any

import mpmath
from mpmath import mp, mpc, mpf

from surpass.verifier.exact import Undefined, exact
from surpass.verifier.notation import Node, Unreadable

DIGITS = (100, 400)  # two values are equal where they agree with both
DIGITS_GIVEN = 6  # a decimal of so many significant digits may be rounded
POINTS = 6  # at which formulas with symbols are compared


# -- to many digits


class Values:
    """Values of formulas to `digits` digits.

    `unsure` is set where more digits might change the outcome: in a sum, one term may vanish beside the
    other, as in 10^{99} + 10^{-99}, or nearly nothing may be left, as in \\sqrt2\\sqrt2 - 2. Such a rest is
    noise and counts as 0.
    """

    def __init__(self, digits: int, point: int = 0, whole: frozenset[str] = frozenset()):
        # `whole`: symbols that stand for whole numbers
        self.digits, self.point, self.whole = digits, point, whole
        self.unsure = self.vanished = False

    def of(self, node: Node) -> Any:
        """An mpf or mpc; Undefined or Unreadable where there is none."""
        mp.dps = self.digits + 10
        try:
            value = self._of(node)
        except (ZeroDivisionError, OverflowError, ValueError, TypeError) as error:
            if isinstance(error, Unreadable):
                raise
            raise Undefined(str(error)) from error
        if not mpmath.isfinite(value):
            raise Undefined("not finite")
        return value.real if isinstance(value, mpc) and value.imag == 0 else value

    def _of(self, node: Node) -> Any:
        value = exact(node)
        if value is not None:
            return mpf(value.numerator) / value.denominator
        kind = node[0]
        if kind == "sym":
            return _place(node[1], self.point, node[1] in self.whole)
        if kind == "const":
            return {"pi": mp.pi, "e": mp.e, "i": mpc(0, 1)}[node[1]] * 1
        if kind == "fn":
            return self._function(node[1], [self._of(part) for part in node[2:]], node)
        if kind == "pow":
            return self._power(node[1], node[2])
        if kind not in ("add", "mul", "div", "neg"):
            raise Unreadable(kind)
        a, *rest = (self._of(part) for part in node[1:])
        if kind == "neg":
            return -a
        if kind == "add":
            return self._sum(a, rest[0])
        return a * rest[0] if kind == "mul" else a / rest[0]

    def _sum(self, a: Any, b: Any) -> Any:
        if a == 0 or b == 0:
            return a + b
        value, bits = a + b, mp.prec - 30
        if abs(mpmath.mag(a) - mpmath.mag(b)) > bits:
            self.unsure = self.vanished = True
        lost = max(mpmath.mag(a), mpmath.mag(b)) - mpmath.mag(value) if value != 0 else bits
        if lost > bits - 30:
            self.unsure = True
            return mpf(0)
        self.unsure |= lost > bits // 3
        return value

    def _chopped(self, value: Any, scale: Any = 1) -> Any:
        """The value; 0 where it is noise, as in \\sin\\pi and \\ln(\\sqrt2\\sqrt2/2)."""
        if value != 0 and abs(value) < abs(scale) * mpf(10) ** (-self.digits + 5):
            self.unsure = True
            return mpf(0)
        return value

    def _power(self, base: Node, exponent: Node) -> Any:
        b, e = self._of(base), exact(exponent)
        if b == 0:
            return mpf(0) if e is None or e > 0 else mpf(1) if e == 0 else _undefined()
        power = self._of(exponent) if e is None else mpf(e.numerator) / e.denominator
        if abs(power) > 10**9 or abs(mpmath.log(abs(b)) * abs(power)) > 10**9:
            raise Undefined("too large")
        if e is not None and e.denominator == 1:
            return b ** int(e)
        # the real root, as school has it
        if e is not None and e.denominator % 2 and isinstance(b, mpf) and b < 0:
            return (-1) ** (e.numerator % 2) * (-b) ** power
        return b**power

    def _function(self, name: str, a: list[Any], node: Node) -> Any:
        if name == "root":
            return self._power(node[2], ("div", ("num", Fraction(1), None), node[3]))
        if len(a) != (2 if name == "binom" else 1) and name not in ("max", "min"):
            raise Unreadable(name)
        x = a[0]
        if name in ("sin", "cos", "tan", "cot", "sec", "csc"):
            sine, cosine = self._chopped(mpmath.sin(x), 1 + abs(x)), self._chopped(mpmath.cos(x), 1 + abs(x))
            return {
                "sin": lambda: sine,
                "cos": lambda: cosine,
                "tan": lambda: sine / cosine,
                "cot": lambda: cosine / sine,
                "sec": lambda: 1 / cosine,
                "csc": lambda: 1 / sine,
            }[name]()
        if name in ("ln", "log"):
            return (
                self._chopped(mpmath.log(x)) / (mpmath.log(10) if name == "log" else 1)
                if x != 0
                else _undefined()
            )
        if name in ("floor", "ceil"):
            near = mpmath.nint(x)
            if abs(x - near) < mpf(10) ** (-self.digits // 2):
                self.unsure = True
                return near
            return mpmath.floor(x) if name == "floor" else mpmath.ceil(x)
        if name == "exp":
            return mpmath.exp(x) if abs(x) < 10**9 else _undefined()
        if name == "factorial":
            return mpmath.factorial(x) if abs(x) < 10**6 else _undefined()
        if name == "binom":
            return mpmath.binomial(*a) if all(abs(x) < 10**6 for x in a) else _undefined()
        if name in ("max", "min"):
            return (max if name == "max" else min)(a)
        found = {
            "abs": abs,
            "arcsin": mpmath.asin,
            "arccos": mpmath.acos,
            "arctan": mpmath.atan,
            "sinh": mpmath.sinh,
            "cosh": mpmath.cosh,
            "tanh": mpmath.tanh,
        }.get(name)
        if found is None:
            raise Unreadable(name)
        return found(x)


def _undefined() -> Any:
    raise Undefined("no value")


def _place(name: str, point: int, whole: bool) -> Any:
    """The value of the symbol `name` at a point: positive in the first half, then of any sign."""
    number = int.from_bytes(hashlib.sha256(f"{name} {point}".encode()).digest()[:8], "big")
    if whole:
        return mpf(3 + 7 * point + number % 7)
    value = mpf(number % 10**15) / 10**15 * 3 + mpf("0.25")
    return -value if point >= POINTS // 2 and (number >> 60) % 2 ^ (point % 2) else value


def symbols(node: Any) -> frozenset[str]:
    """The names of the symbols in a formula."""
    if not isinstance(node, tuple) or not node:
        return frozenset()
    if node[0] == "sym":
        return frozenset({node[1]})
    return frozenset().union(*(symbols(part) for part in node))


def counted(node: Any) -> frozenset[str]:
    """The symbols in n! and binomial coefficients, which stand for whole numbers."""
    if not isinstance(node, tuple) or not node:
        return frozenset()
    if node[:2] in (("fn", "factorial"), ("fn", "binom")):
        return symbols(node)
    return frozenset().union(*(counted(part) for part in node))


def largest(node: Any) -> int:
    """The number of digits of the largest exact number in a formula."""
    if not isinstance(node, tuple) or not node or isinstance(node[0], tuple):
        return max(map(largest, node), default=0) if isinstance(node, tuple) else 0
    value = exact(node) if node[0] in ("num", "pow", "fn") else None
    own = (
        max(value.numerator.bit_length(), value.denominator.bit_length()) * 3 // 10
        if value is not None
        else 0
    )
    return max([own, *(largest(part) for part in node[1:] if isinstance(part, tuple))])


# -- comparing


def same(a: Node, b: Node) -> bool:
    """Whether two formulas have the same value; with symbols, at every point where they have one."""
    if a == b:
        return True
    infinite = infinity(a), infinity(b)
    if any(infinite):
        return infinite[0] == infinite[1]
    try:
        x, y = exact(a), exact(b)
        if x is not None and y is not None:
            return x == y or _rounded(a, b)
        names = symbols(a) | symbols(b)
        if not names:
            return _close(a, b) or _rounded(a, b)
        whole = counted(a) | counted(b)
        found = [_at(a, b, point, whole) for point in range(POINTS)]
        return False not in found and found.count(True) >= 2
    except (Undefined, Unreadable):
        return False


def infinity(node: Node) -> int:
    """1 for infinity, -1 for minus infinity, else 0."""
    if node[0] == "neg":
        return -infinity(node[1])
    return int(node[0] == "inf")


def _at(a: Node, b: Node, point: int, whole: frozenset[str]) -> bool | None:
    """Whether two formulas are equal at a point; None where neither has a value."""
    missing = 0
    for node in (a, b):
        try:
            Values(DIGITS[0], point, whole).of(node)
        except Undefined:
            missing += 1
    return None if missing == 2 else missing == 0 and _close(a, b, point, whole)


def _close(a: Node, b: Node, point: int = 0, whole: frozenset[str] = frozenset()) -> bool:
    """Whether two formulas agree in 0.6 of their digits. They are evaluated to each of DIGITS, and to more
    where the numbers in them have many.
    """
    more = 4 * max(largest(a), largest(b))
    if more > 20_000:
        return False
    for digits in DIGITS:
        values = Values(digits + more, point, whole)
        x, y = values.of(a), values.of(b)
        mp.dps = values.digits + 10
        near = abs(x - y) <= max(abs(x), abs(y)) * mpf(10) ** (-values.digits * 3 // 5)
        if not near and not values.unsure:
            return False
    return bool(near) and not values.vanished


def _rounded(a: Node, b: Node) -> bool:
    """Whether one of two formulas is the other, rounded or cut off. It must be a decimal of at least
    DIGITS_GIVEN significant digits; the other must be a finer decimal, or no decimal, and no whole number.
    """
    for short, other in ((a, b), (b, a)):
        sign, short = (-1, short[1]) if short[0] == "neg" else (1, short)
        if short[0] != "num" or short[2] is None:
            continue
        value, step = sign * short[1], short[2]
        given = abs(short[1] / step)
        bare = other[1] if other[0] == "neg" else other
        finer = bare[2] < step if bare[0] == "num" and bare[2] is not None else True
        whole = exact(other)
        if given < 10 ** (DIGITS_GIVEN - 1) or not finer or (whole is not None and whole.denominator == 1):
            continue
        count = whole / step if whole is not None else None
        if count is None:
            real = Values(DIGITS[0] + len(str(given))).of(other)
            if isinstance(real, mpc):
                continue
            count = Fraction(
                int(mpmath.nint(real / (mpf(step.numerator) / step.denominator) * 10**20)), 10**20
            )
        if abs(count - value / step) <= Fraction(1, 2) or (count * value > 0 and int(count) == value / step):
            return True
    return False
