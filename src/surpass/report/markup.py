"""The one place where text enters a page: `fill` escapes all values that are no markup."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any


class Html(str):
    """Markup, from `fill`, `joined` or a constant. Other text is escaped where markup is wanted."""

    __slots__ = ()


def fill(template: str, *values: Any) -> Html:
    """A constant template, as for str.format, with escaped values: none of them can become markup, or end an
    attribute. Numbers are formatted as the template says.
    """
    return Html(template.format(*map(_safe, values)))


def joined(parts: Iterable[Any]) -> Html:
    """The parts in order; those that are no markup are escaped."""
    return Html("".join(str(_safe(part)) for part in parts))


def _safe(value: Any) -> Any:
    return value if isinstance(value, (Html, int, float)) else Html(html.escape(str(value)))
