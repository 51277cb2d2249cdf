"""How well a role plays: against opponents, and exactly."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from surpass.errors import SurpassError
from surpass.measures.answers import answers
from surpass.models import Models
from surpass.parts import Search, Task
from surpass.searches import samples
from surpass.types import Problem, Report, Row, Tree


@dataclass(frozen=True)
class against:
    """A game of two players, against each of the environment's `opponents`. Per opponent: reward/NAME (what
    the game pays), won/NAME (the share of games paid in full) and illegal/NAME. reward is the mean over
    opponents. The task must have against(opponent).
    """

    opponents: tuple[str, ...] = ("random", "optimal")
    search: Search = field(default_factory=lambda: samples(1, 1.0, 16))
    n: Mapping[str, int] = field(default_factory=lambda: {"gate": 96, "test": 256})
    of_task = ("against",)
    instead = ", with --task.opponent self"

    async def __call__(self, models: Models, task: Task, split: str, seed: int) -> Report:
        if not hasattr(task, "against"):
            raise SurpassError(
                f"{type(getattr(task, '_task', task)).__name__} is no game with opponents to play "
                "against: it has no against(opponent)"
            )
        report = Report("against", info={"split": split})
        for name in self.opponents:
            one = await answers(self.search, self.n)(models, task.against(name), split, seed)
            for row in one.rows:
                wanted = {
                    "reward": f"reward/{name}",
                    "accuracy": f"won/{name}",
                    "count/illegal": f"illegal/{name}",
                }.get(row.metric)
                if wanted:
                    report.rows.append(Row(f"{name} {row.problem}", 0, wanted, row.value))
                if row.metric == "reward":
                    report.rows.append(Row(f"{name} {row.problem}", 0, "reward", row.value))
        return report


@dataclass(frozen=True)
class kuhn_exploitability:
    """Exact, from the probabilities of both words in all twelve information states. "exploitability":
    NashConv / 2 in chips, 0 in an equilibrium. "value": what the first player wins a game, -1/18 in an
    equilibrium. "words": the least probability, over states, that either word is said.
    """

    role: str = "policy"
    needs = frozenset({"logprobs"})

    async def __call__(self, models: Models, task: Task, split: str, seed: int) -> Report:
        from surpass.tasks.game_values import exploitability
        from surpass.tasks.kuhn import information_states

        states = information_states()
        both = dict(
            zip(
                states,
                await asyncio.gather(*(self._words(models, info, said) for info, said in states.items())),
                strict=True,
            )
        )
        value, gap = exploitability({info: float(p[1] / p.sum()) for info, p in both.items()})
        figures = {
            "exploitability": gap / 2,
            "value": value,
            "words": float(min(p.sum() for p in both.values())),
        }
        return Report("kuhn", [Row("kuhn", 0, name, figure) for name, figure in figures.items()])

    async def _words(self, models: Models, info: str, said: list[tuple[str, Any]]) -> np.ndarray:
        """The probabilities of the careful and the daring word, each with the end of its turn."""
        tree = Tree(Problem(f"kuhn {info}", said[0][0]))
        node = models.open(self.role, tree, said[0][0])
        for (_, answer), (told, _) in itertools.pairwise(said):
            node = models.tell(self.role, tree, models.put(self.role, tree, node, answer, self.role), told)
        out = []
        for word in said[-1][1]:
            spoken = models.put(self.role, tree, node, word, self.role)
            # a further message would first add the end of this turn
            ended = models.put(self.role, tree, spoken, models.turn_end(self.role), self.role)
            logp = await models.logprobs(self.role, tree, ended)
            out.append(float(np.exp(logp[len(tree.path_tokens(node)) :].astype(float).sum())))
        return np.array(out)
