"""Files that appear whole or not at all, and checksums that show later damage."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from surpass import nofollow
from surpass.errors import SurpassError

SUMS = "checksums.json"
DEEPEST = 100  # levels of values in one another: later code walks through them by recursion


def write_whole(path: Path, text: str) -> None:
    """Replace a file in one step, as UTF-8, with "?" for surrogates, as in a file name of another encoding. A
    link of that name is replaced, not followed; a link where the new file is prepared is refused.
    """
    partial = path.with_name(path.name + ".partial")
    with nofollow.opened(path.parent, partial.name, "wb") as file:
        file.write(text.encode("utf-8", errors="replace"))
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def loads(text: str | bytes) -> Any:
    """JSON as Python reads it, nan and infinity too. ValueError for any text that is no JSON, and for one
    with more than DEEPEST levels.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    waiting, depth = [value], 0
    while waiting:
        depth += 1
        if depth > DEEPEST:
            raise ValueError("it is nested too deeply")
        waiting = [
            item
            for some in waiting
            if isinstance(some, (dict, list))
            for item in (some.values() if isinstance(some, dict) else some)
        ]
    return value


def json_lines(text: bytes) -> list[Any]:
    """The values of JSON lines, without those that are no JSON: torn by a crash, or foreign."""
    found = []
    for line in text.split(b"\n"):
        try:
            found += [loads(line)] if line.strip() else []
        except ValueError:
            continue
    return found


def seal(folder: Path) -> None:
    """Write the SHA-256 checksum of every file in a folder."""
    sums = {
        str(path.relative_to(folder)): checksum(path) for path in sorted(folder.rglob("*")) if path.is_file()
    }
    with nofollow.opened(folder, SUMS, "wb") as file:
        file.write(json.dumps(sums, indent=2).encode())


def damage(folder: Path, old: bool = False) -> str:
    """What is wrong with a sealed folder; "" if every file is as it was. `old`: a folder that was never
    sealed is taken as it is.
    """
    if not folder.is_dir():
        return f"{folder} is missing"
    if old and not nofollow.there(folder / SUMS):
        return ""
    try:
        sums = loads(nofollow.read(folder, SUMS) or b"")
        wrong = [name for name, wanted in sums.items() if _sum_below(folder, name) != wanted]
    except (ValueError, AttributeError, OSError, SurpassError) as error:
        return f"{folder / SUMS} cannot be read: {error}"
    return f"{folder / wrong[0]} is not as it was written" if wrong else ""


def _sum_below(folder: Path, name: str) -> str:
    """The checksum of folder/name; "" where there is no such file."""
    try:
        with nofollow.opened(folder, name) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


def sealed(line: str) -> str:
    """A JSON object's line with one more entry: the checksum of the others."""
    value = json.loads(line)
    return json.dumps(value | {"sha256": _sum_of(value)})


def unsealed(root: Path, name: str) -> dict[str, Any] | None:
    """The object that `sealed` wrote to root/name; None where that is missing or changed."""
    try:
        value = loads(nofollow.read(root, name) or b"")
        wanted = value.pop("sha256", None)
        return value if wanted in (None, _sum_of(value)) else None
    except (OSError, ValueError, AttributeError, TypeError):
        return None


def _sum_of(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def checksum(path: Path) -> str:
    """The SHA-256 checksum of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def round_of(name: str) -> int | None:
    """The round that a file or folder is named for, by four digits or more; None for other names."""
    stem = name.partition(".")[0]
    return int(stem) if re.fullmatch(r"[0-9]{4,9}", stem) and f"{int(stem):04d}" == stem else None
