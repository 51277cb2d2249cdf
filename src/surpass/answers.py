r"""What an answer is: where a text states it, in what form, and what are only thoughts.

Whoever judges, compares or shows answers reads them here, so that a check and a vote see the same one.
Nothing here knows which answer is right. A text is read without its thoughts (`said`) and in Unicode's
compatibility form (`folded`).

    final_answer  what a mark states: "Answer: 42" where a line begins with it, \boxed{42},
                  <answer>42</answer>, #### 42, or, without any of these, "the answer is 42"
    stated        the same; in a text without a mark the only candidate that it names
    plain         one text for the ways of writing the same words
    normal        the same, and one text for the ways of writing the same number
    blocks        what stands in code fences
"""

from __future__ import annotations

import json
import re
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from fractions import Fraction

MOST = 100_000
"""Characters of a text, counted from its end, in which an answer is looked for."""

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
    """The text without the thoughts in it; where there are none, the text as it is.

    Known are <think>, <thinking>, <thought>, <reasoning> and their like, [THINK], <|START_THINKING|>, and the
    channels of gpt-oss, of which only "final" is said; `marks` holds a template's own, as (opening, closing).
    What follows an opening that is not closed is thought. So is what precedes a closing that nothing opened:
    the template may have opened it in the prompt. `begun`: it has, and the text begins inside a thought.
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
            continue  # `<think>`, which is only talked about
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
    """The mark of a thought that a prompt ends with, so that what is drawn next is one; "" where it ends with
    none.
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
    powers as x^2, fractions as 1/2, indices as x_1, and every script's decimal digits as 0 to 9.
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


# -- marks

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
    r"""The answer that a text states with a mark; None if there is none.

    Marks are a line that begins with "Answer:" (or "Final answer (42)", in bold, with another script's colon,
    in some other languages), \boxed{}, <answer>, "####" and JSON's "answer"; of several that state something
    the last counts. Two that are joined by "or" are alternatives, and no answer. Only without these "...
    Answer: 42" inside a line counts, then "the answer is 42". What comes back has no marks of emphasis,
    quotes, dollar signs or \text{} around it, and no full stop after it.
    """
    text = _ending(text)
    found = sorted((mark for mark in _marked(text) if mark[2]), key=lambda mark: mark[0])
    if not found:
        return _in_prose(text)
    between = text[found[-2][1] : found[-1][0]] if len(found) > 1 else ""
    if len(between) < 40 and _ELSE.fullmatch(between) and normal(found[-2][2]) != normal(found[-1][2]):
        return None
    return found[-1][2]


def stated(text: str) -> str | None:
    """`final_answer`; in a text without a mark the only candidate that it names (`candidate`). None where it
    names none or several.
    """
    found = final_answer(text)
    return candidate(text) if found is None else found


def of_gold(gold: str) -> str:
    """The answer in a data set's answer or solution: what it states with a mark, else all of it."""
    return final_answer(gold) or folded(gold).strip()


def _ending(text: str) -> str:
    """The end of what a text says, folded: at most MOST characters, because a model stuck in a loop writes a
    million.
    """
    return folded(unix(said(text)[-MOST:]))[-MOST:]


def _marked(text: str) -> Iterator[tuple[int, int, str]]:
    """(where it begins, where it ends, what it states) of every mark; "" where it states nothing."""
    lines = [*_LINE.finditer(text), *_HEADING.finditer(text)] or [*_SENTENCE.finditer(text)]
    yield from ((mark.start(), mark.end(), _rest(text, mark)) for mark in lines)
    yield from (
        (mark.start(), mark.end(), _unless_prose(_clean(mark[1]))) for mark in _IN_BRACKETS.finditer(text)
    )
    for mark in _HASHES.finditer(text):  # also a heading of Markdown, which is no answer
        if number(mark[1]) is not None or not text[mark.end() :].strip():
            yield mark.start(), mark.end(), _clean(mark[1])
    for mark in [*_TAG.finditer(text), *_BRACKET_TAG.finditer(text)]:
        if mark[0].endswith((">", "]")) or "\n" not in mark[2].strip():  # not a tag that is only talked about
            yield mark.start(), mark.end(), _in_prose(mark[2]) or _clean(mark[2])
    for mark in _JSON.finditer(text):
        yield mark.start(), mark.end(), _clean(_from_json(mark[1]))
    yield from _boxes(text)


def _rest(text: str, mark: re.Match[str]) -> str:
    """What follows a mark on its line, else in the next lines: one line, or what stands between signs of
    mathematics or fences.
    """
    rest = mark[1]
    if inner := [*_SENTENCE.finditer(rest)]:
        rest = inner[-1][1]
    if _clean(rest):
        # "Answer: 42", in quotes or brackets
        before = text[mark.start() : mark.end() - len(mark[1])].lstrip()[:1]
        closing = {"(": ")", "[": "]"}.get(before, "" if before.isalnum() else before)
        return _clean(_in_prose(rest) or _sentence(rest.removesuffix(closing)))
    after = text[mark.end() :].lstrip()
    block = re.match(r"```[^\n]*\n(.*?)```|\$\$(.*?)\$\$|\\\[(.*?)\\\]", after, re.DOTALL)
    if block:
        return _clean(next(filter(None, block.groups()), ""))
    line, _, more = after.partition("\n")
    alone = _is_expression(line) or not more.partition("\n")[0].strip()
    if not alone or len(line.split()) > _FEW_WORDS or _LINE.match(line) or _HEADING.match(line):
        return ""
    return _unless_prose(_clean(_in_prose(line) or _sentence(line)))


def _in_prose(text: str) -> str | None:
    """What follows the last "the answer is"; None without one, where it is followed by no answer ("not 5",
    "based on ..."), and where the same line gives it two answers.
    """
    for line in reversed(text.split("\n")):
        parts = _IS.split(line)[1:]
        found = [
            answer for part in parts if (answer := _unless_prose(_clean(_sentence(part.lstrip(":= \t")))))
        ]
        kinds = {normal(re.sub(r"[,;.]?\s+(?:or|and|so|but)\b.*", "", answer)) for answer in found}
        if found:
            return found[-1] if len(kinds) == 1 else None
    return None


def _unless_prose(answer: str) -> str:
    return "" if _OTHER_THAN_AN_ANSWER.match(answer) else answer


def _sentence(text: str) -> str:
    """The first sentence, without a reason that follows the answer in it."""
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
    r"""Every \boxed{...} that is closed; those joined by "or", "and" or a comma are one, with commas between
    them.
    """
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
                found.append((start, brace.end(), _clean(text[inside : brace.start()])))
    found += [(bare.start(), bare.end(), _clean(bare[1])) for bare in _BARE_BOX.finditer(text)]
    joined: list[tuple[int, int, str]] = []
    for box in sorted(found):
        if joined and joined[-1][1] <= box[0] and _OR.fullmatch(text[joined[-1][1] : box[0]]):
            start, _, answer = joined.pop()
            box = (start, box[1], f"{answer}, {box[2]}")
        joined.append(box)
    return joined


# -- no mark

_SPAN = re.compile(r"\$\$.+?\$\$|\$[^$\n]+\$|\\\(.+?\\\)|\\\[.+?\\\]", re.DOTALL)
_VALUE = re.compile(
    r"(?<![\w.])(?:(?<![\d)] "
    r")[-+])?[$€£¥₹]?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:/\d+)?%?(?!\w|,\d)"
)
_WORKED = re.compile(r"[-+*/^×·÷<>=]|\\times|\\cdot|\\div")
_CONCLUDES = re.compile(
    r"(?:so|thus|therefore|hence|altogether|in total|that makes|this gives|that gives|we get|in "
    r"conclusion)\b",
    re.IGNORECASE,
)
_DENIES = re.compile(r"\b(?:not|cannot|never)\b|n't\b", re.IGNORECASE)
_EQUALS = re.compile(r"(?<=[\d)])\s+(?:is|are|equals|gives|makes)\b", re.IGNORECASE)
_HEDGES = re.compile(r"\b(?:may|might|could|perhaps|maybe|possibly|either|or|not|guess)\b|\?", re.IGNORECASE)


def candidate(text: str) -> str | None:
    """The answer of a text that marks none: all of it where it is one expression or a number with a few
    words, else the only value that it names besides those that it computes with, else that of a last sentence
    which concludes ("so it is 42"). None where it names none, or several: nobody can say which of them is
    meant.
    """
    text = _ending(text).strip()
    if "boxed" in text:
        return None  # one that is not closed
    if not text or _is_expression(text):
        return _clean(text) or None
    if re.search(r"\\[A-Za-z]", _SPAN.sub("", text)):
        return None  # mathematics without signs around it: its numbers are no values
    values = _values(text)
    if len(values) == 1 and not _DENIES.search(text):
        return values[0]
    last = re.split(r"\n+|(?<=[.!?])\s+", text)[-1]
    ends = _values(last)
    if (
        len(ends) == 1
        and not _HEDGES.search(last)
        and (_CONCLUDES.match(last) or re.fullmatch(r"[^A-Za-z]*=[^A-Za-z]*", last))
    ):
        return ends[0]
    return None


def _is_expression(text: str) -> bool:
    """Whether a text is one line of mathematics, or a number with at most three words after it."""
    if "\n" in text or (_SPAN.search(text) and not _SPAN.fullmatch(text)):
        return False
    words = re.findall(
        r"[A-Za-z]{2,}",
        re.sub(r"\\(?:text\w*|math\w+|mbox|operatorname|begin|end)\s*\{[^{}]*\}|\\[A-Za-z]+", " ", text),
    )
    if "=" not in text and all(word.lower() in _FUNCTIONS for word in words):
        return bool(re.search(r"[\w\\]", text))
    return bool(re.match(r"[-+$€£¥₹]*\.?\d", text)) and len(words) <= 3 and len(_VALUE.findall(text)) == 1


def _values(text: str) -> list[str]:
    """The different values that a text names, in order. Of a = b the value is b; what stands in a is computed
    with, and no candidate.
    """
    named: dict[str, str] = {}
    used: set[str] = set()
    for sentence in re.split(r"[.,;](?=\s)|\n|\b(?:and|or|but)\b", text):
        spans = [
            _clean(span[0])
            for span in _SPAN.finditer(sentence)
            if re.search(r"[\d\\=]", span[0][2:-2] or span[0])
        ]
        for piece in [*spans, _EQUALS.sub("=", _SPAN.sub(" ", sentence))]:
            *computed, value = piece.split("=")
            used |= {normal(v) for part in computed for v in _VALUE.findall(part)}
            in_span = piece in spans
            found = [value] if in_span else _VALUE.findall(value)
            if not in_span and _WORKED.search(re.sub(r"(?<=\d)/(?=\d)|(?<!\S)[-+](?=[\d.$])", "", value)):
                used |= {normal(v) for v in found}
                continue
            for v in found:
                if v.strip():
                    named.setdefault(normal(v), _clean(v))
    return [value for key, value in named.items() if key not in used]


# -- one form

_FEW_WORDS = 12  # on the line after an empty mark
# longer abbreviations: no sentence ends with them
_SHORT = frozenset("prof capt sgt vols approx univ".split())
_FUNCTIONS = frozenset(
    "and sin cos tan cot sec csc sinh cosh tanh arcsin arccos arctan log exp sqrt inf infinity det max "
    "min gcd lcm mod abs theta alpha beta or pi ln".split()
)
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
_LONG = 4000  # characters of an answer around which nothing is looked for
_LONGEST = 1000  # characters of a number


def _clean(answer: str) -> str:
    """An answer without what stands around it; "" for what is none."""
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
    r"""Text in one form: as Unicode folds it, without dollar signs, \text{} around words, marks of emphasis,
    quotes, a closing full stop, and differences of case and blanks.
    """
    text = _clean(folded(text))
    return " ".join(_WRAP.sub(lambda found: found[1] or "", text).split()).rstrip(".").strip().casefold()


def normal(answer: str) -> str:
    r"""One text for all ways of writing an answer that are equal by form alone: "1000" for 1,000, 1 000,
    1000.0, $1000 and x = 1000, "1/2" for 0.5 and \frac{1}{2}; `plain` for what is no number. What is equal by
    mathematics is for surpass.tasks.maths to say.
    """
    answer = _clean(folded(answer))
    if found := re.fullmatch(r"\(([^(),]*)\)", answer):
        answer = found[1]
    value = number(re.sub(r"\A[A-Za-z]\s*=\s*", "", answer))
    return plain(answer) if value is None else str(value)


def number(text: str) -> Fraction | None:
    r"""The number that a text is, exactly; None for anything else. Thousands may be grouped, a currency's
    sign is left out.
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


# -- fences

_OPENING = re.compile(r"([^`~]*)(`{3,}|~{3,})([^`]*)")
_ONE_LINE = re.compile(r"[^`~]*(`{3,})(\w*)[ \t]+([^`]+)\1`*[ \t]*")


def blocks(text: str) -> list[tuple[str, str]]:
    """(language, content) of every fenced block in what a text says, in order. Ends of line are "\\n", and
    what all lines of a block begin with is left out. A fence is of ``` or ~~~, and may stay unclosed.
    """
    found: list[tuple[str, list[str]]] = []
    fence, quoted = "", False
    for line in unix(said(text)[-MOST:]).split("\n"):
        if fence:
            line = re.sub(r"^[ \t]*> ?", "", line) if quoted else line
            bare = line.rstrip()
            if not bare.endswith(fence):
                found[-1][1].append(line + "\n")
                continue
            if rest := bare.rstrip("`~"):
                found[-1][1].append(rest + "\n")
            fence = ""
        elif alone := _ONE_LINE.fullmatch(line):
            found.append((alone[2], [alone[3]]))
        elif opening := _OPENING.fullmatch(line):
            fence, quoted = opening[2], ">" in opening[1]
            found.append((opening[3].strip().partition(" ")[0], []))
    return [(language.lower(), textwrap.dedent("".join(lines))) for language, lines in found]


def unix(text: str) -> str:
    """The text with "\\n" at the end of every line."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
