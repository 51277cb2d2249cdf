"""A user's own Python files: "mytask.py:mytask" names a thing in one."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
import sys
import traceback
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from surpass.errors import SurpassError


def quoted(*words: Any) -> str:
    """Words quoted for a shell, so that a printed command can be copied, whatever its files are called. A
    path that begins with a dash gets "./" in front, so that it is no flag.
    """
    return " ".join(
        shlex.quote(f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word))
        for word in words
    )


def at_home(path: str | Path) -> Path:
    """A path with ~ replaced by the home folder; SurpassError where there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise SurpassError(
            f"{path}: there is no home folder to find it in (HOME is not set); write the whole path"
        ) from error


def is_file(name: str) -> bool:
    """Whether a name refers to a user's file, or to something in it."""
    return name.partition(":")[0].endswith(".py")


def load_file(path: str | Path) -> ModuleType:
    """The module of a Python file, under the file's stem. It runs again only after the file has changed, and
    may import its neighbours. SurpassError for a missing file, for a stem that is another module's name, and
    for whatever the file raises.
    """
    path = at_home(path).resolve()
    if not path.is_file():
        near = get_close_matches(
            path.name, [p.name for p in path.parent.glob("*.py")] if path.parent.is_dir() else [], 1
        )
        raise SurpassError(f"there is no file {path}" + (f"; did you mean {near[0]}?" if near else ""))
    known = sys.modules.get(path.stem)
    own = known is not None and Path(getattr(known, "__file__", None) or "").resolve() == path
    if known is not None and own and getattr(known, "_surpass_digest", None) in (None, digest(path)):
        return known
    if (
        (known is not None and not own and not hasattr(known, "_surpass_digest"))
        or path.stem in sys.stdlib_module_names
        or path.stem == "surpass"
    ):
        raise SurpassError(f'{path.name} has the name of another module, "{path.stem}"; rename the file')
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None, "a .py file always has a loader"
    module = importlib.util.module_from_spec(spec)
    module.__dict__["_surpass_digest"] = digest(path)
    sys.modules[path.stem] = module  # dataclasses look up their module while they are made
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[path.stem]
        raise SurpassError(f"{path.name} could not be run: {where(error, path)}") from error
    return module


def load_name(name: str) -> Any:
    """What "file.py:name" names; "file.py" alone names what is called like the file."""
    file, _, wanted = name.partition(":")
    module = load_file(file)
    wanted = wanted or Path(file).stem
    if not hasattr(module, wanted):
        mine = [
            key
            for key, value in vars(module).items()
            if getattr(value, "__module__", None) == module.__name__
        ]
        near = get_close_matches(wanted, mine, 1)
        there = f"did you mean {near[0]}?" if near else f"there are: {', '.join(mine) or 'none'}"
        raise SurpassError(f'{file} has no "{wanted}"; {there}')
    return getattr(module, wanted)


def digest(path: str | Path) -> str:
    """Sixteen hexadecimal digits of a file's contents."""
    # without waiting: a run's folder may name a FIFO
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()


def where(error: BaseException, path: Path) -> str:
    """ "ValueError in line 12: message", with the last line of the file in the traceback."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).resolve() == path
    ]
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else lines[-1] if lines else None
    words = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}{f' in line {line}' if line else ''}: {words}".rstrip(": ")


def own_frame(error: BaseException) -> Path | None:
    """The user's file that an error comes from or passed through; None where there is none."""
    mine = {
        Path(module.__file__).resolve()
        for module in list(sys.modules.values())
        if hasattr(module, "_surpass_digest") and module.__file__
    }
    files = [Path(frame.filename).resolve() for frame in traceback.extract_tb(error.__traceback__)]
    return next((file for file in reversed(files) if file in mine), None)
