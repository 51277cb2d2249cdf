"""A learner that takes over a role's system prompt from what a search found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from surpass.models import Models
from surpass.parts import Learn
from surpass.types import Example, Memory, Report, Row


@dataclass(frozen=True)
class adopt:
    """The `field` of the state at the first example's node becomes the role's system message ("": it has
    none). It is kept in memory.notes, so a refused trial brings the former one back. No weights change: a
    model behind an API can learn this way.
    """

    field: str = "prompt"

    async def __call__(
        self, models: Models, learn: Learn, examples: Sequence[Example], memory: Memory, rng: int
    ) -> Report:
        report = Report("adopt")
        if examples:
            words = str(examples[0].tree.state[examples[0].nodes[0]][self.field])
            models.adopt(memory.notes, learn.role, words)
            report.rows.append(Row("0", 0, "length", float(len(words))))
        return report
