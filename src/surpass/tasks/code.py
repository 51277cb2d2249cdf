"""Write a small function: a prompt says in words what it has to do, and hidden tests say whether it does."""

from __future__ import annotations

import functools
import hashlib
import math
import random
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from surpass import sandbox
from surpass.errors import SurpassError
from surpass.models import Models
from surpass.parts import Task
from surpass.tasks.splits import problem_id, unique
from surpass.tasks.unit_tests import normal, passed
from surpass.types import Problem, Turn, fold

TESTS, SHOWN = 12, 2  # tests of a problem; how many of them a prompt shows
VOWELS = "aeiou"


class Step(NamedTuple):
    """One thing to do with x, what came before: a list of whole numbers or a text. It gives a list of whole
    numbers, a text or a number.
    """

    takes: str
    gives: str
    words: str  # {k}: a number from 2 to 5
    source: str
    does: Callable[[Any, int], Any]


STEPS = (
    Step(
        "list",
        "list",
        "keep only the even numbers",
        "[n for n in x if n % 2 == 0]",
        lambda x, k: [n for n in x if not n % 2],
    ),
    Step(
        "list",
        "list",
        "keep only the odd numbers",
        "[n for n in x if n % 2 == 1]",
        lambda x, k: [n for n in x if n % 2],
    ),
    Step(
        "list",
        "list",
        "keep only the numbers greater than {k}",
        "[n for n in x if n > {k}]",
        lambda x, k: [n for n in x if n > k],
    ),
    Step(
        "list",
        "list",
        "keep only the negative numbers",
        "[n for n in x if n < 0]",
        lambda x, k: [n for n in x if n < 0],
    ),
    Step("list", "list", "keep the first {k} numbers", "x[:{k}]", lambda x, k: x[:k]),
    Step("list", "list", "leave out the first number", "x[1:]", lambda x, k: x[1:]),
    Step(
        "list", "list", "multiply each number by {k}", "[{k} * n for n in x]", lambda x, k: [k * n for n in x]
    ),
    Step("list", "list", "add {k} to each number", "[n + {k} for n in x]", lambda x, k: [n + k for n in x]),
    Step("list", "list", "square each number", "[n * n for n in x]", lambda x, k: [n * n for n in x]),
    Step(
        "list",
        "list",
        "take the absolute value of each number",
        "[abs(n) for n in x]",
        lambda x, k: [abs(n) for n in x],
    ),
    Step("list", "list", "sort them in ascending order", "sorted(x)", lambda x, k: sorted(x)),
    Step("list", "list", "reverse their order", "x[::-1]", lambda x, k: x[::-1]),
    Step(
        "list",
        "list",
        "drop repeated numbers, keeping the first of each",
        "list(dict.fromkeys(x))",
        lambda x, k: list(dict.fromkeys(x)),
    ),
    Step("list", "number", "return their sum", "sum(x)", lambda x, k: sum(x)),
    Step("list", "number", "return how many there are", "len(x)", lambda x, k: len(x)),
    Step(
        "list",
        "number",
        "return the largest one, or 0 if there is none",
        "max(x, default=0)",
        lambda x, k: max(x, default=0),
    ),
    Step(
        "list",
        "number",
        "return the smallest one, or 0 if there is none",
        "min(x, default=0)",
        lambda x, k: min(x, default=0),
    ),
    Step("text", "text", "turn it into upper case", "x.upper()", lambda x, k: x.upper()),
    Step("text", "text", "reverse it", "x[::-1]", lambda x, k: x[::-1]),
    Step(
        "text",
        "text",
        "remove its lower case vowels",
        '"".join(c for c in x if c not in "aeiou")',
        lambda x, k: "".join(c for c in x if c not in VOWELS),
    ),
    Step("text", "text", "keep its first {k} characters", "x[:{k}]", lambda x, k: x[:k]),
    Step("text", "text", "repeat it {k} times", "x * {k}", lambda x, k: x * k),
    Step("text", "text", "remove its spaces", 'x.replace(" ", "")', lambda x, k: x.replace(" ", "")),
    Step("text", "number", "return its length", "len(x)", lambda x, k: len(x)),
    Step(
        "text",
        "number",
        "return how many lower case vowels it has",
        'sum(c in "aeiou" for c in x)',
        lambda x, k: sum(c in VOWELS for c in x),
    ),
    Step("text", "number", "return how many words it has", "len(x.split())", lambda x, k: len(x.split())),
)
_alone = functools.cache(functools.partial(secrets.token_bytes, 16))  # the secret outside a run
ARTICLE = {"list": "a list of whole numbers", "text": "a text"}


@dataclass(frozen=True)
class code(Task):
    """Write a Python function that does `steps` things (1 to 5) in turn; hidden tests run it in the sandbox.

    check is 1 where all tests pass, else 0; with `partial` = 1 it is the share that passes. A function may
    take `seconds`. The tests tell the right function from every one that leaves out a step, and from one that
    returns a constant. Their arguments are drawn with the run's secret (Models.secret), so a program that
    generates this task's problems again does not find the hidden tests.
    """

    steps: int = 2
    partial: int = 0
    seconds: float = 5.0

    def __post_init__(self) -> None:
        if not (1 <= self.steps <= 5 and self.partial in (0, 1) and self.seconds > 0):
            raise SurpassError(
                f"code needs steps from 1 to 5, partial 0 or 1 and seconds more than 0; found {self}"
            )

    def problems(self, split: str, seed: int) -> Iterator[Problem]:
        """`answer` is examples in the form of tests, none of which is a hidden test; a prompt shows the last
        two. meta["plan"] holds the numbers of the steps in STEPS, meta["k"] each step's k.
        """
        return unique(lambda i: self._problem(random.Random(fold(seed, "code", i))), split)

    def _problem(self, rng: random.Random) -> Problem:
        while True:
            plan, ks = _plan(rng, self.steps), [rng.randint(2, 5) for _ in range(self.steps)]
            tests = _tests(rng, plan, ks)
            if tests is not None:
                break
        inputs, results = [x for (x,) in tests["calls"]], tests["results"]
        takes = STEPS[plan[0]].takes
        tasks = [STEPS[at].words.format(k=k) for at, k in zip(plan, ks, strict=True)]
        last = tasks.pop() if tasks[-1].startswith("return") else "return the result"
        words = f"Write a Python function f that takes {ARTICLE[takes]}: {', then '.join([*tasks, last])}."
        shown = [
            f"f({x!r}) returns {result!r}."
            for x, result in zip(inputs[-SHOWN:], results[-SHOWN:], strict=True)
        ]
        prompt = "\n".join([words, *shown, "Answer with one block of Python."])
        return Problem(problem_id(f"code {words}"), prompt, tests, {"plan": plan, "k": ks})

    async def start(self, models: Models, problem: Problem) -> Turn:
        sandbox.ready()  # better now than after the first programs are written
        return await super().start(models, problem)

    async def check(self, models: Models, problem: Problem, text: str) -> float:
        tests = hidden(
            problem.id,
            tuple(problem.meta["plan"]),
            tuple(problem.meta["k"]),
            (models.secret if models else _alone)(),
        )
        share = await passed(text, tests, sandbox.Limits(self.seconds, processor=math.ceil(self.seconds)))
        return share if self.partial else float(share == 1)

    def final_answer(self, text: str) -> str | None:
        """What votes compare: the program in one form; None where there is none."""
        return normal(text, "f")

    @property
    def oracle(self) -> Writer:
        """A writer that does the steps one a line."""
        return Writer()


def _plan(rng: random.Random, n: int) -> list[int]:
    """The numbers of n different steps, each taking what the one before gives; a number comes last."""
    kind, plan = rng.choice(["list", "list", "text"]), []
    for i in range(n):
        fits = [
            at
            for at, step in enumerate(STEPS)
            if step.takes == kind and at not in plan and (i == n - 1 or step.gives == kind)
        ]
        plan.append(rng.choice(fits))
    return plan


def _tests(rng: random.Random, plan: Sequence[int], ks: Sequence[int]) -> dict[str, Any] | None:
    """Tests of a plan, the first with an empty argument; None where they do not tell it from a plan that
    leaves out a step, or from a constant.
    """
    inputs = [_input(rng, STEPS[plan[0]].takes, i) for i in range(TESTS)]
    results = [_run(plan, ks, x) for x in inputs]
    others = [
        [_run([*plan[:i], *plan[i + 1 :]], [*ks[:i], *ks[i + 1 :]], x) for x in inputs]
        for i in range(len(plan))
    ]
    if any(other == results for other in others) or all(result == results[0] for result in results):
        return None
    return {"function": "f", "calls": [[x] for x in inputs], "results": results}


@functools.lru_cache(512)
def hidden(id: str, plan: tuple[int, ...], ks: tuple[int, ...], secret: bytes) -> dict[str, Any]:
    """The tests that judge a problem's programs; their arguments follow from the secret, not the seed."""
    rng = random.Random(hashlib.blake2b(id.encode(), key=secret).digest())
    while (tests := _tests(rng, plan, ks)) is None:
        pass
    return tests


def _run(plan: Sequence[int], ks: Sequence[int], x: Any) -> Any:
    for at, k in zip(plan, ks, strict=True):
        x = STEPS[at].does(x, k)
    return x


def _input(rng: random.Random, takes: str, i: int) -> Any:
    """The i-th argument of the tests; the first is empty."""
    if takes == "list":
        return [rng.randint(-9, 9) for _ in range(rng.randint(3, 8) if i else 0)]
    words = [
        "".join(rng.choice("abcdeeiilmnoorstu") for _ in range(rng.randint(2, 5)))
        for _ in range(rng.randint(1, 4) if i else 0)
    ]
    return " ".join(words)


def _source(plan: Sequence[int], ks: Sequence[int]) -> str:
    lines = [f"    x = {STEPS[at].source.replace('{k}', str(k))}" for at, k in zip(plan, ks, strict=True)]
    return "\n".join(["```python", "def f(x):", *lines, "    return x", "```"])


@dataclass(frozen=True)
class Writer:
    """The oracle of code: it does the steps one a line."""

    def act(self, problem: Problem, state: Any, rng: random.Random) -> str:
        return _source(problem.meta["plan"], problem.meta["k"])

    def slip(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """A program that leaves out a step, or whose function has another name."""
        at = rng.randrange(len(problem.meta["plan"]) + 1)
        plan, ks = ([*values[:at], *values[at + 1 :]] for values in (problem.meta["plan"], problem.meta["k"]))
        source = _source(plan, ks)
        return source if len(plan) < len(problem.meta["plan"]) else source.replace("def f", "def g")

    def value(self, problem: Problem, state: Any, text: str = "") -> float:
        """1, because until a turn ends the program can be written anew."""
        return 1.0
