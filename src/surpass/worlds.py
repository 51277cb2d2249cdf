"""Protocols of tasks, oracles, tokenizers and engines, each followed by its optional hooks.

A protocol lists what each object of its kind must have; hooks are optional. Whatever surpass looks up by name
is declared here or in surpass.protocols (tests/test_hooks.py).
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from surpass.types import Batch, Out, Problem, Turn

if TYPE_CHECKING:
    import torch

    from surpass.models import Models
    from surpass.protocols import Objective


class Task(Protocol):
    """Where problems come from and how attempts are judged. States are JSON values; `step` never changes the
    old one.

    The methods here are those of a question with one answer: a task that inherits them writes `problems` and
    `check`. `branches = False` says that a state cannot be continued twice (a live site); searches that
    branch refuse such a task. A task never sees what the model thought (surpass.answers.said), unless it has
    the hook `reads_thoughts`.
    """

    @property
    def players(self) -> tuple[str, ...]:
        """The roles that play, in order."""
        return ("policy",)

    @property
    def branches(self) -> bool:
        """Whether one state can be continued several times."""
        return True

    def problems(self, split: str, seed: int) -> Iterator[Problem]:
        """Problems of "train", "gate" (for the gate alone) or "test" (for the start and end of a run alone),
        without repeats.
        """
        ...

    async def start(self, models: Models, problem: Problem) -> Turn:
        """The first state, the messages to each player, and who moves."""
        return Turn({}, {"policy": problem.prompt}, "policy")

    async def step(self, models: Models, state: Any, text: str) -> Turn:
        """What follows the move `text` in `state`."""
        return Turn(state)

    def check(self, models: Models, problem: Problem, text: str) -> float | Awaitable[float | None] | None:
        """The value of a finished attempt, usually in [0, 1]; nan or None: not known. May be a coroutine."""
        ...


class TaskHooks(Protocol):
    """Optional members of a task."""

    needs: frozenset[str]
    """What the players' models must be able to do, e.g. {"images"} if prompts hold pictures."""
    oracle: Oracle
    """Exact knowledge of the task; None: there is none."""
    reads_thoughts: bool
    """Whether `check` also gets what the model thought (surpass.answers.said)."""
    seats: str
    """How many play, in words, for the list of tasks."""
    parts: Mapping[str, Task]
    """The tasks that this one is made of, by name."""
    tools: tuple[str, ...]
    """The names of the tools that an attempt may call."""
    files: tuple[str, ...]
    """The fields that hold "file.py:name". A run's folder may name the user's own code only there."""
    reads: tuple[str, ...]
    """The fields that name data files. Their contents are part of the run's identity."""

    def fitting(self, model: str) -> str:
        """The first parameter that suits a model, by its name (a class method); "": none in particular."""
        ...

    def alone(self) -> Task:
        """The task that this one amounts to, itself or its only part."""
        ...

    def final_answer(self, text: str) -> str | None:
        """The answer in an attempt, in a form that votes can compare; None: there is none."""
        ...

    def prefer(self, models: Models, problem: Problem, a: str, b: str) -> float:
        """The probability that answer `a` is better than `b`. May be a coroutine."""
        ...

    def reworded(self, problem: Problem, seed: int) -> Any:
        """A prompt that asks the same problem in other words; None: there is none."""
        ...

    def proposing(self) -> Task:
        """The task of inventing problems for this task."""
        ...

    def against(self, opponent: str) -> Task:
        """The same game against another opponent."""
        ...

    async def trial(self, models: Models, problem: Problem, text: str) -> Any:
        """Try an attempt out: its worth, and words about it that the next attempt is shown."""
        ...


class Oracle(Protocol):
    """Exact knowledge of a task, for tests and measures. A search or a reward gets it only if it declares
    needs = {"oracle"}; a policy never does.

    A state is what the task's start or step returned; `text` is the unfinished turn after it, in whole lines.
    """

    def act(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """A best turn in this state, given what the player who moves can know; rng chooses among equals."""
        ...

    def slip(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """A turn that looks good and is not: it lowers what the attempt is worth."""
        ...

    def value(self, problem: Problem, state: Any, text: str = "") -> float:
        """What the attempt is worth under best play from here on."""
        ...


class OracleHooks(Protocol):
    """Optional members of an oracle."""

    def grade(self, problem: Problem, state: Any, text: str) -> tuple[float, bool]:
        """(the worth of one more turn, whether the attempt is over)."""
        ...


class Text(Protocol):
    """An engine's tokenizer and chat template. A message is {"role", "content"}."""

    @property
    def end(self) -> int:
        """The token that ends a turn."""
        ...

    def encode(self, text: str) -> list[int]:
        """The tokens of a text."""
        ...

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        """The text of whole tokens; bytes that cannot be read become the replacement character."""
        ...

    def open(self, messages: Any) -> list[int]:
        """The prompt of a conversation's first messages, up to where the model begins to write."""
        ...

    def tell(self, message: Any, last: int | None) -> list[int]:
        """What follows a turn whose last token is `last`: the turn's end if missing, then the message."""
        ...


class TextHooks(Protocol):
    """Optional members of an engine's text; a real tokenizer with a template has all of them."""

    rows: int
    """The size of the vocabulary: each token is below this number."""
    chats: bool
    """Whether there is a chat template."""
    vocabulary: str
    """A name that two texts share if and only if their tokens mean the same."""

    def reserved(self) -> int:
        """A token that is never written as text."""
        ...

    def said(self, prompt: Any, drawn: Any) -> Mapping[str, Any]:
        """The message that the drawn tokens are, after this prompt."""
        ...

    def follow(self, history: Any, prompt: Any, drawn: Any, message: Any) -> list[int] | None:
        """What the template writes after a turn; None if it now writes earlier turns differently."""
        ...


class Engine(Protocol):
    """Serves one model."""

    name: str
    text: Text

    @property
    def can(self) -> frozenset[str]:
        """What it is able to do: text, tokens, logprobs, logits, value, embed, train, images."""
        ...

    def serve(self, requests: Sequence[Any]) -> Iterable[tuple[Any, Any]]:
        """(request, reply) for every request (surpass.engines.requests), in the order in which they finish. A
        reply may be an exception.
        """
        ...

    def fresh(self) -> None:
        """Drop cached prefixes: a phase begins, and must not depend on what came before."""
        ...

    def counters(self) -> Mapping[str, int]:
        """The tokens prefilled and scored since the engine was made, by name."""
        ...


class EngineHooks(Protocol):
    """Optional members of an engine. One that `can` "train" has everything from `weights` to `update`."""

    pauses: bool
    """`serve` takes others=...; once others() is true it may leave requests for a later call."""
    room: int
    """How many tokens of dialogues are worth having under way at once."""
    exact: bool
    """Whether log-probs are computed in float32 or better."""
    context: int
    """The longest text that it reads, in tokens."""
    device: Any
    """The torch device that it computes on; None or missing: another machine."""
    ends: set[int]
    """The tokens that end a turn."""
    tokenizer: Any
    causal: Any
    module: Any
    """The tokenizer and models of transformers or torch that identify the engine in a run."""

    def stop(self) -> None:
        """Stop waiting for anything: the run ends."""
        ...

    def twin(self, heads: int = 0) -> Engine:
        """Another engine with a copy of these weights and with `heads` value heads."""
        ...

    def weights(self) -> dict[str, torch.Tensor]:
        """A copy of the trained weights."""
        ...

    def load(self, weights: dict[str, torch.Tensor]) -> None:
        """Use these weights, named as `weights` names them."""
        ...

    def trainable(self) -> Mapping[str, torch.Tensor]:
        """The trained weights themselves."""
        ...

    def forward(self, batch: Batch, wanted: Any = None, outputs: Iterable[str] = ()) -> Out:
        """The outputs of the model at a batch's tokens."""
        ...

    optimisers: dict[str, Any]
    """The optimisers, by the name of the role that each trains."""

    def update(
        self, name: str, batches: Sequence[Batch], objective: Objective, step: Any, drawn_at: Any = None
    ) -> dict[str, float]:
        """One optimiser step (surpass.engines.training.update)."""
        ...
