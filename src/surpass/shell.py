"""How the command line prints: streams of any encoding, pipes that may be closed, answers to questions."""

from __future__ import annotations

import contextlib
import functools
import os
import select
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from surpass.shown import Terminal, showing, shown

if TYPE_CHECKING:
    from surpass.solution import Solution


def ending(main: Callable[..., int]) -> Callable[..., int]:
    """`main` with safe streams: "?" stands for what they cannot encode, and control characters are shown, not
    obeyed. A pipe that its reader closes ends the command without an error.
    """

    @functools.wraps(main)
    @showing()
    def whole(*arguments: Any) -> int:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")
        try:
            code = main(*arguments)
            _flush()
            return code
        except SystemExit as stop:
            with contextlib.suppress(OSError):
                _flush()
            if not isinstance(stop.__context__, BrokenPipeError) and not _closed(sys.stdout):  # rich ends so
                if not stop.code:  # --help
                    return 0
                raise
        except OSError as error:
            if not hung_up(error):
                print(f"surpass: {error.strerror or error}", file=sys.stderr)
                return 2
        for stream in (sys.stdout, sys.stderr):
            if _closed(stream):
                # what is flushed at the end goes nowhere
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return 0

    return whole


def hush() -> None:
    """Keep transformers from telling how it loads a model."""
    with contextlib.suppress(ImportError):
        from transformers.utils import logging

        logging.disable_progress_bar()
        logging.set_verbosity_error()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def hung_up(error: BaseException | None) -> bool:
    """Whether an error says that nobody reads what is printed any more."""
    return isinstance(error, BrokenPipeError) and (_closed(sys.stdout) or _closed(sys.stderr))


def _closed(stream: Any) -> bool:
    """Whether a stream is a pipe whose other end was closed."""
    try:
        poll = select.poll()
        poll.register(stream.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError, AttributeError):
        return False


def show(found: Solution) -> None:
    """Print a question's attempts with their scores, the chosen one marked, and what they cost."""
    console = Terminal()
    for i, (text, answer, scores, chosen) in enumerate(found.attempts, 1):
        known = ", ".join(
            f"{key} {value:.3f}" if value == value else f"{key} not known" for key, value in scores.items()
        )
        console.print(
            f"{'*' if chosen else ' '} attempt {i}{f'  ({known})' if known else ''}  answer: {answer}",
            style="bold" if chosen else None,
        )
        console.print("\n".join(f"    {line}" for line in shown(text.strip()).split("\n")), soft_wrap=True)
    for note in found.notes():
        console.print(note)
    tell_failed(found.cost)
    console.print("cost  " + ", ".join(f"{n:,} {what}" for what, n in sorted(found.cost.items())))


def tell_failed(cost: Mapping[str, Any]) -> None:
    """Print how many draws failed, if any did."""
    if n := cost.get("failed"):
        print(
            f"{n:,} of {cost.get('calls', 0):,} draws failed: those attempts count neither as right nor "
            "as wrong"
        )
