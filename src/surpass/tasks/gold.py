"""Whether a data set's right answer says anything."""

from __future__ import annotations

import re
import unicodedata

from surpass.answers import of_gold, plain

_BARE_MARK = re.compile(
    r"</?(?:(?:final[ "
    r"_-]?)?answer|ans)>|\\(?:boxed|fbox|framebox|mbox|text\w*|math\w+|left|right|displaystyle|q?quad)(?![A-Za-z])|\\[^A-Za-z]|#{2,}|"
    r"\b(?:the )?(?:final )?answer(?:(?: is)?[ \t*_]*:| is\Z)",
    re.IGNORECASE,
)
BLANK = "\u115f\u1160\u2800\u3164\uffa0"  # letters and signs that are invisible


def says(gold: str) -> bool:
    r"""Whether a right answer says anything: a letter, a digit, a sign such as +, <, √ or an emoji. ".", "$",
    \text{}, \boxed{} and <answer></answer> do not, and an attempt that says nothing would equal them.

    >>> says("42"), says("#### "), says(r"\boxed{}")
    (True, False, False)
    """
    gold = of_gold(gold)
    left = _BARE_MARK.sub("", plain(gold))
    return bool(plain(gold)) and any(
        (unicodedata.category(c)[0] in "LNS" or c in "/%&#@") and c not in BLANK + "$`" for c in left
    )
