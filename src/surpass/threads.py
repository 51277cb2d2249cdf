"""Work that blocks or is awaited: in this thread, or in one of its own beside a running event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from surpass.models import Models

R = TypeVar("R")


def blocking(models: Models, work: Coroutine[Any, Any, R]) -> R:
    """Run `work` to its end; in a thread of its own if an event loop runs in this one, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return models.run(work)
    box: dict[str, Any] = {}
    thread = threading.Thread(target=_fill, args=(box, models, work))
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt:
        models.cancel()
        thread.join()
        raise
    return _opened(box)


async def awaited(models: Models, work: Coroutine[Any, Any, R]) -> R:
    """Run `work` in a thread with an event loop of its own, and wait for it."""
    box: dict[str, Any] = {}
    here, done = asyncio.get_running_loop(), asyncio.Event()

    def go() -> None:
        _fill(box, models, work)
        here.call_soon_threadsafe(done.set)

    threading.Thread(target=go).start()
    try:
        await done.wait()
    except asyncio.CancelledError:
        models.cancel()
        await done.wait()
        raise
    return _opened(box)


def _fill(box: dict[str, Any], models: Models, work: Coroutine[Any, Any, Any]) -> None:
    import torch

    torch.set_num_threads(models.threads)  # a new thread would count its threads anew
    try:
        box["result"] = models.run(work)
    except BaseException as error:
        box["error"] = error


def _opened(box: dict[str, Any]) -> Any:
    if "error" in box:
        raise box["error"]
    return box["result"]
