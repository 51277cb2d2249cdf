"""Reading the files of a run's folder without trusting them: they are opened by surpass.nofollow, their size
is bounded, and they may hold anything. A missing file is None or empty; one that is too large or cannot be
read is Damaged.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from surpass import nofollow
from surpass.errors import Damaged
from surpass.tables import trees_from_table
from surpass.types import Tree

MOST_FILE = 2**30  # bytes of one file
MOST_EVENTS = 2**28  # bytes of events.jsonl, all of which is kept
MOST_LINE = 2**26  # bytes of one line of JSON
MOST_LINES = 2**20
MOST_TABLE = 2**31  # bytes of a table, unpacked
MOST_ROWS = 2**20
MOST_NAMES = 2**17  # files in one folder
MOST_STEPS = 2**22  # nodes of all attempts of a tree; a shared node counts once for each attempt


def opened(root: Path, name: str, most: int | None = None) -> IO[bytes] | None:
    """root/name, open for reading; None where there is none. Damaged where it has more than `most` bytes
    (MOST_FILE), or cannot be read.
    """
    try:
        file = nofollow.opened(root, name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Damaged(f"{root / name} is not read: {error.strerror}") from error
    size, most = os.fstat(file.fileno()).st_size, MOST_FILE if most is None else most
    if size > most:
        file.close()
        raise Damaged(f"{root / name} is not read: it has {size:,} bytes, and {most:,} is the most")
    return file


def names(root: Path, folder: str) -> list[str]:
    """The names in the folder root/folder, sorted; none where there is no such folder."""
    try:
        return nofollow.listed(root, folder, MOST_NAMES)
    except NotADirectoryError:
        return []
    except OSError as error:
        raise Damaged(f"{root / folder} is not read: {error.strerror}") from error


def numbered(root: Path, folder: str) -> list[int]:
    """The rounds of which root/folder has a table: 7 for 0007.parquet."""
    stems = [name.removesuffix(".parquet") for name in names(root, folder) if name.endswith(".parquet")]
    return sorted(
        int(stem)
        for stem in stems
        if stem.isascii() and stem.isdecimal() and len(stem) <= 9 and f"{int(stem):04d}" == stem
    )


def json_object(root: Path, name: str) -> dict[str, Any]:
    """The JSON object in root/name; {} where there is no such file. Damaged where it holds anything else."""
    file = opened(root, name)
    if file is None:
        return {}
    with file:
        found = parsed(file.read(MOST_LINE + 1))
    if not isinstance(found, dict):
        raise Damaged(f"{root / name} is damaged: it holds no JSON object")
    return found


def parsed(data: bytes) -> Any:
    """The value of a JSON text; None where it is torn, too deep, or has too long a number."""
    try:
        return json.loads(data) if len(data) <= MOST_LINE else None
    except (ValueError, RecursionError):
        return None


def lines(
    root: Path, name: str, size: int | None = None, most: int | None = None
) -> Iterator[dict[str, Any] | None]:
    """The JSON objects in root/name, one a line, in the first `size` bytes; None for a line that is no
    object. Another process may be writing the last line: if that is no object and has no end, it is left out.
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
            # the rest of a line that is too long
            while not ends and len(line) > MOST_LINE and (more := file.readline(min(left, MOST_LINE))):
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
    """The table root/name in batches of `rows` rows; nothing where it is missing. Damaged where it cannot be
    read, or unpacks to too much.
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
    """The number of rows of the table root/name."""
    file = opened(root, name)
    if file is None:
        return 0
    with file:
        return pq.ParquetFile(file).metadata.num_rows


def trees(batch: pa.RecordBatch) -> list[Tree]:
    """The trees of a batch. Damaged where it holds none, or trees too large to list their attempts."""
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
