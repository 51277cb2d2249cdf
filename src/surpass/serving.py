"""Batching: all waiting requests are served together, each engine in a lane (thread) of its own."""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import threading
from collections import Counter, deque
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from surpass.engines.answered import answered
from surpass.engines.requests import Generate, fitting
from surpass.errors import EngineError, RunBroken, SurpassError

if TYPE_CHECKING:
    from surpass.models import Models

R = TypeVar("R")
PATIENCE = 0.005  # seconds to wait for real I/O before serving a batch that might grow
PASSES = 1000  # how often an engine may pause in a request, on top of once per token


class _IdleSelector(selectors.DefaultSelector):
    """Tells the queue that the event loop is idle: only then does it call select with a timeout above 0."""

    def __init__(self, queue: Queue):
        super().__init__()
        self.queue = queue

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout != 0 and self.queue.replies:
            self.queue.deliver()
            return super().select(0)
        if timeout != 0 and self.queue.wanted:
            if len(self.get_map()) > 1:  # more than the loop's own pipe: real tools have sockets
                events = super().select(PATIENCE if timeout is None else min(timeout, PATIENCE))
                if events:
                    return events
            self.queue.idle()
        return super().select(timeout)


@dataclass
class _Entry:
    """A waiting request."""

    order: tuple
    role: str
    request: Any
    future: asyncio.Future
    account: str  # who is charged
    passes: int = 0  # how often an engine paused in it; if ever, it goes first


class Queue:
    """Requests of all searches, served in an order that does not depend on when they arrived.

    A batch is everything that waits when the event loop is idle and no lane is busy. A lane is a thread.
    Engines that compute on this machine share one lane, because two at once would slow each other down. Every
    other engine has its own, so a judge behind an API and the local policy work at the same time.
    """

    def __init__(self, models: Models):
        self.models = models
        self.entries: list[_Entry] = []
        self.loop: asyncio.AbstractEventLoop | None = None
        self.asked = 0
        self.replies: deque[tuple[asyncio.Future, Any]] = deque()  # answers not yet handed over
        self.busy: set[int] = set()  # busy lanes
        self.halt = self.cancelled = False
        self.asking: list[threading.Event] = []  # of lanes that wait to hear whether others wait
        self.lanes: dict[int, ThreadPoolExecutor] = {}  # by id of the engine; 0: engines on this machine

    async def ask(self, role: str, request: Any, order: tuple) -> Any:
        """The answer to a request. Waiting requests are served in order of role, kind and `order`."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self.asked += 1
        place = (role, type(request).__name__, *order, self.asked)
        self.entries.append(_Entry(place, role, request, future, self.models.account))
        if not self.knows(loop):  # somebody else's loop: wait a moment instead
            loop.call_later(PATIENCE, self.serve)
        return await future

    def knows(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether this loop tells this queue when it is idle; a loop of other models tells theirs."""
        return getattr(getattr(loop, "_selector", None), "queue", None) is self

    @property
    def waiting(self) -> bool:
        """Whether requests wait and no lane is busy."""
        return bool(self.entries) and not self.busy

    @property
    def wanted(self) -> bool:
        """Whether anybody needs to know that the loop is idle."""
        return self.waiting or bool(self.asking)

    def idle(self) -> None:
        """The loop is idle: serve what waits. If lanes ask, answer them once every busy lane asks."""
        if not self.asking:
            self.serve()
        elif len(self.asking) == len(self.busy):
            self.answer()

    def answer(self) -> None:
        """Let every lane that asks go on."""
        while self.asking:
            self.asking.pop().set()

    def answered(self, future: asyncio.Future, answer: Any) -> None:
        """Take an answer. On our own loop each answer waits until everything that followed from the one
        before is done: the order in which a tree grows must not depend on how fast the engine's thread is.
        """
        if self.loop is not None and self.knows(self.loop):
            self.replies.append((future, answer))
        else:
            _reply(future, answer)

    def deliver(self) -> None:
        """Hand over the answer that came first."""
        _reply(*self.replies.popleft())

    def others(self) -> bool:
        """For an engine in its lane: wait until every other lane is done, or asks as well, and all searches
        have gone on as far as they can; then say whether anything waits. Only our own loop can tell. So
        pauses, and with them the batches, depend on nothing but the run.
        """
        if self.loop is None:
            return False
        heard = threading.Event()
        self.asking.append(heard)
        if self.halt:  # test after asking: whoever ends the run does both, in the other order
            return False
        self.loop.call_soon_threadsafe(lambda: None)  # it may be asleep
        heard.wait()
        return bool(self.entries) and not self.halt

    def serve(self) -> None:
        """Serve what waits, as far as it fits, as one batch in the engines' lanes."""
        if not self.waiting:
            return
        # the order of arrival must not matter
        self.entries.sort(key=lambda entry: (not entry.passes, entry.order))
        batch, self.entries = fitting(
            self.entries, lambda entry: (self.models.engine(entry.role), entry.request)
        )
        self.models.batches.append(
            sum(len(e.request.keys) if isinstance(e.request, Generate) else 1 for e in batch)
        )
        loop = asyncio.get_running_loop() if self.loop is None else self.loop
        lanes: dict[int, list[_Entry]] = {}
        for entry in batch:
            lanes.setdefault(self._lane(entry.role), []).append(entry)
        self.busy = set(lanes)
        for lane, entries in lanes.items():
            self._pool(lane).submit(self._work, lane, entries, loop)

    def _lane(self, role: str) -> int:
        engine = self.models.engine(role)
        return id(engine) if getattr(engine, "device", None) is None else 0

    def _pool(self, lane: int) -> ThreadPoolExecutor:
        if lane not in self.lanes:
            threads = (self.models.threads,)
            self.lanes[lane] = ThreadPoolExecutor(1, "surpass-engine", torch.set_num_threads, threads)
        return self.lanes[lane]

    def _work(self, lane: int, batch: list[_Entry], loop: asyncio.AbstractEventLoop) -> None:
        left: list[_Entry] = []

        def finish() -> None:
            self.busy.discard(lane)
            self.entries[:0] = left
            if self.waiting and not self.knows(loop):
                self.serve()

        try:
            for role in dict.fromkeys(entry.role for entry in batch):
                left += self._work_for(role, [entry for entry in batch if entry.role == role], loop)
        finally:
            loop.call_soon_threadsafe(finish)

    def _work_for(self, role: str, entries: list[_Entry], loop: asyncio.AbstractEventLoop) -> list[_Entry]:
        """Serve a role's requests and return those that its engine paused in. Whatever the engine does, every
        other request gets an answer.
        """
        waiting = {id(entry.request): entry for entry in entries}
        engine, snapshot = self.models.engine(role), "@" in role
        counted: Counter[str] = Counter()
        paused = False

        def count() -> None:  # before each reply: the last one may end the run
            new = Counter(engine.counters()) - counted
            for what, n in new.items():
                loop.call_soon_threadsafe(self.models.count, what, n, entries[0].account)
            counted.update(new)

        def others() -> bool:
            nonlocal paused
            paused = paused or self.others()
            return paused

        # a snapshot's answers wait until the weights are back: whoever gets one may train at once
        held = []
        pauses = {"others": others} if getattr(engine, "pauses", False) and not snapshot else {}
        failure: SurpassError | None = None
        try:
            counted.update(engine.counters())
            with self.models.weights.using(role) if snapshot else contextlib.nullcontext():
                for given in engine.serve([entry.request for entry in entries], **pauses):
                    count()
                    if self.halt:
                        break
                    entry, reply = _entry(waiting, given)
                    reply = answered(engine, entry.request, reply)
                    del waiting[id(entry.request)]
                    if snapshot:
                        held.append((entry, reply))
                    else:
                        loop.call_soon_threadsafe(self.answered, entry.future, reply)
            count()
        except BaseException as error:  # also SystemExit, which would end this thread silently
            failure = (
                error if isinstance(error, SurpassError) else EngineError(f"the engine raised {_said(error)}")
            )
            with contextlib.suppress(BaseException):
                count()  # what the missing answers have used
        for entry, reply in held:
            loop.call_soon_threadsafe(self.answered, entry.future, reply)
        left = list(waiting.values()) if paused and failure is None and not self.halt else []
        for entry in left:
            entry.passes += 1
        again = [
            entry
            for entry in left
            if entry.passes
            <= PASSES + (entry.request.sampling.max_tokens if isinstance(entry.request, Generate) else 0)
        ]
        for entry in waiting.values():
            if entry not in again:
                loop.call_soon_threadsafe(
                    self.answered, entry.future, failure or EngineError("the engine gave no answer")
                )
        return again

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """Run a coroutine to its end on an event loop that knows when every search waits."""
        if self.loop is not None:
            work.close()
            raise SurpassError(
                "these models are busy with another run; wait for it, or load the model a second time"
            )
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(_IdleSelector(self))) as runner:
            self.loop = runner.get_loop()
            try:
                if self.cancelled:
                    work.close()
                    raise asyncio.CancelledError
                return runner.run(work)
            except SystemExit as error:  # from a task inside a search: nothing else catches it
                # rich raises this when nobody reads the output any more
                if isinstance(error.__context__, BrokenPipeError):
                    raise
                raise RunBroken(f"a task or a part raised {_said(error)}, which ends a program") from error
            finally:
                self.halt = True
                self.answer()
                try:
                    for engine in self.models.distinct():
                        getattr(engine, "stop", lambda: None)()  # stop waiting for a server
                    for pool in self.lanes.values():
                        pool.submit(lambda: None).result()  # a snapshot's weights may still be loaded
                finally:
                    self.loop, self.entries = None, []
                    self.replies.clear()
                    self.busy = set()
                    self.halt = self.cancelled = False
                    self.asking.clear()

    def cancel(self) -> None:
        """Stop the present or the next `run` from another thread, as Ctrl-C would."""
        self.cancelled = True
        loop = self.loop
        if loop is not None:
            loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])


def _reply(future: asyncio.Future, answer: Any) -> None:
    if not future.done():
        future.set_exception(answer) if isinstance(answer, BaseException) else future.set_result(answer)


def _entry(waiting: dict[int, _Entry], given: Any) -> tuple[_Entry, Any]:
    """The entry that the engine answered, and its reply."""
    try:
        request, reply = given
    except (TypeError, ValueError) as error:
        raise EngineError(
            f"an engine's serve has to give pairs (request, reply); it gave {type(given).__name__}"
        ) from error
    if id(request) not in waiting:
        raise EngineError(
            f"the engine answered a request twice, or one that it was not asked: {type(request).__name__}"
        )
    return waiting[id(request)], reply


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")
