"""What a method meets: tasks, their exact knowledge, and engines; as protocols, each followed by its hooks.

A protocol holds what each of its kind has; a hook is had by whoever can. Everything that the project asks
one for by name stands here or in surpass.protocols (tests/test_hooks.py).
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

    What stands here is a question with one answer; a task that inherits it writes `problems` and `check`.
    `branches = False` says that a state is no value (a live site) and cannot be continued twice: searches
    that branch refuse such a task. What a model thought (surpass.answers.said) is in none of the texts that a
    task is given, unless it has the hook `reads_thoughts`.
    """

    @property
    def players(self) -> tuple[str, ...]:
        return ("policy",)

    @property
    def branches(self) -> bool:
        return True

    def problems(self, split: str, seed: int) -> Iterator[Problem]:
        """Problems of "train", "gate" (the gate alone) or "test" (start and end of a run, nothing else),
        without repeats.
        """
        ...

    async def start(self, models: Models, problem: Problem) -> Turn:
        """The first state, what each player is told, and who moves."""
        return Turn({}, {"policy": problem.prompt}, "policy")

    async def step(self, models: Models, state: Any, text: str) -> Turn:
        """What follows a move."""
        return Turn(state)

    def check(self, models: Models, problem: Problem, text: str) -> float | Awaitable[float | None] | None:
        """The value of a finished attempt, usually in [0, 1]; nan or None: cannot be judged. It may be a
        coroutine.
        """
        ...


class TaskHooks(Protocol):
    """What a task may have, too."""

    needs: frozenset[str]
    """What the models of its players have to give, e.g. {"images"} where its prompts hold pictures."""
    oracle: Oracle
    """Exact knowledge; None: none."""
    reads_thoughts: bool
    """Whether `check` is given what the model thought, too (surpass.answers.said)."""
    seats: str
    """How many play, in words, for the list of tasks."""
    parts: Mapping[str, Task]
    """The tasks that this one is made of, by name."""
    tools: tuple[str, ...]
    """The names of the tools that an attempt may call."""
    files: tuple[str, ...]
    """The fields of the form "file.py:name": a run's folder names code of the user's only there."""
    reads: tuple[str, ...]
    """The fields that name files which are read: their contents are part of the run's identity."""

    def fitting(self, model: str) -> str:
        """The first parameter that suits a model, by its name (a class method); "": none in particular."""
        ...

    def alone(self) -> Task:
        """The task that this one amounts to, itself or its only part."""
        ...

    def final_answer(self, text: str) -> str | None:
        """The answer in an attempt, in a form that can be compared, for votes; None: there is none."""
        ...

    def prefer(self, models: Models, problem: Problem, a: str, b: str) -> float:
        """The probability that answer `a` is better than `b` (may be awaited)."""
        ...

    def reworded(self, problem: Problem, seed: int) -> Any:
        """The same problem in other words: a prompt; None: there are none."""
        ...

    def proposing(self) -> Task:
        """The task of posing a problem of this one."""
        ...

    def against(self, opponent: str) -> Task:
        """The same game against another opponent."""
        ...

    async def trial(self, models: Models, problem: Problem, text: str) -> Any:
        """What comes of trying an attempt out, with words about it for the next one."""
        ...


class Oracle(Protocol):
    """Exact knowledge of a task, for tests and measures. A search or a reward is given it only if it declares
    needs = {"oracle"}; a policy never is.

    A state is what the task's start or step returned; `text` is the unfinished turn after it (whole lines).
    """

    def act(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """A best turn in this state for whoever moves, judged by what that player can know; rng chooses among
        equals.
        """
        ...

    def slip(self, problem: Problem, state: Any, rng: random.Random) -> str:
        """A turn that looks like a good one and is not: after it the attempt is worth less."""
        ...

    def value(self, problem: Problem, state: Any, text: str = "") -> float:
        """What the attempt is worth under best play from here on."""
        ...


class OracleHooks(Protocol):
    """What an oracle may have, too."""

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
        """The text of whole tokens; what cannot be read becomes the replacement character."""
        ...

    def open(self, messages: Any) -> list[int]:
        """The prompt of a conversation's first messages, up to where the model begins to write."""
        ...

    def tell(self, message: Any, last: int | None) -> list[int]:
        """What follows a turn whose last token is `last`: its end where that is missing, then the message."""
        ...


class TextHooks(Protocol):
    """What an engine's text may have, too: a real tokenizer and template have all of it."""

    rows: int
    """The tokens that the model knows: each is below this number."""
    chats: bool
    """Whether there is a chat template."""
    vocabulary: str
    """The same for two texts whose tokens mean the same."""

    def reserved(self) -> int:
        """A token that is never written in text."""
        ...

    def said(self, prompt: Any, drawn: Any) -> Mapping[str, Any]:
        """The message that a turn was."""
        ...

    def follow(self, history: Any, prompt: Any, drawn: Any, message: Any) -> list[int] | None:
        """What the template writes after a turn; None where it writes earlier turns otherwise by now."""
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
        """(request, reply) for every request of surpass.engines.requests, in whatever order they finish; a
        reply may be an exception.
        """
        ...

    def fresh(self) -> None:
        """Forget what was computed of prefixes: a phase begins that must not depend on what came before."""
        ...

    def counters(self) -> Mapping[str, int]:
        """The tokens prefilled and scored since the engine was made."""
        ...


class EngineHooks(Protocol):
    """What an engine may have, too. One that `can` "train" has all from `weights` to `update`."""

    pauses: bool
    """`serve` takes others=...: once others() was true it may leave requests without a reply, and gets them
    again."""
    room: int
    """The tokens of dialogues that are worth having under way at once."""
    exact: bool
    """Whether log-probs are computed in float32 or better."""
    context: int
    """The longest text that it reads, in tokens."""
    device: Any
    """The torch device that it computes on; None or missing: elsewhere."""
    ends: set[int]
    """The tokens that end a turn."""
    tokenizer: Any
    causal: Any
    module: Any
    """The tokenizer and models of transformers or torch that a run's identity is made of."""

    def stop(self) -> None:
        """Give up whatever is waited for: the run ends."""
        ...

    def twin(self, heads: int = 0) -> Engine:
        """Another engine with a copy of these weights, and `heads` value heads."""
        ...

    def weights(self) -> dict[str, torch.Tensor]:
        """A copy of what training changes."""
        ...

    def load(self, weights: dict[str, torch.Tensor]) -> None:
        """Take other weights, as `weights` gave them."""
        ...

    def trainable(self) -> Mapping[str, torch.Tensor]:
        """What training changes, itself."""
        ...

    def forward(self, batch: Batch, wanted: Any = None, outputs: Iterable[str] = ()) -> Out:
        """The outputs of a batch's tokens."""
        ...

    optimisers: dict[str, Any]
    """What trains it, by the role under whose name."""

    def update(
        self, name: str, batches: Sequence[Batch], objective: Objective, step: Any, drawn_at: Any = None
    ) -> dict[str, float]:
        """One optimiser step (surpass.engines.training.update)."""
        ...
