r"""Units of measurement and counted things: the words after a number, as a Unit.

A known unit has a factor and dimensions, so that 120 cm equals 1.2 m and 20 m/s equals 72 km/h. Other words
(balls, red balls) are compared as words. Temperatures, which have an offset, and currencies are not
converted.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from surpass.verifier.notation import DOLLAR


class Unit(NamedTuple):
    """`factor` times the base units `dims`, (name, exponent) in order; or counted `words`."""

    factor: Fraction
    dims: tuple[tuple[str, int], ...]
    words: tuple[str, ...] = ()


# what follows each colon: a factor and base units with exponents; names of one to three letters are read as
# they are written, longer ones in any case and in the plural
_TABLE = r"""
m meter metre: 1 m | km kilometer kilometre: 1000 m | cm centimeter centimetre: 1/100 m | mm millimeter millimetre: 1/1000 m | dm decimeter: 1/10 m
um μm micrometer micron: 1/1000000 m | nm nanometer: 1/1000000000 m | in inch inches: 0.0254 m | ft foot feet: 0.3048 m | yd yard: 0.9144 m
mi mile: 1609.344 m | g gram gm: 1 g | kg kilogram kgs: 1000 g | mg milligram: 1/1000 g | µg ug microgram: 1/1000000 g | t tonne: 1000000 g
lb lbs pound: 453.59237 g | oz ounce: 28.349523125 g | ton: 1 ton | s sec second secs: 1 s | ms millisecond: 1/1000 s | min minute mins: 60 s
us microsecond: 1/1000000 s | ns nanosecond: 1/1000000000 s | h hr hour hrs: 3600 s | d day: 86400 s | wk week: 604800 s | month: 1 month
yr year yrs: 12 month | decade: 120 month | century centuries: 1200 month
L l liter litre: 1/1000 m3 | mL ml milliliter millilitre: 1/1000000 m3 | cL cl: 1/100000 m3 | cc: 1/1000000 m3
gallon gal: 16 cup | quart qt: 4 cup | pint pt: 2 cup | cup: 1 cup | tablespoon tbsp: 1/16 cup | teaspoon tsp: 1/48 cup
acre: 4046.8564224 m2 | ha hectare: 10000 m2 | mph: 0.44704 m s-1 | kph kmh: 5/18 m s-1
N newton: 1000 g m s-2 | kN kilonewton: 1000000 g m s-2 | J joule: 1000 g m2 s-2 | kJ kilojoule: 1000000 g m2 s-2 | MJ megajoule: 1000000000 g m2 s-2
Wh: 3600000 g m2 s-2 | kWh: 3600000000 g m2 s-2 | cal calorie: 4184 g m2 s-2 | kcal kilocalorie: 4184000 g m2 s-2 | eV: 1 eV | keV: 1000 eV
MeV: 1000000 eV | GeV: 1000000000 eV | W watt: 1000 g m2 s-3 | mW milliwatt: 1 g m2 s-3 | kW kilowatt: 1000000 g m2 s-3
MW megawatt: 1000000000 g m2 s-3 | GW gigawatt: 1000000000000 g m2 s-3 | Pa pascal: 1000 g m-1 s-2 | kPa kilopascal: 1000000 g m-1 s-2
hPa: 100000 g m-1 s-2 | MPa megapascal: 1000000000 g m-1 s-2 | bar: 100000000 g m-1 s-2 | atm atmosphere: 101325000 g m-1 s-2
mmHg: 1 mmHg | Torr torr: 1 torr | A amp ampere: 1 A | mA milliampere milliamp: 1/1000 A | C coulomb: 1 A s
V volt: 1000 g m2 s-3 A-1 | mV millivolt: 1 g m2 s-3 A-1 | kV kilovolt: 1000000 g m2 s-3 A-1 | ohm \Omega: 1000 g m2 s-3 A-2
F farad: 1/1000 A2 s4 g-1 m-2 | T tesla: 1000 g s-2 A-1 | Hz hertz: 1 s-1 | kHz kilohertz: 1000 s-1 | MHz megahertz: 1000000 s-1
GHz gigahertz: 1000000000 s-1 | K kelvin: 1 K | mol mole: 1 mol | mmol: 1/1000 mol | rad radian: 1 rad | rpm: 1 rpm
degree degrees deg °: 1 degree | °C celsius: 1 celsius | °F fahrenheit: 1 fahrenheit | % percent pct: 1 percent
bit: 1 bit | byte B: 8 bit | KB kB: 1 kB | MB: 1 MB | GB: 1 GB | TB: 1 TB
$ dollar USD bucks: 1 dollar | ¢ cent: 1/100 dollar | € euro EUR: 1 euro | £ GBP: 1 sterling | ¥ yen JPY: 1 yen | ₹ rupee INR: 1 rupee
unit: 1
"""


def _known() -> dict[str, Unit]:
    found: dict[str, Unit] = {}
    for entry in re.split(r"[|\n]", _TABLE.strip()):
        names, _, value = entry.partition(":")
        factor, *bases = value.split()
        dims = {re.sub(r"-?\d+$", "", base): int((re.search(r"-?\d+$", base) or ["1"])[0]) for base in bases}
        for name in names.split():
            found[name.replace("$", DOLLAR)] = Unit(Fraction(factor), tuple(sorted(dims.items())))
    return found


_KNOWN = _known()
NOTHING = Unit(Fraction(1), ())
SCALES = {
    "hundred": 10**2,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "dozen": 12,
}
# words that say that what precedes them is no amount of what follows
_NO_THING = set(
    """a an the and or not no of to than then is are was were be if when more less fewer over under by times plus minus squared
cubed mod modulo remainder choose half third quarter from in at on out with without except but only equals equal per point root half that
which for as yes true false nor either both none each between until till up down before after th st nd rd am pm""".split()
)
_PIECE = re.compile(
    r"\s*(?:(?P<word>°[CF]?|\\Omega|[^\W\d_]+(?:[-'][^\W\d_]+)*|[€£¥₹¢%" + DOLLAR + r"])"
    r"|(?P<power>\^\s*\{?\s*(-?\d+)\s*\}?)|(?P<op>\\cdot(?![a-z])|\\times(?![a-z])|[*/().]))"
)


def singular(word: str) -> str:
    """A word in lower case, without the ending of the plural."""
    word = word.casefold()
    if word in ("feet", "inches", "people", "men", "women", "children"):
        return {
            "feet": "foot",
            "inches": "inch",
            "people": "person",
            "men": "man",
            "women": "woman",
            "children": "child",
        }[word]
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and re.search(r"(?:s|x|z|ch|sh)es$", word):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and word[-2] not in "su" else word


def _one(word: str) -> Unit | None:
    """The known unit of that name."""
    if word in _KNOWN:
        return _KNOWN[word]
    return _KNOWN.get(singular(word)) or _KNOWN.get(word.casefold()) if len(word) > 3 else None


def unit(text: str) -> Unit | None:
    """The unit or the counted things that a cleaned text names; None where it names neither."""
    text = re.sub(r"\^\s*\{?\s*\\circ\s*\}?\s*", "°", text.strip())
    text = re.sub(r"\\frac\s*\{([^{}]*)\}\s*\{((?:[^{}]|\{\d+\})*)\}", r"\1/(\2)", text)
    text = re.sub(
        r"(?:°|\bdegrees?)\s*(?:(C|c)(?:elsius)?|(F|f)(?:ahrenheit)?)\b",
        lambda found: "°C" if found[1] else "°F",
        text,
    )
    pieces = []
    at = 0
    while at < len(text):
        found = _PIECE.match(text, at)
        if not found:
            return None
        pieces.append((found.lastgroup or "", found[0].strip(), found[3] or ""))
        at = found.end()
    while pieces and pieces[-1][1] == ".":
        pieces.pop()
    if not pieces:
        return None
    return _measured(pieces) or _counted(pieces)


def _measured(pieces: list[tuple[str, str, str]]) -> Unit | None:
    """A product of known units: kg m/s^2, square meters, miles per hour, J/(kg K)."""
    factor, dims = Fraction(1), dict[str, int]()
    sign, inside, ahead, last, its_sign = 1, False, 1, NOTHING, 1
    for i, (kind, text, power) in enumerate(pieces):
        word = text.casefold()
        if kind == "power" or word in ("squared", "cubed"):
            if not last.dims or i == 0:
                return None
            times = int(power) - 1 if kind == "power" else 1 if word == "squared" else 2
            used = its_sign * times
        elif text in ("/", "(", ")") or word == "per":
            sign = {"(": sign, ")": 1}.get(text, -1)
            inside = text == "(" or (inside and text != ")")
            last = NOTHING
            continue
        elif kind == "op":
            continue
        elif word in ("square", "sq", "cubic", "cu"):
            ahead = 2 if word[0] == "s" else 3
            continue
        else:
            last = _one(text) or NOTHING
            if last is NOTHING:
                return None
            its_sign, used, ahead = sign, sign * ahead, 1
            sign = sign if inside else 1
        if abs(used) > 9:
            return None
        factor *= last.factor**used
        for name, exponent in last.dims:
            dims[name] = dims.get(name, 0) + exponent * used
    return Unit(factor, tuple(sorted((name, exponent) for name, exponent in dims.items() if exponent)))


def _counted(pieces: list[tuple[str, str, str]]) -> Unit | None:
    """Counted things: apples, red balls, students per class."""
    words = [("per" if text == "/" else text) for kind, text, _ in pieces if text not in (".",)]
    if len(words) > 5 or any(
        kind == "power" or (kind == "op" and text not in "/.") for kind, text, _ in pieces
    ):
        return None
    inner = [word for word in words if word != "per"]
    if not inner or words[0] == "per" or any(len(word) < 2 or word.casefold() in _NO_THING for word in inner):
        return None
    return Unit(Fraction(1), (), tuple(map(singular, words)))
