"""From what was asked to what runs: the method, the task, the models and the store. Every command and every
function of surpass.api goes through here.

`asked` holds the options of surpass.improve or surpass.evaluate by name, with `method`, `task`, `model` and
the method's `knobs`. The command line adds `settings` (--task.KEY VALUE), `drawing` (--temperature, --top-p)
and `api` (the arguments of surpass.engines.openai_api.OpenAIEngine).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surpass import loop
from surpass.budget import Budget
from surpass.errors import SurpassError
from surpass.files import is_file
from surpass.find import find_method, make_method, make_models, make_task, own_files
from surpass.measures import redrawn, sized
from surpass.models import Models
from surpass.needs import require
from surpass.parts import Method, Task, modules_in, needs_of, to_json
from surpass.progress import Progress, predicted
from surpass.result import Result
from surpass.store import Store, as_line
from surpass.types import Report

# -- parts of what was asked


def method_of(asked: Mapping[str, Any]) -> Method:
    """The method that was named, made by a function, or given as it is."""
    method, knobs = asked["method"], asked["knobs"]
    if isinstance(method, Method):
        if knobs:
            raise SurpassError(f"a Method has its knobs already; found {', '.join(knobs)} beside one")
        return method
    return make_method(method if callable(method) else find_method(str(method)), knobs)


def task_of(asked: Mapping[str, Any]) -> Task:
    """The task that was named or given; a `reward` judges in place of its own check."""
    task, reward, model = asked["task"], asked["reward"], asked["model"]
    if reward is not None and not isinstance(reward, str):
        raise SurpassError(
            'a reward function is given by name, so that the run can be resumed: reward="file.py:function"'
        )
    if isinstance(task, (str, Path)):
        return make_task(
            str(task), asked.get("settings"), reward, str(model) if isinstance(model, str) else ""
        )
    if isinstance(task, type):
        task = task()
    from surpass.tasks import rewarded

    return rewarded(task, reward) if reward else task


def models_of(model: Any, spec: Mapping[str, Any]) -> Models:
    """The models that were named or given; `spec` says how a named one is loaded (find.make_models)."""
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


def model_spec(asked: Mapping[str, Any]) -> dict[str, Any]:
    """How a model is loaded (find.make_models), from the options or from the "model" of a run.json."""
    spec = {"dtype": asked["dtype"], "device": asked["device"], "lora": asked.get("lora", 0)}
    if targets := asked.get("lora_targets"):
        spec["lora_targets"] = [targets] if isinstance(targets, str) else list(targets)
    if asked.get("template_args"):
        spec["template_args"] = dict(asked["template_args"])
    return spec | ({"api": asked["api"]} if asked.get("api") else {})


def check_numbers(asked: Mapping[str, Any]) -> None:
    """SurpassError where an option of a run is out of its range."""
    for name, least in (("rounds", 0), ("patience", 1), ("retain", 0), ("lora", 0), ("test", 1), ("gate", 1)):
        if asked[name] < least:
            raise SurpassError(f"a run needs {name} of at least {least}; found {asked[name]}")


def check_trained(model: Any, method: Method) -> None:
    """SurpassError where a method trains the weights of a model behind an API."""
    behind_api = isinstance(model, str) and model.startswith("api:")
    if behind_api and any("train" in needs_of(learn.learner) for learn in method.learn):
        raise SurpassError(
            "a model behind an API cannot be trained; evaluate a method on it: surpass eval, or surpass solve"
        )


# -- runs


@dataclass(frozen=True)
class Plan:
    """A run before its model is loaded. `options` holds rounds, seed, patience, retain and budget; `about` is
    its run.json, empty where the run is not stored.
    """

    method: Method
    task: Task
    model: Any
    spec: Mapping[str, Any]
    options: Mapping[str, Any]
    about: dict[str, Any]


def planned(asked: Mapping[str, Any], stored: bool) -> Plan:
    """The run that was asked for. SurpassError where it cannot be."""
    from surpass.trackers import named

    named(asked["track"])
    check_numbers(asked)
    method = method_of(asked)
    method = dataclasses.replace(
        method, exam=sized(method.exam, {"test": asked["test"], "gate": asked["gate"]})
    )
    task = task_of(asked)
    check_trained(asked["model"], method)
    about = configuration(asked, method, task) if stored else {}
    return Plan(method, task, asked["model"], model_spec(asked), asked, about)


def gone_on(config: dict[str, Any], method: Method, task: Task) -> Plan:
    """The run that a folder's run.json describes."""
    model = config["model"]
    check_trained(model["name"], method)
    return Plan(method, task, model["name"], model_spec(model), config, config)


def configuration(asked: Mapping[str, Any], method: Method, task: Task) -> dict[str, Any]:
    """A run's run.json."""
    import torch
    import transformers

    import surpass

    parts = {"method": to_json(method), "task": to_json(task)}
    name = asked["method"]
    name = name if isinstance(name, str) else getattr(name, "__name__", "method")
    name = Path(name.partition(":")[0]).stem if is_file(name) and ":" not in name else name.rpartition(":")[2]
    model = asked["model"] if isinstance(asked["model"], str) else "in memory"
    return {
        "name": name,
        **parts,
        **{key: asked[key] for key in ("seed", "rounds", "patience", "retain")},
        "threads": torch.get_num_threads(),
        "model": {"name": model, **model_spec(asked)},
        "files": own_files(parts),
        **({"budget": asked["budget"]} if asked.get("budget") else {}),
        "versions": {
            "surpass": surpass.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }


def check_unchanged(folder: Path, about: Mapping[str, Any]) -> None:
    """SurpassError where a folder holds a run with another configuration; versions may differ."""
    if not Store.begun(folder):
        return
    was, now = (json.loads(as_line(some)) for some in (Store.read_run(folder), about))
    other = [words for key in now if key != "versions" for words in _changed(was.get(key), now[key], key)]
    if other:
        raise SurpassError(
            f"{folder} holds a run with another {'; another '.join(other[:3])}. Choose another "
            "folder, or give what it has"
        )


def _changed(was: Any, now: Any, at: str) -> Iterator[str]:
    """Where two values of JSON differ, as "KEY.KEY (was X, now Y)"."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in {**was, **now}:
            yield from _changed(was.get(key), now.get(key), f"{at}.{key}")
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for i, (a, b) in enumerate(zip(was, now, strict=True)):
            yield from _changed(a, b, f"{at}.{i}")
    elif was != now:
        yield f"{at} (was {json.dumps(was):.80}, now {json.dumps(now):.80})"


def started(
    plan: Plan, folder: Path | None, quiet: bool, track: str | None
) -> tuple[Models, Coroutine[Any, Any, Result]]:
    """The models and the coroutine of a run. It begins in `folder`, goes on with the run there, or, without a
    folder, is stored nowhere. SurpassError where the models cannot do what the method needs.
    """
    models = models_of(plan.model, {**plan.spec, "trained": True})
    require(plan.method, plan.task, models, learns=True)
    store = None
    if folder is not None:
        store = Store(folder, plan.options["retain"])
        if not Store.begun(folder):  # a run that did not finish its first exam left nothing behind
            store.describe(plan.about)
    return models, _to_the_end(plan, models, store, quiet, track)


async def _to_the_end(
    plan: Plan, models: Models, store: Store | None, quiet: bool, track: str | None
) -> Result:
    """One run, with progress unless `quiet`; a stored one writes its page."""
    from surpass.report import write_report
    from surpass.trackers import tracking

    method, task = plan.method, plan.task
    budget = Budget.parse(plan.options["budget"]) if plan.options.get("budget") else None
    options = {name: plan.options[name] for name in ("rounds", "seed", "patience")} | {"budget": budget}
    parts = to_json(method), (to_json(task) if store else None)
    allowed = set().union(*(modules_in(part) for part in parts if part is not None))
    if not quiet:
        print(predicted(method, models, options["rounds"], budget), file=sys.stderr)
    say: Callable[..., None] = lambda what, round, event: None  # noqa: E731
    with contextlib.ExitStack() as stack:
        if store:
            stack.callback(store.close)
        if not quiet:
            say = stack.enter_context(Progress(options["rounds"], method, models, budget)).say
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


# -- exams


def examined(asked: Mapping[str, Any]) -> tuple[Models, Coroutine[Any, Any, Report]]:
    """The models and the coroutine of a method's exam on a split, at most `limit` problems."""
    if asked["split"] not in ("test", "gate"):
        raise SurpassError(f'a split to evaluate on is test or gate; found "{asked["split"]}"')
    method = method_of(asked)
    exam = sized(method.exam, {asked["split"]: asked["limit"]})
    exam = redrawn(exam, asked["drawing"]) if asked.get("drawing") else exam
    method = dataclasses.replace(method, exam=exam, learn=())  # an exam needs nothing that training does
    task = task_of(asked)
    models = models_of(asked["model"], model_spec(asked))
    return models, loop.evaluate(method, task, models, split=asked["split"], seed=asked["seed"])
