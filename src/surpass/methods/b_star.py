"""B-STaR: balancing exploration and exploitation (Zeng et al. 2024, arXiv 2412.17256).

Idea     Self-training stalls because attempts become alike and the reward stops telling good from bad. One
         number, the balance, measures both. Each round uses the sampling temperature and the reward threshold
         that maximise the balance for the current model.
Search   n attempts a problem at the chosen temperature
Score    r = 1[right], plus other rewards if there are any (`select` reads the column "reward")
Balance  bs(x) = min(n_right / wanted, 1) * (n_right / n_kept); n_kept counts the distinct attempts with
         r >= tau, n_right the right ones among them. Its mean over `dev` problems, n attempts each, is taken
         for every temperature and every tau (the values that r takes).
Select   the `keep` best distinct attempts a problem with r >= tau
Loss     SFT, mean over tokens; the optimiser keeps its state from round to round
Adapt    after the first round, and then after every `period` rounds: temperature and tau of the next rounds
Family   imitation
Labels   verifier
Needs    engine "train"
Differs  The first round uses `temperature`. A round's tau is chosen on the dev problems, and not again on the
         round's own attempts. Dev problems come from the train split. The paper makes its choice in every
         iteration, on a dev pool of several hundred to a thousand problems, and learns from 67,500 attempts
         an iteration. A round here has several hundred attempts, so the choice is made on 8 problems every 4
         rounds and takes a fifth of all attempts drawn (with period=1, dev=32 it takes four fifths). No
         process reward is added by default, so tau is idle: with an exact check only right attempts are kept.
         The paper keeps r > tau, not r >= tau. Attempts with the same text, whitespace aside, count once.
         `keep` is fixed; the paper raises it until a target size is reached. No reference solution is added.
Works    docs/claims.md, on tabular policies, choosing after every round: the chosen temperature moves. More
         variety than at a fixed temperature is not shown, even where plain rejection sampling loses a third
         of it. Accuracy is equal within a hundredth. The balance ranks thresholds as one round of training at
         each does, but not temperatures. Worked examples check the balance (tests/test_credit.py).
"""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from surpass import curricula, gates, learners, measures, objectives, rewards, searches, selectors
from surpass.given import score_all
from surpass.models import Models
from surpass.parts import Learn, Method, Task
from surpass.searches.round import search_all
from surpass.types import Memory, Report, Tree, fold


def b_star(
    problems: int = 32,
    n: int = 16,
    temperature: float = 1.0,
    max_tokens: int = 128,
    keep: int = 8,
    wanted: int = 8,
    temperatures: tuple[float, ...] = (0.5, 0.7, 0.9, 1.1),
    dev: int = 8,
    period: int = 4,
    lr: float = 4e-6,
    updates: int = 4,
    every: int = 3,
) -> Method:
    """`problems` a round with `n` attempts each; `wanted` right attempts a problem are enough. Every `period`
    rounds `dev` problems decide the temperature and the threshold.
    """
    return Method(
        curriculum=curricula.shuffle(problems),
        search=searches.samples(n, temperature, max_tokens),
        scores={"reward": rewards.check()},
        learn=(
            Learn(
                "policy",
                selectors.top(limit=keep, threshold=1.0),
                learners.gradient(objectives.sft(), lr, updates=updates),
            ),
        ),
        exam=measures.answers(searches.samples(1, 0.0, max_tokens)),
        gate=gates.no_worse(every),
        adapt=Balance(temperatures, wanted, dev, period),
    )


@dataclass(frozen=True)
class Balance:
    """Sets the next rounds' temperature and threshold to those with the highest mean balance on `dev`
    problems, after round 1, 1 + `period`, 1 + 2 `period` ...
    """

    temperatures: tuple[float, ...]
    wanted: int
    dev: int
    period: int = 1

    async def __call__(
        self, method: Method, models: Models, task: Task, memory: Memory, report: Report | None, rng: int
    ) -> Method:
        if memory.round % self.period:
            return method
        now: Any = method.search
        problems = list(islice(task.problems("train", fold(0, "dev")), self.dev))
        found: dict[tuple[float, float], float] = {}
        for temperature in self.temperatures:
            search = dataclasses.replace(now, temperature=temperature)
            trees = await search_all(search, models, task, problems, rng)
            await score_all(method.scores, models, task, trees)
            texts = [[models.text("policy", tree, leaf) for leaf in tree.leaves()] for tree in trees]
            values = np.unique(np.concatenate([tree.get("reward").values for tree in trees]))
            for tau in values[~np.isnan(values)]:
                scores = [self.of(tree, some, tau) for tree, some in zip(trees, texts, strict=True)]
                found[temperature, float(tau)] = float(np.mean(scores))
        # without any right attempt, a threshold chosen now would let wrong ones through
        if not any(found.values()):
            return method
        temperature, tau = max(found, key=found.__getitem__)
        memory.notes["balance"] = [[*key, value] for key, value in found.items()]
        select: Any = method.learn[0].select
        learn = dataclasses.replace(method.learn[0], select=dataclasses.replace(select, threshold=tau))
        return dataclasses.replace(
            method, search=dataclasses.replace(now, temperature=temperature), learn=(learn,)
        )

    def of(self, tree: Tree, texts: Sequence[str], tau: float) -> float:
        """min(n_right / wanted, 1) * n_right / n_kept of one tree; 0 where nothing is kept."""
        kept: dict[str, bool] = {}
        for text, r in zip(texts, tree.get("reward").values, strict=True):
            if r >= tau:
                kept[re.sub(r"\s+", "", text)] = r >= 1
        n_right = sum(kept.values())
        return min(n_right / self.wanted, 1.0) * n_right / len(kept) if kept else 0.0
