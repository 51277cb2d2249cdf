"""Whether a model's tokenizer may be used in this process, or only in one of its own, or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from typing import Any

from surpass.engines.guarded import PARTS, regexes, unfit
from surpass.errors import SurpassError

_TAIL = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_CLITICS = r"'s|'t|'re|'ve|'m|'ll|'d"
_WORDS = rf"(?i:{_CLITICS})|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}%s| ?[^\s\p{{L}}\p{{N}}]+[\r\n%s]*|{_TAIL}"
_CASED = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]%s[\p{Ll}\p{Lm}\p{Lo}\p{M}]%s"
    rf"(?i:{_CLITICS})?"
)
_MARKED = r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
KNOWN = frozenset(
    {
        _WORDS % ("", ""),
        _WORDS % ("{1,3}", ""),
        _WORDS % ("{1,3}", "/"),
        _WORDS % ("{1,2}", ""),
        r"\p{N}{1,3}",
        r"\p{N}",
        r"\d",
        r"\d{1,3}",
        r"[0-9]",
        r"[0-9][0-9][0-9]",
        rf"(?i:{_CLITICS})|{_MARKED}|{_TAIL}",
        rf"{_CLITICS}| ?\p{{L}}+| ?\p{{N}}+| ?[^\s\p{{L}}\p{{N}}]+|\s+(?!\S)|\s+",
        rf"{_CASED % ('*', '+')}|{_CASED % ('+', '*')}|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_TAIL}",
        r"[一-龥぀-ゟ゠-ヿ]+",
        r"[\s\S]",
        r"\s+",
        r" {2,}",
        r"\n",
        r"[\r\n]",
        r"[\n\r\t]",
        r"\s{2,}|[\n\r\t]",
        r" ?[^(\s|[.,!?…。，、।۔،])]+",
    }
)
"""Regular expressions of tokenizers in common use; each needs only a few steps a character."""


@contextlib.contextmanager
def telling(what: str) -> Iterator[None]:
    """Turns a panic of the tokenizer's native code, which is no Exception, into a SurpassError."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise SurpassError(
            f"the model's tokenizer {what}: its code panics: {' '.join(str(error).split())[:200]}"
        ) from error


def trusted(tokenizer: Any) -> tuple[Any, str]:
    """(the native tokenizer or None, a key if another process has to run it, else ""). SurpassError where it
    could make texts far longer. BPE dropout is turned off: with it one text would be read in many ways.
    """
    core = getattr(tokenizer, "backend_tokenizer", None)
    if core is None or not hasattr(core, "to_str"):
        return None, ""
    if getattr(core.model, "dropout", None):
        core.model.dropout = None
    parts = {
        name: json.loads(part.__getstate__())
        for name in PARTS
        if (part := getattr(core, name, None)) is not None
    }
    if why := unfit(parts):
        raise SurpassError(f"the model's tokenizer cannot be used: {why}")
    strange = regexes(list(parts.values())) - KNOWN
    return core, hashlib.blake2b(core.to_str().encode(), digest_size=16).hexdigest() if strange else ""
