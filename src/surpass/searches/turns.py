"""What searches share: opening a problem, and playing an attempt on until the task says it is over."""

from __future__ import annotations

import re
from typing import Any

from surpass.types import INVALID, Problem, Tree, Turn


async def begin(models, task, problem: Problem, key: int) -> tuple[Tree, int]:
    """(tree, root): a new tree that is opened with what the task says to the player who moves first."""
    turn = await task.start(models, problem)
    tree = Tree(problem, key)
    root = models.open(turn.player, tree, turn.say[turn.player])
    tree.end(root, 0, turn.state)
    return tree, root


async def play_on(models, task, tree: Tree, node: int, role: str, turns: int, sampling: dict[str, Any]) -> int:
    """The last node of the attempt that `node` began: the task answers, the role moves, until the task says it is over
    or the role has had `turns` turns."""
    for left in range(turns - 1, -1, -1):
        state = next(tree.state[i] for i in reversed(tree.path(node)) if tree.state[i] is not None)
        turn: Turn = await task.step(models, state, models.text(role, tree, node))
        models.count("steps")
        tree.end(node, int(tree.stop[node]), turn.state)
        for player, reward in turn.reward.items():
            tree.mark(f"reward/{player}", node, reward)
        if not turn.valid:
            tree.end(node, INVALID)
        if turn.player is None:
            return node
        if left == 0:
            tree.end(node, INVALID)
            return node
        node = models.tell(role, tree, node, turn.say[turn.player])
        (node,) = await models.generate(role, tree, node, 1, **sampling)
    return node


def fill(template: str, words: dict[str, str]) -> str:
    """The template with every word in its place; what is put in is not searched again."""
    return re.sub("|".join(map(re.escape, words)), lambda match: words[match[0]], template)
