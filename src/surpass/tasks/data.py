"""The user's own problems: a table of prompts and, where there are any, right answers."""

from __future__ import annotations

import asyncio
import functools
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
from surpass.tasks.data_problems import ANSWERS, PROMPTS, Prompt, column_of, problem_of
from surpass.tasks.rows import read, stamp
from surpass.tasks.splits import SHARES, split_of
from surpass.tasks.unit_tests import normal, passed, refused
from surpass.types import Problem, Turn, fold

COMPARE = ("math", "text", "tests")


@dataclass(frozen=True)
class data(Task):
    """The problems of `source`: a .jsonl, .json, .csv or .parquet file, a folder of such files named train,
    test, validation or gate, or a Hugging Face data set "ID" or "ID:CONFIG". All of it is held in memory.

    `prompt` and `answer` name columns ("a.b": b inside a); by default the first column that exists of PROMPTS
    and of ANSWERS. A prompt is text, or messages [{"role", "content"}, ...], as a list or as text that holds
    them as JSON. Contents may be null or parts of the type text; tool_calls are kept for templates that read
    them; answers at the end of the messages are left out. `instruction` follows the last user message,
    `system` comes first. Every column but the prompt is in problem.meta. `limit`: at most so many rows of
    each split (0: all).

    A problem's id, and with it its split, follows from its prompt alone, not from `instruction` and `system`.
    Splits that the source names are used (validation, valid and dev mean gate); a missing one is taken out of
    train, by hash. No problem is in two splits: test goes before gate, gate before train. Among rows with the
    same prompt the first counts; a warning tells how many others have another answer. A warning before the
    first attempt tells how many prompts leave no room in the model's context.

    `compare`: "math", equal by value: numbers, formulas, units, dates, words (see surpass.verifier); "text",
    equal but for case and surrounding blanks; "tests", a program in the attempt passes all tests that the
    answer holds (see surpass.tasks.unit_tests), run in the sandbox. Where the answer is a list, each of its
    items is right. check gives 1 or 0; nan where a row has no answer.
    """

    source: str
    prompt: str = ""
    answer: str = ""
    instruction: str = ""
    system: str = ""
    compare: str = "math"
    limit: int = 0
    reads = ("source",)  # the fields that name files, which have to be unchanged when a run is resumed
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
        """How many rows were read ("rows") and dropped: their problem came before ("repeated", of which
        "contrary" had another answer) or is in another split ("shared"). And each split's problems.
        """
        return dict(self._loaded.counts)

    def problems(self, split: str, seed: int) -> Iterator[Problem]:
        """Every problem of a split once, ordered by the seed; SurpassError where there is none."""
        if split not in SHARES:
            raise SurpassError(f'there is no split "{split}"; there are: {", ".join(SHARES)}')
        found = list(self._loaded.splits[split])
        if not found:
            there = ", ".join(f"{len(problems)} {name}" for name, problems in self._loaded.splits.items())
            raise SurpassError(
                f'{self.source} has no problem for the split "{split}" (it has {there}); give more rows, '
                f"or a folder with a file {split}.jsonl"
            )
        random.Random(fold(seed, "data", split)).shuffle(found)
        return iter(found)

    async def start(self, models: Models, problem: Problem) -> Turn:
        self._measure(models)
        return await super().start(models, problem)

    def _measure(self, models: Models) -> None:
        """Warn, once for each model, of prompts that leave no room in its context."""
        engine = models.engines.get("policy") if isinstance(models, Models) else None
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
        # in a thread: a hostile answer may take a second
        return float(await asyncio.to_thread(lambda: any(maths.equal(gold, text) for gold in golds)))

    def final_answer(self, text: str) -> str | None:
        """What votes compare: one text for all ways of writing an answer; None where none is stated."""
        if self.compare == "tests":
            return normal(text)
        return _folded(text) or None if self.compare == "text" else maths.canonical(text)


def _folded(text: str) -> str:
    """The form in which answers are compared as text: of what a text states with a mark (surpass.answers), or
    of all that it says where it has no mark.
    """
    stated = final_answer(text)
    return plain(said(text) if stated is None else stated)


class _Loaded(NamedTuple):
    splits: dict[str, tuple[Problem, ...]]
    counts: dict[str, int]
    measured: set[int]  # engines whose context the prompts were compared with


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
    """The data set, read once per process; another `changed`, as when a file changes, reads it anew."""
    rows = read(source, limit)
    everything = [row for part in rows.values() for row in part]
    prompt = column_of(source, "prompt", prompt, PROMPTS, everything)
    answer = column_of(source, "answer", answer, ANSWERS, everything)
    own = {
        split: [problem_of(row, prompt, answer, instruction, system, judged) for row in part]
        for split, part in rows.items()
    }
    splits = _split(own)
    for split, part in own.items():
        if split and not splits[split]:
            raise SurpassError(
                f'nothing is left of the split "{split}" of {source}: each of its {len(part)} problems '
                "is in another split, and a problem may be in one only; give it problems of its own"
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
    """How many rows have another answer than the row that counts for their prompt: the first one in test,
    else in gate, else in train.
    """
    first: dict[str, Any] = {}
    ordered = [problem for split in ("test", "gate", "train", "") for problem in own.get(split, ())]
    return sum(first.setdefault(problem.id, problem.answer) != problem.answer for problem in ordered)


def _fills(text: Any, prompt: Prompt, context: int) -> bool:
    """Whether a prompt leaves no room for an answer. A token is at least a byte: short prompts leave some."""
    said = [prompt] if isinstance(prompt, str) else [str(turn) for turn in prompt]
    try:
        return (
            sum(len(words.encode()) for words in said) + 256 > context and len(text.open(prompt)) >= context
        )
    except SurpassError:
        return False  # its own search tells why


def _split(own: dict[str, list[Problem]]) -> dict[str, tuple[Problem, ...]]:
    """Each problem once and in one split, test before gate before train. A split that the source does not
    name takes, by hash, problems of train or of a source without splits.
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
