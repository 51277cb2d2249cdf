"""Measures made of measures."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from surpass import given
from surpass.errors import SurpassError
from surpass.measures.agreement import agreement
from surpass.measures.answers import answers
from surpass.models import Models
from surpass.parts import Measure, Task
from surpass.searches import samples
from surpass.types import Report


@dataclass(frozen=True)
class together:
    """Several measures of one split, joined into one report."""

    measures: tuple[Measure, ...]

    def at_most(self, split: str) -> int:
        """The most tokens that an exam can draw."""
        return sum(measure.at_most(split) for measure in self.measures if hasattr(measure, "at_most"))

    async def __call__(self, models: Models, task: Task, split: str, seed: int) -> Report:
        report = Report("together")
        for measure in self.measures:
            one = given.one(measure, Report, await given.asked(measure, models, task, split, seed))
            report.rows += one.rows
            report.info |= one.info
            report.trees = report.trees or one.trees
        return report


@dataclass(frozen=True)
class by_split:
    """Another measure for each split, e.g. {"gate": agreement(...), "test": answers(...)}: no labels at the
    gate, labels in the report alone.
    """

    measures: Mapping[str, Measure]

    def at_most(self, split: str) -> int:
        """The most tokens that an exam can draw."""
        measure = self.measures[split]
        return measure.at_most(split) if hasattr(measure, "at_most") else 0

    async def __call__(self, models: Models, task: Task, split: str, seed: int) -> Report:
        return await self.measures[split](models, task, split, seed)


def unlabelled(max_tokens: int, temperature: float = 0.8, n: int = 8) -> by_split:
    """The exam of a method that uses no labels: the agreement of `n` attempts decides; greedy accuracy is
    only reported.
    """
    greedy = answers(samples(1, 0.0, max_tokens))
    alike = agreement(samples(n, temperature, max_tokens))
    return by_split({"gate": alike, "test": together((greedy, alike))})


def answering(exam: Any) -> answers:
    """The measures.answers inside an exam: its search, scores and choice are the method's at inference.
    SurpassError if there is none.
    """
    if isinstance(exam, answers):
        return exam
    inside = getattr(exam, "measures", ())
    inside = [inside["test"]] if isinstance(inside, Mapping) else inside
    for measure in inside:
        with contextlib.suppress(SurpassError):
            return answering(measure)
    raise SurpassError(f"{type(exam).__name__} answers no problem: it holds no measures.answers")


def redrawn(measure: Any, drawing: Mapping[str, float]) -> Any:
    """The measure, and those inside it, with another `temperature` or `top_p` for drawing. SurpassError if
    one has no such field.
    """
    inside = getattr(measure, "measures", None)
    if isinstance(inside, Mapping):
        return dataclasses.replace(
            measure, measures={split: redrawn(m, drawing) for split, m in inside.items()}
        )
    if inside is not None:
        return dataclasses.replace(measure, measures=tuple(redrawn(m, drawing) for m in inside))
    search: Any = getattr(measure, "search", None)
    own = {f.name for f in dataclasses.fields(measure)}
    of_search = {f.name for f in dataclasses.fields(search)} if dataclasses.is_dataclass(search) else set()
    if missing := drawing.keys() - own - of_search:
        raise SurpassError(
            f"what this method draws to answer has no {' and no '.join(sorted(missing))} to set; leave it out"
        )
    changes: dict[str, Any] = {name: value for name, value in drawing.items() if name in own}
    if kept := {name: value for name, value in drawing.items() if name in of_search}:
        changes["search"] = dataclasses.replace(search, **kept)
    return dataclasses.replace(measure, **changes)


def sized(measure: Any, sizes: Mapping[str, int]) -> Any:
    """The measure, and those inside it, with other numbers of problems per split."""
    inside = getattr(measure, "measures", None)
    if isinstance(inside, Mapping):
        return dataclasses.replace(measure, measures={split: sized(m, sizes) for split, m in inside.items()})
    if inside is not None:
        return dataclasses.replace(measure, measures=tuple(sized(m, sizes) for m in inside))
    return (
        dataclasses.replace(measure, n={**measure.n, **sizes})
        if isinstance(getattr(measure, "n", None), Mapping)
        else measure
    )
