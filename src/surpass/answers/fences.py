"""What stands in code fences."""

from __future__ import annotations

import re
import textwrap

from surpass.answers.texts import MOST, said, unix

_OPENING = re.compile(r"([^`~]*)(`{3,}|~{3,})([^`]*)")
_ONE_LINE = re.compile(r"[^`~]*(`{3,})(\w*)[ \t]+([^`]+)\1`*[ \t]*")


def blocks(text: str) -> list[tuple[str, str]]:
    """(language, content) of every fenced block outside a text's thoughts, in order. Lines end with "\\n",
    without the indentation that a block's lines share. A fence is ``` or ~~~, and may stay unclosed.
    """
    found: list[tuple[str, list[str]]] = []
    fence, quoted = "", False
    for line in unix(said(text)[-MOST:]).split("\n"):
        if fence:
            line = re.sub(r"^[ \t]*> ?", "", line) if quoted else line
            bare = line.rstrip()
            if not bare.endswith(fence):
                found[-1][1].append(line + "\n")
                continue
            if rest := bare.rstrip("`~"):
                found[-1][1].append(rest + "\n")
            fence = ""
        elif alone := _ONE_LINE.fullmatch(line):
            found.append((alone[2], [alone[3]]))
        elif opening := _OPENING.fullmatch(line):
            fence, quoted = opening[2], ">" in opening[1]
            found.append((opening[3].strip().partition(" ")[0], []))
    return [(language.lower(), textwrap.dedent("".join(lines))) for language, lines in found]
