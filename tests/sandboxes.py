"""Jobs in a sandbox, for the tests of whatever runs there."""

from __future__ import annotations

from surpass import sandbox
from surpass.errors import SurpassError
from surpass.sandbox import Limits, Ran, run
from surpass.walls import start


def without_bubblewrap(monkeypatch) -> None:
    """As on a machine that has none."""
    monkeypatch.setattr(start, "_bwraps", list)
    start._bwrap.cache_clear()
    sandbox.ready.cache_clear()


def missing() -> str:
    """Why there is no sandbox here ("": there is one)."""
    try:
        sandbox.ready()
    except SurpassError as error:
        return str(error)
    return ""


def gives(body: str, *arguments, limits: Limits | None = None) -> Ran:
    """What a function f with this body returns."""
    code = "def f(*a):\n" + "\n".join("    " + line for line in body.splitlines())
    return run(code, "f", [arguments], limits)[0]
