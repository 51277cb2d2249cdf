"""Calls of tools in a turn's text, and what the player is told.

A call is `<call>NAME ARGUMENT</call>`. What stands before it in the same turn is thinking; what stands after
it is not read. The closing tag may be missing, because a turn may be cut. What a tool returns is told as
`<result>...</result>`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

OPENS, CLOSES = "<call>", "</call>"
LONGEST = 400
"""How many characters an argument may have by default."""
_CUT = " ..."
_UNSHOWN = re.compile(r"[^\n -~]")


class Call(NamedTuple):
    """One call of a tool: its name, and its argument without surrounding blanks, which is never empty."""

    name: str
    argument: str


def parse(text: str, names: Sequence[str], longest: int = LONGEST) -> Call | str | None:
    """The first call in a turn, or what is wrong with it, as a reason for `refusal`; None where the turn
    holds no call. `names` are the tools that exist. Nothing is raised, whatever the text.

    >>> parse("I look it up. <call>search red fox</call>", ["search"])
    Call(name='search', argument='red fox')
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
    """(`<result>...</result>`, whether it was cut): a tool's result in at most `limit` characters between the
    tags; " ..." marks a cut. What is neither printable ASCII nor a newline becomes "?".

    >>> result("twelve letters", 10)
    ('<result>twelve ...</result>', True)
    """
    cut = len(text) > limit
    shown = text[: max(limit - len(_CUT), 0)] + _CUT[-limit:] * (limit > 0) if cut else text
    return f"<result>{_printable(shown)}</result>", cut


def refusal(reason: str) -> str:
    """What a player is told of a turn that cannot be played: `<result>error: REASON</result>`."""
    return f"<result>error: {reason}</result>"


def _printable(text: str) -> str:
    return _UNSHOWN.sub("?", text)
