"""surpass run | eval | resume | compare | view | solve | export | init | methods | tasks: the command
line.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import inspect
import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import surpass
from surpass.budget import Budget
from surpass.errors import RunBroken, SurpassError
from surpass.files import own_frame, quoted, where
from surpass.find import find_method, make_method, make_models, make_task, method_names, unknown
from surpass.means import all_bounds
from surpass.options import (
    CompareOptions,
    EvalOptions,
    RunOptions,
    SkillOptions,
    SolveOptions,
    parse,
    spec_of,
)
from surpass.progress import watching
from surpass.shell import ending, hung_up, show, tell_failed

USAGE = """surpass: makes a language model better at a task with its own attempts.

  surpass run METHOD [--model M] [--task T] [--task.KEY VALUE ...] [METHOD'S KNOBS]   improve a model
  surpass eval METHOD [--model M] [--task T] ...                                      the method's exam alone
  surpass eval [--model M] [--task T] ...                                             what a model can do, a line per task
  surpass resume FOLDER [--code FILE ...] [--url URL] [--cache FOLDER]                go on with a run that was stopped
  surpass compare METHOD METHOD ... [--budget tokens=200k] [--seeds 3] ...            methods at equal work, with error bars
  surpass view [FOLDER] [--port N]                                                    runs as pages in a browser, live
  surpass solve QUESTION [--method METHOD] [--model M] ...                            answer one question, and show how
  surpass export FOLDER --to hf|lora [--out FOLDER]                                   the kept model, for transformers and vLLM
  surpass init FILE.py [--kind task|reward|method]                                    a file of your own to begin with
  surpass methods | tasks                                                             what there is
  surpass tasks TASK [--task.KEY VALUE ...] [--sample N] [--seed S]                   problems, and how attempts are scored

METHOD is a name or file.py:function (compare: also NAME,KNOB=VALUE,...), T a name, data:FILE, or file.py:class, M a Hub id, a folder, a .gguf file, or api:NAME.
Add --help after METHOD for every option."""  # noqa: E501


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


def run(arguments: Sequence[str]) -> int:
    """surpass run METHOD ..."""
    from surpass.api import check_numbers, configuration
    from surpass.measures import sized
    from surpass.parts import run_hash
    from surpass.store import Store

    name, arguments, settings = _method_and_rest("run", arguments)
    function = find_method(name)
    options, knobs = parse(function, RunOptions, arguments, f"surpass run {name}")
    check_numbers(vars(options))
    method = make_method(function, knobs)
    method = dataclasses.replace(
        method, exam=sized(method.exam, {"test": options.test, "gate": options.gate})
    )
    task = make_task(options.task, settings, options.reward, options.model)
    label = function.__name__
    _check_trained(options.model, method)
    spec = {key: value for key, value in spec_of(options).items() if key != "name"}
    config = configuration({**vars(options), "method": label}, method, task, spec)
    words = "".join(c if c.isalnum() or c in "._" else "-" for c in options.task).strip("-")[-40:]
    folder = options.out or Path("runs") / f"{label}-{words}-{run_hash(config)}"
    if options.out is None and folder.is_symlink():  # nobody named it, so nobody meant it to lead elsewhere
        raise SurpassError(f"{folder} is a symbolic link; name the folder that is meant: --out FOLDER")
    if Store.begun(folder):
        raise SurpassError(
            f"{folder} already holds a run; go on with: surpass resume {quoted(folder)}, or choose "
            "another --out"
        )
    return _go(folder, config, method, task, options.json, options.track)


def resume(arguments: Sequence[str]) -> int:
    """surpass resume FOLDER [--code FILE ...] [--track NAME] [--url URL] [--cache FOLDER] [--json]"""
    from surpass import resuming

    words = [word for word in arguments if word != "--json"]
    given: dict[str, str] = {}
    for flag in ("--track", "--url", "--cache"):
        if flag in words[:-1]:
            at = words.index(flag)
            given[flag] = words[at + 1]
            del words[at : at + 2]
    folder, code = Path(words[0]) if words else None, words[2:]
    if folder is None or (len(words) > 1 and (words[1] != "--code" or not code)):
        raise SurpassError(
            "usage: surpass resume FOLDER [--code FILE.py ...] [--track NAME] [--url URL] [--cache "
            "FOLDER] [--json]"
        )
    try:
        config, method, task = resuming.configuration(folder, code, given.get("--url"), given.get("--cache"))
        return _go(folder, config, method, task, "--json" in arguments, given.get("--track"))
    except (SurpassError, OSError):
        raise
    except Exception as error:
        if own_frame(error) is not None or os.environ.get("SURPASS_TRACEBACK"):
            raise
        raise resuming.broken(error, folder) from error


def _go(
    folder: Path, config: dict[str, Any], method: Any, task: Any, as_json: bool, track: str | None
) -> int:
    """Begin a run, or go on with one, to its end; then the summary and the page."""
    import torch

    from surpass import api
    from surpass.needs import require
    from surpass.store import Store
    from surpass.trackers import named

    if config.get("threads"):
        torch.set_num_threads(config["threads"])
    _check_trained(config["model"]["name"], method)
    asked = {"api": config["model"]["api"]} if "api" in config["model"] else {}
    models = make_models(
        {"name": config["model"]["name"], **api.model_spec(config["model"]), "trained": True} | asked
    )
    require(method, task, models, learns=True)
    named(track)
    store = Store(folder, config["retain"])
    if not Store.begun(folder):  # of a run that did not get to the end of its first exam nothing is kept
        store.describe(config)
    budget = Budget.parse(config["budget"]) if config.get("budget") else None
    options = {name: config[name] for name in ("rounds", "seed", "patience")} | {"budget": budget}
    try:
        result = models.run(api.run(method, task, models, store, options, quiet=False, track=track))
    except KeyboardInterrupt:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one finds the process on its way out
        print(
            f"\nstopped; nothing that was finished is lost. Go on with: {_resume(folder, config)}",
            file=sys.stderr,
        )
        return 130
    except RunBroken as error:
        if not (folder / "state.json").exists():
            raise
        raise RunBroken(
            f"{error}. What was finished is kept; mend this and go on with: {_resume(folder, config)}"
        ) from error
    except OSError as error:
        if hung_up(error):
            raise
        where = f"{error.strerror or error}: {error.filename or folder}"
        raise SurpassError(
            f"{where}. What was finished is kept; mend this and go on with: {_resume(folder, config)}"
        ) from error
    print(result)
    if as_json:
        print(api.as_json(result))
    return 0


def _resume(folder: Path, config: dict[str, Any]) -> str:
    """The command that goes on with a run."""
    from surpass.resuming import api_flags

    code = [path for path in config.get("files", {}) if path.endswith(".py")]
    flags = [word for flag in api_flags(config["model"].get("api", {})).items() for word in flag]
    return f"surpass resume {quoted(folder, *(['--code', *code] if code else []), *flags)}"


def _check_trained(model: str, method: Any) -> None:
    """SurpassError where a method trains the weights of a model behind an API."""
    from surpass.parts import needs_of

    if model.startswith("api:") and any("train" in needs_of(learn.learner) for learn in method.learn):
        raise SurpassError(
            "a model behind an API cannot be trained; evaluate a method on it: surpass eval, or surpass solve"
        )


def evaluate(arguments: Sequence[str]) -> int:
    """surpass eval METHOD ..., or without a method: what the model can do."""
    from surpass import loop
    from surpass.measures import redrawn, sized

    if not arguments or arguments[0].startswith("-"):
        return _skills(arguments)
    name, arguments, settings = _method_and_rest("eval", arguments)
    function = find_method(name)
    options, knobs = parse(function, EvalOptions, arguments, f"surpass eval {name}", drawing=True)
    if options.split not in ("test", "gate"):
        raise SurpassError(f'--split is test or gate; found "{options.split}"')
    method = make_method(function, knobs)
    exam = redrawn(sized(method.exam, {options.split: options.limit}), options.drawing)
    method = dataclasses.replace(method, exam=exam, learn=())  # nothing is trained
    task = make_task(options.task, settings, options.reward, options.model)
    models = make_models(spec_of(options))
    with watching(models, f"{name}, {options.split}"):
        report = models.run(loop.evaluate(method, task, models, split=options.split, seed=options.seed))
    print(report)
    tell_failed(report.cost)
    print("cost  " + ", ".join(f"{n:,} {what}" for what, n in sorted(report.cost.items())))
    if options.json:
        from surpass.store import as_line

        print(as_line({"metrics": report.metrics, "bounds": all_bounds(report.metrics), "cost": report.cost}))
    return 0


def _skills(arguments: Sequence[str]) -> int:
    """surpass eval --model M --task T: a table with a line per task."""
    from surpass.measures import fit, skills, table
    from surpass.needs import ENGINE_NEEDS
    from surpass.parts import needs_of

    rest, settings = _task_settings(arguments)
    options, _ = parse(_no_knobs, SkillOptions, rest, "surpass eval")
    if options.split not in ("test", "gate"):
        raise SurpassError(f'--split is test or gate; found "{options.split}"')
    task, models = make_task(options.task, settings, model=options.model), make_models(spec_of(options))
    if min(options.limit, options.k, options.max_tokens) < 1:
        raise SurpassError("--limit, --k and --max-tokens are at least 1")
    measure = skills(options.limit, options.k, options.max_tokens)
    if missing := (needs_of(measure) & ENGINE_NEEDS.keys()) - models.can("policy"):
        raise SurpassError(
            f"a table of skills needs {', '.join(sorted(missing))}, which {options.model} does not give; "
            "evaluate a method instead: surpass eval self_consistency --model ..."
        )
    reports, missed = {}, []
    for name, part in getattr(task, "parts", {type(task).__name__: task}).items():
        with watching(models, f"{name}, {options.split}"):
            reports[name] = models.run(measure(models, part, options.split, options.seed))
        lines = table({name: reports[name]}, options.k).splitlines()
        print("\n".join(lines if len(reports) == 1 else lines[-1:]), flush=True)
        missed += [f"{name}: {reason}" for reason in fit(reports[name], options.k)]
    print(
        "\n".join(
            ["", "not fit to show what methods do with this model:", *missed]
            if missed
            else ["", "every task is fit"]
        )
    )
    if options.json:
        from surpass.store import as_line

        print(
            as_line(
                {
                    name: {
                        "metrics": report.metrics,
                        "bounds": all_bounds(report.metrics),
                        "auc": report.info["auc"],
                    }
                    for name, report in reports.items()
                }
            )
        )
    return 0


def _no_knobs() -> None:
    """What a model can do on each task before anything is learnt, and whether it knows when it is right."""


def compare(arguments: Sequence[str]) -> int:
    """surpass compare METHOD METHOD ..."""
    from surpass.compare import compare as compared

    rest, settings = _task_settings(arguments)
    n = next((i for i, word in enumerate(rest) if word.startswith("-")), len(rest))
    if n < 2 and not {"-h", "--help"} & set(rest):
        raise SurpassError(
            "comparing wants two methods or more: surpass compare METHOD METHOD ... [--budget "
            "tokens=200k] [--seeds 3] [--task T] [--model M]; a method with knobs is "
            "NAME,KNOB=VALUE,..."
        )
    options, _ = parse(_no_knobs, CompareOptions, rest[n:], "surpass compare METHOD METHOD ...")
    if options.model.startswith("api:"):
        raise SurpassError(
            "a model behind an API cannot be compared yet; evaluate each method on it: surpass eval"
        )
    given = {name: value for name, value in vars(options).items() if name not in ("task", "reward", "json")}
    task = make_task(options.task, settings, options.reward, options.model)
    found = compared(rest[:n], task, name=options.task, **given)
    print(found)
    if options.json:
        print(found.as_json())
    return 0


def solve(arguments: Sequence[str]) -> int:
    """surpass solve QUESTION [--method METHOD] ..."""
    from surpass import api
    from surpass.measures import redrawn

    if not arguments or arguments[0].startswith("-"):
        raise SurpassError(
            'surpass solve wants a question first, e.g. surpass solve "What is 17 * 24?" --method '
            "self_consistency"
        )
    question, words = arguments[0], list(arguments[1:])
    name = "self_consistency"
    if "--method" in words:
        at = words.index("--method")
        if at + 1 == len(words):
            raise SurpassError("--method wants a name after it")
        name = words[at + 1]
        del words[at : at + 2]
    function = find_method(name)
    options, knobs = parse(
        function, SolveOptions, words, f"surpass solve QUESTION --method {name}", drawing=True
    )
    method = make_method(function, knobs)
    method = dataclasses.replace(method, exam=redrawn(method.exam, options.drawing))
    models = make_models(spec_of(options))
    with watching(models, name):
        found = api.solve(question, method, models, seed=options.seed, instruction=options.instruction)
    if options.json:
        from surpass.store import as_line

        attempts = [
            dict(zip(("text", "answer", "scores", "chosen"), attempt, strict=True))
            for attempt in found.attempts
        ]
        print(
            as_line(
                {"answer": found.answer, "attempts": attempts, "notes": found.notes(), "cost": found.cost}
            )
        )
        return 0
    show(found)
    return 0


def view(arguments: Sequence[str]) -> int:
    """surpass view [FOLDER] [--port N]"""
    from surpass.view import serve

    folder, port = list(arguments), "0"
    if "--port" in folder:
        at = folder.index("--port")
        port = "".join(folder[at + 1 : at + 2])
        del folder[at : at + 2]
    folder = folder or ["runs"]
    if not port.isdigit() or int(port) > 65535 or len(folder) > 1 or folder[0].startswith("-"):
        raise SurpassError(
            "usage: surpass view [FOLDER] [--port N]; FOLDER holds the runs, N is at most 65535"
        )
    serve(Path(folder[0]), int(port), lambda words: print(words, flush=True))
    return 0


def export(arguments: Sequence[str]) -> int:
    """surpass export FOLDER --to hf|lora [--out FOLDER]"""
    from surpass.export import export as write

    words = dict(zip(arguments[1::2], arguments[2::2], strict=False))
    if (
        not arguments
        or len(arguments) % 2 == 0
        or not words.keys() <= {"--to", "--out"}
        or words.get("--to") not in ("hf", "lora")
    ):
        raise SurpassError(
            "usage: surpass export FOLDER --to hf|lora [--out FOLDER]; other formats (GGUF, MLX) are "
            "made from hf by their own converters"
        )
    print(write(Path(arguments[0]), words["--to"], Path(words["--out"]) if "--out" in words else None))
    return 0


def init(arguments: Sequence[str]) -> int:
    """surpass init FILE.py [--kind task|reward|method]"""
    kinds = ("task", "reward", "method")
    words = list(arguments)
    kind = words[2] if len(words) == 3 and words[1] == "--kind" else "task" if len(words) == 1 else ""
    if kind not in kinds or not words[0].endswith(".py") or not Path(words[0]).stem.isidentifier():
        raise SurpassError(
            "usage: surpass init FILE.py [--kind task|reward|method]; FILE names the task, reward or "
            "method in it"
        )
    path = Path(words[0])
    if os.path.lexists(path):
        raise SurpassError(f"{path} exists already and was left as it is; choose another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    text = (Path(__file__).parent / "assets" / f"my{kind}.py").read_text(encoding="utf-8")
    text = text.replace(f"my{kind}.py", quoted(path)).replace(f"my{kind}", path.stem)
    path.write_text(text, encoding="utf-8")
    print(f"{path} holds a {kind} to begin with; how to try it stands at its top")
    return 0


def methods(arguments: Sequence[str]) -> int:
    """surpass methods"""
    if arguments:
        raise SurpassError("usage: surpass methods; one method's knobs: surpass run METHOD --help")
    for name in method_names():
        print(
            f"{name:20} {(importlib.import_module(f'surpass.methods.{name}').__doc__ or '').splitlines()[0]}"
        )
    return 0


def tasks(arguments: Sequence[str]) -> int:
    """surpass tasks [TASK --sample N]"""
    import surpass.tasks
    from surpass.sample import sample

    if arguments and not arguments[0].startswith("-"):
        rest, settings = _task_settings(arguments[1:])
        numbers = dict(zip(rest[::2], rest[1::2], strict=False))
        if (
            len(rest) % 2
            or not numbers.keys() <= {"--sample", "--seed"}
            or not all(n.isdigit() for n in numbers.values())
        ):
            raise SurpassError("usage: surpass tasks TASK [--task.KEY VALUE ...] [--sample N] [--seed S]")
        print(
            sample(
                make_task(arguments[0], settings),
                int(numbers.get("--sample", 1)),
                int(numbers.get("--seed", 0)),
            )
        )
        return 0
    for name in surpass.tasks.TASKS:
        cls = getattr(surpass.tasks, name)
        who = f"{getattr(cls, 'seats', '1 player')}. "
        tools = f"Tools: {', '.join(cls.tools)}. " if getattr(cls, "tools", ()) else ""
        knobs = ", ".join(
            f"--task.{f.name} ({f.default!r})"
            for f in dataclasses.fields(cls)
            if f.default is not dataclasses.MISSING
        )
        print(f"{name:15} {(inspect.getdoc(cls) or '').splitlines()[0]}\n{'':15} {who}{tools}{knobs}")
    return 0


def _method_and_rest(command: str, arguments: Sequence[str]) -> tuple[str, list[str], dict[str, str]]:
    if not arguments or arguments[0].startswith("-"):
        raise SurpassError(
            f"surpass {command} wants a method first, e.g. surpass {command} tree_grpo. There are: "
            f"{', '.join(method_names())}"
        )
    return arguments[0], *_task_settings(arguments[1:])


COMMANDS = {
    "run": run,
    "eval": evaluate,
    "resume": resume,
    "compare": compare,
    "view": view,
    "solve": solve,
    "export": export,
    "init": init,
    "methods": methods,
    "tasks": tasks,
}


@ending
def main(arguments: Sequence[str] | None = None) -> int:
    """The entry point; errors meant for people end in one message and exit code 2."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    wanted = {"-h", "--help"} & set(
        arguments[: 1 if arguments[:1] in (["eval"], ["compare"]) else 2]
    )  # these two tell of their options
    if not arguments or wanted:
        print(USAGE)
        return 0
    if arguments == ["--version"]:
        print(f"surpass {surpass.__version__}")
        return 0
    if odd := next(
        (word for word in arguments if any("\ud800" <= letter <= "\udfff" for letter in word)), None
    ):
        print(
            f'surpass: "{odd}" is no text in the encoding of this locale '
            f"({sys.getfilesystemencoding()}); take another, such as "
            "LC_ALL=C.UTF-8, or rename what it names",
            file=sys.stderr,
        )
        return 2
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    command = COMMANDS.get(arguments[0])
    try:
        if command is None:
            raise unknown("command", arguments[0], list(COMMANDS))
        warnings.showwarning = lambda message, *rest, **more: print(f"note: {message}", file=sys.stderr)
        warnings.simplefilter("ignore", FutureWarning)
        with contextlib.suppress(ImportError):
            from transformers.utils import logging

            logging.disable_progress_bar()
            logging.set_verbosity_error()
        return command(arguments[1:])
    except KeyboardInterrupt:
        print("\nsurpass: stopped", file=sys.stderr)
        return 130
    except SurpassError as error:
        print(f"surpass: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if hung_up(error):
            raise
        print(f"surpass: {error.strerror or error}: {error.filename or ''}".rstrip(": "), file=sys.stderr)
        return 2
    except Exception as error:
        file = own_frame(error)
        if file is None:
            raise
        print(f"surpass: {file.name} raised {where(error, file)}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
