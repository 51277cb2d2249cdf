r"""What an answer is: where a text states it, in what form, and which parts are only thoughts.

All code that judges, compares or shows answers reads them here, so that a check and a vote see the same one.
Nothing here knows which answer is right. A text is read without its thoughts (`said`) and in Unicode's
compatibility form (`folded`).

    final_answer  what a mark states: "Answer: 42" where a line begins with it, \boxed{42},
                  <answer>42</answer>, #### 42, or, without any of these, "the answer is 42"
    stated        the same; in a text without a mark, the only candidate that it names
    plain         one text for the ways of writing the same words
    normal        the same, and one text for the ways of writing the same number
    blocks        what stands in code fences
"""

from surpass.answers.fences import blocks
from surpass.answers.forms import normal, number, plain
from surpass.answers.marks import final_answer
from surpass.answers.texts import MOST, folded, opening, said, unix
from surpass.answers.unmarked import candidate

__all__ = [
    "MOST",
    "blocks",
    "candidate",
    "final_answer",
    "folded",
    "normal",
    "number",
    "of_gold",
    "opening",
    "plain",
    "said",
    "stated",
    "unix",
]


def stated(text: str) -> str | None:
    """`final_answer`; in a text without a mark, the only `candidate`. None where it names none or several."""
    found = final_answer(text)
    return candidate(text) if found is None else found


def of_gold(gold: str) -> str:
    """The answer in a data set's answer or solution: what it states with a mark, else all of it."""
    return final_answer(gold) or folded(gold).strip()
