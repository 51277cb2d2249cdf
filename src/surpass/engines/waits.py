"""Reads how long a busy server asks to wait, in the ways that servers say it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_UNIT = r"(ms|milliseconds?|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d)(?![a-z])"
_PART = re.compile(rf"(\d+(?:\.\d+)?)\s*{_UNIT}", re.I)
_ASKED = re.compile(
    rf"\b(?:again|retry|wait|resets?|available)\b[^.!?\d]{{0,40}}((?:\d+(?:\.\d+)?\s*{_UNIT}(?:,|\s|and)*)+)",
    re.I,
)
_FIELD = re.compile(
    r'retry[_-]?(?:after|delay)(?:_?(ms|millis\w*|s\w*))?"?\s*[:=]\s*"?(\d+(?:\.\d+)?)\s*(ms)?', re.I
)
_NUMBER = re.compile(r"\d{1,15}(\.\d*)?")
_RESET = re.compile(r"(?:x-|anthropic-)?ratelimit-(?:(.*)-)?reset(?:-(.*))?")


def asked_to_wait(headers: Mapping[str, str], words: str) -> float | None:
    """The seconds to wait, by the first of these that the server sends; None if it sends none.

    `retry-after-ms`; `Retry-After`, in seconds or as a date in any of HTTP's three forms (by the server's own
    clock where it tells the time); the message ("try again in 1m30.5s", "retryDelay": "34s"); the latest
    reset of its rate limits (x-ratelimit-reset-*), of those that are used up, else of all.

    >>> asked_to_wait({"Retry-After": "20"}, ""), asked_to_wait({}, "Please try again in 1m30s.")
    (20.0, 90.0)
    """
    headers = {name.lower(): value.strip() for name, value in headers.items()}
    if _NUMBER.fullmatch(headers.get("retry-after-ms", "")):
        return float(headers["retry-after-ms"]) / 1000
    if headers.get("retry-after"):
        found = _seconds(headers["retry-after"], headers.get("date", ""))
        if found is not None:
            return found
    if (found := _said(words)) is not None:
        return found
    resets: dict[bool, list[float]] = {True: [], False: []}
    for name, value in headers.items():
        if (of := _RESET.fullmatch(name)) and (
            seconds := _seconds(value, headers.get("date", ""))
        ) is not None:
            limit = of[1] or of[2]
            left = headers.get(name.replace("reset", "remaining"), "")
            resets[bool(limit is None or left in ("0", "0.0"))].append(seconds)
    return max(resets[True] or resets[False], default=None)


def _said(words: str) -> float | None:
    """The wait that a message names."""
    if asked := _ASKED.search(words):
        return duration(asked[1])
    if field := _FIELD.search(words):
        milli = (field[1] or "").lower().startswith("m") or bool(field[3])
        return float(field[2]) * (1e-3 if milli else 1.0)
    return None


def duration(words: str) -> float | None:
    """The seconds of "90s", "1m30.5s", "2 minutes and 3 seconds"; None where there is no length of time.

    >>> duration("1m30.5s"), duration("2 minutes and 3 seconds"), duration("soon")
    (90.5, 123.0, None)
    """
    parts = _PART.findall(words)
    lengths = [
        float(n) * (1e-3 if unit.lower().startswith(("ms", "milli")) else _UNITS[unit[0].lower()])
        for n, unit in parts
    ]
    return sum(lengths) if lengths else None


def _seconds(value: str, clock: str) -> float | None:
    """Seconds until a time that is given as seconds, as a length of time, as Unix time in seconds or
    milliseconds, or as a date; a date has whole seconds, so one is added. `clock`: the server's Date header.
    """
    now = _date(clock) or time.time()
    if _NUMBER.fullmatch(value):
        number = float(value)
        if number > 1e11:
            number /= 1000
        return number if number < 1e8 else max(0.0, number - now + 1)
    if (found := duration(value)) is not None and not re.search(r"\d:\d", value):
        return found
    when = _date(value)
    return None if when is None else max(0.0, when - now + 1)


def _date(value: str) -> float | None:
    """Unix time of an HTTP date (RFC 9110, 5.6.7) or of one after ISO 8601; None for what is neither."""
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            when = read(value)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    return None
