"""What all searches wait for is served as one batch, every engine in a lane of its own."""

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
PATIENCE = 0.005  # seconds to wait for real I/O before serving a batch that could still grow
PASSES = 1000  # how often an engine may pause in a request, beside once a token that it may draw


class _IdleSelector(selectors.DefaultSelector):
    """Tells the queue when the event loop has nothing ready to run: a select with a timeout other than 0
    means just that.
    """

    def __init__(self, queue: Queue):
        super().__init__()
        self.queue = queue

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout != 0 and self.queue.replies:
            self.queue.deliver()
            return super().select(0)
        if timeout != 0 and self.queue.wanted:
            if len(self.get_map()) > 1:  # more than the loop's own pipe: sockets of real tools
                events = super().select(PATIENCE if timeout is None else min(timeout, PATIENCE))
                if events:
                    return events
            self.queue.idle()
        return super().select(timeout)


@dataclass
class _Entry:
    """A request that waits."""

    order: tuple
    role: str
    request: Any
    future: asyncio.Future
    account: str  # that of whoever asked
    passes: int = 0  # how often an engine paused in it: then it goes first


class Queue:
    """Requests of every search, in an order that does not depend on when they came.

    A batch is all that waits when the event loop has nothing left to do and no lane is at work. A lane is a
    thread: engines that compute on this machine share one (two at once would only slow each other down),
    every other engine has its own, so a judge behind an API and the local policy are served at the same time.
    """

    def __init__(self, models: Models):
        self.models = models
        self.entries: list[_Entry] = []
        self.loop: asyncio.AbstractEventLoop | None = None
        self.asked = 0
        self.replies: deque[tuple[asyncio.Future, Any]] = deque()  # answers that nobody has heard yet
        self.busy: set[int] = set()  # lanes at work
        self.halt = self.cancelled = False
        self.asking: list[threading.Event] = []  # lanes that want to know whether others wait
        self.lanes: dict[int, ThreadPoolExecutor] = {}  # by engine; 0: whatever computes here

    async def ask(self, role: str, request: Any, order: tuple) -> Any:
        """The answer to a request; where several wait they are served in the order of their roles, kinds and
        `order`.
        """
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self.asked += 1
        place = (role, type(request).__name__, *order, self.asked)
        self.entries.append(_Entry(place, role, request, future, self.models.account))
        if not self.knows(loop):  # somebody else's loop: a short wait instead
            loop.call_later(PATIENCE, self.serve)
        return await future

    def knows(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether this loop tells us when it is idle: one that other models run on tells them."""
        return getattr(getattr(loop, "_selector", None), "queue", None) is self

    @property
    def waiting(self) -> bool:
        return bool(self.entries) and not self.busy

    @property
    def wanted(self) -> bool:
        """Whether somebody wants to know that the loop is idle."""
        return self.waiting or bool(self.asking)

    def idle(self) -> None:
        """The loop has nothing left to do: serve what waits, or tell the lanes that ask once all do."""
        if not self.asking:
            self.serve()
        elif len(self.asking) == len(self.busy):
            self.answer()

    def answer(self) -> None:
        """Let every lane that asks go on."""
        while self.asking:
            self.asking.pop().set()

    def answered(self, future: asyncio.Future, answer: Any) -> None:
        """An answer has come. On our own loop it is heard once all that the one before brought about is done:
        what is added to a tree, and in which order, must not depend on how soon the engine's thread gave the
        next.
        """
        if self.loop is not None and self.knows(self.loop):
            self.replies.append((future, answer))
        else:
            _reply(future, answer)

    def deliver(self) -> None:
        """Let the answer that came first be heard."""
        _reply(*self.replies.popleft())

    def others(self) -> bool:
        """For an engine in its lane: whether anything waits once every other lane is done, or asks as well,
        and all searches have gone on as far as they can with the answers so far. Only our own loop can tell,
        so that pauses, and with them the batches, depend on nothing but the run.
        """
        if self.loop is None:
            return False
        heard = threading.Event()
        self.asking.append(heard)
        if self.halt:  # looked at after asking: who ends the run does both, in the other order
            return False
        self.loop.call_soon_threadsafe(lambda: None)  # it may be asleep
        heard.wait()
        return bool(self.entries) and not self.halt

    def serve(self) -> None:
        """Serve what waits, as much as fits, as one batch in the engines' lanes."""
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
        """Serve a role's requests; what its engine paused in comes back. Whatever the engine does, every
        other request is answered.
        """
        waiting = {id(entry.request): entry for entry in entries}
        engine, snapshot = self.models.engine(role), "@" in role
        counted: Counter[str] = Counter()
        paused = False

        def count() -> None:  # ahead of each reply, so that nothing is lost when the last one ends the run
            new = Counter(engine.counters()) - counted
            for what, n in new.items():
                loop.call_soon_threadsafe(self.models.count, what, n, entries[0].account)
            counted.update(new)

        def others() -> bool:
            nonlocal paused
            paused = paused or self.others()
            return paused

        # a snapshot's answers wait until the weights are back: who hears one may train or save at once
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
        except BaseException as error:  # also what would end this thread without a word, such as SystemExit
            failure = (
                error if isinstance(error, SurpassError) else EngineError(f"the engine raised {_said(error)}")
            )
            with contextlib.suppress(BaseException):
                count()  # what was used for answers that never came
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
            except SystemExit as error:  # out of a task inside a search, where nothing else can hear it
                # nobody reads any more what is printed: rich ends so
                if isinstance(error.__context__, BrokenPipeError):
                    raise
                raise RunBroken(
                    f"a task or a part raised {_said(error)}, which is for the end of a program"
                ) from error
            finally:
                self.halt = True
                self.answer()
                try:
                    for engine in self.models.distinct():
                        getattr(engine, "stop", lambda: None)()  # whoever waits for a server gives up
                    for pool in self.lanes.values():
                        pool.submit(lambda: None).result()  # a snapshot's weights may still be loaded
                finally:
                    self.loop, self.entries = None, []
                    self.replies.clear()
                    self.busy = set()
                    self.halt = self.cancelled = False
                    self.asking.clear()

    def cancel(self) -> None:
        """Stop what `run` is doing, or about to do, in another thread, as Ctrl-C would."""
        self.cancelled = True
        loop = self.loop
        if loop is not None:
            loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])


def _reply(future: asyncio.Future, answer: Any) -> None:
    if not future.done():
        future.set_exception(answer) if isinstance(answer, BaseException) else future.set_result(answer)


def _entry(waiting: dict[int, _Entry], given: Any) -> tuple[_Entry, Any]:
    """The entry that an engine answered, and its reply."""
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
