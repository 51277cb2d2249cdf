"""Hides an API key in text, also where a server repeats it in another form, so none is shown or kept."""

from __future__ import annotations

import base64
import functools
import html
import re

# characters of a secret key, at least; "x", "EMPTY" and "none" only fill a field that a server wants
SHORTEST = 8


def hidden(text: str, key: str) -> str:
    """The text with [key] in place of the key: as it is, in another case, in base64 or hexadecimal, or with
    characters escaped as in URLs, JSON or HTML. A key of fewer than SHORTEST characters, or of at most 16
    letters and nothing else, is no secret and may be part of ordinary words; such a key is hidden only after
    "key" or "Bearer".

    >>> hidden("wrong key sk-12345678", "sk-12345678")
    'wrong key [key]'
    """
    return _pattern(key).sub(r"\g<before>[key]", text) if key else text


@functools.lru_cache(maxsize=8)
def _pattern(key: str) -> re.Pattern[str]:
    if len(key) < SHORTEST or (key.isalpha() and len(key) <= 2 * SHORTEST):
        return re.compile(
            rf"(?P<before>\b(?:key|bearer)\b[^\w\n]{{0,3}}(?:[\w ]{{1,12}}: ?)?){re.escape(key)}(?![\w-])",
            re.I,
        )
    written = "".join(_escaped(character) for character in key)
    forms = [written, re.escape(key.encode().hex()), *_base64(key.encode())]
    return re.compile(f"(?P<before>)(?:{'|'.join(forms)})", re.I)


def _escaped(character: str) -> str:
    """A pattern of a character, plain or escaped; percent signs and backslashes may be escaped again."""
    codes = {ord(character), ord(character.swapcase()), ord(character.lower())}
    ways = list(map(re.escape, {character, html.escape(character)}))
    for code in codes:
        ways += [
            rf"%(?:25){{0,4}}{code:02x}",
            rf"\\{{1,4}}(?:u00|u\{{0{{0,6}}|x){code:02x}\}}?",
            rf"&#(?:0{{0,6}}{code}|x0{{0,6}}{code:x});",
        ]
    return f"(?:{'|'.join(ways)})"


def _base64(key: bytes) -> list[str]:
    """Patterns of the key in the base64 of a longer text, at each of three offsets, without the characters
    that also depend on the text around it.
    """
    found = []
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + key).decode().rstrip("=")
        first, over = -(-8 * before // 6), (before + len(key)) % 3
        core = whole[first : len(whole) - (1 if over else 0)]
        found += (
            [re.escape(core).replace(r"\+", "[-+]").replace("/", "[/_]")] if len(core) >= SHORTEST else []
        )
    return found
