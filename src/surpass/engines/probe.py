"""Tries out what a model that was just loaded can be trusted with: surpass's attention, and how
long texts.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from surpass.engines import attention
from surpass.engines.attention import TreePlan
from surpass.engines.decode import Decoder
from surpass.engines.forward import row_forward, tree_forward
from surpass.engines.requests import NOTHING, Generate, Sampling
from surpass.errors import SurpassError
from surpass.flat import pack
from surpass.types import Batch, Example, Problem, Tree

EXACT, ROUNDED = 2e-3, 0.5  # nats by which log-probs of a text may differ, in float32 and in half precision
LONGEST = 2048  # tokens of the longest text that is tried
_LENGTH = re.compile(r"window|chunk|local|sparse|top_?k|floor_scale")  # settings that may be a text's length
_NO_LENGTH = re.compile(r"expert|layer|group|feed_forward|router")


def limit_of(causal: Any) -> float:
    """How far two log-probs of a text may be apart, in the precision of the weights."""
    return EXACT if next(causal.parameters()).dtype in (torch.float32, torch.float64) else ROUNDED


@contextmanager
def own_attention(engine: Any) -> Iterator[None]:
    """Within it, the model computes with the attention that it came with."""
    now = engine.causal.config._attn_implementation
    _set(engine.causal, engine.own)
    try:
        yield
    finally:
        _set(engine.causal, now)


def unfinite(weights: Mapping[str, torch.Tensor]) -> str:
    """Which weight holds nan or infinity, in words; "" if none does. Each weight is summed, which shows both;
    where a sum is not finite, the weight itself is examined, because the sum may have overflowed.
    """
    for name, weight in weights.items():
        weight = weight.detach()
        if weight.is_floating_point() and not weight.sum().isfinite():
            odd = int((~weight.isfinite()).sum())
            if odd:
                return f"{odd} of {weight.numel()} numbers in {name} nan or infinite"
    return ""


class _NoNumbers(SurpassError):
    """The model's own forward gives nan."""


def _require_numbers(engine: Any, logp: torch.Tensor) -> None:
    if bool(logp.isnan().any()):
        half = (
            ": in float16 what is above 65504 is infinite; try --dtype bfloat16 or float32"
            if engine.causal.dtype == torch.float16
            else ""
        )
        raise _NoNumbers(
            f"the model {engine.name} gives nan where log-probabilities should be, though its weights "
            f"are numbers: they are damaged, or too large for this precision{half}"
        )


def _set(causal: Any, name: str) -> None:
    if causal.config._attn_implementation != name:
        causal.set_attn_implementation(name)


def distrust(engine: Any, memory_tokens: int) -> str | None:
    """None if surpass's attention gives the same log-probs on a random forest as the model's own, and the
    same draws; else the reason why not. Sets `engine.form` and `engine.decoder`.

    This finds models whose layers ignore a mask (sliding windows, convolutions, linear attention), that
    change the logits afterwards, or that compute differently for longer texts; these run whole rows.
    """
    causal, why = engine.causal, ""
    lengths = _lengths(causal.config.get_text_config(), engine.context)
    if windows := [n for name, n in lengths if name == "sliding_window"]:
        why = f"its layers see only the last {windows[0]} tokens"
    elif long := [f"{name} of {n}" for name, n in lengths if n > LONGEST]:
        why = f"beyond its {long[0]} it may compute otherwise, and texts of that length are not tried"
    for form in () if why else attention.forms(engine.device):
        engine.form = form
        # a compiled kernel also has to serve other lengths, and the arithmetic of `mixed`
        checks = (
            [(12, False)]
            if form is TreePlan
            else [(12, False), (40, False), *([(40, True)] if engine.mixed else [])]
        )
        try:
            _set(causal, attention.NAME)
            for nodes, mixed in checks:
                _require(_gap(engine, _forest(engine, nodes), mixed), ROUNDED if mixed else limit_of(causal))
            for _, length in lengths:
                _require(_gap(engine, _chain(engine, length + 8), False), limit_of(causal))
            decoder = Decoder(causal, engine.text, engine.ends, engine.context, memory_tokens)
            _require(_drawn_gap(engine, decoder), limit_of(causal) / 5)
            decoder.clear()
            decoder.prefilled, engine.decoder = 0, decoder
            return None
        except _NoNumbers:
            raise
        except Exception as error:  # a model may raise anything where its attention is replaced
            why = str(error) if isinstance(error, _Apart) else f"{type(error).__name__}: {error}"
    _set(causal, engine.own)
    engine.decoder = Decoder(causal, engine.text, engine.ends, engine.context, memory_tokens, cached=False)
    _require_causal(engine)
    return why


class _Apart(Exception):
    """Two ways to compute the same give different numbers."""


def _require(gap: float, limit: float) -> None:
    if not gap <= limit:  # nan, too
        raise _Apart(f"log-probs or gradients differ by up to {gap:.2g}")


def _lengths(config: Any, context: int) -> list[tuple[str, int]]:
    """(setting, length) of a configuration's settings that may be a length, below the context, from which on
    the model computes differently.
    """
    data = config.to_dict()
    if not data.get("use_sliding_window", True):
        data.pop("sliding_window", None)
    return sorted(
        (name, n)
        for name, n in data.items()
        if type(n) is int and 1 < n < context and _LENGTH.search(name) and not _NO_LENGTH.search(name)
    )


def _forest(engine: Any, nodes: int) -> Tree:
    """A random tree of nodes of a few tokens each."""
    rng, size = np.random.default_rng(0), min(12, max(1, engine.context // nodes))
    tree = Tree(Problem("probe", ""))
    for node in range(nodes):
        tree.add(
            int(rng.integers(-1, node)) if node else -1, "policy", rng.integers(0, _vocabulary(engine), size)
        )
    return tree


def _chain(engine: Any, length: int) -> Tree:
    """A text of `length` tokens whose last token has two alternatives."""
    rng, tree = np.random.default_rng(0), Tree(Problem("probe", ""))
    root = tree.add(-1, "policy", rng.integers(0, _vocabulary(engine), min(length, engine.context) - 1))
    for token in rng.integers(0, _vocabulary(engine), 2):
        tree.add(root, "policy", [int(token)])
    return tree


def _vocabulary(engine: Any) -> int:
    return min(engine.causal.config.get_text_config().vocab_size, len(engine.tokenizer))


def _packed(engine: Any, tree: Tree) -> Batch:
    batch = pack([Example(tree, (leaf,)) for leaf in tree.leaves()], ["policy"])
    batch.trained &= batch.parent >= 0
    return engine.to_device(batch)


def _gap(engine: Any, tree: Tree, mixed: bool) -> float:
    """How far the log-probs of a tree are from those of whole rows. A fused kernel has another kernel for its
    gradient, so the gradient's relative distance from TreePlan's counts too.
    """
    causal, batch = engine.causal, _packed(engine, tree)
    with own_attention(engine), torch.inference_mode():
        wanted = row_forward(causal, batch, batch.trained).logp
    _require_numbers(engine, wanted)
    with torch.autocast(engine.device.type, torch.bfloat16, enabled=mixed):
        with torch.inference_mode():
            gap = (wanted - tree_forward(causal, batch, batch.trained, form=engine.form).logp).abs().max()
        # one parameter with a gradient: an adapter's first half has none while its second half is 0
        first = next(
            (p for name, p in engine.module.named_parameters() if p.requires_grad and "lora_A" not in name),
            None,
        )
        if engine.form is TreePlan or first is None:
            return float(gap)
        mine, right = (
            torch.autograd.grad(tree_forward(causal, batch, batch.trained, form=form).logp.sum(), first)[0]
            for form in (engine.form, TreePlan)
        )
    return float(torch.maximum(gap, (mine - right).norm() / right.norm()))  # nan where either is


def _drawn_gap(engine: Any, decoder: Decoder) -> float:
    """The mean distance of log-probs from those of whole rows, over a few draws in one batch whose prompts
    share a beginning.
    """
    rng, size = np.random.default_rng(1), max(1, min(8, engine.context // 4))
    prompt = rng.integers(0, _vocabulary(engine), size).astype(np.int32)
    prompts = [
        prompt,
        np.concatenate(
            [prompt[: size // 2 + 1], rng.integers(0, _vocabulary(engine), size).astype(np.int32)]
        ),
    ]
    requests = [
        Generate(tokens, (2 * i, 2 * i + 1), Sampling(max_tokens=4)) for i, tokens in enumerate(prompts)
    ]
    tree = Tree(Problem("probe", ""))
    roots = [tree.add(-1, "task", tokens) for tokens in prompts]
    with torch.inference_mode():
        for i, _, drawn in decoder.run(requests, [[NOTHING, NOTHING]] * 2, lambda: False):
            tree.add(roots[i], "policy", drawn.tokens, logp=drawn.logp)
    batch = pack([Example(tree, (leaf,)) for leaf in tree.leaves()], ["policy"], ["logp"])
    batch = engine.to_device(batch)
    with own_attention(engine), torch.inference_mode():
        wanted = row_forward(engine.causal, batch, batch.trained).logp
    return float((wanted - batch.columns["logp"][1])[batch.trained].abs().mean())


def _require_causal(engine: Any) -> None:
    """SurpassError where later tokens change a token's log-probability, even in the model's own forward."""
    chain = _packed(engine, _chain(engine, 24))
    row = chain.token[None, : int(chain.last[0]) + 1]
    try:
        with torch.inference_mode():
            whole, part = (
                engine.causal(input_ids=some, use_cache=False).logits[0].float()
                for some in (row, row[:, : -(len(row[0]) // 2)])
            )
    except Exception as error:
        why = (
            "; its adapter may not fit: name what is to be adapted with --lora-targets" if engine.lora else ""
        )
        raise SurpassError(
            f"the model {engine.name} cannot be run: {type(error).__name__}: {error}{why}"
        ) from error
    _require_numbers(engine, whole.log_softmax(-1))
    gap = float((whole[: len(part)].log_softmax(-1) - part.log_softmax(-1)).abs().max())
    if not gap <= limit_of(engine.causal):
        raise SurpassError(
            f"the model {engine.name} gives a token another log-probability, by up to {gap:.2g} nats, "
            "when more text follows it, so it cannot learn from what it draws; take a causal language "
            "model"
        )


def steady(causal: Any, context: int) -> int:
    """The number of tokens, at most `context`, up to which a text's rotary frequencies do not depend on its
    length. Beyond it, longrope and dynamic NTK scaling take the frequencies from the longest text of a pass,
    so that a drawn text would get other log-probs when it is scored.
    """
    ropes = [
        module for module in causal.modules() if isinstance(getattr(module, "rope_type", None), (str, dict))
    ]
    for rope in ropes:
        kinds = rope.rope_type if isinstance(rope.rope_type, dict) else {None: rope.rope_type}
        for layer, kind in kinds.items():
            if kind == "longrope" or "dynamic" in str(kind):
                context = min(context, _steady(rope, {} if layer is None else {"layer_type": layer}, context))
    return context


def _steady(rope: Any, which: dict[str, Any], context: int) -> int:
    device = next((buffer.device for buffer in rope.buffers()), torch.device("cpu"))

    def same(n: int) -> bool:
        """Whether a text of n tokens rotates its first two as a short text does."""
        tried, x = copy.deepcopy(rope), torch.zeros(1, 1, 1, device=device)
        short, long = (tried(x, torch.tensor([[0, 1, last]], device=device), **which) for last in (1, n - 1))
        return all(torch.equal(a[:, :2], b[:, :2]) for a, b in zip(short, long, strict=True))

    low, high = 2, context
    if same(high):
        return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if same(middle) else (low, middle)
    return low
