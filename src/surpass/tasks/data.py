"""Anybody's problems: a table of prompts and, where there are any, right answers."""

from __future__ import annotations

import asyncio
import functools
import json
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, ClassVar, NamedTuple

from surpass import sandbox
from surpass.answers import final_answer, plain, said
from surpass.errors import SurpassError
from surpass.models import Models
from surpass.parts import Task
from surpass.tasks import maths
from surpass.tasks.gold import says
from surpass.tasks.messages import asked, unpacked
from surpass.tasks.rows import Row, read, stamp
from surpass.tasks.splits import SHARES, problem_id, split_of
from surpass.tasks.unit_tests import normal, passed, refused
from surpass.types import Problem, Turn, fold

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
COMPARE = ("math", "text", "tests")

Prompt = str | tuple[Mapping[str, Any], ...]
_NONE: Any = object()  # no such column, as distinct from null


@dataclass(frozen=True)
class data(Task):
    """The problems of `source`: a .jsonl, .json, .csv or .parquet file, a folder of such files named train,
    test, validation or gate, or a Hugging Face data set "ID" or "ID:CONFIG". All of it is held in memory.

    `prompt` and `answer` name columns ("a.b": b inside a); by default the first there is of PROMPTS and of
    ANSWERS. A prompt is text or messages [{"role", "content"}, ...], also where a text holds these as JSON;
    contents may be null or parts of the type text, and tool_calls stay for templates that read them; answers
    at the end of messages are left out. `instruction` is put after the last user message, `system` before
    all. Every column but the prompt is in problem.meta. `limit`: rows at most, of each split (0: all).

    A problem's id, and with it its split, follows from its prompt alone, not from `instruction` and `system`.
    Splits that the source names are used (validation, valid and dev are the gate's); a missing one is made
    out of train, by hash. No problem is in two: test goes before gate, gate before train. Of rows with one
    prompt the first counts; a note says how many others had another answer. Prompts that leave no room in the
    model's context are counted in a note when the first attempt begins.

    `compare`: "math", equal by value: numbers, formulas, units, dates, words (surpass.verifier says how);
    "text", the same but for case and surrounding blanks; "tests", a program in the attempt passes all tests
    that the answer holds (surpass.tasks.unit_tests says their form), run in the sandbox. Where the answer is
    a list, each of its items is right. check gives 1 or 0; nan where a row has no answer.
    """

    source: str
    prompt: str = ""
    answer: str = ""
    instruction: str = ""
    system: str = ""
    compare: str = "math"
    limit: int = 0
    reads = ("source",)  # a run that is resumed wants these files unchanged
    _loaded: ClassVar[_Loaded]

    def __post_init__(self) -> None:
        for name in ("source", "prompt", "answer", "instruction", "system"):
            if not isinstance(getattr(self, name), str):
                raise SurpassError(f"data wants text as its {name}; found {getattr(self, name)!r}")
        if self.compare not in COMPARE:
            near = get_close_matches(str(self.compare), COMPARE, 1) or [" or ".join(COMPARE)]
            raise SurpassError(
                f'data compares answers as math, text or tests; found compare = "{self.compare}"; use '
                f"{near[0]}"
            )
        if not isinstance(self.limit, int) or self.limit < 0:
            raise SurpassError(f"data wants limit = 0 (all rows) or more; found {self.limit!r}")
        settings = (
            self.source,
            self.prompt,
            self.answer,
            self.instruction,
            self.system,
            self.limit,
            self.compare != "tests",
        )
        object.__setattr__(self, "_loaded", _load(*settings, stamp(self.source)))
        if self.compare == "tests":
            self._require_tests()

    def _require_tests(self) -> None:
        sandbox.ready()
        for problem in (
            problem
            for split in self._loaded.splits.values()
            for problem in split
            if problem.answer is not None
        ):
            if wrong := refused(problem.answer):
                raise SurpassError(f"{self.source}, the problem {problem.asks!r:.60}: {wrong}")

    @property
    def counts(self) -> dict[str, int]:
        """Rows read, rows dropped because their problem came before ("repeated", and of these the ones with
        another answer: "contrary") or is in another split ("shared"), and the problems of each split.
        """
        return dict(self._loaded.counts)

    def problems(self, split: str, seed: int) -> Iterator[Problem]:
        """Every problem of a split once, in an order given by the seed; SurpassError where there is none."""
        if split not in SHARES:
            raise SurpassError(f'there is no split "{split}"; there are: {", ".join(SHARES)}')
        found = list(self._loaded.splits[split])
        if not found:
            there = ", ".join(f"{len(problems)} {name}" for name, problems in self._loaded.splits.items())
            raise SurpassError(
                f'{self.source} has no problem for the split "{split}" (it has {there}); give more '
                f"rows, or a "
                f"folder with a file {split}.jsonl"
            )
        random.Random(fold(seed, "data", split)).shuffle(found)
        return iter(found)

    async def start(self, models: Models, problem: Problem) -> Turn:
        self._measure(models)
        return await super().start(models, problem)

    def _measure(self, models: Models) -> None:
        """Say once for a model how many prompts leave no room in its context."""
        engine = models.engines.get("policy")
        context = getattr(engine, "context", None)
        if engine is None or context is None or id(engine) in self._loaded.measured:
            return
        self._loaded.measured.add(id(engine))
        counts = {
            split: sum(_fills(engine.text, p.prompt, context) for p in some)
            for split, some in self._loaded.splits.items()
        }
        if full := sum(counts.values()):
            n = sum(map(len, self._loaded.splits.values()))
            where = ", ".join(f"{count} {split}" for split, count in counts.items() if count)
            warnings.warn(
                f"{full} of the {n} prompts of {self.source} ({where}) leave no room for an answer in "
                f"the model's context of {context:,} tokens: their searches fail. Shorten these, or "
                "leave them out",
                stacklevel=2,
            )

    async def check(self, models: Models, problem: Problem, text: str) -> float:
        if self.compare == "tests":
            return (
                float(await passed(text, problem.answer) == 1) if problem.answer is not None else float("nan")
            )
        golds = problem.answer if isinstance(problem.answer, list) else [problem.answer]
        golds = [maths.written(gold) for gold in golds if gold is not None]
        if not golds:
            return float("nan")
        if self.compare == "text":
            return float(bool(found := _folded(text)) and found in map(_folded, golds))
        # in a thread, because a hostile answer may take a second
        return float(await asyncio.to_thread(lambda: any(maths.equal(gold, text) for gold in golds)))

    def final_answer(self, text: str) -> str | None:
        """One text for all ways of writing one answer, for votes; None where no answer is stated."""
        if self.compare == "tests":
            return normal(text)
        return _folded(text) or None if self.compare == "text" else maths.canonical(text)


def _folded(text: str) -> str:
    """What is equal where answers are compared as text: what a text states with a mark (surpass.answers),
    else all that it says.
    """
    stated = final_answer(text)
    return plain(said(text) if stated is None else stated)


class _Loaded(NamedTuple):
    splits: dict[str, tuple[Problem, ...]]
    counts: dict[str, int]
    measured: set[int]  # models whose context the prompts were compared with


@functools.lru_cache(maxsize=4)
def _load(
    source: str,
    prompt: str,
    answer: str,
    instruction: str,
    system: str,
    limit: int,
    judged: bool,
    changed: tuple,
) -> _Loaded:
    """The data set, read once per process; `changed` makes it read again where a file is another."""
    rows = read(source, limit)
    everything = [row for part in rows.values() for row in part]
    prompt = _column(source, "prompt", prompt, PROMPTS, everything)
    answer = _column(source, "answer", answer, ANSWERS, everything)
    own = {
        split: [_problem(row, prompt, answer, instruction, system, judged) for row in part]
        for split, part in rows.items()
    }
    splits = _split(own)
    for split, part in own.items():
        if split and not splits[split]:
            raise SurpassError(
                f'nothing is left of the split "{split}" of {source}: each of its {len(part)} problems '
                f"is in another "
                "split, and a problem may be in one only; give it problems of its own"
            )
    distinct = sum(len({problem.id for problem in part}) for part in own.values())
    kept = {split: len(problems) for split, problems in splits.items()}
    counts = {
        "rows": len(everything),
        "repeated": len(everything) - distinct,
        "shared": distinct - sum(kept.values()),
    }
    if contrary := _contrary(own):
        warnings.warn(
            f"{source}: {contrary} rows repeat a prompt with another answer and are left out; the first "
            "row's answer counts. Where several answers are right, give them in one row, as a list",
            stacklevel=4,
        )
    return _Loaded(splits, counts | {"contrary": contrary} | kept, set())


def _contrary(own: Mapping[str, Sequence[Problem]]) -> int:
    """How many rows say another answer to a prompt than the row that counts: the first, of the test split
    before gate and train.
    """
    first: dict[str, Any] = {}
    ordered = [problem for split in ("test", "gate", "train", "") for problem in own.get(split, ())]
    return sum(first.setdefault(problem.id, problem.answer) != problem.answer for problem in ordered)


def _fills(text: Any, prompt: Prompt, context: int) -> bool:
    """Whether a prompt leaves no room for an answer. A token is a byte or more, so most need not be looked
    at.
    """
    said = [prompt] if isinstance(prompt, str) else [str(turn) for turn in prompt]
    try:
        return (
            sum(len(words.encode()) for words in said) + 256 > context and len(text.open(prompt)) >= context
        )
    except SurpassError:
        return False  # its own search says why


def _split(own: dict[str, list[Problem]]) -> dict[str, tuple[Problem, ...]]:
    """Each problem once and in one split: test before gate before train. What the source does not name, the
    hash of each problem in train, or in a source without splits, decides.
    """
    parts = {split: own.get(split, []) if split != "train" else [] for split in SHARES}
    for problem in [*own.get("", []), *own.get("train", [])]:
        split = split_of(problem.id)
        parts["train" if split in own else split].append(problem)
    seen: set[str] = set()
    splits: dict[str, tuple[Problem, ...]] = {}
    for split in SHARES:
        first: dict[str, Problem] = {}
        for problem in parts[split]:
            if problem.id not in seen:
                first.setdefault(problem.id, problem)
        seen |= first.keys()
        splits[split] = tuple(first.values())
    return splits


def _get(values: Any, name: str) -> Any:
    """The value of a column, "a.b" being b inside a; _NONE where there is none."""
    if name in values:
        return values[name]
    head, _, rest = name.partition(".")
    inner = values.get(head)
    return _get(inner, rest) if rest and isinstance(inner, dict) else _NONE


def _readable(name: str) -> str:
    """A column's name on one line, cut to 50 characters; one that cannot be read as it is, as Python writes
    it.
    """
    name = name if name.strip() and name.isprintable() else repr(name)
    return name if len(name) <= 50 else f"{name[:50]}..."


def _column(source: str, what: str, wanted: str, usual: Sequence[str], rows: Sequence[Row]) -> str:
    """The column that was named, else the first usual one; "" where a data set has no answers."""
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


def _problem(row: Row, prompt: str, answer: str, instruction: str, system: str, judged: bool) -> Problem:
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
    # a reward may name the answer's column, too
    meta = {name: item for name, item in row.values.items() if name != prompt}
    # one user message and the same text are one problem: a chat model is shown the same
    alone = isinstance(seen, tuple) and len(seen) == 1
    id = problem_id(
        seen
        if isinstance(seen, str)
        else seen[0]["content"]
        if alone
        else json.dumps(seen, ensure_ascii=False)
    )
    return Problem(id, _shown(seen, instruction, system), gold, meta)


def _require_answer(gold: Any, place: str, column: str) -> None:
    """SurpassError for a right answer that says nothing: an attempt that says nothing would equal it."""
    for item in gold if isinstance(gold, list) else [gold]:
        if isinstance(item, str) and not says(item):
            raise SurpassError(
                f'{place}: the answer {item!r:.60} in "{column}" says nothing, so that an attempt which '
                f"says nothing would be right; "
                "write it in words, leave the answer out (null: not judged), or name another column "
                "with --task.answer"
            )


def _shown(prompt: Prompt, instruction: str, system: str) -> Prompt:
    """What the player sees: the prompt with the instruction after its last user message and the system
    message first.
    """
    if isinstance(prompt, str):
        text = f"{prompt}\n\n{instruction}" if instruction else prompt
        return ({"role": "system", "content": system}, {"role": "user", "content": text}) if system else text
    turns = list(prompt)
    if instruction:
        last = max(i for i, turn in enumerate(turns) if turn["role"] == "user")
        turns[last] = {"role": "user", "content": f"{turns[last]['content']}\n\n{instruction}"}
    return (*([{"role": "system", "content": system}] if system else []), *turns)
