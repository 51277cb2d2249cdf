"""A text as it is read for answers: only its end, without thoughts, in one form of Unicode."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

MOST = 100_000
"""Characters of a text, counted from its end, in which an answer is looked for."""


def ending(text: str) -> str:
    """The end of a text without its thoughts, folded; at most MOST characters, because a model in a loop may
    write a million.
    """
    return folded(unix(said(text)[-MOST:]))[-MOST:]


def unix(text: str) -> str:
    """The text with "\\n" at the end of every line."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


# -- thoughts

_NAMES = r"(?:\w+:)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|analysis|reflection|scratchpad)"
_OPENS = (
    rf"<{_NAMES}(?:\s[^<>\n"
    rf"]*)?>|\[think\]|◁think▷|<\|(?:begin_of_|start_)?{_NAMES}(?:_start)?\|>|<unused94>|<\|inner_prefix\|>|"
    r"<\|channel>thought|<\|channel\|>\s*analysis\s*<\|message\|>|Here(?:'s| is) my thought process:"
)
_CLOSES = (
    rf"</{_NAMES}\s*>|\[/think\]|◁/think▷|<\|(?:end_of_|end_|/){_NAMES}\|>|<\|{_NAMES}_end\|>|<unused95>|<\|inner_suffix\|>|"
    r"<channel\|>|Here(?:'s| is) my response:"
)
_CHANNEL = re.compile(
    r"<\|channel\|>\s*(\w+)(?:(?!<\|message\|>).)*<\|message\|>(.*?)(?=<\|(?:end|return|call|start|channel)\|>|\Z)",
    re.DOTALL,
)
_CHANNEL_LOST = re.compile(
    r"\Aanalysis(?:.*assistantfinal|(?=[A-Z]).*\Z)", re.DOTALL
)  # what is left of it without special tokens


def said(text: str, marks: Sequence[tuple[str, str]] = (), begun: bool = False) -> str:
    """The text without the thoughts in it; a text without any comes back unchanged.

    Thoughts stand between <think>, <thinking>, <thought>, <reasoning> and the like, [THINK] or
    <|START_THINKING|> and its closing mark, or in a channel of gpt-oss other than "final". `marks` holds
    those of a template of its own, as (opening, closing). What follows an opening that is not closed is
    thought. So is what precedes a closing that nothing opened: the template may have opened it in the prompt.
    `begun`: it has, and the text begins inside a thought.
    """
    if "<|channel|>" in text:
        return "\n".join(words for channel, words in _CHANNEL.findall(text) if channel == "final").strip()
    if not begun:
        text = _CHANNEL_LOST.sub("", text)
    closes = "|".join([_CLOSES, *(re.escape(closing) for _, closing in marks)])
    kept: list[str] = []
    at, thinking, found = 0, begun, begun
    for mark in re.finditer(rf"(?:({_openings(marks)})|{closes})", text, re.IGNORECASE):
        if re.search(r"(?:[^`]|\A)`\Z", text[max(0, mark.start() - 2) : mark.start()]):
            continue  # `<think>`, which the text only mentions
        found = True
        if not mark[1]:
            kept = kept if thinking else []
            at, thinking = mark.end(), False
        elif not thinking:
            kept.append(text[at : mark.start()])
            thinking = True
    if not found:
        return text
    return "".join(kept if thinking else [*kept, text[at:]]).strip()


def opening(prompt: str) -> str:
    """The opening mark of a thought at the end of a prompt, after which a model goes on thinking; "" where
    there is none.
    """
    found = re.search(rf"(?:{_OPENS})\s*\Z", prompt, re.IGNORECASE)
    return found[0] if found else ""


def _openings(marks: Sequence[tuple[str, str]]) -> str:
    return "|".join([_OPENS, *(re.escape(opening) for opening, _ in marks)])


# -- Unicode

_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿ", "0123456789+-()n")
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_UNSEEN = re.compile("[\u00ad\u200b\u2060\ufeff]")


def folded(text: str) -> str:
    """The text in Unicode's form NFKC (fullwidth letters, digits and colons become the usual ones), with
    powers as x^2, fractions as 1/2, indices as x_1, and the decimal digits of every script as 0 to 9.
    """
    if text.isascii():
        return text
    text = re.sub(
        "[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿ]+", lambda found: _power(found[0].translate(_RAISED)), _UNSEEN.sub("", text)
    )
    text = re.sub("[₀-₉]+", lambda found: "_" + found[0].translate(_LOWERED), text)
    text = re.sub(r"(\d?)([¼-¾⅐-⅞])(\w?)", _fraction, text)
    text = unicodedata.normalize("NFKC", text).replace("\u2044", "/").replace("−", "-")
    return "".join(str(unicodedata.decimal(c)) if not c.isascii() and c.isdecimal() else c for c in text)


def _power(digits: str) -> str:
    return f"^{digits}" if len(digits) == 1 else f"^{{{digits}}}"


def _fraction(found: re.Match[str]) -> str:
    whole, value, after = found[1], unicodedata.normalize("NFKC", found[2]), found[3]
    return f"{whole} {value}{after}" if whole else f"({value}){after}" if after else value
