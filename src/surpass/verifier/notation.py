r"""Mathematics as it is written, in one notation: Unicode's signs, LaTeX's commands, spacing, dollar signs;
and its tokens.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from typing import Any, NamedTuple

Node = tuple[Any, ...]
LONGEST_EXPONENT = 5000  # the largest power of ten in a number such as 1e-7


class Unreadable(ValueError):
    """A text is no formula of this grammar."""


RELATIONS = {
    "=": "=",
    "==": "=",
    "approx": "=",
    "<": "<",
    "lt": "<",
    ">": ">",
    "gt": ">",
    "<=": "<=",
    "le": "<=",
    ">=": ">=",
    "ge": ">=",
    "!=": "!=",
    "ne": "!=",
}
FUNCTIONS = set(
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log lg exp abs max min gcd lcm "
    "floor ceil sqrt det".split()
)
_ALIASES = {
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "ceiling": "ceil",
    "cosec": "csc",
    "oo": "infty",
    "inf": "infty",
    "infinity": "infty",
    "varepsilon": "epsilon",
    "leq": "le",
    "leqslant": "le",
    "geq": "ge",
    "geqslant": "ge",
    "neq": "ne",
    "lbrace": "{",
    "rbrace": "}",
    "lvert": "|",
    "rvert": "|",
    "vert": "|",
    "emptyset": "varnothing",
}
GREEK = set(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon "
    "phi varphi chi psi omega Gamma Delta Theta Lambda Sigma Phi Psi Omega ell".split()
)
# read without a backslash, too
_SPELLED = FUNCTIONS | {"pi", "infty"} | {name for name in GREEK if len(name) > 3}
_SIGNS = {
    "−": "-",
    "–": "-",
    "—": "-",
    "×": r"\times ",
    "·": r"\cdot ",
    "⋅": r"\cdot ",
    "∙": r"\cdot ",
    "÷": r"\div ",
    "∞": r"\infty ",
    "≤": r"\le ",
    "≥": r"\ge ",
    "≠": r"\ne ",
    "√": r"\sqrt ",
    "∪": r"\cup ",
    "∈": r"\in ",
    "±": r"\pm ",
    "∓": r"\mp ",
    "∅": r"\varnothing ",
    "≈": r"\approx ",
    "ℝ": r"\R ",
    "°": r"^\circ ",
    "º": r"^\circ ",
    "⌊": r"\lfloor ",
    "⌋": r"\rfloor ",
    "⌈": r"\lceil ",
    "⌉": r"\rceil ",
    "⟨": r"\langle ",
    "⟩": r"\rangle ",
    "’": "'",
    "Ω": r"\Omega ",
}
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿ", "0123456789+-()n")
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_SPACING = re.compile(r"\\(?:[,;:> ]|quad\b|qquad\b|enspace\b|thinspace\b|hspace\{[^{}]*\}|hfill\b)|~|\xa0")
_NOTHING = re.compile(
    r"\\(?:!|left(?![a-z])|right(?![a-z])|[bB]igg?[lr]?(?![A-Za-z])|displaystyle\b|textstyle\b|limits\b|mathstrut\b|phantom\{[^{}]*\})"
)
_TEXT = re.compile(
    r"\\(?:text\w*|mathrm|mathbf|mathit|mathsf|mbox|hbox|operatorname\*?|boxed|fbox|bf|rm)\s*\{([^{}]*)\}"
)
DOLLAR = "\ue000"  # a dollar sign that means money, not mathematics


def clean(text: str) -> str:
    r"""The text with LaTeX for Unicode's signs, without \text{}, spacing, and dollar signs around maths."""
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿ]+", lambda found: "^{" + found[0].translate(_RAISED) + "}", text)
    text = re.sub("[₀-₉]+", lambda found: "_{" + found[0].translate(_LOWERED) + "}", text)
    text = re.sub(
        "[¼-¾⅐-⅞]", lambda found: " " + unicodedata.normalize("NFKC", found[0]).replace("⁄", "/"), text
    )
    text = unicodedata.normalize("NFKC", "".join(_SIGNS.get(c, c) for c in text))
    text = "".join(rf"\{name} " if (name := _greek(c)) else c for c in text)
    text = _money(text.replace(r"\$", DOLLAR))
    text = re.sub(r"\\\(|\\\)|\\\[|\\\]", " ", text)
    text = re.sub(r"\\[dtc]frac(?![a-z])", r"\\frac", text)
    text = re.sub(r"\\[dt]binom(?![a-z])", r"\\binom", text)
    text = re.sub(r"\\mathbb\s*\{?R\}?|\\R(?![a-z])|\\reals(?![a-z])", r"\\R ", text)
    text = _NOTHING.sub(
        "", text.replace("{,}", ",").replace(r"\%", "%").replace(r"\#", "#").replace(r"\&", "&")
    )
    text = _SPACING.sub(" ", text)
    for _ in range(4):  # \textbf{\text{...}}
        text = _TEXT.sub(lambda found: f" {found[1]} ", text)
    return " ".join(text.split())


def _greek(c: str) -> str:
    """LaTeX's name of a Greek letter; "" for another character."""
    if not ("\u0391" <= c <= "\u03c9"):
        return ""
    name = unicodedata.name(c, "").split()[-1]
    name = name.lower() if " SMALL " in unicodedata.name(c, "") else name.capitalize()
    return {"lamda": "lambda", "Lamda": "Lambda"}.get(name, name if name in GREEK or name == "pi" else "")


def _money(text: str) -> str:
    """The text without dollar signs around mathematics; those before an amount become DOLLAR."""
    places = [i for i, c in enumerate(text) if c == "$"]
    if len(places) % 2 or all(re.match(r"[-+]?\s*\.?\d", text[i + 1 :]) for i in places):
        text = re.sub(r"\$(?=\s*[-+]?\s*\.?\d)", DOLLAR, text, count=0 if len(places) % 2 == 0 else 1)
    return text.replace("$", " ")


# -- tokens


class Token(NamedTuple):
    kind: str  # "num" "word" "cmd" "op" "end"
    text: str
    gap: bool  # whether blanks stand before it


_TOKEN = re.compile(
    r"\s*(?:(?P<num>\d+\.(?=\\overline)|\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,])|(?<![_^])\d{1,3}(?: "
    r"\d{3})+(?![\d,./ ])|(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+(?![\w.]))?)"
    r"|(?P<word>[^\W\d_]+)|\\(?P<cmd>[A-Za-z]+|[{}|\\])|(?P<op>\*\*|<=|>=|!=|==|[^\s\w]|_))"
)


def tokens(text: str) -> list[Token]:
    """The tokens of a cleaned text. 1,234 is one number, but two in brackets, as in (1,234)."""
    found, at, depth = [], 0, 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match:
            raise Unreadable(text[at])
        kind = match.lastgroup or ""
        piece, begin = match[kind], match.start(kind)
        if kind == "num" and "," in piece and depth:
            piece = piece.split(",")[0]
        depth += (
            {"(": 1, "[": 1, "{": 0, ")": -1, "]": -1}.get(piece, 0)
            if kind == "op"
            else {"{": 1, "}": -1}.get(piece, 0)
        )
        name = _ALIASES.get(piece, piece) if kind in ("cmd", "word") else piece
        found.append(Token("cmd" if kind == "word" and name in _SPELLED else kind, name, text[at].isspace()))
        at = begin + len(piece)
    if len(found) > 600:
        raise Unreadable("too long")
    return [*found, Token("end", "", True)]


def number(text: str) -> Node:
    """A number as written: 1,234.50 or 6e-7; leading zeros and blanks between thousands are allowed."""
    digits, _, exponent = text.replace(",", "").replace(" ", "").lower().partition("e")
    power = int(exponent or 0)
    if abs(power) > LONGEST_EXPONENT:
        raise Unreadable("exponent")
    places = len(digits.partition(".")[2])
    value = Fraction(digits if digits[0] != "." else "0" + digits) * Fraction(10) ** power
    return ("num", value, Fraction(10) ** (power - places) if places or exponent else None)
