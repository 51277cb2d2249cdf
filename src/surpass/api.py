"""surpass from Python: improve, evaluate and solve, blocking or awaited, in a script or a notebook."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from surpass import given as gave
from surpass import loop
from surpass.budget import Budget
from surpass.errors import SurpassError
from surpass.files import is_file
from surpass.find import find_method, make_method, make_models, make_task, own_files
from surpass.gates import always
from surpass.judging import answer_of
from surpass.means import all_bounds
from surpass.measures import answering, sized
from surpass.models import Models
from surpass.needs import require
from surpass.parts import Method, modules_in, to_json
from surpass.progress import Progress, predicted
from surpass.result import Result
from surpass.store import Store, as_line
from surpass.types import Report, Tree
from surpass.verdicts import unread

R = TypeVar("R")


def improve(
    method: str | Method,
    task: Any = "arithmetic",
    model: Any = "smollm2-135m",
    *,
    rounds: int = 12,
    seed: int = 0,
    out: str | Path | None = None,
    reward: str | None = None,
    test: int = 256,
    gate: int = 96,
    dtype: str = "auto",
    device: str = "auto",
    lora: int = 0,
    lora_targets: Sequence[str] = (),
    patience: int = 3,
    retain: int = 2,
    budget: str | None = None,
    track: str | None = None,
    template_args: Mapping[str, Any] | None = None,
    quiet: bool = False,
    **knobs: Any,
) -> Result:
    """Run `rounds` rounds of a method and return what they came to; the model itself, where one was given, is
    changed in place.

    `method` is a name, "file.py:function" or a Method, `task` a name (as on the command line), "file.py:NAME"
    or a task, `model` a name, an engine or Models; `knobs` are the method's own. A `budget`, "tokens=200k",
    ends the run, too (surpass.budget). `template_args` are names that the model's chat template reads, e.g.
    {"enable_thinking": False}.
    `lora` is the rank of an adapter to train instead of the weights, and `lora_targets` names what it is put
    on (docs/models.md). `track` names who is told every number (surpass.trackers), such as "wandb" or
    "tensorboard".
    With `out`, the run is a folder that can be resumed: the same call goes on where it stopped. Blocks, in a
    notebook too; `improve_async` can be awaited. Raises SurpassError.
    """
    return _blocking(*_improving(locals()))


async def improve_async(
    method: str | Method, task: Any = "arithmetic", model: Any = "smollm2-135m", **options: Any
) -> Result:
    """`improve`, to be awaited: other coroutines go on meanwhile; cancelling it leaves a run that can be
    resumed.
    """
    given = _given(improve, options, method=method, task=task, model=model)
    return await _awaited(*await asyncio.to_thread(_improving, given))


def evaluate(
    method: str | Method,
    task: Any = "arithmetic",
    model: Any = "smollm2-135m",
    *,
    split: str = "test",
    limit: int = 256,
    seed: int = 0,
    reward: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    template_args: Mapping[str, Any] | None = None,
    **knobs: Any,
) -> Report:
    """The method's exam on a split ("test" or "gate"), at most `limit` problems; arguments as in `improve`.
    Blocks.
    """
    return _blocking(*_evaluating(locals()))


async def evaluate_async(
    method: str | Method, task: Any = "arithmetic", model: Any = "smollm2-135m", **options: Any
) -> Report:
    """`evaluate`, to be awaited."""
    given = _given(evaluate, options, method=method, task=task, model=model)
    return await _awaited(*await asyncio.to_thread(_evaluating, given))


def solve(
    question: str,
    method: str | Method = "self_consistency",
    model: Any = "smollm2-135m",
    *,
    seed: int = 0,
    instruction: str = "",
    template_args: Mapping[str, Any] | None = None,
    **knobs: Any,
) -> Solution:
    """One question answered by a method's search and choice, with all that was tried. `instruction` is put
    after the question.
    """
    models = _models_of(model, {"template_args": template_args})
    return _blocking(models, _solve(question, _method_of(method, knobs), models, seed, instruction))


@dataclasses.dataclass
class Solution:
    """The chosen answer, the tree it was chosen from, what it cost, and every attempt: (text, final answer,
    {score: value}, chosen).
    """

    answer: str
    attempts: list[tuple[str, str | None, dict[str, float], bool]]
    tree: Tree
    cost: dict[str, int]

    def __str__(self) -> str:
        return self.answer

    def notes(self) -> list[str]:
        """What a person should know about the choice: verdicts that could not be read, attempts that could
        not be judged, votes that are none.
        """
        missed, asked = unread([self.tree])
        found = [f"{missed} of {asked} verdicts hold no score that could be read"] if missed else []
        scores = [scores for _, _, scores, _ in self.attempts]
        for name in scores[0] if scores else ():
            unknown = sum(one[name] != one[name] for one in scores)
            # an attempt without an answer has no vote
            if name not in ("vote", "votes", "rank") and 0 < unknown < len(scores):
                found.append(
                    f"{unknown} of {len(scores)} attempts have no {name}: they come after those that have one"
                )
        if scores and scores[0] and all(value != value for one in scores for value in one.values()):
            found.append("no attempt could be judged, so the first one is shown as the answer")
        votes = [one["vote"] for one in scores if "vote" in one]
        if len(votes) > 1 and max(votes) <= 1 / len(votes):
            found.append("no two attempts agree, so the first one is shown as the answer")
        return found


# -- what both forms do


def _given(form: Callable[..., Any], options: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """What `form` would see as its arguments: its defaults, the options, and as knobs what it does not
    name.
    """
    defaults: dict[str, Any] = form.__kwdefaults__ or {}
    knobs = {key: value for key, value in options.items() if key not in defaults}
    return {
        **defaults,
        **{key: value for key, value in options.items() if key in defaults},
        **more,
        "knobs": knobs,
    }


def _improving(given: Mapping[str, Any]) -> tuple[Models, Coroutine[Any, Any, Result]]:
    """The models and the coroutine of a run."""
    from surpass.trackers import named

    named(given["track"])
    check_numbers(given)
    method = _method_of(given["method"], given["knobs"])
    method = dataclasses.replace(
        method, exam=sized(method.exam, {"test": given["test"], "gate": given["gate"]})
    )
    task = _task_of(given["task"], given["reward"], given["model"])
    spec = model_spec(given)
    store = about = None
    if given["out"] is not None:
        about = configuration(given, method, task, spec)
    models = _models_of(given["model"], spec | {"trained": True})
    require(method, task, models, learns=True)
    if about is not None:
        folder = Path(given["out"])
        if Store.begun(folder):
            was, now = (json.loads(as_line(some)) for some in (Store.read_run(folder), about))
            other = [
                words for key in now if key != "versions" for words in changed(was.get(key), now[key], key)
            ]
            if other:
                raise SurpassError(
                    f"{folder} holds a run with another {'; another '.join(other[:3])}. Choose another "
                    "folder, or give what it has"
                )
        store = Store(folder, given["retain"])
        if not Store.begun(folder):  # of a run that did not get to the end of its first exam nothing is kept
            store.describe(about)
    budget = Budget.parse(given["budget"]) if given["budget"] else None
    options = {
        "rounds": given["rounds"],
        "seed": given["seed"],
        "patience": given["patience"],
        "budget": budget,
    }
    return models, run(method, task, models, store, options, given["quiet"], given["track"])


def model_spec(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's options, or its run.json, say of how a local model is loaded: what
    surpass.find.make_models wants beside its name.
    """
    targets = given.get("lora_targets") or ()
    named: dict[str, Any] = (
        {"lora_targets": [targets] if isinstance(targets, str) else list(targets)} if targets else {}
    )
    named |= {"template_args": dict(given["template_args"])} if given.get("template_args") else {}
    return {key: given[key] for key in ("dtype", "device", "lora")} | named


def check_numbers(given: Mapping[str, Any]) -> None:
    """SurpassError where an option of a run is out of its range."""
    for name, least in (("rounds", 0), ("patience", 1), ("retain", 0), ("lora", 0), ("test", 1), ("gate", 1)):
        if given[name] < least:
            raise SurpassError(f"a run needs {name} of at least {least}; found {given[name]}")


def configuration(
    given: Mapping[str, Any], method: Method, task: Any, spec: Mapping[str, Any]
) -> dict[str, Any]:
    """A run's run.json."""
    import torch
    import transformers

    import surpass

    parts = {"method": to_json(method), "task": to_json(task)}
    name = (
        given["method"]
        if isinstance(given["method"], str)
        else getattr(given["method"], "__name__", "method")
    )
    name = Path(name.partition(":")[0]).stem if is_file(name) and ":" not in name else name.rpartition(":")[2]
    model = given["model"] if isinstance(given["model"], str) else "in memory"
    return {
        "name": name,
        **parts,
        "seed": given["seed"],
        "rounds": given["rounds"],
        "patience": given["patience"],
        "retain": given["retain"],
        "threads": torch.get_num_threads(),
        "model": {"name": model, **spec},
        "files": own_files(parts),
        **({"budget": given["budget"]} if given.get("budget") else {}),
        "versions": {
            "surpass": surpass.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }


def changed(was: Any, now: Any, at: str) -> Iterator[str]:
    """Where two values of JSON differ, as "KEY.KEY (was X, now Y)"."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in {**was, **now}:
            yield from changed(was.get(key), now.get(key), f"{at}.{key}")
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for i, (a, b) in enumerate(zip(was, now, strict=True)):
            yield from changed(a, b, f"{at}.{i}")
    elif was != now:
        yield f"{at} (was {json.dumps(was):.80}, now {json.dumps(now):.80})"


async def run(
    method: Method,
    task: Any,
    models: Models,
    store: Store | None,
    options: Mapping[str, Any],
    quiet: bool,
    track: str | None = None,
) -> Result:
    """One run to its end, with progress and, where it is stored, its page; `track` names who is told, too."""
    from surpass.report import write_report
    from surpass.trackers import tracking

    parts = to_json(method), (to_json(task) if store else None)
    allowed = set().union(*(modules_in(part) for part in parts if part is not None))
    if not quiet:
        print(predicted(method, models, options["rounds"], options.get("budget")), file=sys.stderr)
    say: Callable[..., None] = lambda what, round, event: None  # noqa: E731
    with contextlib.ExitStack() as stack:
        if store:
            stack.callback(store.close)
        if not quiet:
            say = stack.enter_context(Progress(options["rounds"], method, models, options.get("budget"))).say
        about = (
            Store.read_run(store.folder)
            if store and (store.folder / "run.json").exists()
            else {"method": parts[0]}
        )
        where = store.folder if store else Path("runs")
        say = stack.enter_context(tracking(track, where.resolve().name, where, about, say))
        result = await loop.improve(
            method, task, models, store=store, say=say, modules=sorted(allowed), **options
        )
        if store:
            result.folder = store.folder
            result.page = write_report(store.folder)
    return result


def _evaluating(given: Mapping[str, Any]) -> tuple[Models, Coroutine[Any, Any, Report]]:
    """The models and the coroutine of an exam."""
    if given["split"] not in ("test", "gate"):
        raise SurpassError(f'a split to evaluate on is test or gate; found "{given["split"]}"')
    method = _method_of(given["method"], given["knobs"])
    # an exam trains nothing, so it needs nothing that training does
    method = dataclasses.replace(method, exam=sized(method.exam, {given["split"]: given["limit"]}), learn=())
    task = _task_of(given["task"], given["reward"], given["model"])
    spec = {key: given[key] for key in ("dtype", "device", "template_args")}
    models = _models_of(given["model"], spec | {"api": given.get("api") or {}})
    return models, loop.evaluate(method, task, models, split=given["split"], seed=given["seed"])


async def _solve(question: str, method: Method, models: Models, seed: int, instruction: str) -> Solution:
    from surpass.searches.round import failure, search_all
    from surpass.tasks.question import question as one

    exam = answering(method.exam)
    task = one(question, instruction)
    models.forget()
    require(
        dataclasses.replace(
            method, search=exam.search, scores=exam.scores, exam=exam, learn=(), gate=always()
        ),
        task,
        models,
    )
    (problem,) = task.problems("test", 0)
    (tree,) = await search_all(exam.search, models, task, [problem], seed)
    if (why := failure(tree)) is not None:
        raise SurpassError(f"the search failed: {why}")
    await gave.score_all(exam.scores, models, task, [tree])
    leaf = gave.leaf(exam.choose, tree, gave.told(exam.choose, tree))
    tried = []
    for i, node in enumerate(tree.leaves()):
        text = models.text(exam.role, tree, node)
        scores = {name: float(tree.get(name).values[i]) for name in exam.scores}
        tried.append((text, answer_of(task, models.said(exam.role, tree, node)), scores, node == leaf))
    return Solution(models.said(exam.role, tree, leaf), tried, tree, dict(models.cost.get("search", {})))


def _method_of(method: str | Method, knobs: Mapping[str, Any]) -> Method:
    if isinstance(method, Method):
        if knobs:
            raise SurpassError(f"a Method has its knobs already; found {', '.join(knobs)} beside one")
        return method
    return make_method(method if callable(method) else find_method(str(method)), knobs)


def _task_of(task: Any, reward: str | None, model: Any) -> Any:
    if reward is not None and not isinstance(reward, str):
        raise SurpassError(
            'a reward function is given by name, so that the run can be resumed: reward="file.py:function"'
        )
    if isinstance(task, (str, Path)):
        return make_task(str(task), reward=reward, model=str(model) if isinstance(model, str) else "")
    if isinstance(task, type):
        task = task()
    from surpass.tasks import rewarded

    return rewarded(task, reward) if reward else task


def _models_of(model: Any, spec: Mapping[str, Any]) -> Models:
    if spec.get("template_args") and not isinstance(model, (str, Path)):
        raise SurpassError(
            "template_args are given to a model that is loaded by its name; one in memory has them from "
            "surpass.engines.LocalEngine.of(model, tokenizer, template_args=...)"
        )
    if isinstance(model, Models):
        return model
    if isinstance(model, (str, Path)):
        return make_models({"name": str(model), **spec})
    if not hasattr(model, "serve"):
        raise SurpassError(
            f"a model is a name, a folder, an engine or Models; found {type(model).__name__}. A model "
            "of transformers in memory: surpass.engines.LocalEngine.of(model, tokenizer)"
        )
    return Models(policy=model)


# -- threads


def _blocking(models: Models, work: Coroutine[Any, Any, R]) -> R:
    """Run `work` to its end; in a thread of its own where this one has a running event loop, as a notebook's
    has.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return models.run(work)
    box: dict[str, Any] = {}
    thread = threading.Thread(target=_fill, args=(box, models, work))
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt:
        models.cancel()
        thread.join()
        raise
    return _opened(box)


async def _awaited(models: Models, work: Coroutine[Any, Any, R]) -> R:
    """Run `work` in a thread with an event loop of its own, and wait for it."""
    box: dict[str, Any] = {}
    here, done = asyncio.get_running_loop(), asyncio.Event()

    def go() -> None:
        _fill(box, models, work)
        here.call_soon_threadsafe(done.set)

    threading.Thread(target=go).start()
    try:
        await done.wait()
    except asyncio.CancelledError:
        models.cancel()
        await done.wait()
        raise
    return _opened(box)


def _fill(box: dict[str, Any], models: Models, work: Coroutine[Any, Any, Any]) -> None:
    import torch

    torch.set_num_threads(models.threads)  # a new thread would count its threads anew
    try:
        box["result"] = models.run(work)
    except BaseException as error:
        box["error"] = error


def _opened(box: dict[str, Any]) -> Any:
    if "error" in box:
        raise box["error"]
    return box["result"]


def as_json(result: Result) -> str:
    """A result as one line."""
    bounds = {"before": all_bounds(result.before.metrics), "after": all_bounds(result.after.metrics)}
    return as_line(
        {
            "before": result.before.metrics,
            "after": result.after.metrics,
            "bounds": bounds,
            "change": result.change(),
            "cost": result.cost,
            "run": str(result.folder),
        }
    )
