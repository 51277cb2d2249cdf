"""What a name means: a method, a task or a model, of surpass or in a file of the user's."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surpass import catalogue
from surpass.errors import SurpassError
from surpass.files import at_home, digest, is_file, load_file, load_name, quoted
from surpass.parts import Method, Task, modules_in

if TYPE_CHECKING:
    from surpass.models import Models


def unknown(what: str, name: str, known: list[str]) -> SurpassError:
    """The error for a name that is not known; it suggests the nearest one."""
    near = get_close_matches(name, known, 1)
    return SurpassError(
        f'there is no {what} "{name}"; '
        + (f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}")
    )


def method_names() -> list[str]:
    """Every file in surpass.methods."""
    return catalogue.names()


def find_method(name: str) -> Callable[..., Method]:
    """The function of a method: NAME is the function in surpass/methods/NAME.py, or "file.py:function"."""
    if is_file(name):
        function = load_name(name)
        if not callable(function):
            raise SurpassError(
                f"{name} must be a function that returns a surpass.Method; it is {function!r:.80}"
            )
        return function
    if name not in method_names():
        raise unknown("method", name, method_names())
    return getattr(importlib.import_module(f"surpass.methods.{name}"), name)


def make_method(function: Callable[..., Method], knobs: Mapping[str, Any]) -> Method:
    """The method that a function returns for these knobs."""
    known = inspect.signature(function).parameters
    for knob, value in knobs.items():
        if knob not in known:
            raise unknown(f"knob of {function.__name__}", knob, list(known))
        standard = known[knob].default
        kinds = {bool: bool, int: Integral, float: Real, str: str}.get(type(standard))
        if kinds and (not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool)):
            raise SurpassError(
                f"{function.__name__} wants {knob} as {type(standard).__name__}, such as {standard!r}; "
                f"found {value!r:.60}"
            )
    method = function(**knobs)
    if not isinstance(method, Method):
        raise SurpassError(
            f"{function.__name__} has to return a surpass.Method; it returned {type(method).__name__}"
        )
    return method


@dataclass(frozen=True)
class Entry:
    """A method with knobs, as a comparison names it: "grpo" or "grpo,n=16,lr=1e-4"."""

    name: str
    method: str
    knobs: Mapping[str, Any]

    @staticmethod
    def parse(text: str) -> Entry:
        method, *settings = text.split(",")
        knobs = {}
        for setting in settings:
            key, equals, value = setting.partition("=")
            if not equals:
                raise SurpassError(f'a method is compared as NAME or NAME,KNOB=VALUE,...; found "{text}"')
            knobs[key.strip().replace("-", "_")] = _knob(value.strip())
        entry = Entry(text, method.strip(), knobs)
        make_method(find_method(entry.method), knobs)
        return entry

    @property
    def learns(self) -> bool:
        return bool(make_method(find_method(self.method), self.knobs).learn)

    @property
    def slug(self) -> str:
        return re.sub(r"[^\w.=-]+", "-", self.name).strip("-")


def _knob(text: str) -> Any:
    """A JSON value, several whole numbers as 4x2, or text."""
    if re.fullmatch(r"\d+(x\d+)+", text):
        return tuple(map(int, text.split("x")))
    try:
        return json.loads(text)
    except ValueError:
        return text


def make_task(
    spec: str, settings: Mapping[str, str] | None = None, reward: str | None = None, model: str = ""
) -> Task:
    """The task that `spec` names: "NAME", "NAME:X" (X is its first parameter) or "file.py:NAME". `settings`
    holds its parameters as text; keys that it does not have go to its `parameters`. `reward`,
    "file.py:function", judges attempts in place of the task's own check.

    A task may choose by the `model`'s name what suits it, and stand for another (worlds.TaskHooks): "suite"
    is the tasks that fit the model, "suite:NAME" one task at the suite's difficulty.
    """
    import surpass.tasks

    first = ""
    if is_file(spec):
        cls, name = _own_task(spec), spec
    else:
        name, _, first = spec.partition(":")
        if name.endswith((".jsonl", ".json", ".csv", ".parquet")):
            shown = quoted(f"data:{spec}")
            raise SurpassError(
                f'a data file is given as --task data:FILE; found "{spec}", so: --task {shown}'
            )
        if name not in surpass.tasks.TASKS:
            raise unknown("task", name, list(surpass.tasks.TASKS))
        cls = getattr(surpass.tasks, name)
        first = first or (cls.fitting(model) if hasattr(cls, "fitting") else "")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    values: dict[str, Any] = {}
    parameters: dict[str, Any] = {}
    settings, judged = dict(settings or {}), {}
    if reward and "reward_seconds" in settings:
        field = surpass.tasks.rewarded.__dataclass_fields__["reward_seconds"]
        judged["reward_seconds"] = _value(field, "reward_seconds", settings.pop("reward_seconds"))
    if first:
        values[next(iter(fields))] = (
            _literal(first) if fields[next(iter(fields))].type not in ("str", str) else first
        )
    for key, text in settings.items():
        if key in fields and key != "parameters":
            values[key] = _value(fields[key], key, text)
        elif "parameters" in fields:
            parameters[key] = _literal(text)
        else:
            raise unknown(f"parameter of the task {name}", key, list(fields))
    if parameters:
        values["parameters"] = parameters
    missing = [f.name for f in fields.values() if f.name not in values and _required(f)]
    if missing:
        raise SurpassError(f"the task {name} needs {missing[0]}: --task {name}:{missing[0].upper()}")
    task = cls(**values)
    if hasattr(task, "alone"):
        task = task.alone()
    return surpass.tasks.rewarded(task, reward, **judged) if reward else task


def _required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _value(field: dataclasses.Field, key: str, text: Any) -> Any:
    """A setting's text as the type of its default."""
    value = _literal(text)
    if isinstance(field.default, str) or field.type in ("str", str):
        return text
    if isinstance(field.default, int) and not isinstance(value, int):
        raise SurpassError(f'--task.{key} wants a whole number; found "{text}"')
    if isinstance(field.default, float) and not isinstance(value, (int, float)):
        raise SurpassError(f'--task.{key} wants a number; found "{text}"')
    return value


def _literal(text: Any) -> Any:
    """A JSON value, or the text itself."""
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _own_task(spec: str) -> type:
    """The task class that "file.py:NAME" names; "file.py" alone names the only one in the file."""
    module = load_file(spec.partition(":")[0])
    tasks = {
        n: c
        for n, c in vars(module).items()
        if isinstance(c, type)
        and c.__module__ == module.__name__
        and callable(getattr(c, "problems", None))
        and callable(getattr(c, "check", None))
    }
    name = spec.partition(":")[2] or (next(iter(tasks)) if len(tasks) == 1 else "")
    if name not in tasks:
        file = spec.partition(":")[0]
        if not tasks:
            raise SurpassError(
                f"{file} has no task: a class with problems(split, seed) and check(models, problem, text); "
                "for a file to begin with: surpass init mytask.py"
            )
        raise (
            unknown(f"task in {file}", name, list(tasks))
            if name
            else SurpassError(
                f"{file} has several tasks; name one: {', '.join(f'{file}:{n}' for n in tasks)}"
            )
        )
    if not dataclasses.is_dataclass(tasks[name]):
        raise SurpassError(
            f"the task {name} is written into the run's folder, so it has to be a dataclass: write "
            "@dataclass(frozen=True) above the class"
        )
    return tasks[name]


def own_files(config: Any) -> dict[str, str]:
    """{path: digest} of the files that a configuration depends on: those its parts are defined in, and those
    named in the fields that a part's class lists as `files` (code) and `reads` (data).
    """
    modules = [sys.modules.get(name) for name in modules_in(config)]
    paths = [getattr(module, "__file__", None) for module in modules]
    found = {Path(path).resolve() for path in paths if path and Path(path).is_file()}
    for name in _named(config):
        path = at_home(name).resolve()
        found |= (
            {path}
            if path.is_file()
            else set(filter(Path.is_file, path.iterdir()))
            if path.is_dir()
            else set()
        )
    return {str(path): digest(path) for path in sorted(found)}


def _named(data: Any) -> set[str]:
    """The file names in the fields of parts that hold some."""
    if isinstance(data, Mapping):
        found: set[str] = set().union(*(_named(item) for item in data.values()))
        if "part" in data:
            module, _, name = data["part"].rpartition(".")
            cls = getattr(importlib.import_module(module), name, None)
            found |= {
                str(data[f]).partition(".py:")[0] + ".py" for f in getattr(cls, "files", ()) if data.get(f)
            }
            found |= {str(data[f]) for f in getattr(cls, "reads", ()) if data.get(f)}
        return found
    return set().union(*(_named(item) for item in data)) if isinstance(data, (list, tuple)) else set()


def make_models(spec: Mapping[str, Any]) -> Models:
    """Models with one policy. `spec` holds its name; for a local model dtype, device, lora, lora_targets,
    template_args and `trained` (whether it will learn); for "api:NAME" OpenAIEngine's arguments in "api".
    """
    from surpass.models import Models

    if spec["name"].startswith("api:"):
        from surpass.engines.openai_api import OpenAIEngine

        if spec.get("template_args"):
            raise SurpassError(
                "arguments of a chat template are for local models: a model behind an API has its "
                "template there"
            )

        return Models(policy=OpenAIEngine(spec["name"].removeprefix("api:"), **spec.get("api", {})))
    from surpass.engines import LocalEngine

    targets = tuple(spec.get("lora_targets", ()))
    if targets and not spec.get("lora"):
        raise SurpassError(
            "--lora-targets names what an adapter is put on; give its rank, too, such as --lora 16"
        )
    lora = (
        {"r": spec["lora"], "lora_alpha": 2 * spec["lora"], "targets": targets} if spec.get("lora") else None
    )
    dtype, device, trained = spec.get("dtype", "auto"), spec.get("device", "auto"), spec.get("trained", False)
    return Models(
        policy=LocalEngine(
            spec["name"], dtype, device, lora, trained=trained, template_args=spec.get("template_args")
        )
    )
