"""A causal language model of transformers in this process: it draws, scores and trains."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surpass.engines import attention, linear, probe, saving, scoring, training
from surpass.engines.adapters import adapt
from surpass.engines.attention import TreePlan
from surpass.engines.checkpoints import load_model
from surpass.engines.decode import Decoder
from surpass.engines.forward import LOGP, Form, row_forward, tree_forward
from surpass.engines.machine import device_of, give_back_memory, hold_memory, on
from surpass.engines.requests import NOTHING, PAUSED, Drawn, Generate, Next, Score
from surpass.engines.text import Text
from surpass.errors import SurpassError, TooLong
from surpass.types import LENGTH, Batch, Out


class LocalEngine:
    """One set of weights, to draw, score and train.

    `model` is a Hub id, a folder, a GGUF file or an alias (surpass.engines.checkpoints). dtype "auto" is
    float32 on a CPU and bfloat16 on a GPU; there it is "mixed" if all weights are to be `trained`, because in
    bfloat16 most updates would round to nothing. "mixed" keeps float32 weights and draws in float32; it
    trains and scores in bfloat16 arithmetic.

    `template_args` are arguments of the model's chat template, e.g. {"enable_thinking": False}. `lora` (a
    dict of peft.LoraConfig's arguments, e.g. {"r": 16}, and "targets", see surpass.engines.adapters) trains
    an adapter instead of the weights. `memory_tokens` is the most tokens whose keys and values are held while
    drawing. SurpassError for a model that cannot be loaded or run, or is not causal. A warning says if whole
    rows are needed.
    """

    heads: torch.nn.Linear | None = None  # reads values from the last hidden state; see `twin`
    pauses = True  # `serve` may leave draws for later
    decoder: Decoder  # draws tokens
    form: Form = TreePlan  # how attention over a forest is computed
    mixed = False  # whether forests are computed in bfloat16, whatever the weights

    @property
    def can(self) -> frozenset[str]:
        """Text, tokens, log-probs and training; values if it has heads."""
        return frozenset(
            {"text", "tokens", "logprobs", "train"} | ({"value"} if self.heads is not None else set())
        )

    def __init__(
        self,
        model: str,
        dtype: str = "auto",
        device: str = "auto",
        lora: dict[str, Any] | None = None,
        memory_tokens: int = 65536,
        trained: bool = False,
        template_args: Mapping[str, Any] | None = None,
    ):
        device = device_of(device)
        if dtype == "auto":
            dtype = "float32" if device == "cpu" else "mixed" if trained and lora is None else "bfloat16"
        self.mixed = dtype == "mixed"
        causal, tokenizer = load_model(model, "float32" if self.mixed else dtype)
        self._setup(causal.to(device), tokenizer, model, lora, memory_tokens, template_args)

    @classmethod
    def of(
        cls,
        causal: Any,
        tokenizer: Any,
        lora: dict[str, Any] | None = None,
        memory_tokens: int = 65536,
        template_args: Mapping[str, Any] | None = None,
    ) -> LocalEngine:
        """An engine around a model and a tokenizer that are already in memory."""
        engine = cls.__new__(cls)
        engine._setup(causal, tokenizer, "in memory", lora, memory_tokens, template_args)
        return engine

    @property
    def room(self) -> int:
        """How many tokens of dialogues are worth having under way at once. With more, a dialogue's keys and
        values would be dropped before its next turn.
        """
        return self.decoder.max_tokens * 3 // 4

    @property
    def exact(self) -> bool:
        """Whether log-probs are computed in float32 or better."""
        return not self.mixed and self.causal.dtype in (torch.float32, torch.float64)

    def twin(self, heads: int = 0) -> LocalEngine:
        """Another engine with a copy of these weights and, if asked for, `heads` linear value heads that
        begin at 0.
        """
        twin = LocalEngine.of(
            copy.deepcopy(self.causal), self.tokenizer, None, self.decoder.max_tokens, self.template_args
        )
        twin.name, twin.mixed = self.name, self.mixed
        if heads:
            twin.heads = torch.nn.Linear(
                self.causal.config.get_text_config().hidden_size, heads, device=self.device
            )
            torch.nn.init.zeros_(twin.heads.weight)
            torch.nn.init.zeros_(twin.heads.bias)
        return twin

    def _setup(
        self,
        causal: Any,
        tokenizer: Any,
        name: str,
        lora: dict[str, Any] | None,
        memory_tokens: int,
        template_args: Mapping[str, Any] | None,
    ) -> None:
        attention.register()
        if next(causal.parameters()).device.type == "cpu":
            hold_memory()
        self.name, self.causal, self.tokenizer = name, causal.eval(), tokenizer
        if odd := probe.unfinite(dict(causal.named_parameters())):
            raise SurpassError(
                f"the model {name} cannot be run: {odd}, in {_precision(causal)}. The file is damaged, "
                "or was written by a training that diverged, or --dtype float32 is needed; take another"
            )
        rows = causal.get_input_embeddings().weight.shape[0]
        self.text, self.template_args = (
            Text(tokenizer, ends=_ends(causal), rows=rows, arguments=template_args),
            template_args,
        )
        self.module: Any = causal
        if lora is not None:
            self.module = adapt(causal, name, lora)
        linear.adopt(self.module)
        self.lora = lora
        self.device = next(causal.parameters()).device
        # the model's own attention, noted on the model because a copy has ours
        self.own = causal.__dict__.setdefault("own_attention", causal.config._attn_implementation)
        for config in (causal.config, causal.config.get_text_config()):  # a run uses no other outputs
            config.return_dict, config.output_hidden_states, config.output_attentions = True, False, False
        declared = getattr(causal.config.get_text_config(), "max_position_embeddings", None) or 2**20
        self.context = probe.steady(causal, declared)
        if self.context < declared:
            warnings.warn(
                f"{name} reads {self.context} of its {declared} tokens: beyond that its rotary frequencies "
                "depend on the longest text of a pass, so draws would be scored differently",
                stacklevel=3,
            )
        self.ends = self.text.ends
        self.why_not_trees = probe.distrust(self, memory_tokens)
        if self.why_not_trees is not None:
            warnings.warn(
                f"{name} is computed in whole rows, which is slower: {self.why_not_trees}", stacklevel=3
            )
        self.scored = 0
        self.optimisers: dict[str, torch.optim.Optimizer] = {}  # by role
        # draws of requests that were paused, by the request's id
        self.begun: dict[int, tuple[Generate, list[Drawn]]] = {}

    def forward(
        self,
        batch: Batch,
        wanted: Tensor | None = None,
        outputs: Iterable[str] = LOGP,
        temperature: float = 1.0,
        ends: Tensor | None = None,
    ) -> Out:
        """The `outputs` (see Out) of the distribution softmax(logits / temperature), with gradients if
        enabled, at the wanted tokens, bool[T] (default: the trained ones). "value" is read after the tokens
        `ends`, bool[T] (default: as wanted).
        """
        batch = on(batch, self.device)
        wanted = batch.trained if wanted is None else wanted.to(self.device)
        ends = ends if ends is None else ends.to(self.device)
        form = self.form if self.why_not_trees is None else None
        run = partial(tree_forward, form=form) if form else row_forward
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            return run(
                self.causal,
                batch,
                wanted,
                outputs,
                len(self.tokenizer),
                temperature=temperature,
                heads=self.heads,
                ends=ends,
            )

    def to_device(self, batch: Batch) -> Batch:
        """The batch on the device where this engine computes."""
        return on(batch, self.device)

    def serve(
        self, requests: Sequence[Any], others: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[Any, Any]]:
        """(request, reply): list[Drawn] for Generate, float32[t] for Score and Next (float32[t, H] for
        values), or an EngineError for a refused request. When half of a batch's draws have ended and `others`
        says that more requests wait, the rest get no reply. They go on when the same requests come again,
        together with the others, so a few long draws do not hold up all searches.
        """
        with torch.inference_mode():
            yield from self._draw([request for request in requests if isinstance(request, Generate)], others)
            for what in ("logp", "certainty", "value"):
                yield from scoring.score(
                    self, [r for r in requests if isinstance(r, Score) and r.what == what], what
                )
            yield from scoring.following_tokens(
                self, [request for request in requests if isinstance(request, Next)]
            )

    def _draw(self, requests: list[Generate], others: Callable[[], bool]) -> Iterator[tuple[Generate, Any]]:
        fitting = []
        for request in requests:
            if len(request.tokens) > self.context:
                yield (
                    request,
                    TooLong(
                        f"a prompt of {len(request.tokens)} tokens is longer than the model's context "
                        f"of {self.context}"
                    ),
                )
            elif len(request.tokens) == self.context:
                nothing = np.zeros(0, np.float32)
                yield request, [Drawn(np.zeros(0, np.int32), nothing, nothing, LENGTH) for _ in request.keys]
            else:
                fitting.append(request)
        replies = [
            self.begun.pop(id(request), (request, [NOTHING] * len(request.keys)))[1] for request in fitting
        ]
        for i, j, drawn in self.decoder.run(fitting, [list(some) for some in replies], others):
            replies[i][j] = drawn
            if all(reply.stop != PAUSED for reply in replies[i]):
                yield fitting[i], replies[i]
        # holds the requests too, so that no other object gets the same id
        self.begun |= {
            id(r): (r, some)
            for r, some in zip(fitting, replies, strict=True)
            if any(reply.stop == PAUSED for reply in some)
        }

    update = training.update

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """The trained weights themselves, by name."""
        found = {name: p for name, p in self.module.named_parameters() if p.requires_grad}
        if self.heads is not None:
            found |= {f"value_heads.{name}": p for name, p in self.heads.named_parameters()}
        return found

    def weights(self) -> dict[str, Tensor]:
        """A copy of the trained weights: all weights, or the adapter alone."""
        return {name: p.detach().clone() for name, p in self.trainable().items()}

    def load(self, weights: dict[str, Tensor]) -> None:
        """Use these weights, named as `weights` names them. Paused draws are kept; they go on when their own
        weights are back.
        """
        mine = self.trainable()
        if mine.keys() != weights.keys():
            raise SurpassError(
                "these weights belong to another model: "
                + ", ".join(sorted(mine.keys() ^ weights.keys())[:3])
            )
        with torch.no_grad():
            for name, parameter in mine.items():
                parameter.copy_(weights[name])
        self.decoder.clear()

    def fresh(self) -> None:
        """Drop cached keys and values: the weights changed, or a phase begins that must not depend on the
        last one.
        """
        self.decoder.clear()
        self.begun.clear()
        if self.device.type == "cpu":
            give_back_memory()

    @contextlib.contextmanager
    def using(self, weights: dict[str, Tensor] | None) -> Iterator[None]:
        """A context with other weights; None: the present ones."""
        if weights is None:
            yield
            return
        mine = self.weights()
        self.load(weights)
        try:
            yield
        finally:
            self.load(mine)

    def counters(self) -> dict[str, int]:
        """The tokens prefilled and scored since the engine was made."""
        return {"prefilled": self.decoder.prefilled, "scored": self.scored}

    def read(self, folder: str | Path) -> dict[str, Tensor]:
        """The weights that `save` wrote, named as `weights` names them."""
        return saving.read(self, folder)

    def save(self, folder: str | Path) -> None:
        """Write a folder that transformers (or peft) loads: safetensors, configuration, tokenizer."""
        saving.save(self, folder)


def _precision(causal: torch.nn.Module) -> str:
    return str(next(causal.parameters()).dtype).removeprefix("torch.")


def _ends(causal: Any) -> set[int]:
    """The tokens that end a turn by the model's own configuration."""
    found: set[int] = set()
    for config in (causal.generation_config, causal.config.get_text_config()):
        ends = getattr(config, "eos_token_id", None)
        for token in ends if isinstance(ends, (list, tuple)) else [ends]:
            if not (token is None or (isinstance(token, int) and token < 2**31)):
                raise SurpassError(
                    f"the model's configuration names eos_token_id {token!r:.80}, which is no token; "
                    "give a whole number, or several"
                )
            found |= {token} if token is not None and token >= 0 else set()
    return found
