"""Whether two written answers are equal: math-verify's verify(parse(gold), parse(answer)), in a process of its own.

A model under training writes 9^{9^{9^9}} sooner or later, and sympy then stands in one multiplication that no thread and no signal
handler interrupts; math-verify's own time-outs are signals, which work in the main thread only. So they are switched off
(parsing_timeout=None, timeout_seconds=None), and the kernel ends a worker that used SECONDS of processor time on one
question: the answer counts as not equal. A worker starts at the first question and lives as long as the process.
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import threading
from decimal import Decimal
from typing import Any

from surpass.answers import normal, number, of_gold, stated
from surpass.errors import SurpassError

SECONDS = 1.0  # of processor time for one question
MEMORY = 4 * 2**30  # bytes of address space of a worker
LONGEST = 1000  # characters of an answer that is read as mathematics; a longer one is compared as text
WORKERS = min(8, os.cpu_count() or 1)

_NUMBER = re.compile(r"[-+$€£]*(\d{1,3}(,\d{3})+|\d+)?(\.\d+)?\s*%?")
_MATHS = re.compile(r"\$[^$]+\$|\\\(|\\\[|\\boxed")
_KNOWN = {*"and sin cos tan cot sec csc sinh cosh tanh arcsin arccos arctan log exp sqrt inf infinity det max min gcd lcm mod".split(),
          *"abs theta alpha beta or pi ln".split()}  # fmt: skip
_SIGNS = str.maketrans({"−": "-", "–": "-", "×": r"\times ", "·": r"\cdot ", "÷": "/", "π": r"\pi ", "∞": r"\infty ",
                        "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "√": r"\sqrt "})  # fmt: skip


# -- what is asked, here


def equal(gold: str, text: str) -> bool:
    """Whether the answer that `text` states (surpass.answers.stated) equals `gold`: an answer, or a whole solution that states one. What
    math-verify cannot read (a word), or is longer than LONGEST, is compared by its form (surpass.answers.normal)."""
    right, given = of_gold(gold), stated(text)
    if normal(right) == normal(text if given is None else given):
        return True
    if given is None or len(right) > LONGEST or len(given) > LONGEST:
        return False
    return bool(_ask("equal", right, given))


def canonical(text: str) -> str | None:
    r"""One text for the forms that an answer may have: 1,000 and 1000, \frac12 and 0.5. None where `text` states no answer. Where
    math-verify is not installed, what is no number has its form by surpass.answers.normal alone."""
    given = stated(text)
    if given is None:
        return None
    known = number(given) is not None or len(given) > LONGEST or importlib.util.find_spec("math_verify") is None
    return (None if known else _ask("canonical", given)) or normal(given)


def written(answer: Any) -> str:
    """An answer of a data set as text; small numbers in full, since 1e-07 would be read as 1."""
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
                raise SurpassError("a process for math-verify could not be started; try: python -c 'import math_verify'")
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
    """A worker: one line ["equal", gold, answer] or ["canonical", answer] in, one line of JSON out."""
    import contextlib
    import logging
    import resource

    import math_verify  # noqa: F401 - the slow import, before the first question

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
            answer = _equal(*texts) if kind == "equal" else _canonical(*texts)
        except Exception:  # sympy raises whatever it likes on nonsense; so does a lack of memory
            answer = None
        signal.setitimer(signal.ITIMER_PROF, 0)
        out.write(json.dumps(answer).encode() + b"\n")


def _equal(gold: str, text: str) -> bool:
    from math_verify import verify

    right, given = _parse(gold), _parse(text)
    return bool(right and given) and verify(right, given, timeout_seconds=None)


def _canonical(text: str) -> str | None:
    import sympy

    values = _parse(text)
    if not values:
        return None
    value = values[0]
    if isinstance(value, sympy.Eq) and (value.lhs.is_Symbol or not value.free_symbols):  # x = 5, 2 + 3 = 5
        value = value.rhs
    value = value.doit()
    return str(value.replace(lambda part: part.is_Float, lambda part: sympy.Rational(str(part))))


def _parse(text: str) -> list[Any]:
    r"""math_verify.parse of an answer, [] where it is none. Maths without dollar signs (x + 1, \sqrt2, (3, 4]) is given some:
    math-verify would only find the numbers in it. Words are left alone: as maths, "on" equals "no"."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    def parsed(text: str, *kinds: Any) -> list[Any]:
        return parse(text, kinds, fallback_mode="no_fallback", parsing_timeout=None)

    text = text.replace(r"\$", "")
    if _NUMBER.fullmatch(text.strip()):
        return parsed(re.sub(r"[+$€£\s]", "", text), ExprExtractionConfig())
    both = (LatexExtractionConfig(), ExprExtractionConfig())
    if _MATHS.search(text) or _words(text):
        return parsed(text, *both)
    return parsed(f"${_latex(text)}$", LatexExtractionConfig()) or parsed(text, *both)


def _words(text: str) -> bool:
    """Whether words stand in a text that are neither LaTeX's nor a function's: "3 apples", "Paris", but not "2 or 3"."""
    rest = re.sub(r"\\(text\w*|math\w+|mbox|operatorname|begin|end)\s*\{[^{}]*\}|\\[A-Za-z]+", " ", text)
    found = re.findall(r"[A-Za-z]{3,}|(?<!\S)[A-Za-z]{2}(?!\S)", rest)
    return any(word.lower() not in _KNOWN and not set(word) <= set("abcxyzn") for word in found)


def _latex(text: str) -> str:
    """Maths as people and programs write it, as LaTeX."""
    text = text.replace("$", "").translate(_SIGNS).replace("**", "^")
    text = re.sub(r"(?<=\d)[eE]([-+]?\d+)(?!\w)", r" \\cdot 10^{\1}", text)
    text = re.sub(r"(?<![\\A-Za-z])(pi|theta|alpha|beta)(?![A-Za-z])", r"\\\1 ", text)
    return re.sub(r"\^\s*(-?\d{2,}|-\d)", r"^{\1}", text)
