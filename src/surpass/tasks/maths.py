"""Whether two written answers are equal (surpass.verifier says what that means), in a process of its own.

A model under training writes 9^{9^{9^9}} sooner or later, and a library of arithmetic then stands in one multiplication that no thread
and no signal handler interrupts. So the kernel ends a worker that used SECONDS of processor time on one question: the answer counts
as not equal. A worker starts at the first question and lives as long as the process.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import re
import signal
import subprocess
import sys
import threading
from decimal import Decimal
from typing import Any

from surpass.errors import SurpassError
from surpass.tasks import answers

SECONDS = 1.0  # of processor time for one question
MEMORY = 4 * 2**30  # bytes of address space of a worker
LONGEST = 1000  # characters of an answer that is read as mathematics; a longer one is compared as text
TAIL = 2000  # characters, from the end, of a text that states no answer
WORKERS = min(8, os.cpu_count() or 1)

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_WRAP = re.compile(r"\\(?:text\w*|mathrm|mathbf|mathit|mbox)\s*\{([^{}]*)\}|\\\(|\\\)|\\\[|\\\]|\$")

_HASHES = re.compile(r"####\s*([^\n#]+)\s*$")
_NUMBER = re.compile(r"(?<![\w.{])-?[$€£]?\d+(?:,\d{3})*(?:\.\d+)?%?(?!\w)|\$[^$]+\$")


# -- what is asked, here


def equal(gold: str, text: str) -> bool:
    """Whether the answer that `text` states (`stated`, else all of it) equals `gold`: an answer, or a whole solution that states one.
    An answer longer than LONGEST is compared as text. Nothing equals a gold answer that holds nothing but marks: "." or "$"."""
    right, given = _gold(gold), stated(text)
    if max(len(right), len(given or "")) > LONGEST:
        return bool(plain(right)) and plain(right) == plain(given or "")
    return bool(_ask("equal", right, text[-TAIL:], "") if given is None else _ask("equal", right, given))


def canonical(text: str) -> str | None:
    r"""One text for the forms that an answer may have: 1,000 and 1000, \frac12 and 0.5. None where `text` states no answer."""
    given = stated(text)
    if given is not None and len(given) > LONGEST:
        return plain(given) or None
    found = _ask("canonical", text[-TAIL:], "") if given is None else _ask("canonical", given)
    return found if found is not None or given is None else plain(given) or None


def stated(text: str) -> str | None:
    r"""The answer that a text states: what follows its last "Answer:" (surpass.tasks.answers), else what its last \boxed{} holds."""
    found = (answers.final_answer(text) or "").strip("*_ ")
    return _boxed(found or text) or found or None


def _boxed(text: str) -> str | None:
    r"""What the last \boxed{...} holds; None without one that is closed."""
    found = list(_BOX.finditer(text))
    if not found:
        return None
    depth = 1
    for i in range(start := found[-1].end(), len(text)):
        depth += (text[i] == "{") - (text[i] == "}")
        if depth == 0:
            return text[start:i].strip() or None
    return None


def _gold(gold: str) -> str:
    """The answer alone: of GSM8K's solutions what follows ####."""
    found = _HASHES.search(gold)
    return found[1].strip() if found else stated(gold) or gold.strip()


def written(answer: Any) -> str:
    """An answer of a data set as text; numbers in full."""
    if isinstance(answer, float):
        return format(Decimal(repr(answer)), "f")
    return answer if isinstance(answer, str) else json.dumps(answer)


def plain(text: str) -> str:
    r"""Text without dollar signs, \text{} around words, a closing full stop, and differences of case and blanks."""
    return " ".join(_WRAP.sub(lambda found: found[1] or "", text).split()).rstrip(".").strip().casefold()


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
                    "a process for comparing answers could not be started; try: python -c 'import surpass.verifier.canonical'"
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
            worker, answer = _Worker(), None  # begun now, so that the next question need not wait for its imports
        _idle.append(worker)
        return answer


@atexit.register
def _end() -> None:
    while _idle:
        _idle.pop().end()


# -- what is answered, there


def serve() -> None:
    """A worker: one line ["equal", gold, answer] or ["canonical", answer] in, one line of JSON out. An empty text at the end of
    the question says that the answer is a whole text that states none."""
    import contextlib
    import logging
    import resource

    from surpass import verifier
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
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # nobody handles its signal, so the kernel ends this process
        try:
            if not texts[-1]:
                answer = _unstated(kind, *texts[:-1])
            else:
                answer = verifier.equal(*texts) if kind == "equal" else canonical(*texts)
        except Exception:  # arithmetic raises whatever it likes on nonsense; so does a lack of memory
            answer = None
        signal.setitimer(signal.ITIMER_PROF, 0)
        out.write(json.dumps(answer).encode() + b"\n")


def _unstated(kind: str, *texts: str) -> Any:
    """The answer about a text that states none: about all of it, or where that is a sentence and not the right words, about the
    only number in it ("that makes 42 in all")."""
    from surpass import verifier
    from surpass.verifier.canonical import canonical

    gold, text = texts[0] if kind == "equal" else "", texts[-1]
    about = (lambda answer: verifier.equal(gold, answer)) if kind == "equal" else canonical
    wordy = len(text) > LONGEST or verifier.read(text).kind == "words"
    if not wordy or (gold and len(text) <= LONGEST and verifier.equal(gold, text)):
        return about(text)
    numbers = set(_NUMBER.findall(text))
    return about(numbers.pop()) if len(numbers) == 1 and not verifier.read(gold).unit.words else None
