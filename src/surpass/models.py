"""The only door to any model: roles, snapshots and trials; what is asked for goes through surpass.serving."""

from __future__ import annotations

import copy
import hashlib
import json
import re
import secrets
import warnings
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeVar

import numpy as np
import torch

from surpass import answers
from surpass.engines.probe import unfinite
from surpass.engines.requests import Context, Drawn, Generate, Next, Sampling, Score
from surpass.engines.text import as_messages
from surpass.errors import RunBroken, SurpassError, UnmetNeed
from surpass.serving import Queue
from surpass.types import FAILED, OPEN, Cast, Problem, Tree, fold

R = TypeVar("R")


@dataclass(frozen=True)
class Snapshot:
    """What a role was: its weights (with LoRA the adapter alone) and its optimiser's state."""

    weights: dict[str, torch.Tensor]
    optimiser: dict[str, Any] | None
    version: int


_TAIL = 32  # tokens of a prompt that hold the mark with which a template begins a thought


def _same(snapshot: Snapshot) -> Snapshot:
    return snapshot


class Models:
    """Models by role, e.g. Models(policy=engine, judge=other).

    "policy@0" is the policy at the start, "policy@-1" as it was before the last round's update (until there
    is one: at the start); only the names given to `remember` are held in memory. `cost` counts, per account
    (`account` names the current one): tokens prefilled, generated, scored and trained, calls, and steps of
    the task.
    """

    def __init__(self, engines: Mapping[str, Any] | None = None, **roles: Any):
        self.engines: dict[str, Any] = {**(engines or {}), **roles}
        self.snapshots: dict[str, dict[str, torch.Tensor]] = {}
        self.optimisers: dict[str, torch.optim.Optimizer] = {}
        self.version: dict[str, int] = dict.fromkeys(self.engines, 0)
        self.cost: dict[str, Counter] = {}
        self.account = "search"
        self.batches: list[int] = []  # draws in every batch that was served
        self.system: dict[str, str] = {}  # a role's system message
        # what hidden tests are made with
        self.secret: Callable[[], bytes] = cache(partial(secrets.token_bytes, 16))
        self._cast: list[str] = []  # roles played by copies or by the weights of another role
        # what a refusal brings back; None between trials
        self.restore: dict[str, Callable[[], Snapshot]] | None = None
        # a new thread would count its threads anew, and another count computes other last bits
        self.threads = torch.get_num_threads()
        self._queue = Queue(self)

    def forget(self) -> None:
        """As new, but for the weights: no snapshots, optimisers, costs, trials or computed prefixes. A run
        begins so.
        """
        self.fresh()
        for role in self._cast:
            self.engines.pop(role, None)
        self.snapshots, self.optimisers, self.restore, self._cast, self.system = {}, {}, None, [], {}
        self.version, self.cost, self.batches = dict.fromkeys(self.engines, 0), {}, []

    # -- roles

    def cast(self, cast: Mapping[str, Cast]) -> None:
        """Give every role of `cast` that no model was given for somebody to play it."""
        for role, part in cast.items():
            if role not in self.engines:
                like = self.engine(part.like)
                if not part.shared and not hasattr(like, "twin"):
                    raise UnmetNeed(
                        f'the role "{role}" is played by a copy of "{part.like}", and {like.name} '
                        f"cannot be copied; use a local "
                        f"model, or give the role one of its own: Models({role}=...)"
                    )
                self.engines[role] = like if part.shared else like.twin(part.heads)
                self.version[role] = 0
                self._cast.append(role)

    def copies(self) -> frozenset[str]:
        """The roles that no model was given for."""
        return frozenset(self._cast)

    def engine(self, role: str) -> Any:
        """The engine behind a role or a snapshot's name."""
        base = role.partition("@")[0]
        if base not in self.engines:
            raise UnmetNeed(f'no model plays the role "{base}"; there are: {", ".join(self.engines)}')
        return self.engines[base]

    def made(self, role: str) -> int:
        """How often the weights behind a role have changed, by whatever name they were trained: the version
        of what is drawn now.
        """
        engine = self.engine(role)
        return sum(n for name, n in self.version.items() if self.engines.get(name) is engine)

    def can(self, role: str) -> frozenset[str]:
        return self.engine(role).can

    def count(self, what: str, n: int = 1) -> None:
        """Add to the current account."""
        self.cost.setdefault(self.account, Counter())[what] += n

    def fresh(self) -> None:
        """Forget computed prefixes: called where a phase begins, so that a resumed phase computes the same
        floats.
        """
        for engine in self.distinct():
            engine.fresh()

    def distinct(self) -> list[Any]:
        """Every engine once."""
        return list({id(engine): engine for engine in self.engines.values()}.values())

    # -- asking

    async def generate(self, role: str, tree: Tree, node: int, n: int = 1, **sampling: Any) -> list[int]:
        """n new children of `node`, drawn by `role`; keyword arguments are those of
        surpass.engines.requests.Sampling.

        The k-th request at a node draws with keys fold(key of the node, k, draw), whatever else is in the
        batch.
        """
        if n < 1:
            raise SurpassError(f"at least one attempt has to be drawn; found n={n}")
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
        """float32[t]: the log-probability of each token on the path to `node` under a role or snapshot; nan
        for the first.
        """
        return await self._ask(role, Score(Context.of(tree, node)), (tree.problem.id, tree.key, node, -1))

    async def certainty(self, role: str, tree: Tree, node: int) -> np.ndarray:
        """float32[t]: for each token on the path to `node`, KL(uniform || p) in nats of the distribution p it
        was drawn from, under a role or snapshot; nan for the first. 0 for a model that knows nothing, the
        more the surer it is.
        """
        return await self._ask(
            role, Score(Context.of(tree, node), "certainty"), (tree.problem.id, tree.key, node, -3)
        )

    async def value(self, role: str, tree: Tree, node: int) -> np.ndarray:
        """float32[t, H]: what the role's H value heads read after each token on the path to `node`."""
        return await self._ask(
            role, Score(Context.of(tree, node), "value"), (tree.problem.id, tree.key, node, -4)
        )

    async def next(self, role: str, tree: Tree, node: int, tokens: Sequence[int]) -> np.ndarray:
        """float32[len(tokens)]: the log-probability of each of these as the next token after `node`."""
        request = Next(Context.of(tree, node), tuple(int(token) for token in tokens))
        return await self._ask(role, request, (tree.problem.id, tree.key, node, -2))

    async def chat(
        self, role: str, messages: Sequence[Mapping[str, str]], n: int = 1, key: int = 0, **sampling: Any
    ) -> list[str]:
        """n answers as text. The same messages and key give the same answers."""
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
        """A new root, rendered by this role's template; `cause` is the node it follows in time. `aside`: what
        is said there is about the attempts, not one of them. A role's system message (`system`) comes first,
        unless the messages have one.
        """
        key = fold(tree.key, "open", tree.opened)
        tree.opened += 1
        system, text = self.system.get(role), self.engine(role).text
        if system and (messages := as_messages(messages))[0]["role"] != "system":
            messages = [{"role": "system", "content": system}, *messages]
        root = tree.add(-1, "task", text.open(messages), cause=cause, key=key, aside=aside)
        tree.said[root] = as_messages(messages)
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
        """The task's words after `node`, in time after `cause` (default: `node`); a turn that was cut off
        gets its end from the task, untrained.

        Where the role's chat template then writes earlier turns otherwise than they stand in the context (it
        leaves their thoughts out), the node is a new root that holds all messages anew: the task's words,
        none of them trained. What was drawn stays in the context it was drawn in, which the root continues
        (Tree.parts).
        """
        text, tokens = self.engine(role).text, tree.path_tokens(node)
        heard = self._heard(text, tree, node)
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
        tree.said[new] = said
        return new

    @staticmethod
    def _heard(
        text: Any, tree: Tree, node: int
    ) -> tuple[list[Mapping[str, Any]], np.ndarray, np.ndarray] | None:
        """(the messages of a context, the tokens of the last of them, those of the answer to it); None where
        nobody noted the messages, or the engine renders no template.
        """
        path = tree.path(node)
        if not (hasattr(text, "follow") and text.chats and path[0] in tree.said):
            return None
        history, asked, drawn = list(tree.said[path[0]]), tree.own(path[0]), np.zeros(0, np.int32)
        for i in path[1:]:
            if i in tree.said:
                history += [text.said(asked, drawn), *tree.said[i]]
                asked, drawn = tree.own(i), np.zeros(0, np.int32)
            else:
                drawn = np.concatenate([drawn, tree.own(i)])
        return history, asked, drawn

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
        """A graft after `node`: given tokens are copied, text is tokenised by this role; logp = nan, nobody
        drew it here.
        """
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
        """The tokens of text that nobody drew: verdict words, reserved tokens, grafts."""
        return self.engine(role).text.encode(text)

    def turn_end(self, role: str) -> list[int]:
        """The token that ends this role's turn."""
        return [self.engine(role).text.end]

    def reserved(self, role: str) -> int:
        """A token that this role never writes in text."""
        return self.engine(role).text.reserved()

    def text(self, role: str, tree: Tree, node: int, since: int | None = None) -> str:
        """The text of the path to `node` after the ancestor `since`; by default of the last turn: the
        trailing nodes that have the same author, with the mark in front that begins a thought where the
        template wrote one before the turn (<think>). Decoded from whole tokens, never joined from pieces.
        """
        before, nodes = self._turn(tree, node, since)
        return (self._begun(role, tree, before) if since is None else "") + self._decoded(role, tree, nodes)

    def said(self, role: str, tree: Tree, node: int, since: int | None = None) -> str:
        """`text` without the thoughts in it (surpass.answers.said), also one that the chat template began
        before the turn: what is judged, compared and shown to others. The tree keeps what was drawn.
        """
        before, nodes = self._turn(tree, node, since)
        return answers.said(self._begun(role, tree, before) + self._decoded(role, tree, nodes))

    @staticmethod
    def _turn(tree: Tree, node: int, since: int | None) -> tuple[int, list[int]]:
        """(the node before a turn, -1 for none; the turn's nodes)."""
        path = tree.path(node)
        if since is None:
            first = len(path) - 1
            while first > 0 and tree.author[path[first - 1]] == tree.author[node]:
                first -= 1
        else:
            first = path.index(since) + 1 if since >= 0 else 0
        stop = tree.stop
        nodes = [i for i in path[first:] if stop[i] != FAILED]  # the text of one that failed is why
        return path[first - 1] if first else -1, nodes

    def _begun(self, role: str, tree: Tree, before: int) -> str:
        """The mark with which what stands before a turn begins a thought."""
        return (
            answers.opening(self.engine(role).text.decode(tree.own(before)[-_TAIL:])) if before >= 0 else ""
        )

    def _decoded(self, role: str, tree: Tree, nodes: Sequence[int]) -> str:
        if nodes and all(tree.text[i] is not None for i in nodes):
            return "".join(str(tree.text[i]) for i in nodes)
        tokens = np.concatenate([tree.own(i) for i in nodes]) if nodes else np.zeros(0, np.int32)
        return self.engine(role).text.decode(tokens)

    # -- the queue

    async def _ask(self, role: str, request: Any, order: tuple) -> Any:
        engine = self.engine(role)
        need = {Generate: "text", Score: "logprobs", Next: "logprobs"}[type(request)]
        need = "value" if isinstance(request, Score) and request.what == "value" else need
        if need not in engine.can:
            raise UnmetNeed(
                f'the role "{role}" was asked for {need}, and its engine ({engine.name}) can only: '
                f"{', '.join(sorted(engine.can))}"
            )
        return await self._queue.ask(role, request, order)

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """Run a coroutine to its end on an event loop that knows when every search waits."""
        return self._queue.run(work)

    def cancel(self) -> None:
        """Stop what `run` is doing, or about to do, in another thread, as Ctrl-C would."""
        self._queue.cancel()

    # -- weights

    def require_numbers(self, role: str) -> None:
        """RunBroken where an update left weights that are no numbers, before anything of it is written."""
        if hasattr(engine := self.engine(role), "trainable") and (odd := unfinite(engine.trainable())):
            raise RunBroken(f"an update of {role} left {odd}; it is not written. Try a lower lr, or float32")

    def remember(self, names: Iterable[str]) -> None:
        """Hold these snapshots ("policy@0", "policy@-1") from now on, beginning with the current weights."""
        for name in names:
            if not re.fullmatch(r"\w+@(0|-1)", name):
                raise UnmetNeed(
                    f'snapshot "{name}" is not kept; use ROLE@0 (the start) or ROLE@-1 (before the last '
                    "update)"
                )
            self.snapshots.setdefault(name, self.engine(name).weights())

    def predecessors(self) -> list[str]:
        """Those that are held of the names ROLE@-1."""
        return [name for name in self.snapshots if name.endswith("@-1")]

    def succeed(self, before: Mapping[str, dict[str, torch.Tensor]]) -> None:
        """Let every ROLE@-1 of `before` stand for these weights, its role's ahead of an update, unless
        nothing has changed since.
        """
        for name, weights in before.items():
            now = self.engine(name).trainable()
            if any(not torch.equal(now[key], value) for key, value in weights.items()):
                self.snapshots[name] = weights

    def _weights(self, name: str) -> dict[str, torch.Tensor]:
        if name not in self.snapshots:
            raise UnmetNeed(f'no snapshot "{name}" is held; there are: {", ".join(self.snapshots) or "none"}')
        return self.snapshots[name]

    def same(self, a: str, b: str) -> bool:
        """Whether two roles or snapshots of one engine have equal weights."""
        if a == b:
            return True
        first, second = (
            self._weights(name) if "@" in name else self.engine(name).trainable() for name in (a, b)
        )
        return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)

    def using(self, name: str):
        """A context in which the engine of a role has a snapshot's weights."""
        return self.engine(name).using(self._weights(name) if "@" in name else None)

    def snapshot(self, role: str) -> Snapshot:
        """A copy of a role's weights, optimiser state and version; of ROLE@-1 the weights it stands for."""
        if "@" in role:
            return Snapshot(self._weights(role), None, 0)
        optimiser = self.optimisers.get(role)
        state = copy.deepcopy(optimiser.state_dict()) if optimiser else None
        return Snapshot(self.engine(role).weights(), state, self.version[role])

    def trial(self, roles: Iterable[str], read: Callable[[str], Snapshot] | None = None) -> None:
        """Remember these roles as they are, and what ROLE@-1 stands for, once, until `keep` or `refuse` is
        called. `read` gives them back from where they are written; without it copies are held in memory:
        three times the weights, with an optimiser's state.
        """
        if self.restore is None:
            every = dict.fromkeys([*roles, *self.predecessors()])
            self.restore = {
                role: partial(read, role) if read else partial(_same, self.snapshot(role)) for role in every
            }

    def keep(self) -> None:
        """The trial's weights stand."""
        self.restore = None

    def refuse(self) -> None:
        """Back to the weights, optimiser states and ROLE@-1 before the trial."""
        for role, before in (self.restore or {}).items():
            self.put_back(role, before())
        self.restore = None

    def put_back(self, role: str, snapshot: Snapshot) -> None:
        """Give a role the weights, optimiser state and version of a snapshot; ROLE@-1 the weights."""
        if "@" in role:
            self.snapshots[role] = snapshot.weights
            return
        self.engine(role).load(snapshot.weights)
        self.version[role] = snapshot.version
        if snapshot.optimiser is None:
            self.optimisers.pop(role, None)
        else:
            if role not in self.optimisers:
                self.optimisers[role] = torch.optim.AdamW(
                    list(self.engine(role).trainable().values()), fused=True
                )
            self.optimisers[role].load_state_dict(copy.deepcopy(snapshot.optimiser))

    def optimiser(self, role: str, **settings: Any) -> torch.optim.Optimizer:
        """This role's AdamW, made at first use and kept across rounds; `settings` (lr, weight_decay, betas,
        eps) apply from now on.
        """
        if role not in self.optimisers:
            parameters = list(self.engine(role).trainable().values())
            if any(p.dtype in (torch.bfloat16, torch.float16) for p in parameters):
                warnings.warn(
                    f"the weights of {role} are trained in half precision, where updates below about "
                    f"1/500 of a weight are lost: "
                    'take dtype "mixed", or LoRA',
                    stacklevel=2,
                )
            self.optimisers[role] = torch.optim.AdamW(parameters, fused=True, **settings)
        for group in self.optimisers[role].param_groups:
            group.update(settings)
        return self.optimisers[role]
