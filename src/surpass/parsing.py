"""How the command line is read: options and a method's signature by tyro, the rest word by word."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import json
import re
import sys
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from surpass.errors import SurpassError
from surpass.files import at_home
from surpass.options import DRAWING, HOME, ApiOptions
from surpass.shown import bare, shown

# -- word by word


def picked(
    arguments: Sequence[str], wanted: Callable[[str], bool], many: bool = False
) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """(the other arguments, [(flag, its values)]) for the flags that are `wanted`, as --flag VALUE or
    --flag=VALUE; with `many` also as --flag VALUE VALUE ...
    """
    rest: list[str] = []
    found: list[tuple[str, list[str]]] = []
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        flag, equals, value = word.partition("=")
        if not (flag.startswith("--") and wanted(flag)):
            rest.append(word)
            continue
        values = [value] if equals else []
        while not equals and waiting and not waiting[0].startswith("--") and (many or not values):
            values.append(waiting.pop(0))
        found.append((flag, values))
    return rest, found


def plain(
    arguments: Sequence[str],
    usage: str,
    words: Collection[int],
    flags: Collection[str] = (),
    many: Collection[str] = (),
    switches: Collection[str] = (),
) -> tuple[list[str], dict[str, Any]]:
    """(words, {flag: value}) of a command. `words` says how many it may have, `many` names the flags with
    several values, `switches` those with none. SurpassError with the usage where something else was written.
    """
    rest, given, lacking = list(arguments), dict[str, Any](), False
    for names, several in ((flags, False), (many, True)):
        rest, found = picked(rest, names.__contains__, several)
        for flag, values in found:
            lacking = lacking or not values
            given[flag] = [*given.get(flag, []), *values] if several else "".join(values)
    given |= {word: True for word in rest if word in switches}
    rest = [word for word in rest if word not in switches]
    if lacking or len(rest) not in words or any(word.startswith("-") for word in rest):
        raise SurpassError(f"usage: {usage}")
    return rest, given


def task_settings(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """(the other arguments, {KEY: VALUE}) of --task.KEY VALUE and --task.KEY=VALUE."""
    rest, found = picked(arguments, lambda flag: flag.startswith("--task."))
    for flag, values in found:
        if not values:
            raise SurpassError(f"{flag} wants a value after it")
    return rest, {flag.removeprefix("--task.").replace("-", "_"): values[0] for flag, values in found}


# -- by tyro


def parse(
    function: Callable[..., Any] | None,
    options: type,
    arguments: Sequence[str],
    program: str,
    title: str = "",
    drawing: bool = False,
) -> dict[str, Any]:
    """What was asked, for surpass.starting: the options by name, `method` (the function) and its `knobs`.

    The flags are those of `options` and of the method's signature. Help begins with `title` or the first
    line of the method's file. With `drawing` there are flags for how attempts are drawn even where the method
    has no such knob; those that were given stand in "drawing".
    """
    import tyro

    parameters = _knobs(function, options)
    whole: list[Any] = [("options", options)]
    if function is not None:
        fields = [(p.name, p.annotation, dataclasses.field(default=p.default)) for p in parameters.values()]
        whole.append(("method", dataclasses.make_dataclass("Knobs", fields)))
        whole[-1][1].__doc__ = inspect.getdoc(function)
    lacking = [name for name in DRAWING if drawing and name not in parameters]
    if lacking:
        whole.append(("draws", dataclasses.make_dataclass("Draws", [_draw(name) for name in lacking])))
    both = dataclasses.make_dataclass("Both", whole)
    both.__doc__ = title or _title(function)
    said = io.StringIO()
    try:
        # help has colours of its own
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(bare(sys.stdout)):
            parsed: Any = tyro.cli(
                both, config=(tyro.conf.OmitArgPrefixes,), args=_gathered(arguments), prog=shown(program)
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise SurpassError(_unboxed(said.getvalue(), program)) from None
    asked = vars(parsed.options)
    asked["template_args"] = template_arguments(asked["template_args"]) or None
    asked["api"] = _api(asked["api"]) if asked["model"].startswith("api:") and "api" in asked else None
    knobs = {name: getattr(parsed.method, name) for name in parameters}
    if drawing:
        flags = [word.partition("=")[0] for word in arguments if word.startswith("--")]
        given = {flag.removeprefix("--").replace("-", "_") for flag in flags}
        every = {**knobs, **{name: getattr(parsed.draws, name) for name in lacking}}
        asked["drawing"] = {name: every[name] for name in DRAWING if name in given}
    return asked | {"method": function, "knobs": knobs}


def _knobs(function: Callable[..., Any] | None, options: type) -> Mapping[str, inspect.Parameter]:
    """The parameters of a method; SurpassError where they cannot be flags."""
    if function is None:
        return {}
    parameters = inspect.signature(function, eval_str=True).parameters
    for p in parameters.values():
        if p.annotation is p.empty or p.default is p.empty:
            raise SurpassError(
                f"the arguments of {function.__name__} are its command line: give {p.name} a type and a "
                "default"
            )
    if taken := {f.name for f in dataclasses.fields(options)} & set(parameters):
        raise SurpassError(
            f"{function.__name__} has a knob that every run has: {', '.join(sorted(taken))}; rename it"
        )
    return parameters


def _draw(name: str) -> tuple[str, Any, Any]:
    """The flag for how attempts are drawn where the method has no such knob."""
    import tyro

    help = tyro.conf.arg(help=f"{DRAWING[name]} (default: the method's).")
    return name, Annotated[float | None, help], dataclasses.field(default=None)


def _title(function: Callable[..., Any] | None) -> str:
    """The first line of a method's file."""
    return (getattr(inspect.getmodule(function), "__doc__", "") or "").split("\n")[0] if function else ""


def _gathered(arguments: Sequence[str]) -> list[str]:
    """The arguments with all --template-args as one, whose values stand behind it."""
    rest, found = picked(arguments, ("--template-args", "--template_args").__contains__, many=True)
    values = [value for _, some in found for value in some]
    return [*rest, *(["--template-args", *values] if values else [])]


def template_arguments(words: Sequence[str]) -> dict[str, Any]:
    """{NAME: VALUE} of NAME=VALUE; a value is JSON, or else text."""
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier() or name in found:
            raise SurpassError(
                "--template-args wants NAME=VALUE, each name once, such as enable_thinking=false; "
                f'found "{word}"'
            )
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found


def _unboxed(text: str, program: str) -> str:
    """What tyro says in its boxes, as one line and without help texts."""
    lines = [line.strip(" │") for line in text.splitlines()[1:]]  # the first is the box's title
    words = " ".join(line for line in lines if line.strip("─-╰╯"))
    words = re.split(r"Argument helptext:|For full helptext| \(default", words)[0].strip()
    words += " (several values are written apart: 4 4)" if "valid parse" in words else ""
    return f"{words.replace(' Perhaps you meant:', '; perhaps you meant')}. Every option: {program} --help"


# -- a model behind an API


def _api(options: ApiOptions) -> dict[str, Any]:
    """The arguments of surpass.engines.openai_api.OpenAIEngine."""
    found = dataclasses.asdict(options)
    found["tokens"], found["dollars"] = found.pop("budget_tokens"), found.pop("budget_dollars")
    return found | {"cache": _cache(options.cache), "price": list(options.price)}


def _cache(folder: Path | None) -> str | None:
    """Where answers are kept; nowhere, and a note says so, if the usual folder cannot be written."""
    from surpass.engines.ledger import Cache

    if folder != HOME:
        return str(at_home(folder)) if folder else None
    try:
        return str(Cache(at_home(folder)).folder)
    except SurpassError as error:
        warnings.warn(
            f"answers are not kept: {error}. --cache FOLDER keeps them elsewhere, --cache None says "
            "that it is meant",
            stacklevel=2,
        )
        return None
