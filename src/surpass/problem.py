"""A problem, how an attempt at it can end, and the random keys of all that is made for it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

OPEN, DONE, LENGTH, INVALID, FAILED = range(5)
"""How a node ended: OPEN it may be continued, DONE its author ended the turn, LENGTH cut off, INVALID the
task refused it, FAILED something broke while it was made.
"""
STOPS = ("open", "done", "length", "invalid", "failed")


def fold(key: int, *parts: int | str) -> int:
    """A new random key in [0, 2**63) from a key and what distinguishes this use of it; the same inputs give
    the same key.
    """
    text = "\x1f".join([str(key), *(f"{type(part).__name__}:{part}" for part in parts)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


@dataclass(frozen=True)
class Problem:
    """One thing to solve. `prompt` is what the players may see (text or chat messages), `answer` what only
    the task sees.

    Equal ids mean the same problem in every run.
    """

    id: str
    prompt: str | tuple[Mapping[str, Any], ...]
    answer: Any = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def asks(self) -> str:
        """The prompt as text: itself, or its last user message."""
        if isinstance(self.prompt, str):
            return self.prompt
        said = next(
            (message["content"] for message in reversed(self.prompt) if message["role"] == "user"), ""
        )
        return said if isinstance(said, str) else "\n".join(part.get("text", "") for part in said).strip()
