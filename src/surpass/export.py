"""A run's kept model as plain safetensors, for transformers, peft and vLLM."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from surpass import nofollow, records
from surpass.errors import SurpassError
from surpass.files import quoted
from surpass.intact import damage, unsealed
from surpass.store import Store


def export(folder: Path, to: str, out: Path | None = None) -> str:
    """Write the kept model of a run to `out` (default: FOLDER/export-TO) and return the lines that load it.

    `to` "hf": a whole model that transformers and vLLM load; a LoRA run's adapter is merged into its base.
    "lora": the adapter alone. SurpassError if nothing was kept, there is no adapter, or `out` exists.
    """
    about = Store.read_run(folder)
    records.checked(about, folder / "run.json", {"model": records.RUN["model"]})
    nofollow.check(folder)
    state: dict[str, Any] = {"events": 0, "weights": 0, "trial": None}
    if nofollow.there(folder / "state.json"):
        state = unsealed(folder, "state.json") or {}
    if flaw := records.flaw(state, records.STATE) if state else "it is not as it was written":
        raise SurpassError(
            f"{folder / 'state.json'} is damaged: {flaw}; `surpass resume {quoted(folder)}` goes back "
            "to the last round that is whole"
        )
    kept = state["weights"] if state["trial"] is None else state["trial"]  # a trial is not kept yet
    if not kept:
        raise SurpassError(
            f"{folder} kept no update; its model is the one it began with: {about['model']['name']}"
        )
    weights = folder / "weights" / f"{kept:04d}" / "policy"
    if system := (state.get("notes") or {}).get("system"):
        raise SurpassError(
            f"{folder} trained no weights, so there are none to export; it found a system message, "
            f"which state.json holds and the report shows: {json.dumps(system, ensure_ascii=False):.300}"
        )
    if not weights.exists():
        raise SurpassError(f"{weights} is gone; the run's weights were removed after it ended")
    if wrong := damage(weights.parent, old=about["format"] == 1):
        raise SurpassError(
            f"{wrong}; `surpass resume {quoted(folder)}` goes back to the last round that is whole"
        )
    adapter = (weights / "adapter_config.json").exists()
    if to == "lora" and not adapter:
        raise SurpassError("this run trained all weights, so there is no adapter; export it with: --to hf")
    out = out or folder / f"export-{to}"
    if nofollow.there(out):
        raise SurpassError(f"{out} exists already and was left as it is; choose another --out")
    if to == "hf" and adapter:
        try:
            _merge(about["model"], weights, out)
        except (SurpassError, OSError):
            raise
        except Exception as error:  # the adapter may hold anything
            raise SurpassError(
                f"the adapter in {weights} could not be added to {about['model']['name']}: "
                f"{' '.join(str(error).split()):.300}"
            ) from error
    else:
        shutil.copytree(weights, out, ignore=shutil.ignore_patterns("optimiser.*"))
    return _lines(out, to, about["model"]["name"])


def _merge(model: dict, adapter: Path, out: Path) -> None:
    """Write the base model with the adapter merged into its weights."""
    from peft import PeftModel

    from surpass.engines.checkpoints import load_model

    dtype = "float32" if model["dtype"] == "auto" else model["dtype"]
    causal, tokenizer = load_model(model["name"], dtype)
    merged = PeftModel.from_pretrained(causal, adapter).merge_and_unload()
    merged.save_pretrained(out, safe_serialization=True)
    tokenizer.save_pretrained(out)


def _lines(out: Path, to: str, base: str) -> str:
    """How to load the folder."""
    named = f"surpass={out}"
    if to == "hf":
        return (
            f"{out} holds the whole model.\n  from transformers import AutoModelForCausalLM, "
            f"AutoTokenizer\n  model, tokenizer = AutoModelForCausalLM.from_pretrained({str(out)!r}), "
            f"AutoTokenizer.from_pretrained({str(out)!r})\n  vllm serve {quoted(out)}"
        )
    return (
        f"{out} holds the adapter; its base is {base}.\n"
        f"  from peft import AutoPeftModelForCausalLM\n"
        f"  model = AutoPeftModelForCausalLM.from_pretrained({str(out)!r})\n"
        f"  vllm serve {quoted(base)} --enable-lora --lora-modules {quoted(named)}"
    )
