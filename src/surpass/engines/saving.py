"""A local engine's weights on disk, in the format of transformers and peft."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from surpass.engines import probe
from surpass.engines.checkpoints import read_model
from surpass.errors import SurpassError


def read(engine: Any, folder: str | Path) -> dict[str, Tensor]:
    """The weights that `save` wrote, named as `weights` names them: on disk transformers and peft use names
    and shapes of their own. SurpassError if the folder belongs to another model.
    """
    from safetensors.torch import load_file

    heads = Path(folder) / "value_heads.safetensors"
    found = load_file(heads) if heads.exists() else {}
    if engine.lora is not None:
        from peft import get_peft_model_state_dict

        stored = load_file(Path(folder) / "adapter_model.safetensors")
        mine = {name: p.detach() for name, p in engine.module.named_parameters()}
        named = {id(value): name for name, value in mine.items()}
        there = get_peft_model_state_dict(engine.module, state_dict=mine, save_embedding_layers=False)
        found |= {named[id(value)]: stored[name] for name, value in there.items() if name in stored}
    else:
        found |= dict(read_model(folder, type(engine.causal), engine.causal.dtype).named_parameters())
    out = {}
    for name, parameter in engine.trainable().items():
        if name not in found or found[name].shape != parameter.shape:
            raise SurpassError(f"{folder} does not hold the weight {name}; it belongs to another model")
        out[name] = found[name].detach().to(engine.device, parameter.dtype)
    return out


def save(engine: Any, folder: str | Path) -> None:
    """Write a folder that transformers (or peft) loads: safetensors, configuration, tokenizer."""
    with probe.own_attention(engine):
        engine.module.save_pretrained(folder, safe_serialization=True)
    if engine.heads is not None:
        from safetensors.torch import save_file

        heads = {
            name: p.detach().contiguous()
            for name, p in engine.trainable().items()
            if name.startswith("value_heads.")
        }
        save_file(heads, Path(folder) / "value_heads.safetensors")
    adapter = Path(folder) / "adapter_config.json"
    if adapter.exists():  # peft writes a set, in another order in every process
        config = json.loads(adapter.read_text(encoding="utf-8"))
        config = {
            key: sorted(value) if key == "target_modules" and isinstance(value, list) else value
            for key, value in config.items()
        }
        adapter.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
    engine.tokenizer.save_pretrained(folder)
