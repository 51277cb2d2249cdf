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


_SUMS = _grid("arithmetic", shots=(0,), terms=(2, 3), digits=(1, 2), operators=("+-",)) + _grid(
    "arithmetic", shots=(0,), terms=(2, 3), digits=(1,), operators=("+-*",)
)
_JUDGED = (
    _grid(
        "judge",
        of=("arithmetic",),
        kind=("all",),
        parameters=({"terms": 2, "digits": 1}, {"terms": 3, "digits": 1}, {"terms": 3, "digits": 2}),
    )
    + _grid("judge", of=("countdown",), kind=("all",), parameters=({"numbers": 3, "limit": 50},))
    + _grid("judge", of=("maze",), kind=("all",), parameters=({"size": 4},))
)
_COUNTED = _grid("countdown", numbers=(3,), largest=(10,), limit=(50,))
_COUNTED_HIGHER = _grid("countdown", numbers=(3,), largest=(10, 12), limit=(50, 99))
_WALKED = _grid("maze", size=(4, 5), walls=(0.3,), apart=(2, 4))
_ASKED = _grid("sql", tables=(1,), level=(1, 2, 3), rows=(8,))
_BOUND = _grid("instructions", fewest=(1,), constraints=(2, 3), words=(4, 6))
_PLAYED = _grid("tictactoe", skill=(0.3, 0.7), opening=(3, 4))

SKILLS = (
    Skill(
        "arithmetic",
        0,
        1.6,
        _grid("arithmetic", shots=(0,), terms=(2, 3, 4), digits=(1, 2, 2), operators=("+-",))
        + _grid("arithmetic", shots=(0,), terms=(2, 3), digits=(1,), operators=("+-*",)),
    ),
    Skill("countdown", 8_000, 1.3, _grid("countdown", numbers=(2, 3, 3, 4), largest=(10,), limit=(50,))),
    Skill("maze", 14_000, 1.6, _grid("maze", size=(3, 4, 4, 5), walls=(0.3,), apart=(2, 4))),
    Skill("instructions", 20_000, 0.9, _grid("instructions", fewest=(1,), constraints=(2, 3), words=(4, 6))),
    Skill("tictactoe", 26_000, 0.7, _grid("tictactoe", skill=(0.3, 0.7), opening=(1, 2, 3, 4))),
    Skill("kuhn", 30_000, 0.15, _grid("kuhn", skill=(0.5,), pays=("win",))),
    Skill("kgqa", 32_000, 0.9, _grid("kgqa", hops=(1, 2, 2), persons=(8, 12), max_turns=(5,))),
    Skill("rooms", 40_000, 0.5, _grid("rooms", rooms=(2, 3, 4), objects=(1, 2, 3), steps=(12,))),
    Skill("judge", 46_000, 1.0, _JUDGED, verdicts=0.0),
    Skill("sql", 52_000, 0.9, _grid("sql", tables=(1, 1, 2), level=(1, 2, 3, 4), rows=(8,))),
    # once all are known, more of what is learnt slowest: short sums, and judging attempts
    Skill("arithmetic", 110_000, 1.5, _SUMS, verdicts=0.6),
    Skill("countdown", 110_000, 0.5, _COUNTED, verdicts=1.0),
    Skill("maze", 110_000, 0.5, _WALKED, verdicts=1.0),
    Skill("sql", 110_000, 0.5, _ASKED, verdicts=1.0),
    Skill("instructions", 110_000, 0.4, _BOUND, verdicts=1.0),
    # a verdict is one token among many: judging is learnt only if it weighs as much as all the words
    Skill("arithmetic", 380_000, 2.0, _SUMS, verdicts=1.0, verdict=40.0),
    Skill("countdown", 380_000, 0.6, _COUNTED, verdicts=1.0, verdict=40.0),
    Skill("maze", 380_000, 0.6, _WALKED, verdicts=1.0, verdict=40.0),
    Skill("sql", 380_000, 0.6, _ASKED, verdicts=1.0, verdict=40.0),
    Skill("judge", 380_000, 1.5, _JUDGED, verdicts=0.0, word=20.0),
    # attempts that take more effort are wrong more often
    Skill("arithmetic", 416_000, 3.0, _SUMS, verdicts=1.0, verdict=40.0, effort=32.0),
    Skill("countdown", 416_000, 1.6, _COUNTED_HIGHER, verdicts=1.0, verdict=40.0, effort=34.0),
    Skill("maze", 416_000, 1.2, _WALKED, verdicts=1.0, verdict=40.0, effort=23.0),
    Skill("sql", 416_000, 0.9, _ASKED, verdicts=1.0, verdict=40.0, effort=46.0),
    Skill("instructions", 416_000, 1.4, _BOUND, verdicts=1.0, verdict=40.0, effort=19.0),
    Skill("tictactoe", 416_000, 0.8, _PLAYED, verdicts=1.0, verdict=40.0),
    Skill(
        "kgqa",
        416_000,
        0.3,
        _grid("kgqa", hops=(1, 2), persons=(8,), max_turns=(5,)),
        verdicts=0.7,
        verdict=40.0,
    ),
)
