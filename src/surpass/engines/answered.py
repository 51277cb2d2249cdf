"""Whether an engine's reply answers the request; a user's own engine may reply anything."""

from __future__ import annotations

from typing import Any

import numpy as np

from surpass.engines.requests import Drawn, Generate, Score
from surpass.errors import EngineError, SurpassError
from surpass.types import FAILED, OPEN


def answered(engine: Any, request: Any, reply: Any) -> Any:
    """The reply, or an EngineError that tells what is wrong with it. Any exception that is no SurpassError
    becomes an EngineError, so that a search meets none that would end the process.
    """
    name = getattr(engine, "name", type(engine).__name__)
    if isinstance(reply, SurpassError):
        return reply
    if isinstance(reply, BaseException):
        return EngineError(f"the engine {name} raised {type(reply).__name__}: {reply}")
    try:
        why = _draws(engine, request, reply) if isinstance(request, Generate) else _numbers(request, reply)
    except Exception as error:  # numpy has many words for what it cannot read
        why = f"{type(error).__name__}: {error}"
    return (
        EngineError(f"the engine {name} gave no answer to {type(request).__name__}: {why}") if why else reply
    )


def _draws(engine: Any, request: Generate, reply: Any) -> str:
    """What is wrong with an answer to Generate; "" if nothing is."""
    wanted = f"a list of {len(request.keys)} Drawn, one a key"
    if not isinstance(reply, (list, tuple)) or not all(isinstance(drawn, Drawn) for drawn in reply):
        return f"wanted {wanted}; found {_shown(reply)}"
    if len(reply) != len(request.keys):
        return f"wanted {wanted}; found {len(reply)}"
    rows, knows = getattr(engine.text, "rows", 0), "logprobs" in engine.can
    for drawn in reply:
        tokens, logp, logq = (np.asarray(values) for values in (drawn.tokens, drawn.logp, drawn.logq))
        if tokens.ndim != 1 or not tokens.shape == logp.shape == logq.shape:
            return (
                f"tokens, logp and logq are one number a token; found shapes {tokens.shape}, {logp.shape} "
                f"and {logq.shape}"
            )
        if not (isinstance(drawn.stop, (int, np.integer)) and OPEN <= drawn.stop <= FAILED):
            return f"stop is one of surpass.types.OPEN to FAILED; found {_shown(drawn.stop)}"
        if not (drawn.text is None or isinstance(drawn.text, str)):
            return f"text is a str or None; found {_shown(drawn.text)}"
        if not len(tokens):
            continue
        if tokens.dtype.kind not in "iu" or tokens.min() < 0 or tokens.max() >= (rows or 2**31):
            return f"tokens are whole numbers from 0 to {(rows or 2**31) - 1}; found {_shown(tokens)}"
        if knows and not (np.isfinite(logp).all() and np.isfinite(logq).all()):
            return (
                f"the log-probabilities of what it drew are no numbers ({_odd(logp, logq)}): its weights or "
                "logits are nan or too large"
            )
    return ""


def _numbers(request: Any, reply: Any) -> str:
    """What is wrong with an answer to Score or Next; "" if nothing is."""
    if not isinstance(reply, np.ndarray):
        return f"wanted an array; found {_shown(reply)}"
    if isinstance(request, Score):
        n = len(request.context)
        known = reply[0 if request.what == "value" else 1 :]
    else:
        n, known = len(request.candidates), reply
    if (
        known.dtype.kind not in "fiu"
        or reply.shape[:1] != (n,)
        or reply.ndim != 1 + (isinstance(request, Score) and request.what == "value")
    ):
        return f"wanted {n} numbers; found {_shown(reply)}"
    if np.isnan(known).any() or np.isposinf(known).any():
        return f"its numbers are none ({_odd(known)}): its weights or logits are nan or too large"
    return ""


def _odd(*arrays: np.ndarray) -> str:
    """The first value that is no finite number."""
    values = np.concatenate([np.asarray(some, float).ravel() for some in arrays])
    return str(values[~np.isfinite(values)][0])


def _shown(value: Any) -> str:
    kind = type(value).__name__
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}{list(value.shape)}"
    return kind if value is None else f"{kind}: {' '.join(repr(value).split()):.80}"
