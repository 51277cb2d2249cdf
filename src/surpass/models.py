"""The only door to any model: roles, their engines and their costs. Requests go through surpass.serving."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import cache, partial
from typing import Any, TypeVar

import numpy as np
import torch

from surpass import answers, words
from surpass.engines.requests import Context, Drawn, Generate, Next, Sampling, Score
from surpass.engines.text import as_messages
from surpass.errors import SurpassError, UnmetNeed
from surpass.serving import Queue
from surpass.types import OPEN, Cast, Problem, Tree, fold
from surpass.weights import Weights

R = TypeVar("R")
_account: ContextVar[str] = ContextVar("account", default="search")  # who is charged for the work


class Models:
    """Models by role, e.g. Models(policy=engine, judge=other).

    `weights` holds earlier weights ("policy@0", "policy@-1": surpass.weights). `cost` counts per account (see
    `charged`): tokens prefilled, generated, scored and trained, calls, and steps of the task.
    """

    def __init__(self, engines: Mapping[str, Any] | None = None, **roles: Any):
        self.engines: dict[str, Any] = {**(engines or {}), **roles}
        self.version: dict[str, int] = dict.fromkeys(self.engines, 0)
        self.cost: dict[str, Counter] = {}
        self.batches: list[int] = []  # draws in every batch that was served
        self.system: dict[str, str] = {}  # system message by role, from the run's notes
        # seeds hidden tests
        self.secret: Callable[[], bytes] = cache(partial(secrets.token_bytes, 16))
        self._cast: list[str] = []  # roles that `cast` found an engine for
        self.weights = Weights(self)
        # lanes use this count too: floats differ in their last bits when the thread count does
        self.threads = torch.get_num_threads()
        self._queue = Queue(self)

    def forget(self) -> None:
        """Drop everything but the weights: snapshots, optimisers, costs, trials, caches. A run begins so."""
        self.fresh()
        for role in self._cast:
            self.engines.pop(role, None)
        for engine in self.distinct():
            getattr(engine, "optimisers", {}).clear()
        self.weights, self._cast, self.system = Weights(self), [], {}
        self.version, self.cost, self.batches = dict.fromkeys(self.engines, 0), {}, []

    # -- roles

    def cast(self, cast: Mapping[str, Cast]) -> None:
        """Find an engine for every role of `cast` that has none: that of another role, or a copy of it.
        UnmetNeed if it cannot be copied.
        """
        for role, part in cast.items():
            if role not in self.engines:
                like = self.engine(part.like)
                if not part.shared and not hasattr(like, "twin"):
                    raise UnmetNeed(
                        f'the role "{role}" is played by a copy of "{part.like}", and {like.name} cannot be '
                        f"copied; use a local model, or give the role one of its own: Models({role}=...)"
                    )
                self.engines[role] = like if part.shared else like.twin(part.heads)
                self.version[role] = 0
                self._cast.append(role)

    def copies(self) -> frozenset[str]:
        """The roles that `cast` found an engine for: no model was given for them."""
        return frozenset(self._cast)

    def engine(self, role: str) -> Any:
        """The engine behind a role or a snapshot's name."""
        base = role.partition("@")[0]
        if base not in self.engines:
            raise UnmetNeed(f'no model plays the role "{base}"; there are: {", ".join(self.engines)}')
        return self.engines[base]

    def made(self, role: str) -> int:
        """How often the weights behind a role have changed, under any role's name: its current version."""
        engine = self.engine(role)
        return sum(n for name, n in self.version.items() if self.engines.get(name) is engine)

    def can(self, role: str) -> frozenset[str]:
        """What the engine behind a role can do."""
        return self.engine(role).can

    def count(self, what: str, n: int = 1, account: str | None = None) -> None:
        """Add n to one figure of an account. Default: the account charged here (`charged`)."""
        self.cost.setdefault(account or _account.get(), Counter())[what] += n

    @property
    def account(self) -> str:
        """The account that is charged here."""
        return _account.get()

    @contextlib.contextmanager
    def charged(self, account: str) -> Iterator[None]:
        """Charge `account` for everything asked inside this context, also by tasks started in it."""
        token = _account.set(account)
        try:
            yield
        finally:
            _account.reset(token)

    def fresh(self) -> None:
        """Drop cached prefixes. Every phase starts here, so a resumed phase computes the same floats."""
        for engine in self.distinct():
            engine.fresh()

    def distinct(self) -> list[Any]:
        """Every engine once, also where several roles share it."""
        return list({id(engine): engine for engine in self.engines.values()}.values())

    # -- asking

    async def generate(self, role: str, tree: Tree, node: int, n: int = 1, **sampling: Any) -> list[int]:
        """Draw n children of `node` and return them; `sampling` takes the fields of requests.Sampling.

        The k-th request at a node draws with keys fold(key of the node, k, j), j < n, in any batch.
        """
        if n < 1:
            raise SurpassError(f"at least one attempt has to be drawn; found n={n}")
        words.reader(tree, node, role, self.engine(role))
        ordinal = tree.draws[node]
        tree.draws[node] += 1
        keys = tuple(fold(tree.keys[node], ordinal, j) for j in range(n))
        request = Generate(tree.path_tokens(node), keys, Sampling(**sampling))
        replies: list[Drawn] = await self._ask(role, request, (tree.problem.id, tree.key, node, ordinal))
        self.count("calls", n)
        version = self.made(role)
        nodes = [
            tree.add(
                node,
                role,
                d.tokens,
                logp=d.logp,
                logq=d.logq,
                stop=d.stop,
                version=version,
                text=d.text,
                key=key,
            )
            for d, key in zip(replies, keys, strict=True)
        ]
        for new, drawn in zip(nodes, replies, strict=True):
            if drawn.used is not None:
                tree.mark("used", new, drawn.used)
        self.count("generated", sum(tree.length(new) for new in nodes))
        return nodes

    async def logprobs(self, role: str, tree: Tree, node: int) -> np.ndarray:
        """float32[t]: log-probability of each token up to `node` under a role or snapshot; the first: nan."""
        return await self._score(role, tree, node, "logp", -1)

    async def certainty(self, role: str, tree: Tree, node: int) -> np.ndarray:
        """float32[t]: KL(uniform || p) in nats, p the model's distribution at each token on the path to
        `node`. The first is nan. 0 means that the model knows nothing.
        """
        return await self._score(role, tree, node, "certainty", -3)

    async def value(self, role: str, tree: Tree, node: int) -> np.ndarray:
        """float32[t, H]: what the H value heads of `role` read after each token on the path to `node`."""
        return await self._score(role, tree, node, "value", -4)

    async def next(self, role: str, tree: Tree, node: int, tokens: Sequence[int]) -> np.ndarray:
        """float32[len(tokens)]: log-probability of each of these tokens as the next one after `node`."""
        words.reader(tree, node, role, self.engine(role))
        request = Next(Context.of(tree, node), tuple(int(token) for token in tokens))
        return await self._ask(role, request, (tree.problem.id, tree.key, node, -2))

    async def _score(self, role: str, tree: Tree, node: int, what: str, ordinal: int) -> np.ndarray:
        words.reader(tree, node, role, self.engine(role))
        order = (tree.problem.id, tree.key, node, ordinal)
        return await self._ask(role, Score(Context.of(tree, node), what), order)

    async def chat(
        self, role: str, messages: Sequence[Mapping[str, str]], n: int = 1, key: int = 0, **sampling: Any
    ) -> list[str]:
        """n answers to chat messages, as text without thoughts. The same messages and key give the same
        answers, if the engine's draws repeat.
        """
        digest = hashlib.blake2b(json.dumps(list(messages)).encode(), digest_size=8).hexdigest()
        tree = Tree(Problem(f"chat:{digest}", tuple(messages)), fold(key, digest))
        root = self.open(role, tree, messages)
        nodes = await self.generate(role, tree, root, n, **sampling)
        return [self.said(role, tree, node, since=root) for node in nodes]

    # -- the task's words

    def open(
        self,
        role: str,
        tree: Tree,
        messages: str | Sequence[Mapping[str, str]],
        cause: int = -1,
        aside: bool = False,
    ) -> int:
        """Add a root: the messages, rendered by the role's template. `cause` is the node before it in time.
        An `aside` root begins a conversation about the attempts that is not an attempt. The role's system
        message (`system`) comes first, unless the messages bring their own.
        """
        key = fold(tree.key, "open", tree.opened)
        tree.opened += 1
        messages = words.worded(messages, role, self.engine(role))
        system, text = self.system.get(role), self.engine(role).text
        if system and (messages := as_messages(messages))[0]["role"] != "system":
            messages = [{"role": "system", "content": system}, *messages]
        root = tree.add(-1, "task", text.open(messages), cause=cause, key=key, aside=aside)
        tree.said[root] = as_messages(messages)
        words.note_vocabulary(tree, root, role, text)
        return root

    def tell(
        self,
        role: str,
        tree: Tree,
        node: int,
        message: str | Mapping[str, str] | Sequence[Mapping[str, str]],
        author: str = "task",
        cause: int | None = None,
        aside: bool = False,
    ) -> int:
        """Add the task's words after `node`; in time they follow `cause` (default: `node`). If the turn
        before was cut off, the task writes its end, untrained.

        Some chat templates rewrite earlier turns at this point (they drop thoughts). The new node is then a
        root that renders all messages again as the task's words, and none of them trains. What was drawn
        stays in its own context, which the root continues (Tree.parts).
        """
        text, tokens = self.engine(role).text, tree.path_tokens(node)
        message = words.worded(message, role, self.engine(role))
        heard = words.heard(text, tree, node)
        if heard is None:
            told = text.tell(message, int(tokens[-1]) if len(tokens) else None)
            return self._graft(tree, node, told, author, cause=cause, aside=aside)
        history, prompt, drawn = heard
        suffix, said = text.follow(history, prompt, drawn, message), as_messages(message)
        if suffix is not None:
            new = self._graft(tree, node, suffix, author, cause=cause, aside=aside)
        else:
            said = [*history, text.said(prompt, drawn), *said]
            key, cause = fold(tree.keys[node], "open", tree.draws[node]), node if cause is None else cause
            tree.draws[node] += 1
            new = tree.add(-1, "task", text.open(said), cause=cause, key=key, aside=aside or tree.aside[node])
            tree.mark("continues", new, node)
            words.note_vocabulary(tree, new, role, text)
        tree.said[new] = said
        return new

    def put(
        self,
        role: str,
        tree: Tree,
        node: int,
        words: str | Sequence[int] | np.ndarray,
        author: str,
        stop: int = OPEN,
        aside: bool = False,
    ) -> int:
        """Add given words after `node`: tokens are copied, text is tokenised by this role. logp is nan."""
        tokens = self.encode(role, words) if isinstance(words, str) else words
        return self._graft(tree, node, tokens, author, stop, aside)

    def _graft(
        self,
        tree: Tree,
        node: int,
        tokens: Iterable[int],
        author: str,
        stop: int = OPEN,
        aside: bool = False,
        cause: int | None = None,
    ) -> int:
        ordinal = tree.draws[node]
        tree.draws[node] += 1
        key = fold(tree.keys[node], "put", ordinal)
        return tree.add(node, author, tokens, stop=stop, key=key, aside=aside, cause=cause)

    def encode(self, role: str, text: str) -> list[int]:
        """The tokens of text that nobody drew: verdict words, reserved tokens, given words."""
        return self.engine(role).text.encode(text)

    def turn_end(self, role: str) -> list[int]:
        """The token that ends this role's turn, in a list."""
        return [self.engine(role).text.end]

    def reserved(self, role: str) -> int:
        """A token that this role never writes as text."""
        return self.engine(role).text.reserved()

    def text(self, role: str, tree: Tree, node: int, since: int | None = None) -> str:
        """The text after the ancestor `since`; by default that of the last turn, the trailing nodes of one
        author. There it begins with the mark (<think>) with which the template may have opened a thought.
        """
        text = words.reader(tree, node, role, self.engine(role)).text
        before, nodes = words.turn(tree, node, since)
        return (words.begun(text, tree, before) if since is None else "") + words.decoded(text, tree, nodes)

    def said(self, role: str, tree: Tree, node: int, since: int | None = None) -> str:
        """`text` without its thoughts (surpass.answers.said). This is what is judged, compared and shown to
        others; the tree keeps what was drawn.
        """
        text = words.reader(tree, node, role, self.engine(role)).text
        before, nodes = words.turn(tree, node, since)
        return answers.said(words.begun(text, tree, before) + words.decoded(text, tree, nodes))

    async def _ask(self, role: str, request: Any, order: tuple) -> Any:
        engine = self.engine(role)
        need = {Generate: "text", Score: "logprobs", Next: "logprobs"}[type(request)]
        need = "value" if isinstance(request, Score) and request.what == "value" else need
        if need not in engine.can:
            can = ", ".join(sorted(engine.can))
            raise UnmetNeed(
                f'the role "{role}" was asked for {need}, and its engine ({engine.name}) can only: {can}'
            )
        return await self._queue.ask(role, request, order)

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """Run a coroutine to its end on an event loop that knows when every search waits."""
        return self._queue.run(work)

    def cancel(self) -> None:
        """Stop the present or the next `run` from another thread, as Ctrl-C would."""
        self._queue.cancel()

    def adopt(self, notes: dict[str, Any], role: str, words: str) -> None:
        """Give a role a system message ("": none), kept in the run's notes, from which it is restored."""
        notes.setdefault("system", {})[role] = words
        self.recall(notes)

    def recall(self, notes: Mapping[str, Any]) -> None:
        """Use the system messages in a run's notes."""
        self.system = notes.get("system", {})
