"""Files that appear whole or not at all, and that can be told from damaged ones later."""

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
DEEPEST = 100  # values inside values that are read: what walks through them later does so by recursion


def write_whole(path: Path, text: str) -> None:
    """Replace a file in one step, as UTF-8; "?" stands for what is none: a file name in the bytes of another
    encoding. A link of its name is replaced, not followed; one where the new file is prepared is refused.
    """
    partial = path.with_name(path.name + ".partial")
    with nofollow.opened(path.parent, partial.name, "wb") as file:
        file.write(text.encode("utf-8", errors="replace"))
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def loads(text: str | bytes) -> Any:
    """JSON as Python reads it, nan and infinity too. ValueError for what is none, whatever is wrong with it,
    and for more than DEEPEST values inside one another.
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
    """The values of JSON lines; what is none (torn by a full disk or a crash, or written by something else)
    is left out.
    """
    found = []
    for line in text.split(b"\n"):
        try:
            found += [loads(line)] if line.strip() else []
        except ValueError:
            continue
    return found


def seal(folder: Path) -> None:
    """Write down what every file of a folder holds, as SHA-256 sums."""
    sums = {
        str(path.relative_to(folder)): checksum(path) for path in sorted(folder.rglob("*")) if path.is_file()
    }
    with nofollow.opened(folder, SUMS, "wb") as file:
        file.write(json.dumps(sums, indent=2).encode())


def damage(folder: Path, old: bool = False) -> str:
    """What is wrong with a sealed folder: "" if every file is as it was. `old`: one that was never sealed is
    taken as it is.
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
    """The sum of folder/name; "" where there is no such file."""
    try:
        with nofollow.opened(folder, name) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


def sealed(line: str) -> str:
    """A JSON object's line with the sum of the others as one more entry."""
    value = json.loads(line)
    return json.dumps(value | {"sha256": _sum_of(value)})


def unsealed(root: Path, name: str) -> dict[str, Any] | None:
    """The object that `sealed` made a line of, in root/name; None where the file is missing or not as it was
    written.
    """
    try:
        value = loads(nofollow.read(root, name) or b"")
        wanted = value.pop("sha256", None)
        return value if wanted in (None, _sum_of(value)) else None
    except (OSError, ValueError, AttributeError, TypeError):
        return None


def _sum_of(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def checksum(path: Path) -> str:
    """The SHA-256 sum of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def round_of(name: str) -> int | None:
    """The round that a file's or folder's name stands for (its stem: four digits or more); None for any
    other.
    """
    stem = name.partition(".")[0]
    return int(stem) if re.fullmatch(r"[0-9]{4,9}", stem) and f"{int(stem):04d}" == stem else None
