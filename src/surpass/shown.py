"""Text on a terminal: what a model, a file or a server wrote is shown, never obeyed.

A terminal obeys escape codes: they recolour and overwrite text, set the clipboard and name links. Other
characters mislead the reader: they reverse or hide a stretch of text. Each of these characters is shown as
JSON's escape for it, so that a line of JSON stays one, with the same value.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import IO, Any

from rich.console import Console
from rich.file_proxy import FileProxy
from rich.progress import Progress
from rich.segment import Segment

# the characters that join emoji, and letters of Persian and the scripts of India
_JOINED = "(?<=[\u200d\u20e3\ufe0f\u2190-\u2bff\U0001f000-\U0001faff])\u200d(?=[\u2190-\u2bff\U0001f000-\U0001faff])|(?<=[\u0620-\u065f\u066e-\u06ef\u0700-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u17b3])[\u200c\u200d](?=[\u0620-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u17b3])|(?<=[\u1820-\u18aa])[\u180b-\u180d\u180f]|(?<=\U0001f3f4)[\U000e0061-\U000e007a\U000e0030-\U000e0039]{2,6}\U000e007f"  # noqa: E501
_OBEYED = (
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and newline, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # directions
    # without width, or ends of lines; a second variation selector, which hides something
    "\xad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2028\u2029\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]|(?<=[\ufe00-\ufe0f])[\ufe00-\ufe0f]"
)
_FOUND = re.compile(f"(?P<kept>{_JOINED})|\r(?P<line>\n)|{_OBEYED}")


def shown(text: str) -> str:
    """A text with escapes such as `\\u001b` for each character that a terminal obeys, or that nobody sees.

    Newlines, tabs, letters of every script, accents and emoji stay; the end of a line is a newline alone.
    """
    return _FOUND.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0][0])
    return found["kept"] or found["line"] or (f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")


class Shown:
    """A stream that writes every text as `shown`."""

    def __init__(self, stream: IO[str]):
        self.stream = stream

    def write(self, text: str) -> int:
        self.stream.write(shown(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def bare(stream: Any) -> Any:
    """The stream itself, for text with escape codes of our own."""
    while isinstance(stream, Shown):
        stream = stream.stream
    return stream


class Terminal(Console):
    """A console that writes text as `shown`, without markup or emoji names; escape codes are its own."""

    def __init__(self, stderr: bool = False):
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False)

    @property
    def file(self) -> IO[str]:
        return bare(super().file)

    @file.setter
    def file(self, new: IO[str]) -> None:
        self._file = new

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*(shown(item) if isinstance(item, str) else item for item in objects), **options)

    # all text passes here, also that of a bar and of a redirected stream
    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        return super()._render_buffer(
            part if part.control else part._replace(text=shown(part.text)) for part in buffer
        )


class Bar(Progress):
    """rich's bar. It reads escape codes in text that is printed meanwhile, so that is `shown` first."""

    def start(self) -> None:
        super().start()
        for name in ("stdout", "stderr"):
            if isinstance(stream := getattr(sys, name), FileProxy):
                setattr(sys, name, Shown(stream))  # type: ignore[arg-type]


@contextlib.contextmanager
def showing() -> Iterator[None]:
    """Everything printed meanwhile is `shown`, tracebacks too."""
    before = sys.stdout, sys.stderr
    _show()
    _to_the_end()
    try:
        yield
    except SystemExit as stop:
        stop.code = shown(stop.code) if isinstance(stop.code, str) else stop.code
        raise
    except Exception:
        sys.excepthook = _tell
        raise
    finally:
        sys.stdout, sys.stderr = before


def _show() -> None:
    sys.stdout, sys.stderr = (stream and Shown(bare(stream)) for stream in (sys.stdout, sys.stderr))  # type: ignore[assignment]


@functools.cache
def _to_the_end() -> None:
    """What is printed while the process ends is `shown`, too: by destructors, and by other threads."""
    atexit.register(_end)


def _end() -> None:
    _show()
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc, assignment]  # Python restores these at the very end


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(shown("".join(traceback.format_exception(kind, error, trace))))
