"""An attempt, feedback on it, a better attempt, and so on."""

from __future__ import annotations

from dataclasses import dataclass

from surpass.errors import SurpassError
from surpass.models import Models
from surpass.parts import Task
from surpass.searches.turns import begin, drawn, fill, play_on, reasked
from surpass.types import FAILED, Problem, Tree


@dataclass(frozen=True)
class refine:
    """One attempt and at most `times` refinements. The last one is the tree's only leaf; the earlier ones are
    its causes (Tree.history).

    The role reads `feedback` (one user message, with {question} and {answer}) in a context of its own, aside.
    `improve` (with {question}, {answer} and {feedback}) replaces the problem's last user message for the next
    attempt. Feedback that contains `done`, or that failed, ends it. Madaan et al. 2023, algorithm 1.
    """

    feedback: str
    improve: str
    times: int = 2
    done: str = "NO CHANGE"
    temperature: float = 0.7
    max_tokens: int = 256
    turns: int = 32
    role: str = "policy"
    needs = frozenset({"one_player"})

    def __post_init__(self) -> None:
        for name, text, wanted in (
            ("feedback", self.feedback, ("{question}", "{answer}")),
            ("improve", self.improve, ("{question}", "{answer}", "{feedback}")),
        ):
            if missing := [word for word in wanted if word not in text]:
                raise SurpassError(f"refine's {name} needs {', '.join(missing)}")

    def at_most(self) -> int:
        """The most tokens that one problem can draw."""
        return (1 + 2 * self.times) * self.max_tokens

    async def __call__(self, models: Models, task: Task, problem: Problem, rng: int) -> Tree:
        if len(task.players) > 1:
            raise SurpassError(
                f"refine improves one player's attempt; this task has {len(task.players)} players"
            )
        tree, root, _ = await begin(models, task, problem, rng, self.role)
        sampling = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        (node,) = await models.generate(self.role, tree, root, 1, **sampling)
        node = await play_on(models, task, tree, node, self.role, self.turns, sampling)
        question, state = problem.asks, tree.state[root]
        for _ in range(self.times):
            if tree.stop[node] == FAILED:
                break
            words = {"{question}": question, "{answer}": models.said(self.role, tree, node)}
            ask = models.open(self.role, tree, fill(self.feedback, words), cause=node, aside=True)
            (said,) = await drawn(models, self.role, tree, ask, 1, sampling)
            words["{feedback}"] = models.said(self.role, tree, said, since=ask)
            if tree.stop[said] == FAILED or self.done in words["{feedback}"]:
                break
            again = models.open(self.role, tree, reasked(problem, fill(self.improve, words)), cause=node)
            tree.end(again, 0, state)
            (node,) = await models.generate(self.role, tree, again, 1, **sampling)
            node = await play_on(models, task, tree, node, self.role, self.turns, sampling)
        return tree
