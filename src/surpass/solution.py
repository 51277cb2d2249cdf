"""One question: the answer, and all that was tried."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from surpass import given
from surpass.errors import SurpassError
from surpass.gates import always
from surpass.judging import answer_of
from surpass.measures import answering
from surpass.models import Models
from surpass.needs import require
from surpass.parts import Method
from surpass.store import as_line
from surpass.types import Tree
from surpass.verdicts import unread


@dataclass
class Solution:
    """The chosen answer, every attempt, the tree they stand in, and what it cost."""

    answer: str
    attempts: list[
        tuple[str, str | None, dict[str, float], bool]
    ]  # text, final answer, {score: value}, chosen
    tree: Tree
    cost: dict[str, int]

    def __str__(self) -> str:
        return self.answer

    def as_json(self) -> str:
        """The answer, the attempts, the notes and the cost as one line."""
        names = ("text", "answer", "scores", "chosen")
        attempts = [dict(zip(names, attempt, strict=True)) for attempt in self.attempts]
        return as_line(
            {"answer": self.answer, "attempts": attempts, "notes": self.notes(), "cost": self.cost}
        )

    def notes(self) -> list[str]:
        """Warnings: verdicts without a score, attempts that were not judged, votes that decide nothing."""
        missed, asked = unread([self.tree])
        found = [f"{missed} of {asked} verdicts hold no score that could be read"] if missed else []
        scores = [scores for _, _, scores, _ in self.attempts]
        for name in scores[0] if scores else ():
            unknown = sum(one[name] != one[name] for one in scores)
            # an attempt without an answer has no vote
            if name not in ("vote", "votes", "rank") and 0 < unknown < len(scores):
                found.append(
                    f"{unknown} of {len(scores)} attempts have no {name}: they come after those that have one"
                )
        if scores and scores[0] and all(value != value for one in scores for value in one.values()):
            found.append("no attempt could be judged, so the first one is shown as the answer")
        votes = [one["vote"] for one in scores if "vote" in one]
        if len(votes) > 1 and max(votes) <= 1 / len(votes):
            found.append("no two attempts agree, so the first one is shown as the answer")
        return found


async def solved(question: str, method: Method, models: Models, seed: int, instruction: str) -> Solution:
    """A question answered by a method's search and choice."""
    from surpass.searches.round import failure, search_all
    from surpass.tasks.question import question as one

    exam = answering(method.exam)
    task = one(question, instruction)
    models.forget()
    require(
        dataclasses.replace(
            method, search=exam.search, scores=exam.scores, exam=exam, learn=(), gate=always()
        ),
        task,
        models,
    )
    (problem,) = task.problems("test", 0)
    (tree,) = await search_all(exam.search, models, task, [problem], seed)
    if (why := failure(tree)) is not None:
        raise SurpassError(f"the search failed: {why}")
    await given.score_all(exam.scores, models, task, [tree])
    leaf = given.leaf(exam.choose, tree, given.told(exam.choose, tree))
    tried = []
    for i, node in enumerate(tree.leaves()):
        text = models.text(exam.role, tree, node)
        scores = {name: float(tree.get(name).values[i]) for name in exam.scores}
        tried.append((text, answer_of(task, models.said(exam.role, tree, node)), scores, node == leaf))
    return Solution(models.said(exam.role, tree, leaf), tried, tree, dict(models.cost.get("search", {})))
