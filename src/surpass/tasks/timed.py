"""Calls of a user's function that must end in time: in this thread, or in one of its own."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable
from typing import Any


class TooLate(Exception):
    """A call in the main thread took too long."""


async def at_once(seconds: float, function: Callable[..., Any], *given: Any) -> Any:
    """What the function returns, called now in the main thread; TooLate after `seconds`. A timer in another
    thread stops it with the signal SIGUSR1, because the function may use SIGALRM itself.
    """
    over = False

    class Stop(BaseException):
        """Raised inside the function, which should not catch it."""

    def stop(*_: Any) -> None:
        if not over:
            raise Stop

    main = threading.main_thread().ident
    assert main is not None
    before = signal.signal(signal.SIGUSR1, stop)
    timer = threading.Timer(seconds, signal.pthread_kill, (main, signal.SIGUSR1))
    timer.daemon = True
    timer.start()
    try:
        return function(*given)
    except Stop:
        raise TooLate from None
    finally:
        over = True
        timer.cancel()
        timer.join()  # a signal that is under way arrives while its handler does nothing
        signal.signal(signal.SIGUSR1, before)


def in_thread(function: Callable[..., Any], *given: Any) -> asyncio.Future[Any]:
    """What the function returns, computed in a thread of its own. The function may never return, so the
    program does not wait for this thread when it ends.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def tell(set_: Callable[[Any], None], value: Any) -> None:
        if not future.done():
            set_(value)

    def work() -> None:
        try:
            outcome = future.set_result, function(*given)
        except Exception as error:
            outcome = future.set_exception, error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell, *outcome)

    threading.Thread(target=work, daemon=True).start()
    return future
