"""How a written solution states its final answer."""

from __future__ import annotations

import re

_LAST = re.compile(r"answer\s*(?:is\s*)?[:=]\s*([^\n]*)", re.IGNORECASE)


def final_answer(text: str) -> str | None:
    """What follows the last "Answer:" on its line, without surrounding blanks and a closing full stop; None if there is none."""
    found = _LAST.findall(text)
    return found[-1].strip().rstrip(".").strip() if found else None
