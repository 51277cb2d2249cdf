"""One text for all ways of writing the same answer."""

from __future__ import annotations

import re
from fractions import Fraction

from surpass.answers.texts import folded

_AROUND = [
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"\*\*(.+)\*\*",
        r"__(.+)__",
        r"`+([^`]+)`+",
        r'"([^"]+)"',
        r"'([^']+)'",
        r"“([^”]+)”",
        r"‘([^’]+)’",
        r"«([^»]+)»",
        r"「([^」]+)」",
        r"\$\$([^$]+)\$\$",
        r"\$([^$]+)\$",
        r"\\\((.+)\\\)",
        r"\\\[(.+)\\\]",
        r"<([^<>]+)>",
        r"\\(?:text\w*|math(?:rm|bf|it|sf|tt|normal)|mbox)\s*\{([^{}]*)\}",
        r"\\displaystyle\b(.+)",
    )
]
_AFTER = re.compile(r"(?:[.。;,\s✅✔✓☑🎉\ufe0f]|<\|[^|<>\n]*\|>|</s>)+\Z")
_EMPHASIS = re.compile(r"(?<![\w)\]])(\*\*|__)(?=\S)([^\n]{1,200}?)(?<=\S)\1(?![\w*(])")
_NOTHING = re.compile(
    r"[\s.…_?*-]*|[<\[(](?:your |the |insert |final )*answer(?: here)?[>\])]", re.IGNORECASE
)
_WRAP = re.compile(
    r"\\(?:text\w*|mathrm|mathbf|mathit|mbox)\s*\{([^{}]*)\}|\\\(|\\\)|\\\[|\\\]|\\displaystyle\b|\$"
)
_NUMBER = re.compile(
    r"([-+–]?)\s*[$€£¥₹]?\s*([-+]?)(\d{1,3}(?:[ "
    r",'’_]\d{3})+|\d{1,2}(?:,\d{2})+,\d{3}|\d{1,3}(?:\.\d{3}){2,}(?!\.?\d)|\d*)(\.\d*)?"
    r"(?:[eE]([-+]?\d{1,3}))?\s*[$€£¥₹]?"
)
_QUOTIENT = re.compile(
    r"([-+–]?)\s*(?:\\[dt]?frac\s*(?:\{\s*(-?\d+)\s*\}|(\d))\s*(?:\{\s*(\d+)\s*\}|(\d))|(\d+)\s*/\s*(\d+))"
)
_LONG = 4000  # characters: of a longer answer no marks are removed
_LONGEST = 1000  # characters: a longer text is read as no number


def clean(answer: str) -> str:
    """An answer without quotes, emphasis and punctuation around it; "" for what is no answer."""
    if len(answer) > _LONG:
        return answer.strip()
    answer, before = _EMPHASIS.sub(r"\2", answer), None
    while before != answer and not _NOTHING.fullmatch(answer):
        before, answer = answer, _AFTER.sub("", answer.strip()).strip("*_ \t\n")
        for around in _AROUND:
            if found := around.fullmatch(answer):
                answer = found[1]
    if (
        answer.endswith("}") and answer.count("}") == answer.count("{") + 1
    ):  # \textbf{Answer: 42} was opened before the answer begins
        answer = answer[:-1].rstrip()
    return "" if _NOTHING.fullmatch(answer) else answer


def plain(text: str) -> str:
    r"""Text in one form: folded, in lower case, with single blanks, and without dollar signs, \text{} around
    words, emphasis, quotes and a closing full stop.
    """
    text = clean(folded(text))
    return " ".join(_WRAP.sub(lambda found: found[1] or "", text).split()).rstrip(".").strip().casefold()


def normal(answer: str) -> str:
    r"""One text for all ways of writing an answer that differ in form alone: "1000" for 1,000, 1 000, 1000.0,
    $1000 and x = 1000; "1/2" for 0.5 and \frac{1}{2}; `plain` for what is no number. surpass.tasks.maths says
    what is equal by mathematics.
    """
    answer = clean(folded(answer))
    if found := re.fullmatch(r"\(([^(),]*)\)", answer):
        answer = found[1]
    value = number(re.sub(r"\A[A-Za-z]\s*=\s*", "", answer))
    return plain(answer) if value is None else str(value)


def number(text: str) -> Fraction | None:
    r"""The exact number that a text is; None for anything else. Thousands may be grouped, and a currency's
    sign is ignored.
    """
    text = re.sub(
        r"\\([$%])", r"\1", re.sub(r"(?<=\d)(?:\{,\}|\\[,! ]|~)(?=\d{3})", ",", folded(text).strip())
    )
    if len(text) > _LONGEST or not re.search(r"\d", text):
        return None
    if found := _NUMBER.fullmatch(text):
        digits = re.sub(r"[^\d]", "", found[3]) or "0"
        value = Fraction(f"{digits}{found[4] if (found[4] or '.') != '.' else ''}e{found[5] or 0}")
        return -value if (found[1] in ("-", "–") and found[1]) != (found[2] == "-") else value
    if found := _QUOTIENT.fullmatch(text):
        over, under = int(found[2] or found[3] or found[6]), int(found[4] or found[5] or found[7])
        return None if not under else Fraction(over, under) * (-1 if found[1] and found[1] != "+" else 1)
    return None
