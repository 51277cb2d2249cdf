"""Files of a run's folder as a reader meets them who trusts nobody: plain files alone, reached without a
link, of bounded size, holding anything.

Below the folder that the user named each name is opened from the last with openat, O_NOFOLLOW and O_NONBLOCK,
so that no link leads elsewhere and no FIFO keeps a reader waiting. What is missing is None or empty; what is
no plain file, or too large, is a SurpassError.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from surpass.errors import SurpassError
from surpass.tables import trees_from_table
from surpass.types import Tree

MOST_FILE = 2**30  # bytes of one file
MOST_EVENTS = 2**28  # bytes of events.jsonl, all of which is kept
MOST_LINE = 2**26  # bytes of one line of JSON
MOST_LINES = 2**20
MOST_TABLE = 2**31  # bytes of a table once it is unpacked
MOST_ROWS = 2**20
MOST_NAMES = 2**17  # files in one folder
MOST_STEPS = 2**22  # nodes of all attempts of a tree together, each counted in every attempt it is part of


class Damaged(SurpassError):
    """A file of a run's folder is not what a run has there, and was not read."""


def opened(root: Path, name: str, most: int | None = None) -> IO[bytes] | None:
    """root/name, open for reading; None where there is none. It has at most `most` bytes (MOST_FILE)."""
    try:
        return os.fdopen(_descriptor(root, name, MOST_FILE if most is None else most), "rb")
    except (FileNotFoundError, NotADirectoryError):
        return None


def _descriptor(root: Path, name: str, most: int) -> int:
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    *folders, last = name.split("/")
    try:
        for folder in folders:
            below = _open(root, folder, at, os.O_DIRECTORY, stat.S_ISDIR)
            os.close(at)
            at = below
        found = _open(root, last, at, os.O_NONBLOCK, stat.S_ISREG)
    finally:
        os.close(at)
    size = os.fstat(found).st_size
    if size > most:
        os.close(found)
        raise Damaged(f"{root / name} is not read: it has {size:,} bytes, and {most:,} is the most")
    return found


def _open(root: Path, name: str, at: int, flags: int, fits: Any) -> int:
    """Looked at, opened without following a link, and looked at again: what opening a device does is not
    tried out.
    """
    if fits(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode):
        with contextlib.suppress(OSError):  # it became something else just now
            found = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=at)
            if fits(os.fstat(found).st_mode):
                return found
            os.close(found)
    raise Damaged(
        f"{name} in {root} is not read: it is a link, a pipe, a device or the like, or may not be read; "
        f"a run has a plain {'folder' if flags & os.O_DIRECTORY else 'file'} there"
    )


def names(root: Path, folder: str) -> list[str]:
    """What the folder root/folder holds, sorted; nothing where there is none."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        at = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            below = _open(root, folder, at, os.O_DIRECTORY, stat.S_ISDIR)
        finally:
            os.close(at)
        try:
            with os.scandir(below) as entries:
                return sorted(entry.name for entry, _ in zip(entries, range(MOST_NAMES), strict=False))
        finally:
            os.close(below)
    return []


def numbered(root: Path, folder: str) -> list[int]:
    """The rounds of which root/folder has a table: 7 for 0007.parquet."""
    stems = [name.removesuffix(".parquet") for name in names(root, folder) if name.endswith(".parquet")]
    return sorted(
        int(stem)
        for stem in stems
        if stem.isascii() and stem.isdecimal() and len(stem) <= 9 and f"{int(stem):04d}" == stem
    )


def json_object(root: Path, name: str) -> dict[str, Any]:
    """The JSON object in root/name; {} where there is no such file. SurpassError where it holds something
    else.
    """
    file = opened(root, name)
    if file is None:
        return {}
    with file:
        found = parsed(file.read(MOST_LINE + 1))
    if not isinstance(found, dict):
        raise Damaged(f"{root / name} is damaged: it holds no JSON object")
    return found


def parsed(data: bytes) -> Any:
    """JSON as Python reads it; None for what is none: torn, nested too deeply, with a number too long, in
    another encoding.
    """
    try:
        return json.loads(data) if len(data) <= MOST_LINE else None
    except (ValueError, RecursionError):
        return None


def lines(
    root: Path, name: str, size: int | None = None, most: int | None = None
) -> Iterator[dict[str, Any] | None]:
    """The JSON objects in root/name, a line each, up to `size` bytes; None for a line that is none. Whoever
    writes the file may be in the middle of its last line: without its end it is left out where it is no
    object.
    """
    file, left = opened(root, name, most), MOST_FILE if size is None else size
    if file is None:
        return
    with file:
        for _ in range(MOST_LINES + 1):
            line = file.readline(min(left, MOST_LINE + 1))
            left -= len(line)
            if not line:
                return
            ends = line.endswith(b"\n")
            while (
                not ends and len(line) > MOST_LINE and (more := file.readline(min(left, MOST_LINE)))
            ):  # the rest of a line too long
                left, ends = left - len(more), more.endswith(b"\n")
            found = parsed(line) if line.strip() else {}
            if isinstance(found, dict):
                if found:
                    yield found
            elif ends:
                yield None
        raise Damaged(f"{root / name} is not read: it has more than {MOST_LINES:,} lines")


def batches(
    root: Path, name: str, rows: int = 64, columns: list[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """The table root/name in batches of `rows` rows; nothing where there is none. SurpassError where it is
    damaged or unpacks to too much.
    """
    file, size = opened(root, name), 0
    if file is None:
        return
    too_much = Damaged(
        f"{root / name} is not read: it unpacks to more than {MOST_TABLE:,} bytes or {MOST_ROWS:,} rows"
    )
    with file:
        try:
            table = pq.ParquetFile(file)
            about = table.metadata
            if (
                about.num_rows > MOST_ROWS
                or sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups)) > MOST_TABLE
            ):
                raise too_much
            if missing := set(columns or ()) - set(table.schema_arrow.names):
                raise Damaged(f"{root / name} is damaged: it has no column {', '.join(missing)}")
            for batch in table.iter_batches(batch_size=rows, columns=columns, use_threads=False):
                size += batch.nbytes
                if size > MOST_TABLE:
                    raise too_much
                yield batch
        except (pa.ArrowException, OSError, ValueError) as error:
            raise Damaged(f"{root / name} is damaged: {type(error).__name__}: {str(error)[:200]}") from error


def count(root: Path, name: str) -> int:
    """The rows of the table root/name."""
    file = opened(root, name)
    if file is None:
        return 0
    with file:
        return pq.ParquetFile(file).metadata.num_rows


def trees(batch: pa.RecordBatch) -> list[Tree]:
    """The trees of a batch. SurpassError where they are none, or so large that to list their attempts would
    take for ever.
    """
    try:
        found = trees_from_table(pa.Table.from_batches([batch]))
        for tree in found:
            _bounded(tree)
    except (
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
        OverflowError,
        pa.ArrowException,
    ) as error:
        raise Damaged(f"these are no trees of a run: {type(error).__name__}: {str(error)[:200]}") from error
    return found


def _bounded(tree: Tree) -> None:
    if not all(
        isinstance(turn, dict)
        for turn in ([] if isinstance(tree.problem.prompt, str) else tree.problem.prompt)
    ):
        raise ValueError("a prompt is text, or messages")
    sum(tree.length(node) for node in range(len(tree)))  # an error where that is no number
    depth: list[int] = []
    for parent, cause, stop in zip(
        tree.parent.tolist(), tree.cause.tolist(), tree.stop.tolist(), strict=True
    ):
        if not 0 <= stop <= 4:
            raise ValueError(f"no node ends by {stop}")
        depth.append(1 + max(depth[parent] if parent >= 0 else 0, depth[cause] if cause >= 0 else 0))
    if sum(depth[leaf] for leaf in tree.leaves()) > MOST_STEPS:
        raise ValueError("its attempts are too many and too long")
