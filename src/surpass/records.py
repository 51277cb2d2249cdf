"""The shapes that JSON in a run's folder must have: run.json, states, events. It may come from somebody else,
or from an editor.

A shape is one of these: a type; None; a tuple of shapes (any of them); [shape] (a list of that shape);
{"key": shape, "key?": shape} (an object with the first key, perhaps the second, and any others);
`each(shape)` (an object all of whose values have a shape); a function that says what a value should be ("" if
it is that).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from surpass.errors import SurpassError
from surpass.intact import json_lines

MOST = 2**53  # larger numbers are not exact in every reader of JSON


@dataclass(frozen=True)
class each:
    """An object all of whose values have a shape."""

    shape: Any


def count(value: Any) -> str:
    """A whole number from 0 to MOST."""
    return (
        ""
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST
        else "a whole number of at least 0"
    )


def positive(value: Any) -> str:
    return "" if not count(value) and value else "a whole number of at least 1"


def whole(value: Any) -> str:
    return (
        ""
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**64
        else "a whole number"
    )


def number(value: Any) -> str:
    """A number, nan and infinity too."""
    good = isinstance(value, float) or (
        isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 2**64
    )
    return "" if good else "a number"


def threads(value: Any) -> str:
    return "" if not count(value) and 1 <= value <= 1024 else "a whole number from 1 to 1024"


def phase(value: Any) -> str:
    return "" if value in ("judged", "learnt", "finished") else "judged, learnt or finished"


def _named(value: Any) -> bool:
    """Whether a value can be a problem's id: text, or a whole number, as in some users' tasks."""
    return isinstance(value, str) or not whole(value)


def row(value: Any) -> str:
    good = (
        isinstance(value, list)
        and len(value) == 4
        and _named(value[0])
        and not whole(value[1])
        and isinstance(value[2], str)
    )
    return "" if good and (value[3] is None or not number(value[3])) else "[problem, sample, metric, value]"


WORDS: dict[Any, str] = {str: "text", dict: "an object", bool: "true or false", list: "a list"}
REPORT = {"name": str, "rows": [row], "info": {"asked?": count}}
PROBLEM = {
    "id": (whole, str),
    "prompt": (str, [{"role": str, "content": str}]),
    "answer": lambda value: "",
    "meta": dict,
}
NOTES = {"system?": each(str), "seats?": each(number), "pool?": [{**PROBLEM, "rate": (None, number)}]}
STATE = {
    "events": count,
    "weights": count,
    "trial": (None, count),
    "round?": count,
    "phase?": phase,
    "versions?": each(each(count)),
    "notes?": NOTES,
    "trial_notes?": NOTES,
    "reports?": each(REPORT),
    "cost?": each(each(number)),
    "refusals?": count,
    "stopped?": str,
    "spent?": number,
    "dearest?": number,
    "seconds?": number,
    "start?": each(str),
    "events_sha256?": str,
    "method?": dict,
}
EXTRA = {"cost?": each(each(number)), "notes?": NOTES, "event?": dict}  # beside a round's trees
API = {
    "url": str,
    "concurrency": positive,
    "timeout": number,
    "retries": count,
    "wait": number,
    "tokens": count,
    "dollars": number,
    "cache": (None, str),
    "price": [number],
}
RUN = {
    "method": dict,
    "task": dict,
    "seed": whole,
    "rounds": count,
    "patience": positive,
    "retain": count,
    "threads?": (None, threads),
    "files?": each(str),
    "model": {
        "name": str,
        "dtype": str,
        "device": str,
        "lora": count,
        "lora_targets?": [str],
        "template_args?": dict,
        "api?": {f"{key}?": shape for key, shape in API.items()},
    },
    "budget?": (None, str),
    "digests?": each(str),
}


def flaw(value: Any, shape: Any, at: str = "") -> str:
    """What is wrong with a value that should have a shape, in words; "" if nothing is."""
    if isinstance(shape, tuple):
        found = [flaw(value, one, at) for one in shape]
        return "" if "" in found else found[-1]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return _wrong(at, "a list", value)
        return next(
            (words for i, item in enumerate(value) if (words := flaw(item, shape[0], f"{at}.{i}"))), ""
        )
    if isinstance(shape, (dict, each)):
        if not isinstance(value, dict):
            return _wrong(at, "an object", value)
        if isinstance(shape, each):
            return next(
                (words for key, item in value.items() if (words := flaw(item, shape.shape, f"{at}.{key}"))),
                "",
            )
        for key, inner in shape.items():
            name = key.removesuffix("?")
            if name not in value and name == key:
                return f'"{f"{at}.{name}".lstrip(".")}" is missing'
            if name in value and (words := flaw(value[name], inner, f"{at}.{name}")):
                return words
        return ""
    if shape is None or isinstance(shape, type):
        return (
            ""
            if value is None is shape or (shape is not None and isinstance(value, shape))
            else _wrong(at, WORDS.get(shape, "null"), value)
        )
    wanted = shape(value)
    return _wrong(at, wanted, value) if wanted else ""


def _wrong(at: str, wanted: str, value: Any) -> str:
    """What a value should be and what it is, in a few words, because the value may be anything."""
    kinds = (
        (bool, "true or false"),
        (str, "text"),
        (dict, "an object"),
        (list, "a list"),
        (type(None), "null"),
    )
    kind = next((words for of, words in kinds if isinstance(value, of)), None)
    if kind is None:
        kind = (
            f"{value!r:.40}"
            if not isinstance(value, int) or abs(value) < 10**30
            else "a number of many digits"
        )
    return f'"{at.lstrip(".")}" should be {wanted} and is {kind}'


def checked(config: Mapping[str, Any], where: Any, shape: Any = None) -> None:
    """SurpassError unless run.json holds all that a run needs to go on."""
    words = flaw(config, shape or RUN)
    unknown = sorted(set(config.get("model", {}).get("api", {})) - set(API)) if not words else []
    if unknown:
        words = f'"model.api" holds {unknown[0]}, which is none of {", ".join(API)}'
    if words:
        raise SurpassError(
            f"{where} does not hold what a run needs: {words}. Put back a copy of it, or begin a new run"
        )


# -- events


def events(text: bytes) -> list[dict[str, Any]]:
    """The events in JSON lines, without other lines, and without fields foreign to such an event."""
    return [found for value in json_lines(text) if (found := event(value)) is not None]


def event(value: Any) -> dict[str, Any] | None:
    """The fields of an event that its readers use; None for what is no event. An event has a kind and a
    round, an exam a split, and a gate's decision says whether it kept the weights.
    """
    if not isinstance(value, dict) or not isinstance(value.get("event"), str) or count(value.get("round")):
        return None
    kind, found = value["event"], {str(key): item for key, item in value.items() if _simple(item)}
    needed: dict[str, Callable[[Any], bool]] = {
        "exam": lambda v: isinstance(v.get("split"), str),
        "gate": lambda v: isinstance(v.get("keep"), bool),
        "end": lambda v: not count(v.get("kept")),
    }
    if not needed.get(kind, lambda v: True)(value):
        return None
    for name in ("why", "role", "split"):
        if name in found and not isinstance(found[name], str):
            del found[name]
    if kind == "exam":
        metrics, rows = value.get("metrics"), value.get("rows")
        found["metrics"] = {str(k): m for k, some in _items(metrics) if (m := _metric(some)) is not None}
        found["rows"] = {
            str(k): some for k, some in _items(rows) if isinstance(some, list) and all(map(_pair, some))
        }
    elif kind == "gate" and "spent" in value:
        found["spent"] = {str(k): n for k, n in _items(value["spent"]) if not number(n)}
    elif kind not in ("end", "gate"):
        found = {
            key: item
            for key, item in found.items()
            if key in ("event", "role", "split", "why") or not isinstance(item, str)
        }
    if kind == "end":
        found.setdefault("why", "")
    return found


def _simple(item: Any) -> bool:
    return item is None or isinstance(item, (str, bool)) or not number(item)


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    return value.items() if isinstance(value, dict) else ()


def _metric(m: Any) -> dict[str, Any] | None:
    """{"mean", "stderr", "n", "missing"}; None for what is no metric."""
    if not isinstance(m, dict) or count(m.get("n", 0)) or count(m.get("missing") or 0):
        return None
    known = {key: m.get(key) if not number(m.get(key)) else None for key in ("mean", "stderr")}
    if m.get("n") and known["mean"] is None:  # it was infinite, and JSON has null for that
        known["mean"] = math.nan
    return {**known, "n": m.get("n", 0), "missing": m.get("missing") or 0}


def _pair(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and _named(value[0])
        and (value[1] is None or not number(value[1]))
    )
