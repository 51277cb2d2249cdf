"""What a whole text is: a date, a time, a choice, an amount, mathematics, a ratio, or words."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any, NamedTuple

from surpass.verifier import values
from surpass.verifier.grammar import parse
from surpass.verifier.normal import normal
from surpass.verifier.notation import DOLLAR, Node, Unreadable, clean
from surpass.verifier.units import NOTHING, SCALES, Unit, unit


class Reading(NamedTuple):
    """What a text was read as. kind: "nothing" "date" "time" "choice" "amount" "maths" "ratio" "words"."""

    kind: str
    value: Any = None
    unit: Unit = NOTHING
    name: str = ""  # x in "x = 5 cm"
    text: str = ""  # cleaned


_PREFIX = re.compile(r"^(?:\\approx\b|~|≈|=|\\therefore\b)\s*")
_LABEL = re.compile(
    r"^(?P<name>\\?[^\W\d_]+(?:_(?:\w|\{\w+\}))?(?:\s*\([a-zA-Z](?:\s*,\s*[a-zA-Z])*\))?(?: "
    r"[^\W\d_]+){0,3})\s*(?:=|\\approx\b)\s*(?P<rest>[^=<>]+)$"
)
_CHOICE = re.compile(
    r"^(?:(?:option|choice|answer)\s+)?(?:\(([A-Ha-h])\)|\[([A-Ha-h])\]|([A-Ha-h])[).:]?)$", re.IGNORECASE
)
_CHOICE_AND = re.compile(
    r"^(?:(?:option|choice)\s+)?(?:\(([A-Ha-h])\)[.:]?|([A-Ha-h])[).:])\s+(?P<rest>(?![-+*/^=<>!_(]\s|[*/^=<>!_(+])\S.*)$"
)
_RATIO = re.compile(r"^[^:]+(?::[^:]+)+$")
_UNITS, _TENS = (
    (
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
        "sixteen seventeen eighteen nineteen"
    ).split(),
    "twenty thirty forty fifty sixty seventy eighty ninety".split(),
)
_SPELLED = {word: i for i, word in enumerate(_UNITS)} | {word: 10 * i for i, word in enumerate(_TENS, 2)}
_SPELLED |= {
    f"{ten} {one}": 10 * i + j for i, ten in enumerate(_TENS, 2) for j, one in enumerate(_UNITS[1:10], 1)
}
_SPELLED_FIRST = re.compile(
    "^(-|minus |negative )?("
    + "|".join(sorted((w.replace(" ", "[- ]") for w in _SPELLED), key=len, reverse=True))
    + r")(?=\s|$)",
    re.IGNORECASE,
)
_ALL_NUMBERS = re.compile(r"^(?:all|any|every)(?: real)? (?:real numbers?|reals)$", re.IGNORECASE)
_SAME_WORDS = {
    "empty set": r"\varnothing",
    "the empty set": r"\varnothing",
    "negative infinity": r"-\infty",
    "minus infinity": r"-\infty",
    "positive infinity": r"\infty",
    "plus infinity": r"\infty",
    "half": "1/2",
    "one half": "1/2",
    "a half": "1/2",
}


def read(text: str) -> Reading:
    """The first of these readings that fits the whole text."""
    text = _bare(clean(text))
    if not re.search(r"[^\s.,;:{}$\\]|\\[A-Za-z{]", text):
        return Reading("nothing")
    when = _date(text) or _clock(text)
    if when:
        return when._replace(text=text)
    choice = _CHOICE.match(text)
    if choice:
        return Reading("choice", ((choice[1] or choice[2] or choice[3]).upper(), ""), text=text)
    choice = _CHOICE_AND.match(text)
    if choice:
        return Reading("choice", ((choice[1] or choice[2]).upper(), choice["rest"]), text=text)
    label = _LABEL.match(text)
    if label and label["name"].strip() not in ("e", "i", r"\pi", "pi"):
        inner = read_value(_bare(label["rest"]))
        if inner.kind != "words" or " " in label["name"] or len(label["name"]) > 2:
            return inner._replace(name=_name(label["name"]), text=text)
    found = read_value(text)
    if found.kind == "maths" and re.search(r"[=<>]|\\(?:le|ge|ne|in|lt|gt)", text):
        lost = values.symbols(parse(text)) - values.symbols(found.value)
        found = found._replace(name="".join(lost) if len(lost) == 1 else "")  # x of x < 3 and of 5 = x
    return found._replace(text=text)


def _name(text: str) -> str:
    """The name in a label: y in y = ..., f in f(x) = ...; words in lower case."""
    text = re.sub(r"\s*\(.*", "", text.replace("{", "").replace("}", "").strip())
    return text if len(text) < 3 or "_" in text or text[0] == "\\" else text.casefold()


def _bare(text: str) -> str:
    """The text without "=" or "about" before it, and a full stop after it."""
    text = _PREFIX.sub("", text.strip()).strip()
    text = re.sub(
        r"^([\"`])([^\"`]*)\1$|^“([^“”]*)”$", lambda found: (found[2] or found[3] or "").strip(), text
    )
    return re.sub(r"(?<!\.)[.。]$", "", text).strip()


def read_value(text: str) -> Reading:
    """A text read as an amount, mathematics, a ratio, or words."""
    text = _SAME_WORDS.get(text.casefold(), text)
    if _ALL_NUMBERS.match(text):
        text = r"\R "
    found = _SPELLED_FIRST.match(text)
    if found:
        text = (
            ("-" if found[1] else "")
            + str(_SPELLED[found[2].lower().replace("-", " ")])
            + text[found.end() :]
        )
    amount = read_amount(text)
    if amount:
        return amount
    if re.fullmatch(r"\d+(?:st|nd|rd|th)", text, re.IGNORECASE):
        return Reading("words", _words(text))
    if (
        re.fullmatch(r"[^\W\d_]{2,}", text)
        and not set(text) <= set("xyz")
        and text.lower() not in ("infinity", "inf", "pi")
    ):
        return Reading("words", _words(text))  # "ab" may be a word: it does not equal "ba"
    try:
        return Reading("maths", normal(parse(text)))
    except (Unreadable, values.Undefined):
        pass
    if _RATIO.match(text):
        try:
            parts = tuple(parse(part.strip()) for part in text.split(":"))
            if all(part[0] in ("num", "sym", "div", "mul", "fn") for part in parts):
                return Reading("ratio", parts)
        except Unreadable:
            pass
    return Reading("words", _words(text))


def _words(text: str) -> tuple[str, ...]:
    """The words of a text in lower case, without a leading article and marks; formulas keep signs."""
    if re.search(r"[\\^_=<>+*/|{}]|\w'*\(", text):
        text = re.sub(r"([_^])\s*(\\[A-Za-z]+|\w)", r"\1{\2}", text)
        return (re.sub(r"\s+", "", text),)
    found = re.findall(
        r"-?\d+(?:[.,]\d+)*(?:st|nd|rd|th)?|[^\W\d_]+(?:['.][^\W\d_]+)*|[^\w\s.,;:!?\"'`()\[\]“”-]", text
    )
    found = [word.replace(",", "") if word[-1].isdigit() else _small(word) for word in found]
    return tuple(found[1:] if len(found) > 1 and found[0] in ("a", "an", "the") else found)


def _small(word: str) -> str:
    """A word in lower case, but for CO and Co, which differ."""
    return word if len(word) == 2 and word[1].isupper() and word not in ("NO", "OK") else word.casefold()


# -- dates and times

_MONTHS = "january february march april may june july august september october november december".split()
_MONTH = r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"  # noqa: E501
_WEEKDAY = r"(?:(?P<weekday>mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+)?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>\d{3,4})(?: ?(?:AD|CE))?"
_DATES = [
    re.compile(rf"^{_WEEKDAY}{form}$", re.IGNORECASE)
    for form in (
        rf"{_MONTH}\s+{_DAY}(?:,?\s+{_YEAR})?",
        rf"(?:the\s+)?{_DAY}\s+(?:of\s+)?{_MONTH}(?:,?\s+{_YEAR})?",
        rf"{_MONTH},?\s+(?:of\s+)?{_YEAR}",
        r"(?P<year>\d{4})[-/.](?P<number>\d{2})[-/.](?P<day>\d{2})",
    )
]
_CLOCK = re.compile(
    r"^(?P<hour>\d{1,2})(?::(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?)?\s*(?P<half>[ap]\.?\s?m\.?)?$",
    re.IGNORECASE,
)


def _date(text: str) -> Reading | None:
    """("date", year, month, day, weekday), with None for what is left out."""
    for form in _DATES:
        found = form.match(text)
        if not found:
            continue
        parts: dict[str, Any] = {
            "year": None,
            "month": None,
            "number": None,
            "day": None,
            "weekday": None,
        } | found.groupdict()
        month = (
            int(parts["number"])
            if parts["number"]
            else 1 + next(i for i, m in enumerate(_MONTHS) if m.startswith(str(parts["month"])[:3].lower()))
        )
        year, day = (int(parts[name]) if parts[name] else None for name in ("year", "day"))
        if not 1 <= month <= 12 or not 1 <= (day or 1) <= 31:
            return None
        return Reading("date", ("date", year, month, day, (parts["weekday"] or "").lower() or None))
    return None


def _clock(text: str) -> Reading | None:
    """("time", hour, minute, second) on a clock of 24 hours; None where the text is no time of day."""
    found = _CLOCK.match(text)
    if not found or not (found["minute"] or found["half"]):
        return None
    hour, half = int(found["hour"]), (found["half"] or "").lower()[:1]
    if hour > 24 or (half and not 1 <= hour <= 12):
        return None
    hour = hour % 12 + 12 * (half == "p") if half else hour
    return Reading("time", ("time", hour, int(found["minute"] or 0), int(found["second"] or 0)))


# -- amounts

_BASED = re.compile(r"^(\d+)\s*_\s*\{?\s*(\d+)\s*\}?$")
_BREAK = re.compile(
    r"(?<=[\d})!.\s])(?=[^\W\d_]|\\Omega)|(?<=\s)(?=\\frac\s*\{\s*[A-Za-z])|(?=\^\s*\{?\s*\\circ)|(?=[€£¥₹¢%"
    + DOLLAR
    + r"])"
)
_BEFORE = re.compile(r"^([-+]?)\s*(?:US|AU|CA)?\s*([€£¥₹" + DOLLAR + r"])\s*([-+]?)\s*(?=[\d.\\])")
_PARTS = re.compile(r"(\d[\d.,]*)\s*([^\W\d_]+)\s*,?\s*(?:and\s+)?")


PERCENT, DEGREE = unit("%"), unit("degrees")


def read_amount(text: str) -> Reading | None:
    """A number and its unit, or the things that it counts; None where the text is more than that."""
    money = _BEFORE.match(text)
    if money:
        inner = read_amount(text[money.end() :])
        node, its = (inner.value, inner.unit) if inner else (_number(text[money.end() :]), NOTHING)
        named = unit(money[2])
        if node is None or (its != NOTHING and its != named) or named is None:
            return None
        return Reading("amount", ("neg", node) if "-" in (money[1], money[3]) else node, named)
    based = _BASED.match(text)
    if based:
        return Reading("amount", ("num", Fraction(based[1]), None), Unit(Fraction(1), (), ("base", based[2])))
    for place in _BREAK.finditer(text):
        before, after = text[: place.start()].strip(), text[place.start() :].strip()
        if not before:
            continue
        scale, _, rest = after.partition(" ")
        if scale.lower() in SCALES or (scale.lower().rstrip("s") in SCALES):
            node, measured = _number(before), unit(rest) if rest else NOTHING
            node = (
                times(
                    node, SCALES[scale.lower().rstrip("s") if scale.lower() not in SCALES else scale.lower()]
                )
                if node
                else None
            )
        else:
            measured = unit(after)
            if measured is None or (
                measured.words
                and any(word == "per" for word in measured.words)
                and measured.words[0] == "per"
            ):
                continue
            node = _number(before)
            glued = not text[place.start() - 1].isspace() and re.match(r"[^\W\d_](?!\w)", after)
            if glued:
                continue  # 5m is 5 times m
        if node is None or measured is None or (measured.words and not _literal(node)):
            continue
        if measured == DEGREE and "fn" in str(node) and "root" not in str(node):
            continue  # sin 30 degrees
        if values.symbols(node) and (not measured.dims or len(after) == 1):
            continue
        return Reading("amount", node, measured)
    return _sum_of_parts(text)


def _sum_of_parts(text: str) -> Reading | None:
    """The sum of amounts in related units: 2 h 30 min, 5 ft 3 in."""
    pieces = list(_PARTS.finditer(text))
    if len(pieces) < 2 or "".join(piece[0] for piece in pieces) != text:
        return None
    total, dims = Fraction(0), None
    for piece in pieces:
        node, its = _number(piece[1].rstrip(",.")), unit(piece[2])
        if node is None or node[0] != "num" or its is None or not its.dims or dims not in (None, its.dims):
            return None
        total, dims = total + node[1] * its.factor, its.dims
    return Reading("amount", ("num", total, None), Unit(Fraction(1), dims or ()))


def _number(text: str) -> Node | None:
    """The one value that a text is; None where it is no value, or several."""
    try:
        node = parse(text.strip())
    except Unreadable:
        return None
    if node[0] in ("rel", "list", "tuple", "set", "interval", "union", "matrix") or "pm" in str(node):
        return None
    return node


def _literal(node: Node) -> bool:
    """Whether a number is written out, perhaps with a sign or as a fraction; in "x - 3 cats" it is not."""
    return (
        node[0] == "num"
        or (node[0] == "neg" and _literal(node[1]))
        or (node[0] == "div" and _literal(node[1]) and _literal(node[2]))
    )


def times(node: Node, factor: int | Fraction) -> Node:
    """A multiple of a value; a decimal stays a decimal."""
    if factor == 1:
        return node
    if node[0] == "num":
        return ("num", node[1] * factor, node[2] and node[2] * factor)
    return (
        ("neg", times(node[1], factor))
        if node[0] == "neg"
        else ("mul", node, ("num", Fraction(factor), None))
    )
