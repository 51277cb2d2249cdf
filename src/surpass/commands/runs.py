"""surpass run | resume | compare | view | export: runs, and what they left."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surpass.errors import RunBroken, SurpassError
from surpass.files import own_frame, quoted
from surpass.find import find_method, make_task, method_names
from surpass.options import compare_flags, run_flags
from surpass.parsing import parse, plain, task_settings
from surpass.shell import hung_up

if TYPE_CHECKING:
    from surpass.starting import Plan


def run(arguments: Sequence[str]) -> int:
    """surpass run METHOD ..."""
    from surpass.parts import run_hash
    from surpass.starting import planned
    from surpass.store import Store

    name, rest, settings = method_first("run", arguments)
    asked = parse(find_method(name), run_flags(), rest, f"surpass run {name}") | {"settings": settings}
    plan = planned(asked, stored=True)
    words = "".join(c if c.isalnum() or c in "._" else "-" for c in asked["task"]).strip("-")[-40:]
    folder = asked["out"] or Path("runs") / f"{plan.about['name']}-{words}-{run_hash(plan.about)}"
    if asked["out"] is None and folder.is_symlink():  # nobody named it, so nobody meant it to lead elsewhere
        raise SurpassError(f"{folder} is a symbolic link; name the folder that is meant: --out FOLDER")
    if Store.begun(folder):
        raise SurpassError(
            f"{folder} already holds a run; go on with: surpass resume {quoted(folder)}, or choose "
            "another --out"
        )
    return _carry_on(plan, folder, asked["json"], asked["track"])


def resume(arguments: Sequence[str]) -> int:
    """surpass resume FOLDER [--code FILE ...] [--track NAME] [--url URL] [--cache FOLDER] [--json]"""
    from surpass import resuming
    from surpass.starting import gone_on
    from surpass.trackers import named

    (name,), given = plain(
        arguments,
        "surpass resume FOLDER [--code FILE.py ...] [--track NAME] [--url URL] [--cache FOLDER] [--json]",
        words=(1,),
        flags=("--track", "--url", "--cache"),
        many=("--code",),
        switches=("--json",),
    )
    folder = Path(name)
    named(given.get("--track"))
    try:
        found = resuming.configuration(
            folder, given.get("--code", []), given.get("--url"), given.get("--cache")
        )
        return _carry_on(gone_on(*found), folder, "--json" in given, given.get("--track"))
    except (SurpassError, OSError):
        raise
    except Exception as error:
        if own_frame(error) is not None or os.environ.get("SURPASS_TRACEBACK"):
            raise
        raise resuming.broken(error, folder) from error


def _carry_on(plan: Plan, folder: Path, as_json: bool, track: str | None) -> int:
    """Begin a run, or go on with one, to its end; then the summary and the page."""
    import torch

    from surpass.starting import started

    if plan.about.get("threads"):
        torch.set_num_threads(plan.about["threads"])
    models, work = started(plan, folder, quiet=False, track=track)
    again = _resume(folder, plan.about)
    try:
        result = models.run(work)
    except KeyboardInterrupt:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one finds the process on its way out
        print(f"\nstopped; nothing that was finished is lost. Go on with: {again}", file=sys.stderr)
        return 130
    except RunBroken as error:
        if not (folder / "state.json").exists():
            raise
        raise RunBroken(f"{error}. What was finished is kept; mend this and go on with: {again}") from error
    except OSError as error:
        if hung_up(error):
            raise
        where = f"{error.strerror or error}: {error.filename or folder}"
        raise SurpassError(
            f"{where}. What was finished is kept; mend this and go on with: {again}"
        ) from error
    print(result)
    if as_json:
        print(result.as_json())
    return 0


def _resume(folder: Path, config: Mapping[str, Any]) -> str:
    """The command that goes on with a run."""
    from surpass.resuming import api_flags

    code = [path for path in config.get("files", {}) if path.endswith(".py")]
    flags = [word for flag in api_flags(config["model"].get("api", {})).items() for word in flag]
    return f"surpass resume {quoted(folder, *(['--code', *code] if code else []), *flags)}"


def compare(arguments: Sequence[str]) -> int:
    """surpass compare METHOD METHOD ..."""
    import surpass

    rest, settings = task_settings(arguments)
    n = next((i for i, word in enumerate(rest) if word.startswith("-")), len(rest))
    if n < 2 and not {"-h", "--help"} & set(rest):
        raise SurpassError(
            "comparing wants two methods or more: surpass compare METHOD METHOD ... [--budget "
            "tokens=200k] [--seeds 3] [--task T] [--model M]; a method with knobs is "
            "NAME,KNOB=VALUE,..."
        )
    title = "Methods at equal work, with error bars."
    asked = parse(None, compare_flags(), rest[n:], "surpass compare METHOD METHOD ...", title)
    if asked["model"].startswith("api:"):
        raise SurpassError(
            "a model behind an API cannot be compared yet; evaluate each method on it: surpass eval"
        )
    own = ("task", "reward", "json", "api", "method", "knobs")
    task = make_task(asked["task"], settings, asked["reward"], asked["model"])
    options = {name: value for name, value in asked.items() if name not in own}
    found = surpass.compare(rest[:n], task, name=asked["task"], **options)
    print(found)
    if asked["json"]:
        print(found.as_json())
    return 0


def view(arguments: Sequence[str]) -> int:
    """surpass view [FOLDER] [--port N]"""
    from surpass.view import serve

    usage = "surpass view [FOLDER] [--port N]; FOLDER holds the runs, N is at most 65535"
    folder, given = plain(arguments, usage, words=(0, 1), flags=("--port",))
    port = given.get("--port", "0")
    if not port.isdigit() or int(port) > 65535:
        raise SurpassError(f"usage: {usage}")
    serve(Path(folder[0] if folder else "runs"), int(port), lambda words: print(words, flush=True))
    return 0


def export(arguments: Sequence[str]) -> int:
    """surpass export FOLDER --to hf|lora [--out FOLDER]"""
    from surpass.export import export as write

    usage = (
        "surpass export FOLDER --to hf|lora [--out FOLDER]; other formats (GGUF, MLX) are made from hf by "
        "their own converters"
    )
    (folder,), given = plain(arguments, usage, words=(1,), flags=("--to", "--out"))
    if given.get("--to") not in ("hf", "lora"):
        raise SurpassError(f"usage: {usage}")
    print(write(Path(folder), given["--to"], Path(given["--out"]) if "--out" in given else None))
    return 0


def method_first(command: str, arguments: Sequence[str]) -> tuple[str, list[str], dict[str, str]]:
    """(METHOD, the other arguments, the task's settings) of surpass COMMAND METHOD ..."""
    if not arguments or arguments[0].startswith("-"):
        raise SurpassError(
            f"surpass {command} wants a method first, e.g. surpass {command} tree_grpo. There are: "
            f"{', '.join(method_names())}"
        )
    return arguments[0], *task_settings(arguments[1:])
