"""What the tiny models learn, in which order, and how difficult."""

from __future__ import annotations

from typing import Any

from surpass.assets.corpus import Skill


def _grid(task: str, **knobs: tuple[Any, ...]) -> tuple[dict[str, Any], ...]:
    """All combinations of some values of knobs."""
    out: list[dict[str, Any]] = [{"task": task}]
    for name, values in knobs.items():
        out = [one | {name: value} for one in out for value in values]
    return tuple(out)


SKILLS = (
    Skill("arithmetic", 0, 1.2, _grid("arithmetic", shots=(0,), terms=(2, 3, 4, 5), digits=(1, 2, 2), operators=("+-", "+-", "+-*"))
          + _grid("arithmetic", shots=(0,), terms=(2, 3), digits=(3,), operators=("+-",))),
    Skill("countdown", 16_000, 1.2, _grid("countdown", numbers=(2, 3, 3, 4, 4), largest=(10,), limit=(50,))),
    Skill("maze", 32_000, 1.4, _grid("maze", size=(3, 4, 4, 5, 5, 6), walls=(0.3,), apart=(2, 4))),
    Skill("instructions", 48_000, 1.0, _grid("instructions", fewest=(1,), constraints=(2, 3, 4), words=(4, 6, 8))),
    Skill("tictactoe", 64_000, 0.8, _grid("tictactoe", skill=(0.3, 0.7), opening=(1, 2, 3, 4))),
    Skill("kuhn", 72_000, 0.2, _grid("kuhn", skill=(0.5,), pays=("win",))),
    Skill("kgqa", 80_000, 1.1, _grid("kgqa", hops=(1, 2, 2, 3), persons=(8, 12, 16), max_turns=(5,))),
    Skill("rooms", 100_000, 0.7, _grid("rooms", rooms=(3, 4, 5, 6), objects=(2, 3), steps=(14,))),
    Skill("judge", 120_000, 1.0, _grid("judge", of=("arithmetic",), kind=("all",), parameters=(
              {"terms": 2, "digits": 2}, {"terms": 3, "digits": 2}, {"terms": 4, "digits": 2}))
          + _grid("judge", of=("countdown",), kind=("all",), parameters=({"numbers": 3, "limit": 50}, {"numbers": 4, "limit": 50}))
          + _grid("judge", of=("maze",), kind=("all",), parameters=({"size": 4}, {"size": 5}))),
    Skill("sql", 140_000, 1.1, _grid("sql", tables=(1, 1, 2), level=(1, 2, 3, 4), rows=(8,))),
)  # fmt: skip
