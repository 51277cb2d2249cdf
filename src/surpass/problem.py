"""Problems, the ways a node can end, and random keys."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

OPEN, DONE, LENGTH, INVALID, FAILED = range(5)
"""How a node ended: OPEN can be continued; DONE its author ended the turn; LENGTH was cut off; INVALID the
task refused it; FAILED an error broke it off.
"""
STOPS = ("open", "done", "length", "invalid", "failed")


def fold(key: int, *parts: int | str) -> int:
    """A random key in [0, 2**63) made from a key and what tells this use apart. Equal inputs give equal keys.

    >>> fold(0, "round", 1) == fold(0, "round", 1), fold(0, "round", 1) == fold(0, "round", 2)
    (True, False)
    """
    text = "\x1f".join([str(key), *(f"{type(part).__name__}:{part}" for part in parts)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


@dataclass(frozen=True)
class Problem:
    """One thing to solve. The players see `prompt` (text or chat messages); only the task sees `answer`.

    Equal ids mean the same problem in every run.
    """

    id: str
    prompt: str | tuple[Mapping[str, Any], ...]
    answer: Any = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def asks(self) -> str:
        """The prompt as text: the prompt itself, or its last user message."""
        if isinstance(self.prompt, str):
            return self.prompt
        said = next(
            (message["content"] for message in reversed(self.prompt) if message["role"] == "user"), ""
        )
        return said if isinstance(said, str) else "\n".join(part.get("text", "") for part in said).strip()
