"""An engine that answers with a function, for tests and for watching a search without a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from surpass.engines.bytes import END, ByteText
from surpass.engines.requests import Drawn, Generate
from surpass.errors import EngineError
from surpass.types import DONE, LENGTH, OPEN


class ScriptedEngine:
    """`answer(text, key)` returns the continuation of the whole text so far; key is the draw's random key.

    A continuation is cut after its first stop string and at max_tokens bytes. Its log-probability is 0: the
    script is certain.
    """

    can = frozenset({"text", "tokens"})
    name = "scripted"

    def __init__(self, answer: Callable[[str, int], str]):
        self.answer, self.text = answer, ByteText()
        self.batches: list[int] = []

    def serve(self, requests: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        """(request, reply): list[Drawn] for Generate, an EngineError for anything else."""
        self.batches.append(sum(len(request.keys) for request in requests if isinstance(request, Generate)))
        for request in requests:
            if not isinstance(request, Generate):
                yield (
                    request,
                    EngineError(
                        "a scripted engine draws; it cannot score. Use a local engine for log-probabilities"
                    ),
                )
                continue
            try:
                yield request, [self._draw(request, key) for key in request.keys]
            except Exception as error:
                yield request, EngineError(f"the script raised {type(error).__name__}: {error}")

    def _draw(self, request: Generate, key: int) -> Drawn:
        answer = self.answer(self.text.decode(request.tokens), key)
        cuts = [answer.index(stop) + len(stop) for stop in request.sampling.stop if stop in answer]
        stop = OPEN if cuts else DONE
        tokens = list(answer[: min(cuts)].encode() if cuts else answer.encode())
        if not cuts:
            tokens.append(END)
        if len(tokens) > request.sampling.max_tokens:
            tokens, stop = tokens[: request.sampling.max_tokens], LENGTH
        zeros = np.zeros(len(tokens), np.float32)
        return Drawn(np.array(tokens, np.int32), zeros, zeros, stop)

    def fresh(self) -> None:
        """Does nothing: no cache."""

    def counters(self) -> dict[str, int]:
        """No counts: a script prefills and scores nothing."""
        return {}
