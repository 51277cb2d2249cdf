"""Any data set of reasoning-gym, by name, with its parameters and its own scorer."""

from __future__ import annotations

import ast
import asyncio
import base64
import functools
import inspect
import json
import pickle
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from surpass.answers import final_answer, normal
from surpass.errors import SurpassError
from surpass.models import Models
from surpass.parts import Task
from surpass.tasks import maths
from surpass.tasks.arithmetic import worked
from surpass.tasks.splits import problem_id, unique
from surpass.types import Problem, fold

_SEEDS = 2**31
CURATED: dict[str, dict[str, Any]] = {
    "isomorphic_strings": {"max_string_length": 4},
    "ransom_note": {"max_note_length": 4, "max_magazine_length": 8},
    "letter_counting": {"min_words": 2, "max_words": 4},
    "syllogism": {},
    "gcd": {"max_value": 30},
    "chain_sum": {"min_terms": 2, "max_terms": 3, "min_digits": 1, "max_digits": 1},
    "basic_arithmetic": {
        "min_terms": 2,
        "max_terms": 3,
        "min_digits": 1,
        "max_digits": 1,
        "operators": ["+", "-"],
        "allow_parentheses": False,
        "allow_negation": False,
    },
    "count_bits": {"max_n": 1000},
    "family_relationships": {"max_family_size": 4},
    "simple_equations": {"min_terms": 2, "max_terms": 2, "max_value": 10},
    "products": {"min_digits": 1, "max_digits": 2},
    "lcm": {"max_value": 30},
    "number_sequence": {"min_terms": 4, "max_terms": 5, "max_complexity": 1, "min_value": 0, "max_value": 20},
    "leg_counting": {"min_animals": 1, "max_animals": 2, "max_instances": 3},
    "number_filtering": {
        "min_numbers": 3,
        "max_numbers": 4,
        "max_decimals": 0,
        "min_value": 0,
        "max_value": 30,
    },
    "word_sorting": {"min_words": 3, "max_words": 4, "max_word_length": 6},
    "coin_flip": {"max_trials": 20},
    "word_sequence_reversal": {"min_words": 3, "max_words": 4},
    "fraction_simplification": {"max_value": 30, "max_factor": 6, "styles": ["plain"]},
    "number_sorting": {
        "min_numbers": 3,
        "max_numbers": 4,
        "max_decimals": 0,
        "min_value": 0,
        "max_value": 30,
    },
    "base_conversion": {"max_base": 4, "max_value": 100},
    "prime_factorization": {"max_value": 999},
    "spell_backward": {"min_word_len": 3, "max_word_len": 4},
}
"""Sets and parameters for small models, from the easiest for SmolLM2-135M (docs/tasks.md has the figures) to
one that it never solves.
"""


@dataclass(frozen=True)
class reasoning_gym(Task):
    """Problems of reasoning-gym's data set `name`, made with its own `parameters`, such as {"min_terms": 3};
    CURATED has some for small models.

    The prompt holds `shots` solved examples as earlier turns, none of which is ever a problem; in chain_sum
    they are solved one step a line. An answer is what follows "Answer:". check gives the data set's own
    score, and 0 where no answer is stated. A scorer that runs an answer as Python gets only formulas, in a
    process with limits.
    """

    name: str = "chain_sum"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    shots: int = 3
    _maker: ClassVar[Any]

    def __post_init__(self) -> None:
        try:
            import reasoning_gym as library
            from reasoning_gym.factory import DATASETS
        except ImportError as error:
            raise SurpassError(
                "the task reasoning_gym needs its package: pip install 'surpass[reasoning-gym]'"
            ) from error
        if self.name not in DATASETS:
            from difflib import get_close_matches

            near = get_close_matches(self.name, DATASETS, 3) or sorted(DATASETS)[:5]
            raise SurpassError(f'reasoning-gym has no data set "{self.name}"; near: {", ".join(near)}')
        try:
            maker = library.create_dataset(self.name, **{**self.parameters, "seed": 0, "size": 2**30})
        except (TypeError, AssertionError, ValueError) as error:
            raise SurpassError(
                f'reasoning-gym\'s "{self.name}" refused its parameters {dict(self.parameters)}: {error}'
            ) from error
        object.__setattr__(self, "_maker", maker)

    def _entry(self, seed: int, index: int) -> dict[str, Any]:
        # an item depends on seed + index alone, so a seed is an offset into one endless list
        try:
            return self._maker[fold(seed, self.name, index) % _SEEDS]
        except Exception as error:  # some sets accept parameters with which they cannot make a problem
            why = f"{type(error).__name__}: {error}".rstrip(": ")
            raise SurpassError(
                f'reasoning-gym\'s "{self.name}" could not make a problem with {dict(self.parameters)}: {why}'
            ) from error

    def _examples(self) -> list[dict[str, Any]]:
        return [self._entry(-1, i) for i in range(self.shots)]

    def _solution(self, entry: dict[str, Any]) -> str:
        if self.name == "chain_sum":
            return worked(entry["metadata"]["expression"])
        return f"Answer: {entry['answer']}"

    def problems(self, split: str, seed: int) -> Iterator[Problem]:
        """Problems of a split, ordered by the seed, without repeats and without those shown as examples."""
        examples = self._examples()
        shown = {example["question"] for example in examples}
        turns: list[dict[str, str]] = []
        for example in examples:
            turns += [
                {"role": "user", "content": example["question"]},
                {"role": "assistant", "content": self._solution(example)},
            ]
        for problem in unique(lambda i: self._problem(self._entry(seed, i), turns), split):
            if problem.answer["question"] not in shown:
                yield problem

    def _problem(self, entry: dict[str, Any], turns: list[dict[str, str]]) -> Problem:
        prompt = (*turns, {"role": "user", "content": entry["question"]})
        return Problem(problem_id(f"{self.name} {entry['question']}"), prompt, entry)

    async def check(self, models: Models, problem: Problem, text: str) -> float:
        answer = final_answer(text)
        if answer is None:
            return 0.0
        try:
            # a composite data set names the one that an entry is from
            source = (problem.answer.get("metadata") or {}).get("source_dataset", self.name)
            if not evaluates(source):
                return float(self._maker.score_answer(answer, problem.answer))
            if not _is_formula(answer):
                return 0.0
            entry = base64.b64encode(pickle.dumps(problem.answer)).decode()
            settings = json.dumps(dict(self.parameters))
            return await asyncio.to_thread(maths.scored, self.name, settings, answer, entry)
        except SurpassError:
            raise
        except Exception:  # some of its scorers raise on an answer they cannot read
            return 0.0

    def final_answer(self, text: str) -> str | None:
        """What votes compare: the answer after a mark, in one form; None where there is no mark."""
        found = final_answer(text)
        return None if found is None else normal(found)


_NAMES = frozenset(
    "sin cos tan cot sec csc asin acos atan sinh cosh tanh asinh acosh atanh exp log ln sqrt pi Abs".split()
)


def _is_formula(answer: str) -> bool:
    """Whether an answer is a formula of the usual functions, without attributes, text and other names.

    >>> _is_formula("2*sin(x) + 1"), _is_formula("x.__class__")
    (True, False)
    """
    names = re.findall(r"[A-Za-z]+", answer)
    plain = re.fullmatch(r"(?:[A-Za-z0-9\s+\-*/^(),]|\.(?!\s*[A-Za-z]))*", answer)
    return (
        bool(plain)
        and len(answer) <= maths.LONGEST
        and all(len(name) == 1 or name in _NAMES for name in names)
    )


@functools.cache
def evaluates(name: str) -> bool:
    """Whether a data set's scorer gives an answer to sympy's parser, which runs it as Python, so that a
    policy could learn to call anything. A scorer that uses eval itself gets ast.literal_eval in its place.
    """
    from reasoning_gym.factory import DATASETS

    module = inspect.getmodule(DATASETS[name][0])
    assert module is not None, "a class is made in a module"
    source = inspect.getsource(module)
    if re.search(r"(?<![\w.])eval\(\s*\w*answer\b", source):
        module.__dict__["eval"] = ast.literal_eval
    return bool(re.search(r"(?:parse_expr|sympify)\(\s*\w*answer\b", source))


@functools.lru_cache(maxsize=8)
def _made(name: str, parameters: str) -> Any:
    import reasoning_gym as library

    return library.create_dataset(name, **{**json.loads(parameters), "seed": 0, "size": 2**30})


def scored(name: str, parameters: str, answer: str, entry: str) -> float:
    """A data set's own score of an answer; runs in a worker of surpass.tasks.maths. `entry` is the problem,
    pickled by the process that asks.
    """
    return float(_made(name, parameters).score_answer(answer, pickle.loads(base64.b64decode(entry))))
