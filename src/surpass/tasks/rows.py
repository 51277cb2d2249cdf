"""Rows of .jsonl, .json, .csv and .parquet files, of folders of these, and of data sets on the Hugging Face
Hub. All rows are read into memory: a million rows of one kilobyte take a few gigabytes.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from surpass.errors import SurpassError
from surpass.files import at_home

SPLITS = {
    "train": "train",
    "test": "test",
    "gate": "gate",
    "validation": "gate",
    "valid": "gate",
    "dev": "gate",
}
"""Names that files and Hub splits may have, and the split of surpass that each means."""
MOST_BYTES = 16 * 2**20  # of one line
MOST_GB = 1.0  # of an unpacked Parquet file; the environment variable SURPASS_DATA_GB sets another bound
A_VALUE = 40  # bytes that a value takes in Python, at least
MOST_DEPTH = 64  # of lists and objects inside one another, because what is read is also written as JSON

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?(:[\w.-]+)?")
_SHARD = re.compile(r"-\d+-of-\d+$")  # as in train-00000-of-00002.parquet


class Row(NamedTuple):
    """A row, and its place as messages name it: "FILE line 17"."""

    place: str
    values: dict[str, Any]


def read(source: str, limit: int = 0) -> dict[str, list[Row]]:
    """Rows by the split that the source names ("train", "gate", "test"; "" where it names none); of each
    split the first `limit` (0: all). SurpassError for what cannot be read, with its file and line.
    """
    path = at_home(source)
    if not source:
        raise SurpassError(
            "the task data wants a source: a file, a folder or a Hugging Face id, as in --task "
            "data:problems.jsonl"
        )
    files = _files(path) if os.path.exists(path) else None  # Path.exists raises on names that are too long
    if files is None and (path.suffix in READERS or not _HUB_ID.fullmatch(source)):
        raise _missing(path)
    found: dict[str, list[Row]] = {}
    for split, name, rows in (
        _hub(source) if files is None else ((split, str(file), _rows(file)) for split, file in files)
    ):
        got = list(islice(rows, limit or None))
        if not got:
            raise SurpassError(f"{name} holds no row; a data set needs at least one problem")
        found.setdefault(split, []).extend(got)
    return {split: rows[: limit or None] for split, rows in found.items()}


def stamp(source: str) -> tuple:
    """Names, sizes and times of the source's files, to tell whether one has changed; () for the Hub."""
    path = at_home(source)
    if not source or not os.path.exists(path):
        return ()
    return tuple((str(file), (at := file.stat()).st_size, at.st_mtime_ns) for _, file in _files(path))


def json_value(value: Any, depth: int = 0) -> Any:
    """The value as JSON holds it: nan becomes None; dates, bytes and infinities become text. ValueError where
    it is nested too deeply, or holds half a surrogate pair, which no file can store.

    >>> json_value({"a": (1, float("nan"), float("inf"))})
    {'a': [1, None, 'inf']}
    """
    if depth > MOST_DEPTH:
        raise ValueError(f"lists and objects stand more than {MOST_DEPTH} deep inside one another")
    if isinstance(value, Mapping):
        return {json_value(str(key)): json_value(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(item, depth + 1) for item in value]
    if value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, float) and math.isnan(value):
        return None
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"it holds half a surrogate pair ({text[error.start]!r}), which is no text"
        ) from error
    return text


def _files(path: Path) -> list[tuple[str, Path]]:
    """(split, file) of a file or folder that exists."""
    if path.is_file():
        if path.suffix not in READERS:
            raise SurpassError(
                f"{path} has the ending {path.suffix or '(none)'}; data is read from {', '.join(READERS)}"
            )
        return [("", path)]
    if not path.is_dir():
        raise SurpassError(
            f"{path} is no file and no folder but a device, a pipe or a socket; data is read from files"
        )
    inside = sorted(file for file in path.iterdir() if file.is_file() and file.suffix in READERS)
    named = [(SPLITS.get(_SHARD.sub("", file.stem).lower()), file) for file in inside]
    files = [(split, file) for split, file in named if split]
    # where none is named train, a file of another name may be meant
    if not files or (len(files) < len(named) and not {"", "train"} & {split for split, _ in files}):
        there = ", ".join(file.name for file in inside[:8]) or "no data file at all"
        raise SurpassError(
            f"the folder {path} wants files named train, test, validation or gate, such as train.jsonl "
            f"({', '.join(READERS)}); it holds {there}; rename one, or name the file itself"
        )
    return files


def _missing(path: Path) -> SurpassError:
    folder = path.parent
    if not folder.is_dir():
        return SurpassError(f"there is no file {path}, nor the folder {folder}")
    there = sorted(file.name for file in folder.iterdir() if file.suffix in READERS or file.is_dir())
    near = (
        get_close_matches(path.name, there, 3) or [name for name in there if Path(name).suffix in READERS][:5]
    )
    return SurpassError(
        f"there is no file {path}; "
        + (f"near: {', '.join(near)}" if near else "its folder holds no data file")
    )


def _rows(path: Path) -> Iterator[Row]:
    """The file's rows, checked: each an object of JSON values."""
    try:
        unit, rows = READERS[path.suffix](path)
        for number, values in rows:
            yield _row(f"{path} {unit} {number}", values)
    except OSError as error:
        raise SurpassError(f"{path} cannot be read: {error.strerror or _first(error)}") from error


def _row(place: str, values: Any) -> Row:
    if not isinstance(values, dict):
        raise SurpassError(
            f'{place}: wanted an object such as {{"prompt": ..., "answer": ...}}; found {_shown(values)}'
        )
    try:
        return Row(place, json_value(values))
    except ValueError as error:
        raise SurpassError(f"{place}: {error}") from error


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text[:60]}{'...' if len(text) > 60 else ''}"


Numbered = tuple[str, Iterable[tuple[int, Any]]]  # what a number counts, and the numbered rows


def _jsonl(path: Path) -> Numbered:
    def lines() -> Iterator[tuple[int, Any]]:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MOST_BYTES + 1):
                number += 1
                place = f"{path} line {number}"
                if len(line) > MOST_BYTES:
                    raise SurpassError(
                        f"{place}: is longer than {MOST_BYTES // 2**20} MB; .jsonl is one object a line"
                    )
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if line.strip():
                    yield number, _parsed(line.rstrip(), place)

    return "line", lines()


def _json(path: Path) -> Numbered:
    rows = _parsed(path.read_bytes().removeprefix(b"\xef\xbb\xbf"), str(path))
    if not isinstance(rows, list):
        raise SurpassError(
            f"{path}: wanted a list of objects; found {_shown(rows)}; one object a line is .jsonl"
        )
    return "row", enumerate(rows, 1)


def _parsed(raw: bytes, place: str) -> Any:
    """The JSON value in some bytes. NaN and Infinity are no JSON."""

    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is no JSON value; write null")

    try:
        return json.loads(raw.decode(), parse_constant=refuse)
    except UnicodeDecodeError as error:
        raise SurpassError(
            f"{place}: is not UTF-8 (byte 0x{raw[error.start]:02x} at {error.start}); save it as UTF-8"
        ) from error
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, " if raw.strip().count(b"\n") else ""
        raise SurpassError(f"{place}: is no JSON: {error.msg} ({at}column {error.colno})") from error
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise SurpassError(f"{place}: is no JSON that can be read: {why}") from error


def _csv(path: Path) -> Numbered:
    """Every cell is read as text, because 007 and 1,000 may be answers and not numbers."""
    import pyarrow as pa
    from pyarrow import csv

    def table() -> pa.Table:
        parse = csv.ParseOptions(newlines_in_values=True)
        with path.open("rb") as file:
            if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
                raise SurpassError(f"{path}: is UTF-16; save it as UTF-8")
        names = csv.open_csv(path, parse_options=parse).schema.names
        if twice := [name for name, times in Counter(names).items() if times > 1]:
            raise SurpassError(f"{path} has two columns named {', '.join(sorted(twice)[:8])}; rename one")
        types = dict.fromkeys(names, pa.string())
        return csv.read_csv(path, parse_options=parse, convert_options=csv.ConvertOptions(column_types=types))

    return "row", _arrow(path, table)


def _parquet(path: Path) -> Numbered:
    from pyarrow import parquet

    def table() -> Any:
        file = parquet.ParquetFile(path)
        columns = [file.schema.column(i) for i in range(len(file.schema))]
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        chunks = [(columns[i], group.column(i)) for group in groups for i in range(len(columns))]
        # a text that comes often stands in the file once; so it does in memory, until all is known to fit
        texts = [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]
        sizes = (
            max(chunk.total_uncompressed_size, chunk.num_values * max(A_VALUE, column.length or 0))
            for column, chunk in chunks
        )
        _fits(path, sum(sizes))
        found = parquet.ParquetFile(path, read_dictionary=texts).read()
        _fits(path, sum(_unpacked(chunk) for column in found.columns for chunk in column.chunks))
        return found

    return "row", _arrow(path, table)


def _unpacked(array: Any) -> int:
    """The bytes of an Arrow array after repeated texts, which it holds once, are copied out."""
    import pyarrow as pa
    from pyarrow import compute

    if pa.types.is_dictionary(array.type):
        sizes = compute.cast(compute.binary_length(array.dictionary), pa.int64())
        return int(compute.sum(compute.take(sizes, array.indices)).as_py() or 0)
    if pa.types.is_struct(array.type):
        return sum(map(_unpacked, array.flatten()))
    if pa.types.is_map(array.type):
        return _unpacked(array.keys) + _unpacked(array.items)
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return _unpacked(array.flatten()) if any(kind(array.type) for kind in lists) else array.nbytes


def _fits(path: Path, size: int) -> None:
    """SurpassError for too large a file: a few kilobytes of Parquet can hold gigabytes of rows."""
    given = os.environ.get("SURPASS_DATA_GB") or str(MOST_GB)
    if not re.fullmatch(r"\d{1,6}(\.\d+)?", given):
        raise SurpassError(f"SURPASS_DATA_GB={given} is no number of gigabytes, such as {MOST_GB}")
    most = float(given)
    if size > most * 2**30:
        raise SurpassError(
            f"{path} takes {os.path.getsize(path):,} bytes and holds {size / 2**30:.1f} GB, more than "
            f"the {most:g} GB that a file may hold; set SURPASS_DATA_GB={math.ceil(size / 2**30)} if "
            "that is meant, and there is memory for several times as much"
        )


def _arrow(path: Path, table: Callable[[], Any]) -> Iterable[tuple[int, Any]]:
    import pyarrow as pa

    try:
        return enumerate(table().to_pylist(), 1)
    except (pa.ArrowException, ValueError, MemoryError, RecursionError) as error:
        utf8 = "; save it as UTF-8" if "UTF8" in str(error) else ""
        raise SurpassError(
            f"{path} is no {path.suffix} file that can be read: {_first(error)}{utf8}"
        ) from error


READERS: dict[str, Callable[[Path], Numbered]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}


def _first(error: BaseException) -> str:
    """An exception's message on one line, without invisible characters: it may quote the file."""
    words = "".join(c if c.isprintable() else "?" for c in " ".join(str(error).split())[:300])
    return words or type(error).__name__


def _hub(source: str) -> Iterator[tuple[str, str, Iterator[Row]]]:
    """(split, name, rows) of "ID" or "ID:CONFIG". Splits whose names are not in SPLITS count only where none
    is; then they are taken as one.
    """
    name, _, config = source.partition(":")
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise SurpassError(
            f'there is no file or folder "{source}", and a data set of the Hugging Face Hub needs a package: '
            "pip install 'surpass[data]'"
        ) from error
    try:
        loaded = load_dataset(name, config or None)
    except Exception as error:
        raise SurpassError(
            f'there is no file or folder "{source}", and the Hugging Face Hub did not give it '
            f"({type(error).__name__}: {_first(error)}); check the id (ID:CONFIG picks a configuration) and "
            "the network"
        ) from error
    parts = dict(loaded) if isinstance(loaded, Mapping) else {"": loaded}
    known = {part: SPLITS[part.lower()] for part in parts if part.lower() in SPLITS}
    for part, rows in parts.items():
        if part in known or not known:
            place = f"{source} {part}".strip()
            numbered = (_row(f"{place} row {number}", values) for number, values in enumerate(rows, 1))
            yield known.get(part, ""), place, numbered
