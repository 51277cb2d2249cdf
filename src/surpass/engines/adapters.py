"""LoRA by peft: a model's weights stay, and pairs of small matrices beside some of them are trained (Hu et
al. 2021).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import torch

from surpass.errors import SurpassError

ALL = "all-linear"  # peft's word for every linear layer but the head


def adapt(causal: Any, name: str, lora: Mapping[str, Any]) -> Any:
    """The model with an adapter in it. `lora` holds arguments of peft.LoraConfig. Its "targets" name what is
    adapted, by a whole name or its end after a dot: layers ("q_proj"), weights that are no layer of their own
    ("experts.gate_up_proj"), or "all-linear", the default.

    SurpassError where nothing has such a name or peft refuses; a warning names experts without an adapter.
    """
    from peft import LoraConfig, get_peft_model

    settings = dict(lora)
    targets = tuple(settings.pop("targets", ()))
    torch.manual_seed(0)  # the adapter's random half is the same in every run
    try:
        module = get_peft_model(
            causal, LoraConfig(**{"task_type": "CAUSAL_LM"} | _chosen(causal, targets) | settings)
        ).eval()
    except (ValueError, TypeError, NotImplementedError) as error:  # what peft raises where it refuses
        raise SurpassError(
            f"peft puts no adapter on {name}: {' '.join(str(error).split())} Name what is to be adapted "
            f"with --lora-targets, out of: {', '.join(_linear(causal))}"
        ) from error
    if not targets:
        _tell_of_experts(module, name)
    return module


def _chosen(causal: Any, targets: tuple[str, ...]) -> dict[str, Any]:
    """The targets as arguments of peft.LoraConfig, which keeps layers and weights apart."""
    if not targets:
        return {"target_modules": ALL}
    layers, weights, unknown = [], [], []
    names = [name for name, _ in causal.named_modules()]
    parameters = [name for name, _ in causal.named_parameters()]
    for target in targets:
        if target == ALL or any(_is(name, target) for name in names):
            layers.append(target)
        elif any(_is(name, target) for name in parameters):
            weights.append(target)
        else:
            unknown.append(target)
    if unknown:
        known = [*_linear(causal), *_experts(causal)]
        near = get_close_matches(unknown[0], known, 1)
        raise SurpassError(
            f'--lora-targets: the model has nothing named "{unknown[0]}"; '
            + (f"did you mean {near[0]}? " if near else "")
            + f"There are: {', '.join(known)}, and {ALL} for all of its linear layers"
        )
    if ALL in layers and len(layers) > 1:
        raise SurpassError(
            f"--lora-targets: {ALL} has every linear layer in it; leave out "
            f"{', '.join(t for t in layers if t != ALL)}"
        )
    return {
        "target_modules": ALL if ALL in layers else layers,
        **({"target_parameters": weights} if weights else {}),
    }


def _is(name: str, target: str) -> bool:
    return name == target or name.endswith("." + target)


def _linear(causal: Any) -> list[str]:
    """The last words of the names of all linear layers."""
    found = [
        name.rpartition(".")[2]
        for name, layer in causal.named_modules()
        if isinstance(layer, torch.nn.Linear)
    ]
    return list(dict.fromkeys(word for word in found if not word.isdigit()))


def _experts(causal: Any) -> list[str]:
    """The last two words of the names of weights that hold many matrices."""
    return list(dict.fromkeys(".".join(name.split(".")[-2:]) for name in _fused(causal)))


def _fused(model: Any) -> list[str]:
    return [name for name, p in model.named_parameters() if p.ndim == 3 and "conv" not in name]


def _tell_of_experts(module: Any, name: str) -> None:
    """Warn of weights that hold many matrices and get no adapter."""
    adapted = {
        f"{_plain(path)}.{layer.parameter_name}"
        for path, layer in module.named_modules()
        if hasattr(layer, "parameter_name")
    }
    sizes = {_plain(n): p.numel() for n, p in module.named_parameters() if "lora_" not in n}
    left = [n for n in map(_plain, _fused(module)) if n in sizes and n not in adapted]
    if left:
        names = ", ".join(dict.fromkeys(re.sub(r"\.\d+\.", ".*.", n) for n in left))
        short = " ".join(dict.fromkeys(".".join(n.split(".")[-2:]) for n in left))
        share = sum(sizes[n] for n in left) / sum(sizes.values())
        warnings.warn(
            f"no adapter is put on {names} of {name}, {share:.0%} of its weights: they hold many "
            f"experts each, and are no linear layers. To adapt them, too: --lora-targets {ALL} {short}",
            stacklevel=4,
        )


def _plain(name: str) -> str:
    """The name that a weight or layer had before peft wrapped it."""
    return name.removeprefix("base_model.model.").replace(".base_layer", "")
