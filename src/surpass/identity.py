"""What a run began with, as digests: a run goes on with the weights, chat template, tokenizer and
configuration that it began with, or not at all.

Every byte of the weights is hashed, once per start. A digest of headers or of a sample would miss a model
that somebody exchanged on purpose. With an adapter this is one more pass over the base's bytes, just after
they were read from disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import torch


def weights_digest(weights: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits of a role's weights."""
    found = hashlib.blake2b(digest_size=8)
    for name in sorted(weights):
        found.update(name.encode())
        found.update(weights[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def identity(models: Any, trained: Mapping[str, str]) -> dict[str, str]:
    """{"ROLE's WHAT": digest} of all that a run rests on and does not change: weights that are not trained (a
    LoRA's base, a judge), chat template, tokenizer and configuration. `trained` holds the digests of trained
    weights, by role. A role that is a copy of another is left out.
    """
    found: dict[str, str] = {}
    seen: set[int] = set()
    for role, engine in models.engines.items():
        if role in models.copies() or id(engine) in seen:
            continue
        seen.add(id(engine))
        for what, value in _parts(engine, role in trained):
            found[f"{role}'s {what}"] = value
    return found


def _parts(engine: Any, trained: bool) -> Iterable[tuple[str, str]]:
    still = _still(engine, trained)
    if still:
        yield ("base weights" if trained else "weights"), weights_digest(still)
    tokenizer = getattr(engine, "tokenizer", None)
    if tokenizer is not None:
        yield "chat template", _of(getattr(tokenizer, "chat_template", None))
        yield (
            "tokenizer",
            _of([_vocabulary(tokenizer), tokenizer.special_tokens_map, sorted(getattr(engine, "ends", ()))]),
        )
    config = getattr(getattr(engine, "causal", None), "config", None)
    if config is not None:
        import transformers

        # the defaults that are left out depend on the version: another one's cannot be compared
        yield (
            f"configuration (transformers {transformers.__version__})",
            _of(_settings(config.to_diff_dict())),
        )


def _still(engine: Any, trained: bool) -> dict[str, Any]:
    """The weights of an engine that training does not change."""
    module = getattr(engine, "module", None)
    if module is None:
        return {} if trained or not hasattr(engine, "weights") else engine.weights()
    moving = set(engine.trainable()) if trained else set()
    kept = module.state_dict().keys()  # without buffers that are computed and not saved
    named = {
        **dict(module.named_parameters()),
        **{name: buffer for name, buffer in module.named_buffers() if name in kept},
    }
    return {name: value for name, value in named.items() if name not in moving}


def _vocabulary(tokenizer: Any) -> Any:
    """All that defines a tokenizer, without the truncation and padding that its last batch left set."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        return {
            key: value
            for key, value in json.loads(backend.to_str()).items()
            if key not in ("truncation", "padding")
        }
    with contextlib.suppress(AttributeError):  # a tokenizer of sentencepiece
        return hashlib.blake2b(tokenizer.sp_model.serialized_model_proto()).hexdigest()
    return sorted(tokenizer.get_vocab().items())


def _settings(config: Any) -> Any:
    """A model's configuration without its path, how it is loaded, and what a run sets by itself."""
    left_out = {
        "transformers_version",
        "dtype",
        "torch_dtype",
        "name_or_path",
        "use_cache",
        "return_dict",
        "output_hidden_states",
        "output_attentions",
    }
    if isinstance(config, Mapping):
        return {
            str(key): _settings(value)
            for key, value in sorted(config.items(), key=lambda item: str(item[0]))
            if not str(key).startswith("_") and str(key) not in left_out
        }
    return [_settings(item) for item in config] if isinstance(config, (list, tuple)) else config


def _of(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=8).hexdigest()


def differing(was: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The names in both whose digests differ."""
    return [what for what, value in was.items() if what in now and now[what] != value]
