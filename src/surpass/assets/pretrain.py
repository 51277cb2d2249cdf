"""Trains the tiny models from scratch: python -m surpass.assets.pretrain --out FOLDER [--shape tiny]
[--examples N].

Muon for the matrices inside the layers, AdamW for the rest; learning rates are constant, then fall to zero
over the last part. Weights are float32, arithmetic is bfloat16. Rows of a batch have about the same length,
so that little is padded. The state is written every so many steps; the same command goes on where it stopped,
and ends in the same weights on the same machine.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from surpass.assets.corpus import arrays, example
from surpass.assets.letters import END, SHAPES, TOKENS, make_causal, make_tokenizer
from surpass.assets.skills import SKILLS

# rows are padded to the next of these; what is longer is left out
LENGTHS = (64, 96, 128, 192, 256, 384, 512, 768)
ROWS = 2048  # tokens in a batch, padding included; its transcripts have about the same length
BATCHES = 4  # batches in a step, of whatever lengths came together first: mixed skills


@dataclass
class Options:
    out: Path
    """Where the state, the log and at the end the model are written."""
    shape: str = "tiny"
    """tiny or nano."""
    examples: int = 550_000
    """Transcripts to learn from, each once."""
    lr: float = 0.004
    """Muon's, scaled to the root mean square of AdamW's updates."""
    lr_rest: float = 0.003
    """AdamW's."""
    warm: int = 100
    """Steps in which the learning rate rises."""
    fall: float = 0.24
    """Share of the examples, the last ones, over which the learning rate falls to zero."""
    save: int = 200
    """Steps between two states on disk."""
    compiled: bool = True
    """Compile the arithmetic (needs a C++ compiler; without, training is many times slower)."""
    stop: int = 0
    """Stop after this many examples, to resume later (0: train to the end)."""


class Corpus(torch.utils.data.Dataset):
    """example(i) as (i, tokens int16[t], weights float32[t])."""

    def __getitem__(self, i: int) -> tuple[int, np.ndarray, np.ndarray]:
        return (i, *arrays(example(i, SKILLS)[1]))


class Batches:
    """Batches of transcripts first to last - 1: (tokens int64[b, t], weights float32[b, t]).

    A transcript waits until there are enough of its length for a batch; `waiting` holds the numbers of those
    that wait. Another process makes the transcripts.
    """

    def __init__(self, last: int, first: int = 0, waiting: Sequence[int] = ()):
        self.next = first
        self._waiting: dict[int, list[tuple[int, np.ndarray, np.ndarray]]] = {
            length: [] for length in LENGTHS
        }
        for i in waiting:
            self._put(*Corpus()[i])
        numbers = range(first, last)
        self._stream = iter(
            torch.utils.data.DataLoader(
                Corpus(),
                batch_size=None,
                sampler=numbers,
                num_workers=1,
                prefetch_factor=512,
                collate_fn=lambda one: one,
                multiprocessing_context="fork",
            )
        )

    @property
    def waiting(self) -> list[int]:
        return [i for queue in self._waiting.values() for i, _, _ in queue]

    def _put(self, i: int, tokens: np.ndarray, weights: np.ndarray) -> int | None:
        """The length of which there are now enough rows for a batch, or None. Too long rows are left out."""
        length = next((n for n in LENGTHS if n >= len(tokens)), None)
        if length is not None:
            self._waiting[length].append((i, tokens, weights))
            if len(self._waiting[length]) == ROWS // length:
                return length
        return None

    def take(self) -> tuple[Tensor, Tensor] | None:
        """The next batch; None where the rest does not fill one."""
        for i, tokens, weights in self._stream:
            self.next = i + 1
            length = self._put(i, tokens, weights)
            if length is not None:
                rows, self._waiting[length] = self._waiting[length], []
                return self._padded([row[1:] for row in rows], length)
        return None

    def _padded(self, rows: Sequence[tuple[np.ndarray, np.ndarray]], length: int) -> tuple[Tensor, Tensor]:
        tokens = np.full((len(rows), length), TOKENS[END], np.int64)
        weights = np.zeros((len(rows), length), np.float32)
        for row, (some, weight) in enumerate(rows):
            tokens[row, : len(some)], weights[row, : len(some)] = some, weight
        return torch.from_numpy(tokens), torch.from_numpy(weights)


def logits(w: dict[str, Tensor], tokens: Tensor, heads: int) -> Tensor:
    """[b, t, V], bfloat16: the logits of transformers' Llama with these weights. Attention is plain matrix
    products: on a CPU, at these lengths, their backward pass is twice as fast as that of fused attention.
    """
    b, t = tokens.shape
    half = torch.bfloat16
    x = F.embedding(tokens, w["model.embed_tokens.weight"].to(half))
    size = x.shape[-1] // heads
    angle = torch.outer(torch.arange(t, dtype=torch.float32), 10000.0 ** (-torch.arange(0, size, 2) / size))
    cos, sin = (torch.cat([f, f], -1).to(half) for f in (angle.cos(), angle.sin()))
    mask = torch.full((t, t), -1e9, dtype=half).triu(1)

    def turned(y: Tensor) -> Tensor:
        first, second = y.chunk(2, -1)
        return y * cos + torch.cat([-second, first], -1) * sin

    def norm(y: Tensor, name: str) -> Tensor:
        return F.rms_norm(y, (y.shape[-1],), w[name].to(half), 1e-6)

    for layer in range(sum(name.endswith("input_layernorm.weight") for name in w)):
        at = f"model.layers.{layer}."
        y = norm(x, at + "input_layernorm.weight")
        q, k, v = (
            (y @ w[f"{at}self_attn.{p}_proj.weight"].to(half).T).view(b, t, heads, size).transpose(1, 2)
            for p in ("q", "k", "v")
        )
        q, k, v = (z.reshape(b * heads, t, size) for z in (turned(q), turned(k), v))
        seen = torch.baddbmm(mask.expand(b * heads, t, t), q, k.transpose(1, 2), alpha=size**-0.5).softmax(-1)
        y = torch.bmm(seen, v).view(b, heads, t, size).transpose(1, 2).reshape(b, t, heads * size)
        x = x + y @ w[at + "self_attn.o_proj.weight"].to(half).T
        y = norm(x, at + "post_attention_layernorm.weight")
        gate, up = (y @ w[f"{at}mlp.{p}_proj.weight"].to(half).T for p in ("gate", "up"))
        x = x + (F.silu(gate) * up) @ w[at + "mlp.down_proj.weight"].to(half).T
    return norm(x, "model.norm.weight") @ w["lm_head.weight"].to(half).T


def loss_sum(w: dict[str, Tensor], tokens: Tensor, weights: Tensor, heads: int) -> Tensor:
    """Sum of weight * -log p over a batch."""
    logp = logits(w, tokens, heads)[:, :-1].float()
    lost = F.cross_entropy(logp.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
    return (lost * weights[:, 1:].flatten()).sum()


class Training:
    """Weights, optimisers, and the place in the corpus."""

    def __init__(self, options: Options):
        torch.manual_seed(0)
        self.options, self.step, self.seconds = options, 0, 0.0
        self.tokens = 0
        self.causal = make_causal(options.shape)
        self.weights = dict(self.causal.named_parameters())
        inner = [p for name, p in self.weights.items() if ".layers." in name and p.ndim == 2]
        rest = [p for name, p in self.weights.items() if not (".layers." in name and p.ndim == 2)]
        self.optimisers = (
            torch.optim.Muon(
                inner, lr=options.lr, weight_decay=0.01, momentum=0.95, adjust_lr_fn="match_rms_adamw"
            ),
            torch.optim.AdamW(rest, lr=options.lr_rest, betas=(0.9, 0.95), weight_decay=0.0),
        )
        self.batches: Batches
        torch._dynamo.config.recompile_limit = 4 * len(LENGTHS)
        self.loss = torch.compile(loss_sum, dynamic=False) if options.compiled else loss_sum

    def rate(self) -> float:
        """The learning rate's factor, in [0, 1]."""
        done = self.batches.next / self.options.examples
        return min(1.0, (self.step + 1) / self.options.warm, max(0.0, (1 - done) / self.options.fall))

    def learn(self) -> float | None:
        """One step; its mean loss, or None where the corpus is at its end."""
        some = [batch for _ in range(BATCHES) if (batch := self.batches.take()) is not None]
        if not some:
            return None
        total, lost = sum(float(weights[:, 1:].sum()) for _, weights in some), 0.0
        for tokens, weights in some:
            loss = (
                self.loss(self.weights, tokens, weights, SHAPES[self.options.shape]["num_attention_heads"])
                / total
            )
            loss.backward()
            lost += float(loss.detach())
            self.tokens += tokens.numel()
        torch.nn.utils.clip_grad_norm_(self.weights.values(), 1.0)
        for optimiser, lr in zip(self.optimisers, (self.options.lr, self.options.lr_rest), strict=True):
            for group in optimiser.param_groups:
                group["lr"] = lr * self.rate()
            optimiser.step()
            optimiser.zero_grad()
        self.step += 1
        return lost

    # -- on disk

    def save(self) -> None:
        """Write everything that the run needs to resume, in one atomic step."""
        place = {
            "step": self.step,
            "next": self.batches.next,
            "waiting": self.batches.waiting,
            "seconds": self.seconds,
            "tokens": self.tokens,
        }
        tensors = {f"weights/{name}": p.detach().clone() for name, p in self.weights.items()}
        for i, optimiser in enumerate(self.optimisers):
            for number, held in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser/{i}/{number}/{key}": value for key, value in held.items()}
        save_file(tensors, self.options.out / "state.partial", {"place": json.dumps(place)})
        os.replace(self.options.out / "state.partial", self.options.out / "state.safetensors")

    def load(self) -> None:
        """Resume from the state on disk, if there is one."""
        path = self.options.out / "state.safetensors"
        if not path.exists():
            self.batches = Batches(self.options.examples)
            return
        with safe_open(path, "pt") as file:
            place = json.loads(file.metadata()["place"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        self.causal.load_state_dict({name: tensors[f"weights/{name}"] for name in self.weights})
        for i, optimiser in enumerate(self.optimisers):
            held: dict[int, dict[str, Tensor]] = {}
            for name, value in tensors.items():
                if name.startswith(f"optimiser/{i}/"):
                    held.setdefault(int(name.split("/")[2]), {})[name.split("/")[3]] = value
            optimiser.load_state_dict(optimiser.state_dict() | {"state": held})
        self.batches = Batches(self.options.examples, place["next"], place["waiting"])
        self.step, self.seconds, self.tokens = place["step"], place["seconds"], place["tokens"]

    def write_model(self, folder: Path) -> None:
        """Write a folder that transformers loads: bfloat16 safetensors, configuration, tokenizer."""
        half = make_causal(self.options.shape)
        half.load_state_dict(self.causal.state_dict())
        half.to(torch.bfloat16).save_pretrained(folder, safe_serialization=True)
        make_tokenizer().save_pretrained(folder)


def steps(training: Training) -> Iterator[float]:
    """The losses of steps until the end, or until options.stop."""
    options = training.options
    while not options.stop or training.batches.next < options.stop:
        began = time.monotonic()
        loss = training.learn()
        training.seconds += time.monotonic() - began
        if loss is None:
            return
        yield loss


def main(options: Options) -> None:
    """Train to the end, or resume; losses are logged to out/log.jsonl."""
    options.out.mkdir(parents=True, exist_ok=True)
    training = Training(options)
    training.load()
    mean = 0.0
    for loss in steps(training):
        if not math.isfinite(loss):
            raise SystemExit(f"the loss is {loss} at step {training.step}; the last state is kept")
        mean = 0.98 * mean + 0.02 * loss if mean else loss
        if training.step % 20 == 0:
            line = {
                "step": training.step,
                "examples": training.batches.next,
                "tokens": training.tokens,
                "loss": round(mean, 4),
                "rate": round(training.rate(), 3),
                "seconds": round(training.seconds, 1),
            }
            print(
                f"{line['examples']:>8,} of {options.examples:,}  loss {mean:.4f}  "
                f"{training.tokens / training.seconds:,.0f} tokens/s  {training.seconds / 60:.1f} min",
                flush=True,
            )
            with (options.out / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
        if training.step % options.save == 0:
            training.save()
    training.save()
    training.write_model(options.out / "model")
    facts = {key: str(value) for key, value in asdict(options).items()} | {
        "seconds": round(training.seconds),
        "steps": training.step,
        "tokens": training.tokens,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    (options.out / "facts.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    print(
        f"the model is in {options.out / 'model'}: {training.tokens:,} tokens in "
        f"{training.seconds / 60:.0f} minutes"
    )


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Options, description=__doc__))
