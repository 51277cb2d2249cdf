"""Finds the parameter that a server's refusal is about, in whatever words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

# never left out, because without them it would be another request
KEPT = ("model", "messages", "stream", "max_tokens", "max_completion_tokens")
_NEUTRAL = {"temperature": 1, "top_p": 1}  # values that change nothing
# of several that are named, the first of these is left out: draws lose the least without it
_ORDER = ("seed", "top_p", "temperature")
_NO = re.compile(
    r"not support|unsupported|unexpected|unknown|unrecognized|extra|not permitted|not allowed|instead", re.I
)
_SIZE = re.compile(
    r"too (large|long|high|big|small|many)|exceed|at (most|least)|(less|greater) "
    r"than|maximum|range|between|[<>]=",
    re.I,
)
_OR_NONE = re.compile(
    r"unset|omit|remove|default|left out|not be (set|given|specified|provided|used)|only one|both", re.I
)
_STREAM = re.compile(r"only|must|enable|require|not support|unsupported|true", re.I)


def refused(error: Any, words: str, body: Mapping[str, Any]) -> str | None:
    """The parameter of `body` that a refusal names, which is then renamed ("max_tokens"), added ("stream") or
    left out; None where the refusal is about something else, such as a number out of range. `error` is the
    JSON that the server sent, and `words` its message.

    >>> words = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    >>> refused({}, words, {"max_tokens": 64, "temperature": 1.0})
    'max_tokens'
    """
    fields = _fields(error)
    found = [name for name in body if name not in KEPT and (name in fields or _says(words, name))]
    if found and (not _SIZE.search(words) or _OR_NONE.search(words)):
        rank = {name: i for i, name in enumerate(_ORDER)}
        return min(found, key=lambda name: (body[name] != _NEUTRAL.get(name, body), rank.get(name, -1)))
    if "max_tokens" in body and _says(words, "max_tokens") and _NO.search(words) and not _SIZE.search(words):
        return "max_tokens"
    if not found and "stream" not in body and re.search(r"\bstream", words, re.I) and _STREAM.search(words):
        return "stream"
    return None


def _says(words: str, name: str) -> bool:
    """Whether a message contains a parameter's name, as top_p, `top_p`, topP or "top-p"."""
    return bool(re.search(rf"(?<![\w-]){name.replace('_', '[_ -]?')}(?![\w-])", words, re.I))


def _fields(error: Any) -> set[str]:
    """The parameters in an error's own fields: OpenAI's "param", and the last step of FastAPI's "loc"."""
    if isinstance(error, Mapping):
        found = {error["param"]} if isinstance(error.get("param"), str) else set()
        loc = error.get("loc")
        found |= {str(loc[-1])} if isinstance(loc, Sequence) and loc and not isinstance(loc, str) else set()
        return found.union(*(_fields(error[key]) for key in ("error", "detail", "errors") if key in error))
    return set().union(*map(_fields, error)) if isinstance(error, list) else set()
