"""Files that appear whole or not at all, and that can be told from damaged ones later."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

SUMS = "checksums.json"


def write_whole(path: Path, text: str) -> None:
    """Replace a file in one step, as UTF-8; "?" stands for what is none: a file name in the bytes of another encoding."""
    partial = path.with_name(path.name + ".partial")
    with open(partial, "w", encoding="utf-8", errors="replace") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def seal(folder: Path) -> None:
    """Write down what every file of a folder holds, as SHA-256 sums."""
    sums = {str(path.relative_to(folder)): checksum(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    (folder / SUMS).write_text(json.dumps(sums, indent=2), encoding="utf-8")


def damage(folder: Path, old: bool = False) -> str:
    """What is wrong with a sealed folder: "" if every file is as it was. `old`: one that was never sealed is taken as it is."""
    if not folder.is_dir():
        return f"{folder} is missing"
    if old and not (folder / SUMS).exists():
        return ""
    try:
        sums = json.loads((folder / SUMS).read_text(encoding="utf-8"))
        wrong = [name for name, wanted in sums.items() if not (folder / name).is_file() or checksum(folder / name) != wanted]
    except (ValueError, AttributeError, OSError) as error:
        return f"{folder / SUMS} cannot be read: {error}"
    return f"{folder / wrong[0]} is not as it was written" if wrong else ""


def sealed(line: str) -> str:
    """A JSON object's line with the sum of the others as one more entry."""
    value = json.loads(line)
    return json.dumps(value | {"sha256": _sum_of(value)})


def unsealed(path: Path) -> dict[str, Any] | None:
    """The object that `sealed` made a line of; None where the file is missing or not as it was written."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        wanted = value.pop("sha256", None)
    except (OSError, ValueError, AttributeError):
        return None
    return value if wanted in (None, _sum_of(value)) else None


def _sum_of(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def checksum(path: Path) -> str:
    """The SHA-256 sum of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
