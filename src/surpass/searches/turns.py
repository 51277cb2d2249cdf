"""What searches share: open a problem, play an attempt to its end, and find its worth."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from surpass.errors import EngineError, TooLong
from surpass.judging import value_of
from surpass.models import Models
from surpass.parts import Task
from surpass.types import FAILED, INVALID, LENGTH, Problem, Tree, Turn

Words = str | Sequence[Mapping[str, str]]


async def begin(
    models: Models, task: Task, problem: Problem, key: int, role: str = "policy"
) -> tuple[Tree, int, str]:
    """(tree, root, who plays): a new tree, opened with what the task says to the player who moves first.

    `role` plays a task's only player. Of several players, each is played by the role of its name if there is
    one, else by `role`. Then the column "player" holds, at each opening, its player's place in task.players.
    """
    tree = Tree(problem, key)
    root, plays = await opened(models, task, tree, problem, role)
    return tree, root, plays


async def opened(
    models: Models, task: Task, tree: Tree, problem: Problem, role: str = "policy"
) -> tuple[int, str]:
    """(root, who plays): an opening of the tree with what the task says about `problem`: the tree's own
    problem, or the same in other words.
    """
    turn = await task.start(models, problem)
    assert turn.player is not None, "a task that is over before it begins"
    plays = _plays(models, task, turn.player, role)
    root = models.open(plays, tree, turn.say[turn.player])
    tree.end(root, 0, turn.state)
    if len(task.players) > 1:
        tree.mark("player", root, task.players.index(turn.player))
        tree.unheard = {player: words for player, words in turn.say.items() if player != turn.player}
    return root, plays


def _plays(models: Models, task: Task, player: str, role: str) -> str:
    return player if len(task.players) > 1 and player in models.engines else role


class _Contexts:
    """Each player's own conversation: its last node, and what was said since the player moved."""

    def __init__(self, models: Models, task: Task, tree: Tree, node: int, role: str):
        self.models, self.task, self.tree, self.role = models, task, tree, role
        self.last: dict[str, int] = {self.mover(i): i for i in tree.history(node)}
        self.unheard: dict[str, list[Words]] = {
            p: [words] for p, words in tree.unheard.items() if p not in self.last
        }

    def mover(self, node: int) -> str:
        """The player in whose context a node is."""
        if len(self.task.players) == 1:
            return self.task.players[0]
        return self.task.players[int(self.tree.get("player").values[self.tree.path(node)[0]])]

    def hear(self, said: Mapping[str, Words]) -> None:
        """Keep these words for each player until that player moves."""
        for player, words in said.items():
            self.unheard.setdefault(player, []).append(words)

    def next(self, player: str, cause: int) -> int:
        """The node after which `player` moves: what was said since is added to the player's own context,
        which opens if there is none.
        """
        words, role = _joined(self.unheard.pop(player, [])), _plays(self.models, self.task, player, self.role)
        if player in self.last:
            told = self.models.tell(role, self.tree, self.last[player], words, cause=cause)
            # the template rewrote what came before
            if self.tree.parent[told] < 0 and self.tree.has("player"):
                self.tree.mark("player", told, self.task.players.index(player))
            return told
        node = self.models.open(role, self.tree, words, cause=cause)
        self.tree.mark("player", node, self.task.players.index(player))
        return node


def _joined(said: list[Words]) -> Words:
    if all(isinstance(words, str) for words in said):
        return "\n".join(str(words) for words in said)
    return [
        m
        for words in said
        for m in ([{"role": "user", "content": words}] if isinstance(words, str) else words)
    ]


async def play_on(
    models: Models, task: Task, tree: Tree, node: int, role: str, turns: int, sampling: dict[str, Any]
) -> int:
    """The last node of the attempt that `node` began. The task answers and players move until the task says
    it is over, `turns` moves were made, or the attempt failed; it is cut off if it outgrows the model's
    context. What the task counts goes to node columns "count/NAME".
    """
    contexts = _Contexts(models, task, tree, node, role)
    for left in range(turns - 1, -1, -1):
        if tree.stop[node] == FAILED:
            return node
        player = contexts.mover(node)
        state = tree.state_at(node)
        turn: Turn = await task.step(
            models, state, models.said(_plays(models, task, player, role), tree, node)
        )
        models.count("steps")
        _record(tree, node, turn)
        if turn.player is None:
            return node
        if left == 0:
            tree.end(node, INVALID)
            return node
        contexts.last[player] = node
        contexts.hear(turn.say)
        told = contexts.next(turn.player, node)
        try:
            (node,) = await drawn(models, _plays(models, task, turn.player, role), tree, told, 1, sampling)
        except TooLong:  # the context is full: the attempt is cut off, not failed
            tree.aside[told] = True
            tree.end(node, LENGTH)
            return node
    return node


async def drawn(
    models: Models, role: str, tree: Tree, node: int, n: int, sampling: dict[str, Any]
) -> list[int]:
    """n new children of `node`. If every draw failed, one FAILED child that holds the reason: this attempt
    ends, others go on. TooLong if `node` leaves no room for an answer.
    """
    try:
        return await models.generate(role, tree, node, n, **sampling)
    except TooLong:
        raise
    except EngineError as error:
        return [tree.add(node, role, stop=FAILED, text=str(error))]


async def step_on(models: Models, task: Task, tree: Tree, node: int, role: str) -> int:
    """The node after which a single player moves on: the task's answer to the turn that ends at `node`; -1 if
    it is over.
    """
    state = tree.state_at(node)
    turn: Turn = await task.step(models, state, models.said(role, tree, node))
    models.count("steps")
    _record(tree, node, turn)
    return -1 if turn.player is None else models.tell(role, tree, node, turn.say[turn.player])


def _record(tree: Tree, node: int, turn: Turn) -> None:
    """Record what the task said about a turn: its state, whether it was legal, its rewards and counts."""
    tree.end(node, int(tree.stop[node]) if turn.valid else INVALID, turn.state)
    for name, reward in turn.reward.items():
        tree.mark(f"reward/{name}", node, reward)
    for name, n in turn.counts.items():
        tree.mark(f"count/{name}", node, n)


async def worth(models: Models, task: Task, tree: Tree, leaf: int, role: str = "policy") -> float:
    """What an attempt is worth: task.check of its last turn's text, plus what the task paid its player on the
    way (of several players, the one who moved last). nan if it cannot be judged, failed, or was left
    unfinished by a search.

    An empty attempt is worth 0, not nan, if the problem has a right answer, even if check cannot judge it.
    """
    if tree.stop[leaf] == FAILED or tree.unfinished(leaf):
        return float("nan")
    text = judged(models, task, tree, leaf, role)
    value = await value_of(task, models, tree.problem, text)
    if value != value and not text.strip() and tree.problem.answer is not None:
        value = 0.0
    players = getattr(task, "players", ("policy",))
    who = players[int(tree.get("player").values[tree.path(leaf)[0]])] if len(players) > 1 else players[0]
    if tree.has(f"reward/{who}"):
        value += float(np.nansum(tree.get(f"reward/{who}").values[tree.attempt(leaf)]))
    return value


def judged(models: Models, task: Task, tree: Tree, leaf: int, role: str) -> str:
    """An attempt's last turn as task.check gets it: without thoughts, unless the task `reads_thoughts`."""
    return (models.text if getattr(task, "reads_thoughts", False) else models.said)(role, tree, leaf)


def fill(template: str, words: dict[str, str]) -> str:
    """The template with every word in its place. Text that was filled in is not searched again.

    >>> fill("{question} {answer}", {"{question}": "What is {answer}?", "{answer}": "4"})
    'What is {answer}? 4'
    """
    return re.sub("|".join(map(re.escape, words)), lambda match: words[match[0]], template)


def reasked(problem: Problem, words: str) -> str | tuple[Mapping[str, str], ...]:
    """The problem's prompt with `words` in place of its last message."""
    return (
        words
        if isinstance(problem.prompt, str)
        else (*problem.prompt[:-1], {"role": "user", "content": words})
    )


def instructed(problem: Problem, system: str) -> Problem:
    """The problem, asked under a system message ("": none)."""
    if not system:
        return problem
    messages = (
        problem.prompt
        if not isinstance(problem.prompt, str)
        else ({"role": "user", "content": problem.prompt},)
    )
    messages = [message for message in messages if message["role"] != "system"]
    return dataclasses.replace(problem, prompt=({"role": "system", "content": system}, *messages))
