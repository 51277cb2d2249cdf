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
    Skill("arithmetic", 0, 1.6, _grid("arithmetic", shots=(0,), terms=(2, 3, 4), digits=(1, 2, 2), operators=("+-",))
          + _grid("arithmetic", shots=(0,), terms=(2, 3), digits=(1,), operators=("+-*",))),
    Skill("countdown", 8_000, 1.3, _grid("countdown", numbers=(2, 3, 3, 4), largest=(10,), limit=(50,))),
    Skill("maze", 14_000, 1.6, _grid("maze", size=(3, 4, 4, 5), walls=(0.3,), apart=(2, 4))),
    Skill("instructions", 20_000, 0.9, _grid("instructions", fewest=(1,), constraints=(2, 3), words=(4, 6))),
    Skill("tictactoe", 26_000, 0.7, _grid("tictactoe", skill=(0.3, 0.7), opening=(1, 2, 3, 4))),
    Skill("kuhn", 30_000, 0.15, _grid("kuhn", skill=(0.5,), pays=("win",))),
    Skill("kgqa", 32_000, 0.9, _grid("kgqa", hops=(1, 2, 2), persons=(8, 12), max_turns=(5,))),
    Skill("rooms", 40_000, 0.5, _grid("rooms", rooms=(2, 3, 4), objects=(1, 2, 3), steps=(12,))),
    Skill("judge", 46_000, 1.0, _grid("judge", of=("arithmetic",), kind=("all",), parameters=(
              {"terms": 2, "digits": 1}, {"terms": 3, "digits": 1}, {"terms": 3, "digits": 2}))
          + _grid("judge", of=("countdown",), kind=("all",), parameters=({"numbers": 3, "limit": 50},))
          + _grid("judge", of=("maze",), kind=("all",), parameters=({"size": 4},)), verdicts=0.0),
    Skill("sql", 52_000, 0.9, _grid("sql", tables=(1, 1, 2), level=(1, 2, 3, 4), rows=(8,))),
    # what goes slowest once all are known: short sums, and the judging of attempts
    Skill("arithmetic", 110_000, 1.5, _grid("arithmetic", shots=(0,), terms=(2, 3), digits=(1, 2), operators=("+-",))
          + _grid("arithmetic", shots=(0,), terms=(2, 3), digits=(1,), operators=("+-*",)), verdicts=0.6),
    Skill("countdown", 110_000, 0.5, _grid("countdown", numbers=(3,), largest=(10,), limit=(50,)), verdicts=1.0),
    Skill("maze", 110_000, 0.5, _grid("maze", size=(4, 5), walls=(0.3,), apart=(2, 4)), verdicts=1.0),
    Skill("sql", 110_000, 0.5, _grid("sql", tables=(1,), level=(1, 2, 3), rows=(8,)), verdicts=1.0),
    Skill("instructions", 110_000, 0.4, _grid("instructions", fewest=(1,), constraints=(2, 3), words=(4, 6)), verdicts=1.0),
)  # fmt: skip
