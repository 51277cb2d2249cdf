"""Whether two written answers are equal (in the sense of surpass.verifier), decided in a process of its own.

A model under training writes 9^{9^{9^9}} sooner or later. A library of arithmetic then hangs in one
multiplication, which no thread and no signal handler can interrupt. So the kernel ends a worker that has used
SECONDS of processor time on one question, and the answers count as not equal. Workers start at the first
question and live as long as the process.
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
LONGEST = 1000  # characters of an answer that is read as mathematics; longer ones are compared as text
WORKERS = min(8, os.cpu_count() or 1)


# -- questions, asked in this process


def equal(gold: str, text: str) -> bool:
    """Whether the answer that `text` states (surpass.answers) equals that of `gold`, an answer or a whole
    solution that states one.

    A text without a mark is itself the answer, or else the only value that it names. The latter counts only
    where the gold answer has no unit, because the words beside a number in a sentence are not read. Answers
    longer than LONGEST are compared as text. Nothing equals a gold answer of nothing but marks, "." or "$".
    """
    right, given = of_gold(gold), final_answer(text)
    answers = (given,) if given is not None else (folded(said(text)).strip(), candidate(text) or "")
    if max(len(right), len(answers[0])) > LONGEST:
        return says(gold) and plain(right) == plain(answers[0])
    return any(answers) and says(gold) and bool(_ask("equal", right, *answers))


def canonical(text: str) -> str | None:
    r"""One text for all forms of an answer, as 1,000 and 1000, or \frac12 and 0.5; None if none is stated."""
    given = stated(text)
    if given is None:
        return None
    return (None if len(given) > LONGEST else _ask("canonical", given)) or plain(given) or None


def written(answer: Any) -> str:
    """An answer of a data set as text, with numbers in full.

    >>> written(1e-07), written("42"), written([1, 2])
    ('0.0000001', '42', '[1, 2]')
    """
    if isinstance(answer, float):
        return format(Decimal(repr(answer)), "f")
    return answer if isinstance(answer, str) else json.dumps(answer)


# -- workers


class _Ended(Exception):
    """A worker ended before it answered."""


class _Worker:
    """One process that answers one question at a time."""

    def __init__(self) -> None:
        self.process: Any = subprocess.Popen(
            [sys.executable, "-c", "from surpass.tasks.maths import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            process_group=0,  # Ctrl-C reaches the run alone; a worker ends when its pipe closes
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
    """surpass.tasks.reasoning_gym.scored in a worker; 0 where it ran out of time or raised."""
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
            # started now, so that the next question does not wait for its imports
            worker, answer = _Worker(), None
        _idle.append(worker)
        return answer


@atexit.register
def _end() -> None:
    while _idle:
        _idle.pop().end()


# -- answers, given in a worker


def serve() -> None:
    """The loop of a worker: one line of JSON out for each line of JSON in. A line is ["equal", gold, answer],
    ["equal", gold, whole text, value in it], ["canonical", answer] or ["gym", *what scored takes].
    """
    import contextlib
    import logging
    import resource

    from surpass.verifier.canonical import canonical  # sympy, before the first question

    logging.disable()
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints is no answer
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    out.write(b"ready\n")
    answer: Any
    for line in sys.stdin.buffer:
        kind, *texts = json.loads(line)
        work: Any = {"equal": _equal, "canonical": canonical}.get(kind)
        if kind == "gym":
            from surpass.tasks.reasoning_gym import scored as work  # before the clock starts, like sympy

        seconds = 3 * SECONDS if kind == "gym" else SECONDS  # sympy simplifies integrals
        # no handler is set for its signal, so the kernel ends this process
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            answer = work(*texts)
        except Exception:  # nonsense makes arithmetic raise anything, and so does a lack of memory
            answer = None
        signal.setitimer(signal.ITIMER_PROF, 0)
        out.write(json.dumps(answer).encode() + b"\n")


def _equal(gold: str, answer: str, value: str = "") -> bool:
    from surpass import verifier

    if answer and verifier.equal(gold, answer):
        return True
    unit = verifier.read(gold).unit
    return bool(value) and not (unit.words or unit.dims) and verifier.equal(gold, value)
