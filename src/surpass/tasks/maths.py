"""Whether two written answers are equal (surpass.verifier says what that means), in a process of its own.

A model under training writes 9^{9^{9^9}} sooner or later, and a library of arithmetic then stands in one
multiplication that no thread and no signal handler interrupts. So the kernel ends a worker that used SECONDS
of processor time on one question: the answer counts as not equal. A worker starts at the first question and
lives as long as the process.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import subprocess
import sys
import threading
from decimal import Decimal
from typing import Any

from surpass.answers import candidate, final_answer, folded, of_gold, plain, said, stated
from surpass.errors import SurpassError
from surpass.tasks.gold import says

SECONDS = 1.0  # of processor time for one question
MEMORY = 4 * 2**30  # bytes of address space of a worker
LONGEST = 1000  # characters of an answer that is read as mathematics; a longer one is compared as text
WORKERS = min(8, os.cpu_count() or 1)


# -- what is asked, here


def equal(gold: str, text: str) -> bool:
    """Whether the answer that `text` states (surpass.answers) equals `gold`: an answer, or a whole solution
    that states one. In a text without a mark that is all of it, or the only value that it names; the latter
    only where the gold answer is of nothing counted or measured, because what stands beside a number in a
    sentence is not read. An answer longer than LONGEST is compared as text. Nothing equals a gold answer that
    holds nothing but marks: "." or "$".
    """
    right, given = of_gold(gold), final_answer(text)
    answers = (given,) if given is not None else (folded(said(text)).strip(), candidate(text) or "")
    if max(len(right), len(answers[0])) > LONGEST:
        return says(gold) and plain(right) == plain(answers[0])
    return any(answers) and says(gold) and bool(_ask("equal", right, *answers))


def canonical(text: str) -> str | None:
    r"""One text for the forms that an answer may have: 1,000 and 1000, \frac12 and 0.5. None where `text`
    states no answer.
    """
    given = stated(text)
    if given is None:
        return None
    return (None if len(given) > LONGEST else _ask("canonical", given)) or plain(given) or None


def written(answer: Any) -> str:
    """An answer of a data set as text; numbers in full."""
    if isinstance(answer, float):
        return format(Decimal(repr(answer)), "f")
    return answer if isinstance(answer, str) else json.dumps(answer)


# -- workers


class _Ended(Exception):
    """A worker ended before it answered."""


class _Worker:
    """One process that answers one question at a time."""

    def __init__(self):
        self.process: Any = subprocess.Popen(
            [sys.executable, "-c", "from surpass.tasks.maths import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            process_group=0,  # Ctrl-C is for the run; a worker ends when its pipe is closed
        )
        self.ready = False

    def ask(self, *question: str) -> Any:
        if not self.ready:
            if not self._line():
                raise SurpassError(
                    "a process for comparing answers could not be started; try: python -c 'import "
                    "surpass.verifier.canonical'"
                )
            self.ready = True
        try:
            self.process.stdin.write(json.dumps(question).encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise _Ended from error
        line = self._line()
        if not line.endswith(b"\n"):
            raise _Ended
        return json.loads(line)

    def _line(self) -> bytes:
        return self.process.stdout.readline()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


_idle: list[_Worker] = []
_places = threading.BoundedSemaphore(WORKERS)


def scored(*question: str) -> float:
    """What surpass.tasks.reasoning_gym.scored gives, got in a worker; 0 where it ran out of time or
    raised.
    """
    return float(_ask("gym", *question) or 0.0)


@functools.lru_cache(maxsize=10_000)
def _ask(*question: str) -> Any:
    """A worker's answer, remembered; None where it ran out of time. At most WORKERS work at once."""
    with _places:
        try:
            worker = _idle.pop()
        except IndexError:
            worker = _Worker()
        try:
            answer = worker.ask(*question)
        except _Ended:
            worker.end()
            # begun now, so that the next question need not wait for its imports
            worker, answer = _Worker(), None
        _idle.append(worker)
        return answer


@atexit.register
def _end() -> None:
    while _idle:
        _idle.pop().end()


# -- what is answered, there


def serve() -> None:
    """A worker: one line ["equal", gold, answer], ["equal", gold, whole text, value in it], ["canonical",
    answer] or ["gym", what reasoning_gym.scored takes] in, one line of JSON out.
    """
    import contextlib
    import logging
    import resource

    from surpass.verifier.canonical import canonical  # sympy, before the first question

    logging.disable()
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a library prints is no answer
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    out.write(b"ready\n")
    answer: Any
    for line in sys.stdin.buffer:
        kind, *texts = json.loads(line)
        work: Any = {"equal": _equal, "canonical": canonical}.get(kind)
        if kind == "gym":
            from surpass.tasks.reasoning_gym import scored as work  # before the clock starts, as sympy

        seconds = 3 * SECONDS if kind == "gym" else SECONDS  # sympy simplifies integrals
        # nobody handles its signal, so the kernel ends this process
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            answer = work(*texts)
        except Exception:  # arithmetic raises whatever it likes on nonsense; so does a lack of memory
            answer = None
        signal.setitimer(signal.ITIMER_PROF, 0)
        out.write(json.dumps(answer).encode() + b"\n")


def _equal(gold: str, answer: str, value: str = "") -> bool:
    from surpass import verifier

    if answer and verifier.equal(gold, answer):
        return True
    unit = verifier.read(gold).unit
    return bool(value) and not (unit.words or unit.dims) and verifier.equal(gold, value)
