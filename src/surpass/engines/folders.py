"""Examines a model's folder before it is loaded, since it may be anybody's: whether it holds what
it claims.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from surpass.engines.guard import LOAD, Beyond, Refused, guard
from surpass.errors import SurpassError

WEIGHTS = tuple(".safetensors .gguf .bin .pt .pth .h5 .msgpack .onnx .data .ckpt .pkl .npz .ot .pb".split())
# the most bytes of a file without weights, and of one without a vocabulary
SMALL, SMALLER = 1 << 28, 1 << 25
VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model")
HEADER = 100_000_000  # bytes of a header of safetensors, as its own reader allows
LAYERS, EXPERTS, POSITIONS = 256, 2048, 1 << 25  # a configuration may claim as many, whatever its weights
_SIZE = re.compile(
    r"hidden|intermediate|vocab|embd|embed|inner|ffn|ff_|head|dim|channel|kernel|conv|state_size|_rank|width|size"
)
_LAYERS = re.compile(r"n_?u?m?_?\w*layers?$|^depth$|num_blocks|n_blocks")
_EXPERTS = re.compile(r"experts")
_NO_SIZE = re.compile(r"window|chunk|position|length|token_id|theta|max_|_id$|image|patch|group_size")


def look(folder: Path, name: str) -> int:
    """How many numbers the weights of a folder hold. SurpassError where the folder holds something that is no
    file, an adapter instead of a model, an index that names files outside it, a header that claims more than
    its file holds, or a configuration that claims more than the weights.
    """
    files = {path.name: path for path in sorted(folder.iterdir()) if path.exists()}
    for path in files.values():
        if not (path.is_file() or path.is_dir()):
            raise _wrong(name, f"{path.name} is no file")
        if path.is_file() and path.suffix not in WEIGHTS and path.stat().st_size > SMALL:
            raise _wrong(
                name,
                f"{path.name} has {path.stat().st_size} bytes, and no configuration or tokenizer needs "
                f"more than {SMALL}",
            )
    if "adapter_config.json" in files:
        base = _object(files["adapter_config.json"], name).get("base_model_name_or_path")
        raise SurpassError(
            f'"{name}" holds an adapter, made for {str(base)!r:.80}, and a model is wanted: no other is '
            "loaded in its name. Merge the two first (surpass export RUN --to hf, or peft's "
            "merge_and_unload), and give that folder"
        )
    for file in files:
        if file.endswith(".index.json"):
            _within(_object(files[file], name), files, file, name)
    config = _object(files["config.json"], name) if "config.json" in files else {}
    held = [
        count
        for file, path in files.items()
        if path.suffix == ".safetensors"
        for count in _tensors(path, name)
    ]
    if held:
        _require_held(config, len(held), sum(held), name)
    for key, value in _entries(config):
        if key.endswith("attn_implementation") and "/" in str(value):
            raise _wrong(
                name, f"its configuration wants code from elsewhere, {key}: {value!s:.80}, and none is run"
            )
    return sum(held)


def _wrong(name: str, what: str) -> SurpassError:
    return SurpassError(f'model "{name}" could not be loaded: {what}')


def _object(path: Path, name: str) -> dict[str, Any]:
    """A JSON file's object."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise _wrong(name, f"{path.name} cannot be read: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(found, dict):
        raise _wrong(name, f"{path.name} holds no JSON object")
    return found


def _within(index: Mapping[str, Any], files: Mapping[str, Path], file: str, name: str) -> None:
    """SurpassError where an index of weights names a file outside this folder."""
    named = index.get("weight_map")
    if not isinstance(named, dict):
        raise _wrong(name, f"{file} has no weight_map")
    for shard in dict.fromkeys(map(str, named.values())):
        if Path(shard).name != shard or shard in (".", "..") or not shard.endswith(WEIGHTS):
            raise _wrong(name, f"{file} names {shard!r:.80}, which is no weights' file of this folder")


def _tensors(path: Path, name: str) -> list[int]:
    """How many numbers each tensor of a safetensors file has, by its header; SurpassError where the file does
    not hold them.
    """
    size = path.stat().st_size
    try:
        with open(path, "rb") as file:
            n = struct.unpack("<Q", file.read(8))[0]
            if n > min(HEADER, size - 8):
                raise ValueError(f"a header of {n} bytes in a file of {size}")
            header = json.loads(file.read(n))
        found = []
        for key, about in header.items():
            if key == "__metadata__":
                continue
            begin, end = about["data_offsets"]
            if not (
                all(type(d) is int and d >= 0 for d in about["shape"]) and 0 <= begin <= end <= size - 8 - n
            ):
                raise ValueError(f"{key} is to lie from {begin} to {end} of {size - 8 - n} bytes")
            count = math.prod(about["shape"])
            if count > 8 * (end - begin):
                raise ValueError(f"{key} is to hold {count} numbers in {end - begin} bytes")
            found.append(count)
        return found
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error, OSError) as error:
        raise _wrong(
            name,
            f"{path.name} is damaged or no safetensors: {type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}",
        ) from error


def _entries(config: Any) -> Iterator[tuple[str, Any]]:
    """(name, value) of every entry of a configuration, and of the configurations in it."""
    if isinstance(config, dict):
        for key, value in config.items():
            yield str(key), value
            yield from _entries(value)


def _require_held(config: Mapping[str, Any], tensors: int, numbers: int, name: str) -> None:
    """SurpassError where a configuration claims more layers than there are tensors, or a size above the count
    of all numbers: building such a model would fill the memory before it fails.
    """
    for key, value in _entries(config):
        if type(value) not in (int, float) or isinstance(value, bool):
            continue
        most = math.inf
        if _EXPERTS.search(key):
            most = max(tensors, EXPERTS)
        elif _LAYERS.search(key):
            most = max(tensors, LAYERS)
        elif "position" in key or key in ("n_ctx", "seq_length", "max_seq_len"):
            most = max(numbers, POSITIONS)
        elif _SIZE.search(key) and not _NO_SIZE.search(key):
            most = max(numbers, 4096)
        if not -most <= value <= most:
            raise _wrong(
                name,
                f"its configuration asks for {key}={value}, and its weights are {numbers} numbers in "
                f"{tensors} tensors",
            )


def require_size(model: Any, config: Any, held: int, name: str) -> None:
    """SurpassError where a model (on the device "meta") has far more numbers than its files hold."""
    wanted = sum(p.numel() for p in model.parameters())
    if wanted > (16 if getattr(config, "quantization_config", None) else 2) * held + 4096:
        raise _wrong(name, f"its configuration asks for {wanted} numbers, and its files hold {held}")


def try_tokenizer(folder: Path, name: str, known: Path) -> None:
    """SurpassError where the tokenizer of a folder takes too much to load or use, or ends the process; it is
    tried in another one. A tokenizer that passes is noted in the folder `known`, by a digest of all files
    without weights, and is not tried again.
    """
    digest, size = hashlib.sha256(), 0
    for path in sorted(path for path in folder.iterdir() if path.is_file() and path.suffix not in WEIGHTS):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode("utf-8", "replace"))
        digest.update(path.read_bytes())
        size += path.stat().st_size
    mark = known / digest.hexdigest()
    if mark.exists():
        return
    # seconds; without it transformers makes one
    more = size / 2e6 + (0 if (folder / "tokenizer.json").exists() else 10)
    try:
        why = guard().ask(
            "tokenizer", LOAD | {"seconds": LOAD["seconds"] + more}, folder=os.fspath(folder.resolve())
        )  # which may have begun elsewhere
    except (Beyond, Refused) as error:
        why = str(error)
    if why:
        raise _wrong(name, f"its tokenizer cannot be used: {' '.join(why.split())[:300]}")
    try:
        known.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError:  # it is tried again next time
        return
