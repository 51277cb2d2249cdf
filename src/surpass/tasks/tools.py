"""Tools in a turn's text: what a player calls and what it is told.

A call is `<call>NAME ARGUMENT</call>`; what stands before it in the same turn is thinking, what stands after
it is not read. A turn may be cut before the closing tag, so that may be missing. What a tool says is
`<result>...</result>`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

OPENS, CLOSES = "<call>", "</call>"
LONGEST = 400
"""How many characters an argument may have where a task says nothing else."""
_CUT = " ..."
_UNSHOWN = re.compile(r"[^\n -~]")


class Call(NamedTuple):
    """One use of a tool: its name, and the argument without surrounding blanks (never empty, at most
    `longest` characters).
    """

    name: str
    argument: str


def parse(text: str, names: Sequence[str], longest: int = LONGEST) -> Call | str | None:
    """The first call in a turn; or what was wrong with it, in a few words for `refusal`; or None if the turn
    holds no call.

    `names` are the tools that there are. Any text may be given; nothing is raised.
    """
    before, tag, after = text.partition(OPENS)
    if not tag:
        return f"a call begins with {OPENS}" if CLOSES in before else None
    words = after.partition(CLOSES)[0].split(None, 1)
    if not words:
        return f"the call is empty, write {OPENS}NAME ARGUMENT{CLOSES}"
    name = words[0]
    if name not in names:
        return f'no tool "{_printable(name[:20])}", there is: {", ".join(names)}'
    argument = words[1].strip() if len(words) > 1 else ""
    if not argument:
        return f"{name} needs an argument"
    if len(argument) > longest:
        return f"the argument is longer than {longest} characters"
    return Call(name, argument)


def result(text: str, limit: int) -> tuple[str, bool]:
    """(`<result>...</result>`, whether it was cut): what a tool says, cut to `limit` characters (tags not
    counted), of which " ..." marks the cut. Whatever is not printable ASCII or a newline becomes "?".
    """
    cut = len(text) > limit
    shown = text[: max(limit - len(_CUT), 0)] + _CUT[-limit:] * (limit > 0) if cut else text
    return f"<result>{_printable(shown)}</result>", cut


def refusal(reason: str) -> str:
    """What a player is told about a turn that could not be played: `<result>error: REASON</result>`."""
    return f"<result>error: {reason}</result>"


def _printable(text: str) -> str:
    return _UNSHOWN.sub("?", text)
