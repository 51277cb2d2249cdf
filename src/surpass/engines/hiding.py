"""An API key is shown and kept nowhere, also where a server says it back in another form."""

from __future__ import annotations

import base64
import functools
import html
import re

# characters of a key that is a secret; "x", "EMPTY" and "none" only fill a field that a server wants
SHORTEST = 8


def hidden(text: str, key: str) -> str:
    """The text with [key] in place of the key: as it is, in other cases, in base64 and hexadecimal, and with
    any of its characters escaped as URLs, JSON or HTML do. A key of fewer than SHORTEST characters, or of up
    to 16 letters alone, is as good as public and may be part of ordinary words: there only `key: EMPTY` and
    `Bearer EMPTY` are hidden.

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
    """A pattern of a character, as it is or escaped; a percent sign may itself be escaped, and backslashes
    doubled.
    """
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
    """Patterns of what the key is in base64, wherever in a longer text it stands; the characters that its
    neighbours share are left out.
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
