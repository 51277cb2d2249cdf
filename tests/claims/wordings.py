"""A table that reads every problem in two wordings and errs at each by itself: what votes crossed between
wordings come to, exactly.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from modes import PROMPTS

from surpass import gates, measures, searches
from surpass.engines import TabularEngine
from surpass.loop import improve
from surpass.models import Models
from surpass.parts import Reward, Task
from surpass.rewards.vote import stated
from surpass.types import Problem

# of a wording's prompts, those whose commonest letter is right; at the others the right one is the second
# choice
SURE = 0.7


def again(prompt: str) -> str:
    """The other wording of a prompt."""
    return prompt * 2


@dataclass(frozen=True)
class worded(Task):
    """Answer three letters, or the same said twice, with one letter. In a share `bad` of the problems the
    other wording asks the next problem, which has another answer. A table cannot generalise, so the splits
    share their prompts.
    """

    bad: float = 0.0
    seed: int = 0

    def problems(self, split, seed):
        for i in np.random.default_rng([seed, 1]).permutation(len(PROMPTS)).tolist():
            yield Problem(f"{split}-{PROMPTS[i]}", PROMPTS[i], "abcd"[i % 4])

    def reworded(self, problem, seed):
        i = PROMPTS.index(problem.prompt)
        wrong = np.random.default_rng([self.seed, 2]).permutation(len(PROMPTS))[i] < self.bad * len(PROMPTS)
        return again(PROMPTS[(i + wrong) % len(PROMPTS)])

    async def check(self, models, problem, text):
        return float(text[:1] == problem.answer)

    def final_answer(self, text):
        return text[:1] or None


def start(seed: int) -> Models:
    """A table that says a wording's commonest letter with 0.45, the second with 0.25; which they are is drawn
    for each wording by itself.
    """
    engine, rng = TabularEngine("abcd", size=2**16), np.random.default_rng([seed, 3])
    with torch.no_grad():
        table = engine.module["table"]
        for i, prompt in enumerate(PROMPTS):
            for context in map(engine.text.encode, (prompt, again(prompt))):
                other = (i + int(rng.integers(1, 4))) % 4
                first, second = (i % 4, other) if rng.random() < SURE else (other, i % 4)
                chances = [0.15] * 4 + [1e-9]
                chances[first], chances[second] = 0.45, 0.25
                table[engine.row(context)] = torch.tensor(chances).log()
                for token in range(4):
                    table[engine.row([*context, token])] = torch.tensor([0.01] * 4 + [0.96]).log()
    return Models(policy=engine)


def accuracy(models: Models) -> float:
    """The exact chance that one draw at the first wording is right, mean over problems."""
    engine = models.engine("policy")
    rows = torch.stack([engine.module["table"][engine.row(engine.text.encode(prompt))] for prompt in PROMPTS])
    right = torch.tensor([i % 4 for i in range(len(PROMPTS))])
    return float(rows.softmax(-1)[:, :4].gather(1, right[:, None]).mean().detach())


LABELS: list[float] = []  # a round each: the share of right answers among the votes on each wording


@dataclass(frozen=True)
class watched:
    """A reward that also notes how often the votes on each wording are right."""

    inner: Reward

    async def __call__(self, models, task, trees):
        right = []
        for tree in trees:
            roots = [tree.path(leaf)[0] for leaf in tree.leaves()]
            answers = stated(models, task, tree)
            for root in set(roots):
                votes = Counter(a for a, r in zip(answers, roots, strict=True) if r == root and a is not None)
                right.append(votes.most_common(1)[0][0] == tree.problem.answer)
        LABELS.append(float(np.mean(right)))
        return await self.inner(models, task, trees)


def trained(method, seed: int, rounds: int, bad: float = 0.0) -> tuple[list[float], list[float]]:
    """(accuracy at the start and after every round, the share of right labels in every round)."""
    models, task = start(seed), worded(bad, seed)
    exam = measures.sized(measures.answers(searches.samples(1)), {"gate": 1, "test": 1})
    scores = {name: watched(reward) if name == "reward" else reward for name, reward in method.scores.items()}
    method = dataclasses.replace(method, gate=gates.always(every=10**6), exam=exam, scores=scores)
    course = [accuracy(models)]
    LABELS.clear()

    def say(what, round, event):
        if what == "learn":
            course.append(accuracy(models))

    models.run(improve(method, task, models, rounds=rounds, seed=seed, say=say))
    return course, list(LABELS)
