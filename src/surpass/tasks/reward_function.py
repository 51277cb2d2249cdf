"""A reward function of the user's own, called as TRL or as verl calls it."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import math
import re
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from surpass.errors import RunBroken, SurpassError
from surpass.files import at_home, is_file, load_name, where
from surpass.tasks.timed import TooLate, at_once, in_thread
from surpass.types import Problem

WINDOW = 16  # of so many latest attempts at most half may fail
FEWEST = 4  # with fewer attempts nothing is concluded

TRL = {
    "completion_ids": None,
    "trainer_state": None,
    "environments": None,
    "log_extra": lambda column, values: None,
    "log_metric": lambda name, value: None,
}
"""What TRL gives a reward function beside prompts, completions and columns; the two loggers do nothing."""
VERL = {"data_source", "solution_str", "ground_truth", "extra_info"}
"""What verl gives."""


class RewardFunction:
    """A reward function with the attempts that wait for it."""

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
        """SurpassError where the function wants an argument that it cannot be given; the columns are taken
        from the task's first problem.
        """
        given = VERL if self.per_attempt else {"prompts", "completions", "answer", *TRL}
        if self.required - given and not self.per_attempt:  # columns can give what TRL does not
            given = given | _first(task).keys()
        if lacking := sorted(self.required - given):
            raise SurpassError(
                f'{self} wants "{lacking[0]}", which is not among what it can be given: '
                f"{', '.join(sorted(given))}; "
                "rename the parameter or give it a default"
            )

    async def value(self, problem: Problem, text: str) -> float:
        """This attempt's value. All attempts of one turn of the event loop share one call."""
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
        """As TRL calls: once for all attempts."""
        names = dict.fromkeys(name for problem in problems for name in problem.meta)
        columns = {name: [problem.meta.get(name) for problem in problems] for name in names}
        if any(problem.answer is not None for problem in problems):
            columns["answer"] = [problem.answer for problem in problems]
        pairs = list(zip(problems, texts, strict=True))
        prompts = [p.prompt if isinstance(p.prompt, str) else list(map(dict, p.prompt)) for p in problems]
        completions = [
            text if isinstance(problem.prompt, str) else [{"role": "assistant", "content": text}]
            for problem, text in pairs
        ]
        arguments = TRL | columns | {"prompts": prompts, "completions": completions}
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
        """As verl calls: once per attempt, and each call may fail."""
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
        """What the function returns for each call, given the arguments that it accepts; with `keep` an
        exception is a result.
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
            at_once(self.seconds, once, given) if self.here else in_thread(once, given) for given in calls
        )
        found = [await self._within(call, keep) for call in begun]
        # an async function has only returned something to await
        waits = [i for i, value in enumerate(found) if inspect.isawaitable(value)]
        for i, value in zip(
            waits, await asyncio.gather(*(self._within(found[i], keep) for i in waits)), strict=True
        ):
            found[i] = value
        return found

    async def _within(self, work: Awaitable[Any], keep: bool) -> Any:
        """The result of `work`, if it comes in time; with `keep` an exception is a result."""
        task = asyncio.ensure_future(work)
        error: BaseException | None = None
        try:
            await asyncio.wait({task}, timeout=self.seconds)
            if task.done():
                error = task.exception()
            if not task.done() or isinstance(error, TooLate):
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
        """The value as a finite number; nan for None and nan; RunBroken for all else."""
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


def _first(task: Any) -> dict[str, Any]:
    """The columns of a task's first problem; {} where it has none."""
    for split in ("train", "test"):
        with contextlib.suppress(SurpassError):
            for problem in task.problems(split, 0):
                return dict(problem.meta)
    return {}


def _brief(value: Any) -> str:
    """The beginning of a value's repr, on one line."""
    try:
        return " ".join(repr(value).split())[:60]
    except Exception:
        return f"a value of the type {type(value).__name__}"


_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _parameters(function: Callable[..., Any], reward: str) -> dict[str, inspect.Parameter]:
    """The function's parameters, which tell whether it is written for TRL or for verl."""
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
