"""Problems that a model proposes; each is checked before anybody has to solve it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np

from surpass.errors import SurpassError
from surpass.judging import value_of
from surpass.means import right
from surpass.models import Models
from surpass.parts import Search, Task
from surpass.searches import samples
from surpass.searches.round import search_all
from surpass.searches.turns import fill
from surpass.types import Column, Memory, Problem, Tree, fold

OPEN_BOOK = """{documents}

{question}
Answer from the text above. Write Answer: NAME"""


@dataclass(frozen=True)
class proposer:
    """`n` problems a round. The role "proposer", by `search`, poses one for each of n seeds of
    task.proposing(). A proposal is accepted if task.proposing().posed(...) finds no fault, and if `role`
    gives the right answer at temperature 0 when shown the documents that the proposal rests on, mixed with
    those of `noise` others. Slots of refused proposals are filled from a pool of accepted ones that solvers
    got right at a rate of at most `rate`; the pool is emptied every `keep` rounds.

    The proposals' trees join the round, with the leaf column "accepted" (1, 0) and the node counts
    count/accepted and count/refused. A problem's meta["proposal"] is the id of its seed; memory.notes["pool"]
    holds the pool. A task without proposing() is refused. Lu et al. 2025 (search self-play).
    """

    n: int = 8
    search: Search = field(default_factory=lambda: samples(1, 0.8, 256, turns=10, role="proposer"))
    checked: bool = True
    noise: int = 4
    rate: float = 0.5
    keep: int = 10
    role: str = "policy"
    answer_tokens: int = 64
    of_task = ("proposing",)

    async def __call__(
        self, models: Models, task: Task, memory: Memory, rng: int
    ) -> tuple[list[Problem], list[Tree]]:
        if not hasattr(task, "proposing"):
            raise SurpassError(
                f"{type(getattr(task, '_task', task)).__name__} cannot be asked for new problems: it "
                "has no proposing()"
            )
        writer = task.proposing()
        seeds = list(islice(writer.problems("train", fold(memory.seed, "seeds", memory.round)), self.n))
        trees = await search_all(self.search, models, writer, seeds, fold(rng, "propose"))
        posed = [self._posed(models, writer, tree) for tree in trees]
        books = [documents for _, _, documents in posed]
        fine = await asyncio.gather(
            *(self._answered(models, task, problem, books, i, rng) for i, (problem, _, _) in enumerate(posed))
        )
        if memory.round % self.keep == 0:
            memory.notes["pool"] = []
        pool, chooser = memory.notes.setdefault("pool", []), np.random.default_rng(fold(rng, "pool"))
        again = [entry for entry in pool if entry["rate"] is not None and entry["rate"] <= self.rate]
        problems: list[Problem] = []
        for tree, (problem, _, _), accepted in zip(trees, posed, fine, strict=True):
            tree.put("accepted", Column("leaf", np.full(len(tree.leaves()), float(accepted))))
            tree.mark("count/accepted" if accepted else "count/refused", tree.leaves()[0], 1.0)
            if accepted and problem is not None:
                problems.append(replace(problem, meta={**problem.meta, "proposal": tree.problem.id}))
                pool.append(
                    {
                        "id": problem.id,
                        "prompt": problem.prompt,
                        "answer": problem.answer,
                        "meta": dict(problem.meta),
                        "rate": None,
                    }
                )
            elif again:
                entry = again[int(chooser.integers(len(again)))]
                problems.append(Problem(entry["id"], entry["prompt"], entry["answer"], entry["meta"]))
        return list({problem.id: problem for problem in problems}.values()), trees

    def _posed(self, models: Models, writer: Any, tree: Tree) -> tuple[Problem | None, str, list[str]]:
        leaf = tree.leaves()[0]
        if tree.state[leaf] is None:  # the search failed
            return None, "failed", []
        return writer.posed(tree.problem, tree.state[leaf], models.said("proposer", tree, leaf))

    async def _answered(
        self, models: Models, task: Task, problem: Problem | None, books: list[list[str]], i: int, rng: int
    ) -> bool:
        if problem is None or not self.checked:
            return problem is not None
        chooser = np.random.default_rng(fold(rng, "book", i))
        others = [j for j in range(len(books)) if j != i]
        shelf = [
            *books[i],
            *(text for j in chooser.permutation(others)[: self.noise].tolist() for text in books[j]),
        ]
        shelf = list(dict.fromkeys(shelf))
        text = "\n".join(shelf[k] for k in chooser.permutation(len(shelf)))
        question = problem.asks.partition("\n")[0]
        words = fill(OPEN_BOOK, {"{documents}": text, "{question}": question})
        (said,) = await models.chat(
            self.role, [{"role": "user", "content": words}], temperature=0.0, max_tokens=self.answer_tokens
        )
        return right(await value_of(task, models, problem, said)) == 1
