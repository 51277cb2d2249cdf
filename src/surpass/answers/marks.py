"""The answer that a text states with a mark: a line of its own, a box, a tag, a sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from surpass.answers.forms import clean, normal, number
from surpass.answers.texts import ending
from surpass.answers.unmarked import is_expression

_FEW_WORDS = 12  # at most so many stand on the line after an empty mark
# abbreviations of four letters and more, with which no sentence ends
_SHORT = frozenset("prof capt sgt vols approx univ".split())
_LEAD = (
    r"(?:(?:so|thus|hence|therefore|then|finally|and|now|ok(?:ay)?|consequently|as a result|in "
    r"(?:conclusion|summary))\b[,:]?[ \t]+){0,3}"
    r"(?:(?:the|my|our|your|this|an?|die|la|il)[ "
    r"\t]+)?(?:(?:final|correct|right|short|numerical|numeric|exact|simplified|best|overall)[ \t]+){0,3}"
)
_WORD = (
    r"(?:answers?|ans|final[ "
    r"\t]+result|(?:最[终終])?答案|答え|解答|回答|정답|답|ответ|antwort|(?:réponse|respuesta|resposta|risposta)"
    r"(?:[ \t]+finale?)?)"
)
_TO = r"(?:[ \t]+(?:to|for|of)[ \t]+[^\n:=.,]{1,80}?)?"
_EDGE = r"[ \t*_`\"'\]】}]{0,8}"
_COLON = r"(?:[:=∶꞉։]|->|→|⇒|[-–—](?=[ \t]))[*_】}]{0,4}(?:[\"'`](?=\s))?[ \t]*"
_MARK = (
    rf"{_LEAD}{_WORD}{_TO}{_EDGE}(?:\([^()\n]{{1,60}}\){_EDGE})?(?:(?:is|are|was|would be|是|为|は)\b[ "
    rf"\t]*)?{_COLON}"
)
_BEGINS = r"^[^\w\n]{0,20}(?:\d{1,2}[.)][ \t]+)?(?:\\?(?:text|math)\w*\{)?[*_]{0,3}"
_LINE = re.compile(rf"{_BEGINS}(?:{_MARK}|{_LEAD}{_WORD}[】\]]:?)(.*)$", re.IGNORECASE | re.MULTILINE)
_SENTENCE = re.compile(
    rf"(?:(?<=[^\w\s])|(?<=\d))[ \t]{{1,4}}[*_]{{0,3}}{_MARK}(.*)$", re.IGNORECASE | re.MULTILINE
)
_HEADING = re.compile(rf"{_BEGINS}{_LEAD}{_WORD}{_EDGE}()$", re.IGNORECASE | re.MULTILINE)
_IN_BRACKETS = re.compile(
    rf"{_BEGINS}{_LEAD}{_WORD}[ \t*_]{{0,8}}\(([^()\n]+)\)[*_. \t]{{0,8}}$", re.IGNORECASE | re.MULTILINE
)
_HASHES = re.compile(r"(?:^|(?<=\s))####[ \t]*([^\n#]+?)[ \t]*$", re.MULTILINE)
_TAG = re.compile(r"<((?:final[ _-]?)?answer|ans)>(.*?)(?:</\1>|(?=<\1>)|\Z)", re.IGNORECASE | re.DOTALL)
_BRACKET_TAG = re.compile(
    r"(?:\[answer\]|<\|begin_of_box\|>)()(.{0,2000}?)(?:\[/answer\]|<\|end_of_box\|>)",
    re.IGNORECASE | re.DOTALL,
)
_JSON = re.compile(
    r"[\"'](?:final[ _]?)?answer[\"']\s*:\s*(\"(?:[^\"\\]|\\.)*\"|'[^'\n]*'|\[[^\[\]]*\]|[^,}\n]+)",
    re.IGNORECASE,
)
_IS = re.compile(
    rf"(?:\b(?:answer|(?:correct|right) (?:option|choice)){_TO}(?:,[^,\n]{{1,30}},)?[*_]{{0,3}}[ "
    rf"\t]{{1,4}}(?:is|was|would be|must be|should be)\b|"
    r"答案(?:就是|是|为|為)|答えは|\bréponse(?: finale)? est\b|\bantwort (?:ist|lautet)\b|\brespuesta(?: final)? "  # noqa: E501
    r"es\b|\bresposta(?: final)? é\b|"
    r"\brisposta(?: finale)? è\b|\b(?:the|final|correct)[ \t]+answer:)[ "
    r"\t]*(?:(?:simply|just|then|thus|therefore|indeed|clearly|exactly|equal to|option)\b[ \t]*)*",
    re.IGNORECASE,
)
_OTHER_THAN_AN_ANSWER = re.compile(
    r"[*_]*(?:(?:not|no "
    r"longer|based|rounded|in|as|that|to|because|correct|right|wrong|incorrect|unknown|unclear|uncertain|found|given|"
    r"obtained|expressed|likely|probably|possibly|maybe|perhaps|either|one "
    r"of|what|where|here|below|above|since|step|if)\b|"
    r"(?:let|we|i)(?:'s|'ll)?[ \t]|first,)",
    re.IGNORECASE,
)
_WHY = re.compile(r"[, ] ?(?:because|since|which)\b.*")
_BOX = re.compile(r"\\(?:boxed|fbox|framebox)\s*\{|\x08oxed\s*\{|(?<![\\\w])boxed\{|\\[{}]|[{}]")
_BARE_BOX = re.compile(r"\\boxed\s+([^\s{}$\\]+)")
_OR = re.compile(
    r"[ \t]*\\?[$)\]]*[ \t]*(,|or|and|,[ \t]*(?:or|and))[ \t]*[$\\(\[]*(?:[a-z][ \t]*=)?[ \t]*", re.IGNORECASE
)
_ELSE = re.compile(
    r"\W*(?:or|or else|alternatively|maybe|perhaps|or maybe|or perhaps|otherwise)\W*", re.IGNORECASE
)


def final_answer(text: str) -> str | None:
    r"""The answer that a text states with a mark; None if there is no mark.

    Marks are a line that begins with "Answer:" (or "Final answer (42)", in bold, with another script's colon,
    in some other languages), \boxed{}, <answer>, "####" and JSON's "answer"; of several that state something
    the last counts. Two that "or" joins are alternatives, and no answer. Only without these, "... Answer: 42"
    inside a line counts, then "the answer is 42". What comes back has no marks of emphasis, quotes, dollar
    signs or \text{} around it, and no full stop after it.
    """
    text = ending(text)
    found = sorted((mark for mark in _marked(text) if mark[2]), key=lambda mark: mark[0])
    if not found:
        return _in_prose(text)
    between = text[found[-2][1] : found[-1][0]] if len(found) > 1 else ""
    if len(between) < 40 and _ELSE.fullmatch(between) and normal(found[-2][2]) != normal(found[-1][2]):
        return None
    return found[-1][2]


def _marked(text: str) -> Iterator[tuple[int, int, str]]:
    """(begin, end, answer) of every mark; the answer is "" where it states none."""
    lines = [*_LINE.finditer(text), *_HEADING.finditer(text)] or [*_SENTENCE.finditer(text)]
    yield from ((mark.start(), mark.end(), _rest(text, mark)) for mark in lines)
    yield from (
        (mark.start(), mark.end(), _unless_prose(clean(mark[1]))) for mark in _IN_BRACKETS.finditer(text)
    )
    for mark in _HASHES.finditer(text):  # a heading of Markdown looks the same, and is no answer
        if number(mark[1]) is not None or not text[mark.end() :].strip():
            yield mark.start(), mark.end(), clean(mark[1])
    for mark in [*_TAG.finditer(text), *_BRACKET_TAG.finditer(text)]:
        if mark[0].endswith((">", "]")) or "\n" not in mark[2].strip():  # no mere mention
            yield mark.start(), mark.end(), _in_prose(mark[2]) or clean(mark[2])
    for mark in _JSON.finditer(text):
        yield mark.start(), mark.end(), clean(_from_json(mark[1]))
    yield from _boxes(text)


def _rest(text: str, mark: re.Match[str]) -> str:
    """What follows a mark on its line; where that is empty, the next line, or the next block in fences or
    signs of mathematics.
    """
    rest = mark[1]
    if inner := [*_SENTENCE.finditer(rest)]:
        rest = inner[-1][1]
    if clean(rest):
        # "Answer: 42", in quotes or brackets
        before = text[mark.start() : mark.end() - len(mark[1])].lstrip()[:1]
        closing = {"(": ")", "[": "]"}.get(before, "" if before.isalnum() else before)
        return clean(_in_prose(rest) or _sentence(rest.removesuffix(closing)))
    after = text[mark.end() :].lstrip()
    block = re.match(r"```[^\n]*\n(.*?)```|\$\$(.*?)\$\$|\\\[(.*?)\\\]", after, re.DOTALL)
    if block:
        return clean(next(filter(None, block.groups()), ""))
    line, _, more = after.partition("\n")
    alone = is_expression(line) or not more.partition("\n")[0].strip()
    if not alone or len(line.split()) > _FEW_WORDS or _LINE.match(line) or _HEADING.match(line):
        return ""
    return _unless_prose(clean(_in_prose(line) or _sentence(line)))


def _in_prose(text: str) -> str | None:
    """What follows the last "the answer is". None without one, where no answer follows it ("not 5", "based on
    ..."), and where its line gives two answers.
    """
    for line in reversed(text.split("\n")):
        parts = _IS.split(line)[1:]
        found = [
            answer for part in parts if (answer := _unless_prose(clean(_sentence(part.lstrip(":= \t")))))
        ]
        kinds = {normal(re.sub(r"[,;.]?\s+(?:or|and|so|but)\b.*", "", answer)) for answer in found}
        if found:
            return found[-1] if len(kinds) == 1 else None
    return None


def _unless_prose(answer: str) -> str:
    return "" if _OTHER_THAN_AN_ANSWER.match(answer) else answer


def _sentence(text: str) -> str:
    """The first sentence, up to the reason that it gives for the answer."""
    for end in re.finditer(r"[.!?。!?]+[*_)\"']*(?:\s+|(?<=。))(?=\S)", text):
        before = text[: end.start()].split()
        known = (
            before
            and (len(before[-1]) > 3 or re.search(r"[\d$)}\]]$", before[-1]))
            and before[-1].casefold() not in _SHORT
        )
        if known and len(text[end.end() :].split()) > 2:
            text = text[: end.start()]
            break
    # 42 (since 6 * 7 is 42)
    found = re.fullmatch(r"(?=\S*\d)(\S++)\s+\((?!mod\b)[^()]*[A-Za-z]{2}[^()]*\)\.?", text.strip())
    return found[1] if found else _WHY.sub("", text)


def _from_json(value: str) -> str:
    try:
        found = json.loads(value)
        return found if isinstance(found, str) else json.dumps(found)
    except (ValueError, RecursionError):
        return value.strip("' \t")


def _boxes(text: str) -> list[tuple[int, int, str]]:
    r"""Every closed \boxed{...}; those that "or", "and" or a comma joins are one, with commas in between."""
    found: list[tuple[int, int, str]] = []
    open_: list[tuple[int, int]] = []
    for brace in _BOX.finditer(text):
        if brace[0] in (r"\{", r"\}"):
            continue
        if brace[0] != "}":
            open_.append((brace.start() if brace[0] != "{" else -1, brace.end()))
        elif open_:
            start, inside = open_.pop()
            if start >= 0:
                found.append((start, brace.end(), clean(text[inside : brace.start()])))
    found += [(bare.start(), bare.end(), clean(bare[1])) for bare in _BARE_BOX.finditer(text)]
    joined: list[tuple[int, int, str]] = []
    for box in sorted(found):
        if joined and joined[-1][1] <= box[0] and _OR.fullmatch(text[joined[-1][1] : box[0]]):
            start, _, answer = joined.pop()
            box = (start, box[1], f"{answer}, {box[2]}")
        joined.append(box)
    return joined
