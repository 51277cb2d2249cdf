"""What a method's parts need, checked before the first token is drawn."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import Any

from surpass.errors import UnmetNeed
from surpass.models import Models
from surpass.parts import Method, demands, needs_of, shown

ENGINE_NEEDS = {
    "text": "text",
    "tokens": "single tokens with their log-probabilities",
    "logprobs": "log-probabilities of given text",
    "logits": "whole distributions",
    "value": "a value head",
    "embed": "embeddings",
    "train": "weights to train",
    "images": "pictures",
}
"""What an engine may be able to do, in the words of the message."""
TASK_NEEDS = {
    "oracle": "exact knowledge",
    "one_player": "a task for one player",
    "branching": "states that can be continued several times",
}
"""What a task may offer, in the words of the message."""
KNOWN = frozenset({*ENGINE_NEEDS, *TASK_NEEDS, "past"})  # "past": the run keeps the trees of past rounds


def require(method: Method, task: Any, models: Models, learns: bool = False) -> None:
    """Raise UnmetNeed unless every need of every part is met; with `learns`, there must also be something to
    learn. Roles without a model of their own are cast first.
    """
    models.cast(method.cast)
    if learns and not method.learn:
        raise UnmetNeed(
            "this method learns nothing, so there is nothing to run in rounds; evaluate it instead: "
            "surpass eval"
        )

    def check(whole: Any, asks: str = "policy") -> None:
        for part, role, needs in demands(whole, asks):
            if "one_player" in needs and len(getattr(task, "players", ("policy",))) > 1:
                raise UnmetNeed(
                    f"{type(part).__name__} plays one player, and {type(task).__name__} has "
                    f"{len(task.players)}: {', '.join(task.players)}"
                )
            if "branching" in needs and not getattr(task, "branches", True):
                raise UnmetNeed(
                    f"{type(part).__name__} continues one state several times, and the states of "
                    f"{type(task).__name__} cannot be branched"
                )
            _ask(part, role, needs, models)

    for player in getattr(task, "players", ("policy",)):
        if player in models.engines:
            _ask(task, player, frozenset(getattr(task, "needs", ())), models)
    anew = tuple(score for learn in method.learn for score in learn.scores.values())
    for part, _, _ in demands(
        (method.curriculum, method.search, tuple(method.scores.values()), anew, method.exam)
    ):
        for name in getattr(part, "of_task", ()):
            if not _has(task, name):
                having = ", ".join(_tasks_with(name)) or "none of surpass's own"
                raise UnmetNeed(
                    f"{type(part).__name__} asks the task for {name}(...), and {type(task).__name__} "
                    f"has none. docs/own-task.md says what it gives; tasks that have it: {having}"
                    f"{getattr(part, 'instead', '')}"
                )
    for part in (
        method.curriculum,
        method.search,
        *method.scores.values(),
        *anew,
        method.exam,
        *([method.adapt] if method.adapt else []),
    ):
        check(part)
        if "oracle" in needs_of(part):
            shown(task, part)
    for learn in method.learn:
        check(learn.learner, learn.role)
    if method.gate.every < 1:
        raise UnmetNeed(
            f"a gate decides at most once a round; it needs every >= 1, found every={method.gate.every}"
        )
    for name in snapshots(method):
        models.engine(name)
    for learn in method.learn:
        if learn.start is not None and learn.start not in snapshots(method):
            raise UnmetNeed(
                f'training can start from ROLE@0, ROLE@-1 or None (as it is); found start="{learn.start:.60}"'
            )
    held = getattr(method.exam, "n", None)
    if (
        learns
        and isinstance(held, Mapping)
        and not (held.keys() >= {"gate", "test"} and all(n >= 1 for n in held.values()))
    ):
        raise UnmetNeed(
            f"an exam of a run has problems for gate and test, at least one each; found n={dict(held)!r:.60}"
        )


def _ask(part: Any, role: str, needs: frozenset[str], models: Models) -> None:
    """UnmetNeed if a need is unknown or the role's model does not meet it."""
    if unknown := sorted(needs - KNOWN):
        raise UnmetNeed(
            f'{type(part).__name__} needs "{unknown[0]}", which nothing gives; the known needs are '
            f"{', '.join(sorted(KNOWN))}"
        )
    if missing := (needs & ENGINE_NEEDS.keys()) - models.can(role):
        words = " and ".join(ENGINE_NEEDS[need] for need in sorted(missing))
        raise UnmetNeed(
            f'{type(part).__name__} needs {words}, which the model of "{role}" ({models.engine(role).name}) '
            f"does not give (it can: {', '.join(sorted(models.can(role)))}). Use a local model"
        )


def _tasks_with(name: str) -> list[str]:
    """surpass's own tasks that have a hook when made without settings."""
    from surpass import tasks

    found = []
    for task in tasks.TASKS:
        with contextlib.suppress(Exception):  # some tasks need settings or an extra
            if _has(getattr(tasks, task)(), name):
                found.append(task)
    return found


def _has(whole: Any, name: str) -> bool:
    """Whether `whole` has the attribute; "oracle.grade" names an attribute of an attribute."""
    first, dot, rest = name.partition(".")
    return hasattr(whole, first) and (not dot or _has(getattr(whole, first), rest))


def snapshots(method: Method) -> list[str]:
    """The snapshots that a method's parts name. Only a field whose whole text is "ROLE@0" or "ROLE@-1"
    counts, never a word of a prompt.
    """
    words = (part for part, _, _ in demands(method) if isinstance(part, str))
    found = (re.fullmatch(r"(?:logp@)?([A-Za-z]\w*@(?:0|-1))", word) for word in words)
    return sorted({match[1] for match in found if match})
