"""CREAM: consistency-regularised self-rewarding (Wang et al. 2024, arXiv 2410.12735).

Idea     The model ranks its own attempts. Where its predecessor ranks them otherwise, the preference is
         probably noise, and the model learns it with less confidence.
Search   n attempts a problem
Score    r_k(y) = mean over y's tokens of log p_k - log p_0, for k = now and k = before (the weights before
         the last round's update), p_0 = the model at the start of the run; where p_k is p_0 itself: the mean
         log-likelihood under p_0
Trust    C = mean over problems of (1 + tau) / 2, tau = Kendall's correlation of r_now and r_before (without
         `shared`: one C for each problem)
Loss     C l(best, worst) + (1 - C) l(worst, best), l = DPO on sums of log-ratios against the weights at the
         round's start
Family   self-reward, preference
Labels   none
Needs    engine "train", "logprobs"
Differs  The paper's r_k is a sum over tokens (`per_token=False`), which rewards length. The paper makes one
         pass over a round's thousands of pairs. A round here has `problems` of them and makes `epochs` passes
         in `updates` steps each: with a single step the reference, beta and C would change nothing
         (objectives.dpo). lr is ten times the paper's, for smaller models. The paper first fine-tunes the
         base on seed data and calls the result M_1. Here the run begins with the model as it is, so in round
         1 both rankings are by the start's likelihood and C is 1. `least` bounds C from below, which the
         paper does not do; 0.5 keeps a preference from being reversed. The gate is ours and uses no labels.
Works    docs/claims.md: noise in the predecessor lowers C at every step. On a tabular policy accuracy rises
         from 0.37 to between 0.61 and 0.66, and with C = 1 to the same within 0.002. It is not shown that
         pairs with a higher C are more often right. Worked examples check pairs and loss
         (tests/test_credit.py); C and beta change where the weights end (tests/test_preferences.py). In the
         comparison of methods (docs/comparisons.md), at grpo's learning rate, it makes the tiny model worse
         on two of four tasks; its losses on the other two are within noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surpass import curricula, gates, learners, measures, objectives, rewards, searches, selectors
from surpass.models import Models
from surpass.parts import Learn, Method, Task
from surpass.types import Column, Tree


def cream(
    problems: int = 64,
    n: int = 5,
    temperature: float = 0.8,
    max_tokens: int = 128,
    beta: float = 0.1,
    shared: bool = True,
    least: float = 0.0,
    per_token: bool = True,
    lr: float = 1e-5,
    epochs: int = 8,
    updates: int = 4,
    every: int = 3,
) -> Method:
    """`problems` a round with `n` attempts each; one trust for the whole round if `shared`, else one for each
    problem, never below `least`.
    """
    now, before = (
        rewards.implicit(role, "policy@0", per_token=per_token, or_likelihood=True)
        for role in ("policy", "policy@-1")
    )
    learner = learners.gradient(objectives.dpo(beta), lr, epochs, updates)
    return Method(
        curriculum=curricula.shuffle(problems),
        search=searches.samples(n, temperature, max_tokens),
        scores={"reward": now, "before": before, "trust": Trust("reward", "before", shared, least)},
        learn=(Learn("policy", selectors.best_worst(confidence="trust"), learner),),
        exam=measures.unlabelled(max_tokens, temperature),
        gate=gates.limits(every),
    )


@dataclass(frozen=True)
class Trust:
    """Per leaf: (1 + tau) / 2, tau = Kendall's correlation of two scores over the problem's attempts; if
    `shared`, its mean over the problems. nan where tau is undefined.
    """

    score: str
    other: str
    shared: bool = True
    least: float = 0.0

    async def __call__(self, models: Models, task: Task, trees: Sequence[Tree]) -> list[Column]:
        trusts = np.array([self._of(tree) for tree in trees])
        if self.shared and not np.isnan(trusts).all():
            trusts[:] = np.nanmean(trusts)
        return [Column("leaf", np.full(len(tree.leaves()), c)) for tree, c in zip(trees, trusts, strict=True)]

    def _of(self, tree: Tree) -> float:
        from scipy.stats import kendalltau  # slow to import

        now, before = (tree.get(name).values for name in (self.score, self.other))
        both = ~np.isnan(now) & ~np.isnan(before)
        tau = kendalltau(now[both], before[both]).statistic if both.sum() > 1 else np.nan
        return max(self.least, (1 + tau) / 2) if tau == tau else np.nan
