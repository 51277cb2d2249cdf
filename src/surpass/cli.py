"""surpass run | eval | resume | methods: the command line."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import inspect
import json
import os
import pkgutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from surpass.errors import SurpassError

USAGE = """surpass: makes a language model better at a task with its own attempts.

  surpass run METHOD [--model M] [--task T] [--task.KEY VALUE ...] [METHOD'S KNOBS]   improve a model
  surpass eval METHOD [--model M] [--task T] ...                                      the method's exam alone
  surpass resume FOLDER                                                               go on with a run that was stopped
  surpass methods                                                                     what there is

Add --help after METHOD for every option."""


@dataclass
class RunOptions:
    """What every run has."""

    model: str = "smollm2-135m"
    """A Hub id, a folder, a .gguf file, or the alias smollm2-135m."""
    task: str = "arithmetic"
    """A task of surpass.tasks; NAME:X sets its first parameter. Others follow as --task.KEY VALUE."""
    rounds: int = 12
    """Rounds of propose, score, select, learn."""
    seed: int = 0
    """Seeds problems and draws. Gate and test problems are the same for every seed."""
    out: Path | None = None
    """The run's folder (default: runs/METHOD-TASK-HASH)."""
    test: int = 256
    """Test problems: start and end of the run."""
    gate: int = 96
    """Gate problems: the decisions in between."""
    dtype: str = "auto"
    """float32, bfloat16, float16; auto: float32 on a CPU, bfloat16 on a GPU."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ..."""
    lora: int = 0
    """Rank of a LoRA adapter to train instead of the weights (0: the weights)."""
    patience: int = 3
    """Stop after this many refused updates in a row."""
    retain: int = 2
    """Rounds whose weights stay on disk, beside those the run may go back to (0: all)."""
    json: bool = False
    """Print one JSON object as the last line."""


@dataclass
class EvalOptions:
    """What every evaluation has."""

    model: str = "smollm2-135m"
    """A Hub id, a folder (a run's weights, too), a .gguf file, or the alias smollm2-135m."""
    task: str = "arithmetic"
    """A task of surpass.tasks; NAME:X sets its first parameter. Others follow as --task.KEY VALUE."""
    split: str = "test"
    """test or gate."""
    seed: int = 0
    """Seeds the draws."""
    limit: int = 256
    """Problems at most."""
    dtype: str = "auto"
    """float32, bfloat16, float16; auto: float32 on a CPU, bfloat16 on a GPU."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ..."""
    json: bool = False
    """Print one JSON object as the last line."""


def _unknown(what: str, name: str, known: list[str]) -> SurpassError:
    """A name that is none, with the nearest that are."""
    near = get_close_matches(name, known, 1)
    return SurpassError(
        f'there is no {what} "{name}"; ' + (f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}")
    )


def method_names() -> list[str]:
    """Every file in surpass.methods."""
    import surpass.methods

    return sorted(module.name for module in pkgutil.iter_modules(surpass.methods.__path__))


def find_method(name: str) -> Callable[..., Any]:
    """The function of a method: the file's name is the method's."""
    if name not in method_names():
        raise _unknown("method", name, method_names())
    return getattr(importlib.import_module(f"surpass.methods.{name}"), name)


def make_task(spec: str, settings: dict[str, str]) -> Any:
    """A task from "NAME" or "NAME:X" and --task.KEY VALUE settings; keys a task does not have go to its `parameters`."""
    import surpass.tasks

    name, _, first = spec.partition(":")
    if name not in surpass.tasks.__all__:
        raise _unknown("task", name, surpass.tasks.__all__)
    cls = getattr(surpass.tasks, name)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    values: dict[str, Any] = {}
    parameters: dict[str, Any] = {}
    if first:
        values[next(iter(fields))] = _literal(first)
    for key, text in settings.items():
        if key in fields and key != "parameters":
            default = fields[key].default
            value = _literal(text)
            if isinstance(default, str):
                value = text
            if isinstance(default, int) and not isinstance(value, int):
                raise SurpassError(f'--task.{key} wants a whole number; found "{text}"')
            values[key] = value
        elif "parameters" in fields:
            parameters[key] = _literal(text)
        else:
            raise _unknown(f"parameter of the task {name}", key, list(fields))
    if parameters:
        values["parameters"] = parameters
    return cls(**values)


def _literal(text: str) -> Any:
    """A JSON value, or the text itself."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _task_settings(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """(the other arguments, {KEY: VALUE}) of --task.KEY VALUE and --task.KEY=VALUE."""
    rest, settings, waiting = [], {}, list(arguments)
    while waiting:
        word = waiting.pop(0)
        if not word.startswith("--task."):
            rest.append(word)
            continue
        key, equals, value = word.removeprefix("--task.").partition("=")
        if not equals:
            if not waiting or waiting[0].startswith("--"):
                raise SurpassError(f"--task.{key} wants a value after it")
            value = waiting.pop(0)
        settings[key.replace("-", "_")] = value
    return rest, settings


def _parse(function: Callable[..., Any], options: type, arguments: Sequence[str], program: str) -> tuple[Any, dict[str, Any]]:
    """(options, the method's knobs): the command line is the method's signature and the options, nothing deeper."""
    import tyro

    signature = inspect.signature(function, eval_str=True)
    knobs = dataclasses.make_dataclass(
        "Knobs", [(p.name, p.annotation, dataclasses.field(default=p.default)) for p in signature.parameters.values()]
    )
    knobs.__doc__ = inspect.getdoc(function)
    both = dataclasses.make_dataclass("Both", [("options", options), ("method", knobs)])
    both.__doc__ = (inspect.getmodule(function).__doc__ or "").split("\n")[0]
    parsed: Any = tyro.cli(both, config=(tyro.conf.OmitArgPrefixes,), args=list(arguments), prog=program)
    return parsed.options, {field.name: getattr(parsed.method, field.name) for field in dataclasses.fields(knobs)}


def _models(run: dict[str, Any]) -> Any:
    import torch

    from surpass.engines import LocalEngine
    from surpass.models import Models

    if run.get("threads"):
        torch.set_num_threads(run["threads"])
    spec = run["model"]
    lora = {"r": spec["lora"], "lora_alpha": 2 * spec["lora"]} if spec.get("lora") else None
    return Models(policy=LocalEngine(spec["name"], spec["dtype"], spec["device"], lora))


def run(arguments: Sequence[str]) -> int:
    """surpass run METHOD ..."""
    import torch
    import transformers

    from surpass.measures import sized
    from surpass.parts import run_hash, to_json

    name, arguments, settings = _method_and_rest("run", arguments)
    options, knobs = _parse(find_method(name), RunOptions, arguments, f"surpass run {name}")
    method = find_method(name)(**knobs)
    method = dataclasses.replace(method, exam=sized(method.exam, {"test": options.test, "gate": options.gate}))
    task = make_task(options.task, settings)
    config = {
        "name": name, "method": to_json(method), "task": to_json(task), "seed": options.seed, "rounds": options.rounds,
        "patience": options.patience, "retain": options.retain, "threads": torch.get_num_threads(),
        "model": {"name": options.model, "dtype": options.dtype, "device": options.device, "lora": options.lora},
        "versions": {"surpass": "0.1.0", "torch": torch.__version__, "transformers": transformers.__version__},
    }  # fmt: skip
    folder = options.out or Path("runs") / f"{name}-{options.task.replace(':', '-').replace('/', '-')}-{run_hash(config)}"
    if (folder / "run.json").exists():
        raise SurpassError(f"{folder} already holds a run; go on with: surpass resume {folder}, or choose another --out")
    return _go(folder, config, method, task, options.json)


def resume(arguments: Sequence[str]) -> int:
    """surpass resume FOLDER"""
    from surpass.parts import from_json
    from surpass.store import Store

    rest = [word for word in arguments if word != "--json"]
    if len(rest) != 1:
        raise SurpassError("usage: surpass resume FOLDER [--json]")
    folder = Path(rest[0])
    config = Store.read_run(folder)
    task = from_json(config["task"])
    return _go(folder, config, from_json(config["method"]), task, "--json" in arguments)


def _go(folder: Path, config: dict[str, Any], method: Any, task: Any, as_json: bool) -> int:
    """Begin a run, or go on with one, to its end; then the summary and the page."""
    from surpass.loop import improve, require
    from surpass.progress import Progress, predicted
    from surpass.report import write_report
    from surpass.store import Store

    models = _models(config)
    require(method, task, models, learns=True)
    store = Store(folder, config["retain"])
    if not (folder / "run.json").exists():
        store.describe(config)
    print(predicted(method, models, config["rounds"]), file=sys.stderr)
    progress = Progress(config["rounds"], method)
    try:
        with progress:
            result = models.run(improve(method, task, models, rounds=config["rounds"], seed=config["seed"], store=store,
                                        patience=config["patience"], say=progress.say))  # fmt: skip
    except KeyboardInterrupt:
        print(f"\nstopped; nothing that was finished is lost. Go on with: surpass resume {folder}", file=sys.stderr)
        return 130
    finally:
        store.close()
    page = write_report(folder)
    _summary(result, folder, page)
    if as_json:
        print(json.dumps({"before": result.before.metrics, "after": result.after.metrics, "change": result.change(),
                          "cost": result.cost, "run": str(folder)}))  # fmt: skip
    return 0


def _summary(result: Any, folder: Path, page: Path) -> None:
    before, after, change = result.before.metrics["accuracy"], result.after.metrics["accuracy"], result.change()
    spent = {
        what: sum(account.get(what, 0) for account in result.cost.values()) for what in ("generated", "prefilled", "trained")
    }
    print(
        f"test accuracy  {before['mean']:.3f} +- {before['stderr']:.3f}  ->  {after['mean']:.3f} +- {after['stderr']:.3f}   (n={after['n']})"
    )
    print(f"change         {change['mean']:+.3f} +- {change['stderr']:.3f} (paired)")
    print(f"tokens         {spent['generated']:,} drawn, {spent['prefilled']:,} prefilled, {spent['trained']:,} trained")
    if result.kept_round:
        print(f"model          {folder / 'weights' / f'{result.kept_round:04d}' / 'policy'}   (loads with transformers)")
    else:
        print("model          the start: no update was kept")
    print(f"report         {page}")


def evaluate(arguments: Sequence[str]) -> int:
    """surpass eval METHOD ..."""
    from surpass import loop
    from surpass.measures import sized

    name, arguments, settings = _method_and_rest("eval", arguments)
    options, knobs = _parse(find_method(name), EvalOptions, arguments, f"surpass eval {name}")
    if options.split not in ("test", "gate"):
        raise SurpassError(f'--split is test or gate; found "{options.split}"')
    method = find_method(name)(**knobs)
    method = dataclasses.replace(method, exam=sized(method.exam, {options.split: options.limit}), learn=())  # an exam trains nothing, so it needs nothing that training does
    task = make_task(options.task, settings)
    models = _models({"model": {"name": options.model, "dtype": options.dtype, "device": options.device}})
    report = models.run(loop.evaluate(method, task, models, split=options.split, seed=options.seed))
    for metric, m in report.metrics.items():
        missing = f", {m['missing']} not judged" if m["missing"] else ""
        print(f"{metric:28} {m['mean']:.3f} +- {m['stderr']:.3f}   (n={m['n']}{missing})")
    if options.json:
        print(json.dumps({"metrics": report.metrics, "cost": report.cost}))
    return 0


def methods(arguments: Sequence[str]) -> int:
    """surpass methods"""
    for name in method_names():
        print(f"{name:20} {(importlib.import_module(f'surpass.methods.{name}').__doc__ or '').splitlines()[0]}")
    return 0


def _method_and_rest(command: str, arguments: Sequence[str]) -> tuple[str, list[str], dict[str, str]]:
    if not arguments or arguments[0].startswith("-"):
        raise SurpassError(
            f"surpass {command} wants a method first, e.g. surpass {command} tree_grpo. There are: {', '.join(method_names())}"
        )
    rest, settings = _task_settings(arguments[1:])
    return arguments[0], rest, settings


COMMANDS = {"run": run, "eval": evaluate, "resume": resume, "methods": methods}


def main(arguments: Sequence[str] | None = None) -> int:
    """The entry point; errors meant for people end in one message and exit code 2."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    command = COMMANDS.get(arguments[0])
    try:
        if command is None:
            raise _unknown("command", arguments[0], list(COMMANDS))
        with contextlib.suppress(ImportError):
            from transformers.utils import logging

            logging.disable_progress_bar()
            logging.set_verbosity_error()
        return command(arguments[1:])
    except SurpassError as error:
        print(f"surpass: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"surpass: {error.strerror or error}: {error.filename or ''}".rstrip(": "), file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
