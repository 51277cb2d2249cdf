"""A table as a policy: logits for every context, trained in milliseconds. The exact case for tests."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surpass.engines import training
from surpass.engines.forward import LOGP
from surpass.engines.requests import Drawn, Generate, Next, Score, uniforms
from surpass.engines.sampling import Settings, draw
from surpass.errors import EngineError, SurpassError
from surpass.types import DONE, LENGTH, OPEN, Batch, Out


class TableText:
    """Text with one token per character; the last token of the alphabet ends a turn."""

    chats = True

    def __init__(self, alphabet: str):
        self.alphabet, self.rows, self.vocabulary = alphabet, len(alphabet) + 1, f"letters {alphabet}"

    @property
    def end(self) -> int:
        """The token after the alphabet's."""
        return len(self.alphabet)

    def encode(self, text: str) -> list[int]:
        """One token per character. SurpassError for a character outside the alphabet."""
        unknown = set(text) - set(self.alphabet)
        if unknown:
            raise SurpassError(f"the table's alphabet {self.alphabet!r} does not have {sorted(unknown)}")
        return [self.alphabet.index(character) for character in text]

    def open(self, messages: str | Sequence[Mapping[str, str]]) -> list[int]:
        """The messages' characters, in order."""
        return self.encode(
            messages if isinstance(messages, str) else "".join(message["content"] for message in messages)
        )

    def tell(
        self, message: str | Mapping[str, str] | Sequence[Mapping[str, str]], last: int | None
    ) -> list[int]:
        end = len(self.alphabet)
        said = [message] if isinstance(message, (str, Mapping)) else message
        return [
            *([] if last == end else [end]),
            *self.encode("".join(m if isinstance(m, str) else m["content"] for m in said)),
        ]

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        """The characters of the tokens, without turn ends."""
        return "".join(self.alphabet[int(token)] for token in tokens if token < len(self.alphabet))


class TabularEngine:
    """logits[c], where c is the hash of everything before a token: every context has its own parameters.

    Contexts share the `size` rows when their hashes collide.
    """

    name = "table"
    lora = None
    why_not_trees = None

    @property
    def can(self) -> frozenset[str]:
        """Text, tokens, log-probs and training; values if it has heads."""
        return frozenset(
            {"text", "tokens", "logprobs", "train"} | ({"value"} if "value" in self.module else set())
        )

    def __init__(self, alphabet: str, size: int = 4096, seed: int = 0, scale: float = 0.0, heads: int = 0):
        self.text = TableText(alphabet)
        self.end = len(alphabet)
        rng = np.random.default_rng(seed)
        table = torch.from_numpy(rng.normal(0, scale, (size, len(alphabet) + 1)).astype(np.float32))
        self.module = torch.nn.ParameterDict({"table": torch.nn.Parameter(table)})
        if heads:
            self.module["value"] = torch.nn.Parameter(torch.zeros(size, heads))
        self.device = torch.device("cpu")
        self.size, self.scored = size, 0
        self.optimisers: dict[str, torch.optim.Optimizer] = {}

    def twin(self, heads: int = 0) -> TabularEngine:
        """Another table with a copy of these logits and, if asked for, `heads` zero values per context."""
        twin = TabularEngine(self.text.alphabet, self.size, heads=heads)
        with torch.no_grad():
            twin.module["table"].copy_(self.module["table"])
        return twin

    def row(self, tokens: Sequence[int] | np.ndarray) -> int:
        """The table's row for the context `tokens`."""
        row = 1
        for token in tokens:
            row = (row * 1_000_003 + int(token) + 1) % 2_147_483_647
        return row % self.size

    def forward(
        self,
        batch: Batch,
        wanted: Tensor | None = None,
        outputs: Iterable[str] = LOGP,
        temperature: float = 1.0,
        ends: Tensor | None = None,
    ) -> Out:
        """The `outputs` (see Out) at the wanted tokens, as LocalEngine.forward gives them."""
        wanted = batch.trained if wanted is None else wanted
        state: list[int] = []
        for token, parent in zip(batch.token.tolist(), batch.parent.tolist(), strict=True):
            state.append(((state[parent] if parent >= 0 else 1) * 1_000_003 + token + 1) % 2_147_483_647)
        found: dict[str, Tensor] = {}
        if "value" in outputs:
            after = self.module["value"][torch.tensor([one % self.size for one in state])]
            found["value"] = after * (wanted if ends is None else ends)[:, None]
        rows = torch.tensor(
            [state[parent] % self.size if parent >= 0 else 1 % self.size for parent in batch.parent.tolist()]
        )
        logits = (self.module["table"][rows] / temperature).log_softmax(-1)
        if temperature != 1:
            found["plain"] = (
                self.module["table"].detach()[rows].log_softmax(-1).gather(-1, batch.token[:, None])[:, 0]
                * wanted
            )
        if "entropy" in outputs:
            found["entropy"] = -(logits.exp() * logits).sum(-1) * wanted
        if "certainty" in outputs:
            found["certainty"] = -(logits.mean(-1) + math.log(logits.shape[-1])) * wanted
        return Out(logits.gather(-1, batch.token[:, None])[:, 0] * wanted, **found)

    update = training.update

    def to_device(self, batch: Batch) -> Batch:
        """The batch as it is."""
        return batch

    def serve(self, requests: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        """(request, reply) in the order of the requests; an EngineError for what a table cannot do."""
        with torch.inference_mode():
            for request in requests:
                if isinstance(request, Generate):
                    yield request, [self._draw(request, key) for key in request.keys]
                elif isinstance(request, Score):
                    yield request, self._score(request.context.tokens, request.what)
                elif isinstance(request, Next):
                    tokens = request.context.tokens
                    yield request, self._logits(tokens).log_softmax(-1)[list(request.candidates)].numpy()
                else:
                    yield request, EngineError(f"a table cannot serve {type(request).__name__}")

    def _logits(self, tokens: Sequence[int] | np.ndarray) -> Tensor:
        return self.module["table"][self.row(tokens)]

    def _score(self, tokens: np.ndarray, what: str) -> np.ndarray:
        self.scored += len(tokens)
        if what == "value":
            with torch.no_grad():
                return np.stack(
                    [self.module["value"][self.row(tokens[: i + 1])].numpy() for i in range(len(tokens))]
                )
        logp = [self._logits(tokens[:i]).log_softmax(-1) for i in range(1, len(tokens))]
        if what == "certainty":
            return np.array([np.nan, *(float(-p.mean() - math.log(len(p))) for p in logp)], np.float32)
        return np.array(
            [np.nan, *(float(p[int(token)]) for p, token in zip(logp, tokens[1:], strict=True))], np.float32
        )

    def _draw(self, request: Generate, key: int) -> Drawn:
        noise = torch.from_numpy(uniforms(key, request.sampling.max_tokens))
        settings = Settings.of([request.sampling], self.device)
        tokens, logps, logqs, stop = request.tokens.tolist(), [], [], LENGTH
        for t in range(request.sampling.max_tokens):
            token, logp, logq = draw(self._logits(tokens)[None], settings, noise[t : t + 1])
            tokens.append(int(token))
            logps.append(float(logp))
            logqs.append(float(logq))
            text = self.text.decode(tokens[len(request.tokens) :])
            if tokens[-1] == self.end:
                stop = DONE
                break
            if (
                any(text.endswith(string) for string in request.sampling.stop)
                or tokens[-1] in request.sampling.stop_tokens
            ):
                stop = OPEN
                break
        new = np.array(tokens[len(request.tokens) :], np.int32)
        return Drawn(new, np.array(logps, np.float32), np.array(logqs, np.float32), stop)

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """The logits, and values if it has heads."""
        return dict(self.module.named_parameters())

    def weights(self) -> dict[str, Tensor]:
        """A copy of the logits, and of values."""
        return {name: p.detach().clone() for name, p in self.trainable().items()}

    def load(self, weights: dict[str, Tensor]) -> None:
        """Use these weights, named as `weights` names them."""
        with torch.no_grad():
            for name, parameter in self.trainable().items():
                parameter.copy_(weights[name])

    def fresh(self) -> None:
        """Does nothing: no cache."""

    @contextlib.contextmanager
    def using(self, weights: dict[str, Tensor] | None) -> Iterator[None]:
        """A context with other weights; None: the present ones."""
        mine = self.weights()
        self.load(weights or mine)
        try:
            yield
        finally:
            self.load(mine)

    def counters(self) -> dict[str, int]:
        """The tokens scored since the engine was made."""
        return {"scored": self.scored}

    def read(self, folder: str | Path) -> dict[str, Tensor]:
        """The weights that `save` wrote."""
        from safetensors.torch import load_file

        return load_file(Path(folder) / "model.safetensors")

    def save(self, folder: str | Path) -> None:
        """Write the table as safetensors."""
        from safetensors.torch import save_file

        Path(folder).mkdir(parents=True, exist_ok=True)
        save_file(self.weights(), Path(folder) / "model.safetensors")
