r"""Whether two stated answers are the same answer.

A text is read as a whole, as the first of these that it is: a date, a time of day, a choice "(B)", an amount of something (4 red balls,
12 cm, \$5, 45^\circ), mathematics (surpass.tasks.formulas), a ratio 3:2, words. Unlike kinds are unequal; words equal the same
words only. docs/verifier.md states every rule; those where a verifier must decide are these:

- Rational numbers are equal where they are exactly: 1/2, 0.5, 50%, 5e-1. Irrational ones are evaluated to hundreds of digits.
- A decimal of at least six significant digits also equals a value that rounds, or is cut off, to it: 0.333333 and 1/3. 0.33 does not.
- A unit may be left out by one side: 12 and 12 cm. Where both name one it must be the same, or convertible: 120 cm and 1.2 m.
- "x =" may be left out; x = 5 and y = 5 differ. A list without brackets (1, 2) has no order against another list or a set, but against
  a tuple it does.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any, NamedTuple

from surpass.tasks import formulas, values
from surpass.tasks.formulas import DOLLAR, Node, Unreadable, clean
from surpass.tasks.units import NOTHING, SCALES, Unit, unit


class Reading(NamedTuple):
    """What a text was read as. kind: "nothing" "date" "time" "choice" "amount" "maths" "ratio" "words"."""

    kind: str
    value: Any = None
    unit: Unit = NOTHING
    name: str = ""  # x in "x = 5 cm"
    text: str = ""  # cleaned


def equal(gold: str, answer: str) -> bool:
    """Whether an answer is the right one. What holds nothing that can be seen is never right."""
    right, given = read(gold), read(answer)
    if "nothing" in (right.kind, given.kind):
        return False
    if right.text == given.text:
        return True
    if right.name and given.name and right.name != given.name:
        return right.kind == given.kind == "maths" and _alike(_whole(right), _whole(given))
    if "choice" in (right.kind, given.kind):
        return _same_choice(right, given)
    if right.kind == given.kind and right.kind in ("date", "time"):
        return _same_time(right.value, given.value)
    try:
        return _same_amount(right, given)
    except (values.Undefined, Unreadable):  # of what has no value nothing is known
        return False


def canonical(answer: str) -> str | None:
    """One text for the forms of an answer that `equal` takes for the same (docs/verifier.md names the exceptions); None for nothing."""
    found = read(answer)
    if found.kind == "nothing":
        return None
    if found.kind == "choice":
        return found.value[0]
    if found.kind in ("date", "time"):
        return " ".join("?" if part is None else str(part) for part in found.value[:4])
    if found.kind == "words":
        return " ".join(found.value)
    from surpass.tasks.canonical import written  # sympy

    try:
        if found.kind == "ratio" and len(found.value) > 2:
            return ":".join(written(("div", part, found.value[0])) for part in found.value)
        return written(_ratio(found), found.unit)
    except (values.Undefined, Unreadable):
        return found.text


# -- reading

_PREFIX = re.compile(r"^(?:\\approx\b|~|≈|=|\\therefore\b)\s*")
_LABEL = re.compile(r"^(?P<name>\\?[^\W\d_]+(?:_(?:\w|\{\w+\}))?(?:\s*\([a-zA-Z](?:\s*,\s*[a-zA-Z])*\))?(?: [^\W\d_]+){0,3})\s*(?:=|\\approx\b)\s*(?P<rest>[^=<>]+)$")
_CHOICE = re.compile(r"^(?:(?:option|choice|answer)\s+)?(?:\(([A-Ha-h])\)|\[([A-Ha-h])\]|([A-Ha-h])[).:]?)$", re.IGNORECASE)
_CHOICE_AND = re.compile(r"^(?:(?:option|choice)\s+)?(?:\(([A-Ha-h])\)[.:]?|([A-Ha-h])[).:])\s+(?P<rest>(?![-+*/^=<>!_(]\s|[*/^=<>!_(+])\S.*)$")
_RATIO = re.compile(r"^[^:]+(?::[^:]+)+$")
_UNITS, _TENS = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
                 "nineteen").split(), "twenty thirty forty fifty sixty seventy eighty ninety".split()  # fmt: skip
_SPELLED = {word: i for i, word in enumerate(_UNITS)} | {word: 10 * i for i, word in enumerate(_TENS, 2)}
_SPELLED |= {f"{ten} {one}": 10 * i + j for i, ten in enumerate(_TENS, 2) for j, one in enumerate(_UNITS[1:10], 1)}
_SPELLED_FIRST = re.compile("^(-|minus |negative )?(" + "|".join(sorted((w.replace(" ", "[- ]") for w in _SPELLED), key=len, reverse=True))
                            + r")(?=\s|$)", re.IGNORECASE)  # fmt: skip
_ALL_NUMBERS = re.compile(r"^(?:all|any|every)(?: real)? (?:real numbers?|reals)$", re.IGNORECASE)
_SAME_WORDS = {"empty set": r"\varnothing", "the empty set": r"\varnothing", "negative infinity": r"-\infty", "minus infinity": r"-\infty",
               "positive infinity": r"\infty", "plus infinity": r"\infty"}  # fmt: skip


def read(text: str) -> Reading:
    """The first reading that a whole text has."""
    text = _bare(clean(text))
    if not re.search(r"[^\s.,;:{}$\\]|\\[A-Za-z{]|\{\}", text):
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
        inner = _value(_bare(label["rest"]))
        if inner.kind != "words" or " " in label["name"] or len(label["name"]) > 2:
            return inner._replace(name=_name(label["name"]), text=text)
    found = _value(text)
    if found.kind == "maths" and re.search(r"[=<>]|\\(?:le|ge|ne|in|lt|gt)", text):
        lost = values.symbols(formulas.parse(text)) - values.symbols(found.value)
        found = found._replace(name="".join(lost) if len(lost) == 1 else "")  # x of x < 3 and of 5 = x
    return found._replace(text=text)


def _name(text: str) -> str:
    """What a label names: y of y = ..., f of f(x) = ...; words in small letters."""
    text = re.sub(r"\s*\(.*", "", text.replace("{", "").replace("}", "").strip())
    return text if len(text) < 3 or "_" in text or text[0] == "\\" else text.casefold()


def _bare(text: str) -> str:
    """Without "=" or a sign for about before it, and a full stop after it."""
    text = _PREFIX.sub("", text.strip()).strip()
    return re.sub(r"(?<!\.)[.。]$", "", text).strip()


def _value(text: str) -> Reading:
    """A text as an amount, mathematics, a ratio, or words."""
    text = _SAME_WORDS.get(text.casefold(), text)
    if _ALL_NUMBERS.match(text):
        text = r"\R "
    found = _SPELLED_FIRST.match(text)
    if found:
        text = ("-" if found[1] else "") + str(_SPELLED[found[2].lower().replace("-", " ")]) + text[found.end() :]
    amount = _amount(text)
    if amount:
        return amount
    if re.fullmatch(r"[^\W\d_]{2,}", text) and not set(text) <= set("xyz") and text.lower() not in ("infinity", "inf", "pi"):
        return Reading("words", _words(text))  # "ab" may be a word: it does not equal "ba"
    try:
        return Reading("maths", _normal(formulas.parse(text)))
    except (Unreadable, values.Undefined):
        pass
    if _RATIO.match(text):
        try:
            parts = tuple(formulas.parse(part.strip()) for part in text.split(":"))
            if all(part[0] in ("num", "sym", "div", "mul", "fn") for part in parts):
                return Reading("ratio", parts)
        except Unreadable:
            pass
    return Reading("words", _words(text))


def _words(text: str) -> tuple[str, ...]:
    """The words of a text in small letters, without an article before and marks around them; of formulas the signs as they stand."""
    if re.search(r"[\\^_=<>+*/|{}]", text):
        return (re.sub(r"\s+", "", text),)
    found = re.findall(r"-?\d+(?:[.,]\d+)*|[^\W\d_]+(?:['.][^\W\d_]+)*|[^\w\s.,;:!?\"'`()\[\]“”-]", text)
    found = [word.replace(",", "") if word[-1].isdigit() else word.casefold() for word in found]
    return tuple(found[1:] if len(found) > 1 and found[0] in ("a", "an", "the") else found)


# -- dates and times

_MONTHS = "january february march april may june july august september october november december".split()
_MONTH = r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
_WEEKDAY = r"(?:(?P<weekday>mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+)?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>\d{3,4})(?: ?(?:AD|CE))?"
_DATES = [re.compile(rf"^{_WEEKDAY}{form}$", re.IGNORECASE) for form in (
    rf"{_MONTH}\s+{_DAY}(?:,?\s+{_YEAR})?", rf"(?:the\s+)?{_DAY}\s+(?:of\s+)?{_MONTH}(?:,?\s+{_YEAR})?", rf"{_MONTH},?\s+(?:of\s+)?{_YEAR}",
    r"(?P<year>\d{4})[-/.](?P<number>\d{2})[-/.](?P<day>\d{2})")]  # fmt: skip
_CLOCK = re.compile(r"^(?P<hour>\d{1,2})(?::(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?)?\s*(?P<half>[ap]\.?\s?m\.?)?$", re.IGNORECASE)


def _date(text: str) -> Reading | None:
    """("date", year, month, day, weekday), None for what is not said."""
    for form in _DATES:
        found = form.match(text)
        if not found:
            continue
        parts = {"year": None, "month": None, "number": None, "day": None, "weekday": None} | found.groupdict()
        month = int(parts["number"]) if parts["number"] else 1 + next(i for i, m in enumerate(_MONTHS) if m.startswith(str(parts["month"])[:3].lower()))
        year, day = (int(parts[name]) if parts[name] else None for name in ("year", "day"))
        if not 1 <= month <= 12 or not 1 <= (day or 1) <= 31:
            return None
        return Reading("date", ("date", year, month, day, (parts["weekday"] or "").lower() or None))
    return None


def _clock(text: str) -> Reading | None:
    """("time", hour, minute, second) of 24 hours; None where the text is no time of day."""
    found = _CLOCK.match(text)
    if not found or not (found["minute"] or found["half"]):
        return None
    hour, half = int(found["hour"]), (found["half"] or "").lower()[:1]
    if hour > 24 or (half and not 1 <= hour <= 12):
        return None
    hour = hour % 12 + 12 * (half == "p") if half else hour
    return Reading("time", ("time", hour, int(found["minute"] or 0), int(found["second"] or 0)))


def _same_time(a: tuple, b: tuple) -> bool:
    """Equal in all that is said; a weekday may be left out."""
    return a[:4] == b[:4] and (len(a) < 5 or None in (a[4], b[4]) or a[4] == b[4])


# -- choices


def _same_choice(right: Reading, given: Reading) -> bool:
    """The same letter; words after it must agree where both have some. Against an answer without a letter these words count."""
    if right.kind == given.kind:
        (letter, rest), (other, others) = right.value, given.value
        return letter == other and (not rest or not others or equal(rest, others))
    (_, rest), other = (right.value, given.text) if right.kind == "choice" else (given.value, right.text)
    if rest:
        return equal(rest, other) if right.kind == "choice" else equal(other, rest)
    choice, other = (right, given) if right.kind == "choice" else (given, right)
    return bool(other.name) and other.kind == "maths" and other.value == ("sym", choice.text)


# -- amounts

_BASED = re.compile(r"^(\d+)\s*_\s*\{?\s*(\d+)\s*\}?$")
_BREAK = re.compile(r"(?<=[\d})!.\s])(?=[^\W\d_]|\\Omega)|(?<=\s)(?=\\frac\s*\{\s*[A-Za-z])|(?=\^\s*\{?\s*\\circ)|(?=[€£¥₹¢%" + DOLLAR + r"])")
_BEFORE = re.compile(r"^([-+]?)\s*(?:US|AU|CA)?\s*([€£¥₹" + DOLLAR + r"])\s*([-+]?)\s*(?=[\d.\\])")
_PARTS = re.compile(r"(\d[\d.,]*)\s*([^\W\d_]+)\s*,?\s*(?:and\s+)?")


def _amount(text: str) -> Reading | None:
    """A number and what it counts or measures; None where that is not all of the text."""
    money = _BEFORE.match(text)
    if money:
        inner = _amount(text[money.end() :])
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
            node = _times(node, SCALES[scale.lower().rstrip("s") if scale.lower() not in SCALES else scale.lower()]) if node else None
        else:
            measured = unit(after)
            if measured is None or measured.words and any(word == "per" for word in measured.words) and measured.words[0] == "per":
                continue
            node = _number(before)
            glued = before[-1:] == text[place.start() - 1] and after[0].isalpha() and len(re.match(r"\w*", after)[0]) == 1
            if glued:
                continue  # 5m is 5 times m
        if node is None or measured is None or (measured.words and not _literal(node)):
            continue
        if values.symbols(node) and (not measured.dims or len(after) == 1):
            continue
        return Reading("amount", node, measured)
    return _sum_of_parts(text)


def _sum_of_parts(text: str) -> Reading | None:
    """2 h 30 min, 5 ft 3 in: what the units are worth together."""
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
    """The one value that a text is; None where it is none, or several."""
    try:
        node = formulas.parse(text.strip())
    except Unreadable:
        return None
    if node[0] in ("rel", "list", "tuple", "set", "interval", "union", "matrix") or "pm" in str(node):
        return None
    return node


def _literal(node: Node) -> bool:
    """Whether a number was written out, with its sign or as a fraction: of "x - 3 cats" nobody counts the cats."""
    return node[0] == "num" or (node[0] == "neg" and _literal(node[1])) or (node[0] == "div" and _literal(node[1]) and _literal(node[2]))


def _times(node: Node, factor: int | Fraction) -> Node:
    """A multiple, a decimal staying one."""
    if factor == 1:
        return node
    if node[0] == "num":
        return ("num", node[1] * factor, node[2] and node[2] * factor)
    return ("neg", _times(node[1], factor)) if node[0] == "neg" else ("mul", node, ("num", Fraction(factor), None))


_PERCENT, _DEGREE = unit("%"), unit("degrees")


def _same_amount(right: Reading, given: Reading) -> bool:
    """Values and what they measure. What one side does not name is taken to be meant; a bare 45 may be percent or degrees."""
    for one, other in ((right, given), (given, right)):
        if one.unit == _PERCENT and other.unit != _PERCENT:
            share = ("div", one.value, ("num", Fraction(100), None))
            if other.unit != NOTHING or other.kind not in ("maths", "amount", "ratio"):
                return False
            plain = _ratio(other)
            return _alike(_times(one.value, Fraction(1, 100)), plain) or _alike(share, plain) or (_above_one(plain) and _alike(one.value, plain))
        if one.unit == _DEGREE and other.unit == NOTHING and other.kind == "maths":
            angle = ("mul", one.value, ("div", ("const", "pi"), ("num", Fraction(180), None)))
            return _alike(one.value, other.value) or _alike(angle, other.value)
    if right.unit.words or given.unit.words:
        if right.unit.words and given.unit.words:
            return right.unit.words == given.unit.words and _alike(right.value, given.value)
        if right.unit.dims or given.unit.dims:
            return False
    if right.unit.dims and given.unit.dims:
        if right.unit.dims != given.unit.dims:
            return False
        return _alike(_times(right.value, right.unit.factor / given.unit.factor), given.value)
    for one, other in ((right, given), (given, right)):
        if one.unit.dims and not other.unit.dims and other.kind == "maths" and _glued(other.text) not in (None, one):
            glued = _glued(other.text)
            return glued is not None and glued.unit.dims == one.unit.dims and _same_amount(one, glued)
    if {right.kind, given.kind} <= {"maths", "amount", "ratio", "time"}:
        if right.kind == given.kind == "ratio":
            return len(right.value) == len(given.value) and all(
                _alike(("div", a, right.value[0]), ("div", b, given.value[0])) for a, b in zip(right.value, given.value, strict=True)
            )
        a, b = _ratio(right), _ratio(given)
        if a is None or b is None or _alike(a, b):
            return a is not None and b is not None
        return "rel" in (a[0], b[0]) and _alike(_whole(right), _whole(given))  # 2x < 6 and x < 3
    return right.kind == given.kind == "words" and right.value == given.value


def _glued(text: str) -> Reading | None:
    """5m as five metres, where the other side is a length."""
    found = re.match(r"^([-\d.,]+)([^\W\d_])$", text)
    return _amount(f"{found[1]} {found[2]}") if found else None


def _above_one(node: Node | None) -> bool:
    """Whether a number can be no share, so that "25" may mean 25%."""
    value = values.exact(node) if node is not None and node[0] in ("num", "neg", "div", "add", "mul") else None
    return value is not None and abs(value) > 1


def _ratio(found: Reading) -> Any:
    """The value; of a ratio of two numbers their quotient."""
    if found.kind == "ratio":
        return ("div", *found.value) if len(found.value) == 2 else None
    if found.kind == "time":
        parts = found.text.split(":")
        return ("div", *(("num", Fraction(int(part)), None) for part in parts)) if len(parts) == 2 and all(map(str.isdigit, parts)) else None
    return found.value


# -- formulas


def _whole(found: Reading) -> Node:
    """The equation that a text states, its left side included."""
    try:
        return formulas.parse(found.text)
    except Unreadable:
        return ("rel", ("?",), (("sym", found.name), found.value))


def _normal(node: Node) -> Node:
    r"""Without what says the same in another way: \pm as two values, x = 5 as 5, x = 1 or x = 2 as a list, 1 < x < 2 as an interval."""
    kind = node[0]
    if kind in ("list", "set", "tuple", "union"):
        items = [_normal(item) for item in node[1]]
        if kind == "list":
            return _listed(node[1], items)
        items = [part for item in items for part in (item[1] if item[0] == "list" and kind == "set" else (item,))]
        return (kind, tuple(items))
    if kind == "rel":
        return _relation(node)
    if kind == "interval":
        if any(end[0] in ("list", "set", "tuple") for end in node[2:4]):
            return ("tuple", tuple(map(_normal, node[2:4])))
        return node
    if _signs(node):
        return ("list", (_signed(node, 1), _signed(node, -1)))
    return node


def _listed(parts: tuple[Node, ...], items: list[Node]) -> Node:
    """A list: x = 1, x = 2 as the values; x = 1, y = 2 as what each name is; "x < 1 or x > 2" as a union."""
    names = [part[2][0][1] for part in parts if part[0] == "rel" and part[1] == ("=",) and part[2][0][0] == "sym"]
    if len(names) == len(parts) and len(set(names)) == len(names) > 1:
        return ("named", tuple(sorted((name, part[2][1]) for name, part in zip(names, parts, strict=True))))
    if names and len(set(names)) > 1:
        return ("list", parts)
    if all(item[0] == "interval" for item in items) and any(part[0] == "rel" for part in parts):
        return ("union", tuple(items))
    return ("list", tuple(part for item in items for part in (item[1] if item[0] == "list" else (item,))))


def _relation(node: Node) -> Node:
    operators, sides = node[1], node[2]
    free = [bool(values.symbols(side)) for side in sides]
    if set(operators) == {"="}:
        first = 1 if sides[0][0] == "sym" else 0
        if not any(free[first:]) and all(_alike(side, sides[-1]) for side in sides[first:-1]):
            return _normal(sides[-1])  # 2 + 3 = 5; x = 2 + 3 = 5
        if len(sides) == 2 and free[0] and sides[0][0] == "sym" and sides[0][1] not in values.symbols(sides[1]):
            return _normal(sides[1])
        if len(sides) == 2 and sides[1][0] == "sym" and not free[0]:
            return _normal(sides[0])  # 5 = x
        if not any(free):
            raise Unreadable("a false equation")
        return node
    return _interval(operators, sides) or node


def _interval(operators: tuple[str, ...], sides: tuple[Node, ...]) -> Node | None:
    """What x < 3 and 1 <= x < 3 hold for."""
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
    return isinstance(node, tuple) and bool(node) and (node[0] in ("pm", "mp") or any(_signs(part) for part in node))


def _signed(node: Any, sign: int) -> Any:
    """A formula with its \\pm as + (sign 1) or - (sign -1)."""
    if not isinstance(node, tuple) or not node:
        return node
    if node[0] in ("pm", "mp"):
        inner = _signed(node[1], sign)
        return inner if (node[0] == "pm") == (sign > 0) else ("neg", inner)
    return tuple(_signed(part, sign) for part in node)


_ORDERED = ("tuple", "interval")


def _alike(a: Node, b: Node) -> bool:
    """Whether two formulas are the same answer."""
    if a == b:
        return True
    kinds = {a[0], b[0]}
    if "named" in kinds:
        return _alike_named(a, b)
    if "matrix" in kinds:
        one, other = _rows(a), _rows(b)
        return one is not None and other is not None and len(one) == len(other) and all(map(_in_order, one, other))
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
        return len(one[1]) == 1 and other[0] not in _ORDERED and _alike(one[1][0], other)
    return not kinds & {"list", "tuple", "interval"} and values.same(a, b)


def _in_order(a: tuple[Node, ...], b: tuple[Node, ...]) -> bool:
    return len(a) == len(b) and all(map(_alike, a, b))


def _in_any_order(a: tuple[Node, ...], b: tuple[Node, ...]) -> bool:
    """Whether each item has one like it on the other side."""
    left = list(b)
    for item in a:
        found = next((i for i, other in enumerate(left) if _alike(item, other)), None)
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
    """The rows of a matrix; of a tuple those of a column, or if it is one of tuples, these."""
    if node[0] == "matrix":
        return node[1]
    if node[0] != "tuple":
        return None
    return tuple(item[1] if item[0] == "tuple" else (item,) for item in node[1])


def _alike_named(a: Node, b: Node) -> bool:
    """x = 1, y = 2 equals y = 2, x = 1, and (1, 2), the names being in order."""
    if a[0] == b[0]:
        return [name for name, _ in a[1]] == [name for name, _ in b[1]] and _in_order(*(tuple(v for _, v in node[1]) for node in (a, b)))
    named, other = (a, b) if a[0] == "named" else (b, a)
    return other[0] == "tuple" and _in_order(tuple(value for _, value in named[1]), other[1])


def _alike_relations(a: Node, b: Node) -> bool:
    """Equations and inequalities of which one is a multiple of the other: 2x + 4y = 6 and x + 2y = 3."""
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
    return near and factors[0] != 0 and (operator in ("=", "!=") or (getattr(factors[0], "imag", 0) == 0 and factors[0].real > 0))


def _moved(node: Node) -> tuple[str, Node | None]:
    """A relation as f = 0 or f < 0: its operator and f."""
    if len(node[1]) != 1 or any(side[0] in ("list", "set", "tuple", "interval") for side in node[2]):
        return "", None
    (operator,), (left, right) = node[1], node[2]
    if operator in (">", ">="):
        operator, left, right = operator.replace(">", "<"), right, left
    return operator, ("add", left, ("neg", right))


