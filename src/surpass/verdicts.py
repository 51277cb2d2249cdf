r"""Reading what a judge wrote: a score on the scale that the prompt states, or one of a few words.

score_of    "Score: 4", "**Score:** 4", "SCORE - 4/5", "Rating: [[4]]", {"score": 4}, <score>4</score>, "4 out
            of 5", "I give it a 4", a line that is a number; the last statement counts, thoughts do not
word_of     "A", "**A**", "[[A]]", "Verdict: A", "Answer A is better", "Yes, because ..."
asking      a prompt that states the scale
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from surpass.answers import MOST, said

SAY = 'End with a line "Score: N", where N is a number from {worst} to {best}.'

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_N = rf"(?:\d+(?:\.\d+|,\d{{1,2}}(?!\d))?|\.\d+|(?:{'|'.join(_DIGITS)})(?![A-Za-z]))"
_ABOUT = r"(?:(?:a|an|the|about|around|only|just|exactly|approximately|be|would|is|of)\s+)*"
_TOP = rf"(?:/|out\s+of|of)\s*(?:a\s+)?(?:possible|maximum|total|the)?\s*(?:of\s+)?[\"'(\[]*(?P<top>{_N})|(?P<percent>%)"  # noqa: E501
_VALUE = rf"(?P<sign>-\s?)?(?P<n>{_N})(?![\w½¼¾]|[.,]\d)[\"')\]}}>]*\s*(?:{_TOP})?(?!\s*(?:-|to|or|and)\s*\d|[A-Za-z\d])"  # noqa: E501
_FIRM, _LOOSE = (
    "scores?|ratings?|grades?",
    "points?|marks?|total|overall|verdict|evaluation|assessment|result",
)
_SCALE = (
    r"(?:\([^()\n]{0,60}\)|\[[^\[\]\n]{0,60}\]|(?:on|out\s+of|from|between|for|of)\b[^:=\n]{0,80}?(?=[:=]))?"
)
_SEP = r"(?P<sep>:|=|->|→|\bis\b|\bof\b|\||>|-(?=\s)|(?=\s|-))"
_MARKED = re.compile(
    rf"(?<![A-Za-z])(?P<name>{_FIRM}|{_LOOSE})(?![A-Za-z])[\"'_)\]}}]*\s*{_SCALE}[\"'_\s]*{_SEP}[\s\"'(\[{{|:]*{_ABOUT}{_VALUE}",
    re.I,
)
_GIVEN = re.compile(
    rf"\b(?:give|rate|award|assign|deserves?|grade|score|worth)\b[^.\n\d]{{0,60}}?(?<![\w-]){_VALUE}", re.I
)
_ALONE = re.compile(rf"[\s\"'(\[{{<]*{_VALUE}[\s\"')\]}}>.!]*(?:points?|stars?)?[\s.!]*", re.I)
_ENDS = re.compile(rf"(?<![\w.,/-]){_VALUE}[\s.!)*]*(?:points?|stars?)?[\s.!)]*$", re.I)
_BOXED = re.compile(rf"(?:\[\[|\\boxed\s*\{{)\s*{_VALUE}", re.I)
_LIMIT = re.compile(
    r"\b(?:max|maximum|highest|possible|top|perfect|full|min|minimum|lowest|worst|best)\W{0,3}(?:\w+\W{0,3})?$",
    re.I,
)
_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {
    0x2212: "-",
    0x2013: "-",
    0x2014: "-",
    0x2011: "-",
    0x3010: "[",
    0x3011: "]",
}
_QUARTERS = {"½": ".5", "¼": ".25", "¾": ".75"}


def asking(prompt: str, worst: float, best: float) -> str:
    """The prompt, with the scale in place of {worst} and {best}, or in a sentence at its end."""
    if "{worst}" not in prompt and "{best}" not in prompt:
        prompt = f"{prompt}\n\n{SAY}"
    return prompt.replace("{worst}", f"{worst:g}").replace("{best}", f"{best:g}")


def score_of(text: str, worst: float, best: float) -> float:
    """The score that a text states, on the scale from `worst` to `best`; nan where it states none.

    "x/y" and "x out of y" name a scale of their own, from `worst` to y. If y is not `best` the score is
    rescaled (9/10 is 4.5 on 0 to 5), and so is a percentage; on a scale that begins below 0 they count as no
    score. A number outside the scale is no score: nan, not the end of the scale. Nor is a range ("3-4").
    """
    text = _bare(text)
    if (named := _in_json(text)) is not None:
        found = _ALONE.fullmatch(str(named)) if not isinstance(named, bool) else None
        return _placed(found, worst, best) if found else math.nan
    for pattern in (_BOXED, _MARKED, _GIVEN):
        found = [
            m
            for m in pattern.finditer(text.replace("\\boxed{", "") if pattern is not _BOXED else text)
            if _states(m)
        ]
        if found:
            return _placed(found[-1], worst, best)
    lines = [line for line in text.splitlines() if line.strip()]
    alone = [m for line in lines if (m := _ALONE.fullmatch(line))]
    if len(alone) == 1:
        return _placed(alone[0], worst, best)
    end = _ENDS.search(lines[-1]) if lines else None
    return _placed(end, worst, best) if end and (end["top"] or end["percent"]) else math.nan


def read(text: str, worst: float, best: float, pattern: str = "") -> float:
    """`score_of`; with a pattern, the last number that it finds. nan outside the scale."""
    if not pattern:
        return score_of(text, worst, best)
    found = re.findall(pattern, text)
    return float(found[-1]) if found and worst <= float(found[-1]) <= best else math.nan


def word_of(text: str, words: Sequence[str]) -> str | None:
    """The one of `words` that a verdict says ("A" or "B", "yes" or "no"); None where it says none, or
    several. A single letter must be a capital, so that an article is no verdict.
    """
    text, known = _bare(text).replace("\\boxed{", "[[").strip(), {word.casefold(): word for word in words}
    one = (
        "("
        + "|".join(re.escape(word) if len(word) == 1 else f"(?i:{re.escape(word)})" for word in words)
        + r")(?![\w'])"
    )
    kinds = "(?i:answer|option|response|solution|assistant|candidate|choice)"
    for pattern in (
        rf"\[\[\s*{one}",
        rf"(?i:verdict|winner|choice|preference|judge?ment|decision|answer|better(?: "
        rf"one)?)[\"'_\s]*(?::|=|\bis\b)[\"'(\[{{<\s]*(?:{kinds}\s+)?{one}",
    ):
        if found := re.findall(pattern, text):
            return known[found[-1].casefold()]
    good = r"(?i:is|are|seems|looks)\s+(?i:(?:clearly|much|slightly|the)\s+)*(?i:better|best|right|correct|preferable|preferred|stronger)"  # noqa: E501
    found = {known[word.casefold()] for word in re.findall(rf"(?<![\w']){one}\s+{good}", text)}
    found |= {
        known[word.casefold()]
        for word in re.findall(rf"(?i:prefer|choose|pick)\s+(?:{kinds}\s+)?[\"'(\[]*{one}", text)
    }
    if found:
        return found.pop() if len(found) == 1 else None
    if begins := re.match(
        rf"[\W_]*+(?:{kinds}\s+[\W_]*+)?{one}(?=[\W_]*$|\s*[,.;:!)>\]}}\n-]|\s+(?:wins|because|since)\b)",
        text,
    ):
        return known[begins[1].casefold()]
    return None


def unread(trees: Iterable[Any]) -> tuple[int, int]:
    """(verdicts without a score, verdicts asked for), counted in the node column "read" that judges write."""
    columns = [tree.get("read").values for tree in trees if tree.has("read")]
    return sum(int((values == 0).sum()) for values in columns), sum(
        int((values == values).sum()) for values in columns
    )


def _bare(text: str) -> str:
    """The text without thoughts and emphasis, in plain digits and signs."""
    text = re.sub(r"(?<=\d)\s?([½¼¾])", lambda m: _QUARTERS[m[1]], said(text)[-MOST:].translate(_WIDE))
    return re.sub(r"[*`~$]+|__|\\[()\[\]]|\\text(?:bf)?(?=\{)", "", text)


def _in_json(text: str) -> Any:
    """The score in the last JSON object that has one: the value of "score", or of the only key that ends in a
    word for it. None where there is none.
    """
    found, at = None, 0
    while (at := text.find("{", at)) >= 0:
        try:
            data, at = json.JSONDecoder().raw_decode(text, at)
        except RecursionError:
            break  # it states no score; going on would try each of its braces
        except ValueError:
            at += 1
            continue
        names = {
            re.sub(r"[^a-z]", "", str(key).lower()): value
            for key, value in data.items()
            if not isinstance(value, (dict, list))
        }
        ends = [
            v
            for name, v in names.items()
            if re.search(rf"(?:{_FIRM})$", name) and not re.match("max|min|best|worst", name)
        ]
        found = names["score"] if "score" in names else ends[0] if len(ends) == 1 else found
    return found


def _states(m: re.Match[str]) -> bool:
    """Whether a match states a score, not the highest possible one or how points are counted."""
    groups = m.groupdict()
    loose = re.fullmatch(_LOOSE, groups.get("name") or "", re.I) and groups["sep"] not in (":", "=")
    return not loose and not _LIMIT.search(m.string[max(0, m.start() - 30) : m.start()])


def _placed(m: re.Match[str], worst: float, best: float) -> float:
    """A matched number on the scale; nan where it is outside."""
    x, top = _number(m["n"]), _number(m["top"]) if m["top"] else None
    sign, said = m["sign"] or "", m.groupdict().get("sep")
    # on a scale from 0 on, the sign in "Score -4" and "Score: - 4" is a dash
    dash = worst >= 0 and (sign.endswith(" ") or said == "")
    x = -x if sign and not dash else x
    if m["percent"]:
        x, top, lowest = x, 100.0, 0.0
    else:
        lowest = worst
    if top is None or (top == best and not m["percent"]):
        return x if worst <= x <= best else math.nan
    if worst < 0 or not lowest <= x <= top or lowest >= top:
        return math.nan
    return worst + (x - lowest) / (top - lowest) * (best - worst)


def _number(text: str) -> float:
    return float(_DIGITS.index(text.lower())) if text.lower() in _DIGITS else float(text.replace(",", "."))
