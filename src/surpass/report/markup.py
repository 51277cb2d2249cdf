"""The one place where text enters a page: `fill` puts values into a template of markup, and escapes whatever
is not markup itself.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any


class Html(str):
    """Markup, made by `fill` and `joined`, or a constant. Every other text is just text: to hand one over for
    markup escapes it.
    """

    __slots__ = ()


def fill(template: str, *values: Any) -> Html:
    """A template (a constant, as for str.format) with each value in its place, where it can be neither markup
    nor the end of an attribute. Numbers are formatted as the template says.
    """
    return Html(template.format(*map(_safe, values)))


def joined(parts: Iterable[Any]) -> Html:
    """One after the other; what is no markup is escaped."""
    return Html("".join(str(_safe(part)) for part in parts))


def _safe(value: Any) -> Any:
    return value if isinstance(value, (Html, int, float)) else Html(html.escape(str(value)))
