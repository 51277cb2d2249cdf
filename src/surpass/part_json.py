"""Parts as JSON and back: the JSON of a method is its complete configuration; its hash names the run."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from surpass.errors import SurpassError
from surpass.hints import hints, misfit

HOLD_PARTS = frozenset(
    "advantages choose curricula gates learners measures methods objectives parts rewards searches "
    "selectors tasks types".split()
)
"""The packages whose classes a run's folder may name."""


def _public_name(cls: type) -> str:
    """The shortest dotted name that finds the class: its package if that exports it, else its module."""
    package = cls.__module__.rpartition(".")[0]
    if package and getattr(importlib.import_module(package), cls.__name__, None) is cls:
        return f"{package}.{cls.__name__}"
    return f"{cls.__module__}.{cls.__name__}"


RENAMED: Mapping[str, Mapping[str, str]] = {
    "surpass.searches.beam": {"branch": "n", "least": "by_least", "most": "token_budget"},
    "surpass.searches.best_first": {"branch": "n", "most": "token_budget"},
    "surpass.searches.first_error": {"k": "n", "length": "scale"},
    "surpass.searches.mcts": {"width": "n", "most": "token_budget"},
    "surpass.searches.prompts": {"width": "n", "least": "min_depth"},
    "surpass.searches.refine": {"enough": "done"},
    "surpass.searches.stepwise": {"k": "n"},
    "surpass.searches.tree": {"widths": "n"},
    "surpass.measures.agreement": {"most": "limit"},
    "surpass.rewards.overlong": {"most": "max_tokens"},
    "surpass.gates.limits": {"length": "growth"},
}
"""The former names of fields, so that runs of earlier versions go on."""


def to_json(value: Any) -> Any:
    """A part, or any value made of parts, numbers, strings, tuples and dicts, as JSON. `from_json` gives an
    equal value back. SurpassError for any other value.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"part": _public_name(type(value))} | {
            f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "problems") and hasattr(value, "check"):
        raise SurpassError(
            f"the task {type(value).__name__} is written into the run's folder, so it has to be a "
            "dataclass: write @dataclass(frozen=True) above the class and give it a name at the top of "
            "a module"
        )
    raise SurpassError(
        f"a part may hold numbers, text, tuples, dicts and other parts; found {type(value).__name__}: "
        f"{value!r}"
    )


def from_json(data: Any, allowed: Mapping[str, str] | Iterable[str] = ()) -> Any:
    """The part that `to_json` wrote. A run's folder may come from a stranger, so only names inside surpass
    resolve, and names in modules that are `allowed`. A class's `files` are its fields of the form
    "file.py:name". Where `allowed` maps a module to a path that the user gave, that path replaces the data's.
    """
    allowed = dict(allowed) if isinstance(allowed, Mapping) else dict.fromkeys(allowed, "")
    if isinstance(data, dict):
        if "part" not in data:
            return {key: from_json(item, allowed) for key, item in data.items()}
        module, _, name = str(data["part"]).rpartition(".")
        if module.partition(".")[0] != "surpass" and module not in allowed:
            raise SurpassError(
                f'the part "{data["part"]!s:.100}" is not inside surpass; if it is in a file of your '
                f"own, allow it by name: --code {module:.100}.py"
            )
        cls = _class(module, name)
        names = RENAMED.get(f"{module}.{name}", {})
        data = {names.get(str(key), key): item for key, item in data.items()}
        for field in getattr(cls, "files", ()):
            file, _, wanted = str(data.get(field, "")).rpartition(":")
            if Path(file).stem not in allowed:
                raise SurpassError(
                    f"the run uses {file}, a file of your own; allow it by name: --code {file}"
                )
            data[field] = f"{allowed[Path(file).stem] or file}:{wanted}"
        return _made(cls, {key: from_json(item, allowed) for key, item in data.items() if key != "part"})
    if isinstance(data, list):
        return tuple(from_json(item, allowed) for item in data)
    return data


def _class(module: str, name: str) -> type:
    """The dataclass of this name in an allowed module. Of surpass's own modules only those that hold parts
    count: other classes may open files, and other modules may do something when imported.
    """
    try:
        known = (
            module.partition(".")[0] != "surpass" or module == "surpass" or module.split(".")[1] in HOLD_PARTS
        )
        cls = getattr(importlib.import_module(module), name, None) if known else None
    except (ImportError, ValueError):  # ValueError: not a possible module name
        cls = None
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise SurpassError(f'there is no part "{module:.100}.{name:.100}" in this version of surpass')
    return cls


def _made(cls: type, values: dict[str, Any]) -> Any:
    """cls(**values). For surpass's own classes, SurpassError if the values do not fit the fields."""
    if not cls.__module__.startswith("surpass."):
        return cls(**values)
    for name, hint in hints(cls).items():
        if name in values and (wanted := misfit(values[name], hint)):
            raise SurpassError(f"{cls.__name__} needs {name} to be {wanted}; found {values[name]!r:.60}")
    try:
        return cls(**values)
    except SurpassError:
        raise
    except Exception as error:  # parts check their values when they are made
        raise SurpassError(
            f"{cls.__name__} cannot be made from what is written there: {' '.join(str(error).split()):.200}"
        ) from error


def modules_in(data: Any) -> set[str]:
    """The modules outside surpass whose parts a JSON configuration names."""
    if isinstance(data, dict):
        module = str(data.get("part", "surpass.x")).rpartition(".")[0]
        own = set() if module.partition(".")[0] == "surpass" else {module}
        return own.union(*(modules_in(item) for item in data.values()))
    return set().union(*(modules_in(item) for item in data)) if isinstance(data, list) else set()


def run_hash(config: Any) -> str:
    """Eight hexadecimal digits that name a configuration.

    >>> run_hash({"a": 1, "b": 2}) == run_hash({"b": 2, "a": 1})
    True
    """
    return hashlib.blake2b(json.dumps(config, sort_keys=True).encode(), digest_size=4).hexdigest()
