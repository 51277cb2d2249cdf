"""Rows of a data set as problems: which columns hold prompts and answers, and what a player sees."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from surpass.errors import SurpassError
from surpass.tasks.gold import says
from surpass.tasks.messages import asked, unpacked
from surpass.tasks.rows import Row
from surpass.tasks.splits import problem_id
from surpass.types import Problem

PROMPTS = ("prompt", "messages", "question", "problem", "instruction", "input", "query")
ANSWERS = (
    "answer",
    "final_answer",
    "ground_truth",
    "solution",
    "target",
    "label",
    "reward_model.ground_truth",
)

Prompt = str | tuple[Mapping[str, Any], ...]
_NONE: Any = object()  # no such column, in contrast to null


def _get(values: Any, name: str) -> Any:
    """The value of a column, "a.b" being b inside a; _NONE where there is none."""
    if name in values:
        return values[name]
    head, _, rest = name.partition(".")
    inner = values.get(head)
    return _get(inner, rest) if rest and isinstance(inner, dict) else _NONE


def _readable(name: str) -> str:
    """A column's name on one line, cut to 50 characters; its repr where the name is not printable."""
    name = name if name.strip() and name.isprintable() else repr(name)
    return name if len(name) <= 50 else f"{name[:50]}..."


def column_of(source: str, what: str, wanted: str, usual: Sequence[str], rows: Sequence[Row]) -> str:
    """The column `wanted`, or else the first usual one; "" where a data set has no answers."""
    for name in [wanted] if wanted else usual:
        if any(_get(row.values, name) is not _NONE for row in rows):
            return name
    if what == "answer" and not wanted:
        return ""
    columns = list(dict.fromkeys(name for row in rows for name in row.values))
    near = get_close_matches(wanted, columns[:1000], 1)
    shown = ", ".join(map(_readable, columns[:20])) + (
        f" and {len(columns) - 20:,} more" if len(columns) > 20 else ""
    )
    named = f'a column "{wanted}"' if wanted else f"one of the columns {', '.join(usual)}"
    raise SurpassError(
        f"{source} wants {named} for its {what}s; it has: {shown or 'none'}; "
        + (f"did you mean {_readable(near[0])}?" if near else f"name one with --task.{what} COLUMN")
    )


def problem_of(row: Row, prompt: str, answer: str, instruction: str, system: str, judged: bool) -> Problem:
    value = _get(row.values, prompt)
    if value is _NONE:
        raise SurpassError(f'{row.place}: has no column "{prompt}", where the prompts of this data set are')
    value = unpacked(value)
    seen = asked(value, row.place, prompt) if isinstance(value, list) else value
    if not isinstance(seen, (str, tuple)) or not seen or (isinstance(seen, str) and not seen.strip()):
        raise SurpassError(f'{row.place}: "{prompt}" wants text or messages; found {value!r:.60}')
    gold = _get(row.values, answer) if answer else None
    gold = None if gold is _NONE or (isinstance(gold, str) and not gold.strip()) else gold
    if judged:
        _require_answer(gold, row.place, answer)
    # the answer's column stays: a reward may name it
    meta = {name: item for name, item in row.values.items() if name != prompt}
    return Problem(problem_id(_named(seen)), _shown(seen, instruction, system), gold, meta)


def _named(prompt: Prompt) -> str:
    """The text that a problem's id is made of. A single message counts as its text: a model sees the same."""
    if isinstance(prompt, str):
        return prompt
    return prompt[0]["content"] if len(prompt) == 1 else json.dumps(prompt, ensure_ascii=False)


def _require_answer(gold: Any, place: str, column: str) -> None:
    """SurpassError for a right answer that says nothing: an attempt that says nothing would equal it."""
    for item in gold if isinstance(gold, list) else [gold]:
        if isinstance(item, str) and not says(item):
            raise SurpassError(
                f'{place}: the answer {item!r:.60} in "{column}" says nothing, so that an attempt which '
                "says nothing would be right; write it in words, leave the answer out (null: not judged), "
                "or name another column with --task.answer"
            )


def _shown(prompt: Prompt, instruction: str, system: str) -> Prompt:
    """What the player sees: the system message, the prompt, the instruction after its last user message."""
    if isinstance(prompt, str):
        text = f"{prompt}\n\n{instruction}" if instruction else prompt
        return ({"role": "system", "content": system}, {"role": "user", "content": text}) if system else text
    turns = list(prompt)
    if instruction:
        last = max(i for i, turn in enumerate(turns) if turn["role"] == "user")
        turns[last] = {"role": "user", "content": f"{turns[last]['content']}\n\n{instruction}"}
    return (*([{"role": "system", "content": system}] if system else []), *turns)
