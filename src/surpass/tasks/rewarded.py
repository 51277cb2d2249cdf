"""A task judged by a function of the user's own, written for TRL or for verl."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import math
import re
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from surpass.errors import RunBroken, SurpassError
from surpass.files import at_home, is_file, load_name, where
from surpass.models import Models
from surpass.types import Problem, Turn

WINDOW = 16  # latest attempts among which more than half may not fail
FEWEST = 4  # attempts below which nothing is concluded

TRL = {
    "completion_ids": None,
    "trainer_state": None,
    "environments": None,
    "log_extra": lambda column, values: None,
    "log_metric": lambda name, value: None,
}
"""What TRL gives a reward function beside prompts, completions and columns. Here its two loggers do nothing.
"""
VERL = {"data_source", "solution_str", "ground_truth", "extra_info"}
"""What verl gives."""


@dataclass(frozen=True)
class rewarded:
    """`task` in everything but `check`, which is the function `reward` = "FILE.py:FUNCTION":

    f(prompts, completions, **columns) -> list[float | None], as TRL calls it: completions are messages where
    prompts are, columns are problem.meta and "answer"; sync or async. Checks that wait at the same time are
    one call. An exception ends the run.

    f(data_source, solution_str, ground_truth, extra_info) -> float | {"score": float}, as verl calls it, once
    per attempt; ground_truth is problem.answer. An exception makes that attempt nan (`failed` counts them);
    where more than half fail, the run ends.

    Either gets only the arguments that its signature has. None and nan: cannot be judged. What is no such
    value ends the run (RunBroken). A sync function runs in a thread, unless its file uses signals
    (math-verify's time-outs do), which work in the main thread only. A call may take `reward_seconds`; then
    TRL's kind ends the run and verl's has failed for this attempt. The file's folder is put at the end of
    sys.path, so it may import its neighbours.
    """

    task: Any
    reward: str
    reward_seconds: float = 600.0
    files = ("reward",)
    reads_thoughts = True  # as TRL and verl do, whose functions may reward a form of thinking
    _judge: ClassVar[_Judge]

    def __post_init__(self) -> None:
        if not self.reward_seconds > 0:
            raise SurpassError(f"reward_seconds is more than 0; found {self.reward_seconds}")
        judge = _Judge(self.reward, self.reward_seconds)
        judge.require(self.task)
        object.__setattr__(self, "_judge", judge)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "task":
            raise AttributeError(name)
        return getattr(self.task, name)

    @property
    def players(self) -> tuple[str, ...]:
        return self.task.players

    @property
    def branches(self) -> bool:
        return self.task.branches

    @property
    def failed(self) -> int:
        """Attempts for which a function of verl's kind raised."""
        return self._judge.failed

    def problems(self, split: str, seed: int) -> Iterator[Problem]:
        return self.task.problems(split, seed)

    async def start(self, models: Models, problem: Problem) -> Turn:
        return await self.task.start(models, problem)

    async def step(self, models: Models, state: Any, text: str) -> Turn:
        return await self.task.step(models, state, text)

    async def check(self, models: Models, problem: Problem, text: str) -> float:
        return await self._judge.value(problem, text)


class _Judge:
    """A reward function, and the attempts that wait for it."""

    def __init__(self, reward: str, seconds: float):
        self.seconds = seconds
        if not is_file(reward) or not reward.partition(":")[2]:
            raise SurpassError(f'a reward is named FILE.py:FUNCTION; found "{reward}"')
        file, _, self.name = reward.partition(":")
        self.path, self.function = at_home(file).resolve(), load_name(reward)
        if not callable(self.function):
            raise SurpassError(f"{reward} is no function; it is {_brief(self.function)}")
        self.parameters = _parameters(self.function, reward)
        self.required = {
            name for name, p in self.parameters.items() if p.default is p.empty and p.kind in _NAMED
        }
        self.per_attempt = "solution_str" in self.parameters
        # a time-out by signal in a thread raises, or is caught by the function itself and becomes a silent 0
        self.here = "math_verify" in sys.modules or bool(
            re.search(rb"\b(signal|math_verify|trl)\b", self.path.read_bytes())
        )
        self.failed = 0
        self.recent: list[bool] = []
        self.waiting: dict[asyncio.AbstractEventLoop, list[tuple[Problem, str, asyncio.Future[float]]]] = {}
        self.serving: set[asyncio.Task[None]] = set()

    def __str__(self) -> str:
        return f"the reward {self.name} of {self.path}"

    def require(self, task: Any) -> None:
        """SurpassError where the function wants an argument that it cannot be given; columns are those of the
        first problem.
        """
        given = VERL if self.per_attempt else {"prompts", "completions", "answer", *TRL}
        if self.required - given and not self.per_attempt:
            given = given | _first(task).keys()
        if lacking := sorted(self.required - given):
            raise SurpassError(
                f'{self} wants "{lacking[0]}", which is not among what it can be given: '
                f"{', '.join(sorted(given))}; "
                "rename the parameter or give it a default"
            )

    async def value(self, problem: Problem, text: str) -> float:
        """This attempt's value, from one call with all that are asked for in this turn of the event loop."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        if loop not in self.waiting:
            self.waiting[loop] = []
            loop.call_soon(self._begin, loop)
        self.waiting[loop].append((problem, text, future))
        return await future

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        serving = loop.create_task(self._serve(self.waiting.pop(loop)))
        self.serving.add(serving)  # the loop itself holds tasks only weakly
        serving.add_done_callback(self.serving.discard)

    async def _serve(self, batch: Sequence[tuple[Problem, str, asyncio.Future[float]]]) -> None:
        problems, texts = [problem for problem, _, _ in batch], [text for _, text, _ in batch]
        values: Sequence[float | Exception]
        try:
            values = await (self._each(problems, texts) if self.per_attempt else self._all(problems, texts))
        except Exception as error:
            values = [error] * len(batch)
        for (_, _, future), value in zip(batch, values, strict=True):
            if not future.done():
                future.set_exception(value) if isinstance(value, Exception) else future.set_result(value)

    async def _all(self, problems: Sequence[Problem], texts: Sequence[str]) -> list[float]:
        """TRL's kind: one call."""
        names = dict.fromkeys(name for problem in problems for name in problem.meta)
        columns = {name: [problem.meta.get(name) for problem in problems] for name in names}
        if any(problem.answer is not None for problem in problems):
            columns["answer"] = [problem.answer for problem in problems]
        pairs = list(zip(problems, texts, strict=True))
        arguments = (
            TRL
            | columns
            | {
                "prompts": [
                    p.prompt if isinstance(p.prompt, str) else [dict(turn) for turn in p.prompt]
                    for p in problems
                ],
                "completions": [
                    t if isinstance(p.prompt, str) else [{"role": "assistant", "content": t}]
                    for p, t in pairs
                ],
            }
        )
        # a column that none of these problems has
        arguments |= {name: [None] * len(texts) for name in self.required - arguments.keys()}
        try:
            found = await self._call([arguments])
        except RunBroken:
            raise
        except Exception as error:
            raise RunBroken(f"{self} raised {where(error, self.path)}") from error
        try:
            values = list(found[0])
        except TypeError as error:
            raise RunBroken(
                f"{self} returned {_brief(found[0])}; wanted a list with a number or None per completion"
            ) from error
        if len(values) != len(texts):
            raise RunBroken(
                f"{self} returned {len(values)} rewards for {len(texts)} completions; wanted one each "
                "(None: not judged)"
            )
        return [self._number(value) for value in values]

    async def _each(self, problems: Sequence[Problem], texts: Sequence[str]) -> list[float]:
        """verl's kind: one call per attempt, each of which may fail."""
        arguments = [
            {
                "data_source": problem.meta.get("data_source", ""),
                "solution_str": text,
                "ground_truth": problem.answer,
                "extra_info": problem.meta.get("extra_info") or {},
            }
            for problem, text in zip(problems, texts, strict=True)
        ]
        found = await self._call(arguments, keep=True)
        errors = [value for value in found if isinstance(value, Exception)]
        self.failed += len(errors)
        self.recent = [*self.recent, *(isinstance(value, Exception) for value in found)][
            -max(WINDOW, len(found)) :
        ]
        if errors and len(self.recent) >= FEWEST and sum(self.recent) > len(self.recent) / 2:
            raise RunBroken(
                f"{self} failed for {sum(self.recent)} of the latest {len(self.recent)} attempts, here with "
                f"{where(errors[0], self.path)}"
            ) from errors[0]
        scores = [
            value["score"] if isinstance(value, dict) and "score" in value else value for value in found
        ]
        return [math.nan if isinstance(score, Exception) else self._number(score) for score in scores]

    async def _call(self, calls: Sequence[dict[str, Any]], keep: bool = False) -> list[Any]:
        """What the function gives for each call, with the arguments it accepts; `keep`: an exception is a
        result, too.
        """
        everything = any(p.kind is p.VAR_KEYWORD for p in self.parameters.values())

        def once(given: dict[str, Any]) -> Any:
            try:
                return self.function(
                    **{name: given[name] for name in given if everything or name in self.parameters}
                )
            except (Exception, SystemExit) as error:
                known = error if isinstance(error, Exception) else RuntimeError("it raised SystemExit")
                if keep:
                    return known
                raise known from None

        if self.here and threading.current_thread() is not threading.main_thread():
            raise RunBroken(
                f"{self} uses signals (math-verify's time-outs do), which work in the main thread only, "
                "and here it is called in another, as in a notebook: turn its time-outs off, or use "
                "the command line"
            )
        begun = (
            _at_once(self.seconds, once, given) if self.here else _in_thread(once, given) for given in calls
        )
        found = [await self._within(call, keep) for call in begun]
        # an async function has only begun
        waits = [i for i, value in enumerate(found) if inspect.isawaitable(value)]
        for i, value in zip(
            waits, await asyncio.gather(*(self._within(found[i], keep) for i in waits)), strict=True
        ):
            found[i] = value
        return found

    async def _within(self, work: Awaitable[Any], keep: bool) -> Any:
        """What is awaited, if it comes in time; `keep`: an exception is a result, too."""
        task = asyncio.ensure_future(work)
        error: BaseException | None = None
        try:
            await asyncio.wait({task}, timeout=self.seconds)
            if task.done():
                error = task.exception()
            if not task.done() or isinstance(error, _Late):
                error = RunBroken(
                    f"{self} took longer than {self.seconds:g} seconds; --task.reward_seconds gives it more"
                )
        finally:
            task.cancel()
        if error is None:
            return task.result()
        if keep:
            return error
        raise error

    def _number(self, value: Any) -> float:
        """A finite number, or nan for None and nan."""
        if value is None:
            return math.nan
        try:
            number = float(value)
        except Exception:  # a value may be anything, and so may what it raises
            number = math.inf
        if isinstance(value, str) or math.isinf(number):
            raise RunBroken(
                f"{self} returned {_brief(value)} as a reward; wanted a finite number, or None where it "
                "cannot judge"
            )
        return number


class _Late(Exception):
    """A call in the main thread took too long."""


async def _at_once(seconds: float, function: Callable[..., Any], *given: Any) -> Any:
    """What the function returns, called here and now in the main thread; another thread's signal stops it,
    SIGUSR1, because SIGALRM is the function's own.
    """
    over = False

    class Stop(BaseException):
        """Nothing that a function should catch."""

    def stop(*_: Any) -> None:
        if not over:
            raise Stop

    main = threading.main_thread().ident
    assert main is not None
    before = signal.signal(signal.SIGUSR1, stop)
    timer = threading.Timer(seconds, signal.pthread_kill, (main, signal.SIGUSR1))
    timer.daemon = True
    timer.start()
    try:
        return function(*given)
    except Stop:
        raise _Late from None
    finally:
        over = True
        timer.cancel()
        timer.join()  # a signal that is under way arrives while its handler does nothing
        signal.signal(signal.SIGUSR1, before)


def _in_thread(function: Callable[..., Any], *given: Any) -> asyncio.Future[Any]:
    """What the function returns, computed in a thread of its own, which nobody waits for when the program
    ends: it may never return.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def tell(set_: Callable[[Any], None], value: Any) -> None:
        if not future.done():
            set_(value)

    def work() -> None:
        try:
            outcome = future.set_result, function(*given)
        except Exception as error:
            outcome = future.set_exception, error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell, *outcome)

    threading.Thread(target=work, daemon=True).start()
    return future


def _first(task: Any) -> dict[str, Any]:
    """The columns of a task's first problem; {} where it has none."""
    for split in ("train", "test"):
        with contextlib.suppress(SurpassError):
            for problem in task.problems(split, 0):
                return dict(problem.meta)
    return {}


def _brief(value: Any) -> str:
    """Some of a value's repr, on one line."""
    try:
        return " ".join(repr(value).split())[:60]
    except Exception:
        return f"a value of the type {type(value).__name__}"


_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _parameters(function: Callable[..., Any], reward: str) -> dict[str, inspect.Parameter]:
    """The function's parameters, which say whose kind it is of."""
    try:
        parameters = dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        parameters = {}
    kinds = {p.kind for p in parameters.values()}
    if not ({"completions", "solution_str"} & parameters.keys() or kinds == {inspect.Parameter.VAR_KEYWORD}):
        raise SurpassError(
            f"{reward} wants the parameters (prompts, completions, **columns) as for TRL, or "
            "(data_source, solution_str, ground_truth, extra_info=None) as for verl; found "
            f"({', '.join(map(str, parameters.values()))})"
        )
    return parameters
