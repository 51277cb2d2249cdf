"""Checks the header of a GGUF file before the library reads it: the file has to hold what its header claims.
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path
from typing import BinaryIO

from surpass.errors import SurpassError

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes of a value, by kind
STRING, ARRAY = 8, 9
DEEP = 4  # how deep arrays may be nested


def require_whole(path: Path) -> None:
    """SurpassError where a GGUF file is cut off, or claims more values, tensors or numbers than a file of its
    size can hold.
    """
    try:
        with open(path, "rb") as file:
            _read(file, os.fstat(file.fileno()).st_size)
    except (struct.error, ValueError, OSError) as error:
        raise SurpassError(f"{path.name} is damaged or no GGUF file: {error}") from error


def _read(file: BinaryIO, size: int) -> None:
    magic, version, tensors, values = struct.unpack("<4sIQQ", file.read(24))
    if magic != b"GGUF" or version not in (2, 3):
        raise ValueError(f"it begins with {magic!r}, version {version}, and GGUF of version 2 or 3 is read")
    if max(tensors, values) > size // 12:
        raise ValueError(f"it claims {values} values and {tensors} tensors in {size} bytes")
    for _ in range(values):
        _text(file, size)
        _value(file, size, struct.unpack("<I", file.read(4))[0], 0)
    for _ in range(tensors):
        _text(file, size)
        n = struct.unpack("<I", file.read(4))[0]
        if n > 8:
            raise ValueError(f"a tensor of {n} dimensions")
        shape = struct.unpack(f"<{n}Q", file.read(8 * n))
        _, offset = struct.unpack("<IQ", file.read(12))
        if math.prod(shape) > 8 * size or offset > size:
            raise ValueError(f"a tensor of {math.prod(shape)} numbers at {offset} in {size} bytes")


def _text(file: BinaryIO, size: int) -> None:
    _skip(file, size, struct.unpack("<Q", file.read(8))[0])


def _skip(file: BinaryIO, size: int, n: int) -> None:
    if n > size - file.tell():
        raise ValueError(f"{n} bytes are to follow at {file.tell()} of {size}")
    file.seek(n, os.SEEK_CUR)


def _value(file: BinaryIO, size: int, kind: int, deep: int) -> None:
    if kind in SIZES:
        _skip(file, size, SIZES[kind])
    elif kind == STRING:
        _text(file, size)
    elif kind == ARRAY and deep < DEEP:
        inner, n = struct.unpack("<IQ", file.read(12))
        if inner in SIZES:
            _skip(file, size, n * SIZES[inner])
            return
        if n > size:
            raise ValueError(f"an array of {n} values in {size} bytes")
        for _ in range(n):
            _value(file, size, inner, deep + 1)
    else:
        raise ValueError(f"a value of the kind {kind}")
