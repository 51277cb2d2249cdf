"""A few problems of a task, as a person reads them: a good attempt, a bad one, and how each is scored."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from surpass.engines.scripted import ScriptedEngine
from surpass.judging import value_of
from surpass.models import Models
from surpass.parts import Task
from surpass.types import Problem, fold


class Played(NamedTuple):
    """An attempt: what was said as (speaker, hearer, words), moves, each player's pay, value and counts."""

    said: list[tuple[str, str, str]]
    moves: list[str]
    paid: dict[str, float]
    value: float
    counts: dict[str, float]


async def play(models: Models | None, task: Any, problem: Problem, move: Callable[[Any], str]) -> Played:
    """The attempt whose every turn is move(state)."""
    turn = await task.start(models, problem)
    said = [("task", player, _text(words)) for player, words in turn.say.items()]
    moves: list[str] = []
    paid: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    while turn.player is not None:
        moves.append(move(turn.state))
        said.append((turn.player, "task", moves[-1]))
        turn = await task.step(models, turn.state, moves[-1])
        paid.update(turn.reward)
        counts.update(turn.counts)
        said += [("task", player, _text(words)) for player, words in turn.say.items()]
    value = paid["policy"] + await value_of(task, models, problem, moves[-1])
    return Played(said, moves, dict(paid), value, dict(counts))


def _turns(move: Callable[..., str], problem: Problem, rng: random.Random) -> Callable[[Any], str]:
    return lambda state: move(problem, state, rng)


def _text(words: str | Sequence[Mapping[str, str]]) -> str:
    return words if isinstance(words, str) else "\n".join(str(message["content"]) for message in words)


def readable(played: Played, players: Sequence[str]) -> str:
    """What was said, line by line, then the value of the attempt and what was counted."""
    lines = []
    for who, to, words in played.said:
        name = f"{who} to {to}" if who == "task" and len(players) > 1 else who
        first, *rest = words.split("\n")
        lines += [f"{name + ':':10} {first}", *(f"{'':10} {line}" for line in rest)]
    worth = (
        f"{played.value:g}"
        if len(players) == 1
        else ", ".join(f"{p} {v:g}" for p, v in sorted(played.paid.items()))
    )
    noted = ", ".join(f"{name} {n:g}" for name, n in sorted(played.counts.items()))
    return "\n".join([*lines, f"{'worth:':10} {worth}" + (f"   ({noted})" if noted else "")])


def sample(task: Task, n: int, seed: int) -> str:
    """`n` test problems; with a good and a bad attempt each, if the task has an oracle that makes them."""
    models = Models(policy=ScriptedEngine(lambda text, key: ""))
    out = []
    for i, problem in enumerate(islice(task.problems("test", seed), n), 1):
        part = getattr(task, "parts", {}).get(problem.meta.get("task"), task)
        oracle = getattr(part, "oracle", None)
        out.append(f"--- problem {i}")
        if oracle is None:
            out += [problem.asks, f"answer: {problem.answer}", ""]
            continue
        for name, move in (("good", oracle.act), ("bad", oracle.slip)):
            rng = random.Random(fold(seed, problem.id))
            played = models.run(play(models, part, problem, _turns(move, problem, rng)))
            out += [f"a {name} attempt", readable(played, part.players), ""]
    return "\n".join(out)
