"""LaSeR: reinforcement learning with last-token self-rewarding (Yang et al. 2025, arXiv 2510.14943).

Idea     The reward of "is my answer right?" has a closed form: a scaled log-ratio of one token that is never
         written, read right after the answer. So the model learns to judge itself at the price of one token.
Search   n attempts a problem
Score    r_v = the task's check; r_s = beta_v (log p(z | x, y) - log p_0(z | x, y)), z = a reserved token (the
         mark), p_0 = the reference
Credit   A_v = group-normalised r_v; after `warm` rounds A = (1 - tau) A_v + tau A_s, A_s = group-normalised
         clip(r_s, 0, 1); in groups where the standard deviation of the clipped r_s is at most 0.1, A_s = A_v
Loss     GRPO on the attempt's tokens + alpha * mean of w (r_s - r_v)^2 at the mark z; w balances right and
         wrong attempts over the round; attempts that were cut off have no such term
Choose   at inference: weighted vote, each attempt with weight clip(r_s, 0, 1); where all weights are 0, as
         they are at the start, a plain majority
Family   self-reward, policy gradient
Labels   verifier
Needs    engine "train", "logprobs"; a tokenizer with a reserved token
Differs  The paper replaces log p_0(z | x, y) by its mean over data, c_ref. Here it is the reference's own
         log-probability, which is equivalent and slower. An attempt is right if its check gives at least 1.
         At a temperature other than 1 the paper's code multiplies r_s by the temperature; here everything is
         trained as at temperature 1.
Works    docs/claims.md, the tiny model on sums: after four rounds the self-score's AUC on unseen problems is
         above that without its loss. An AUC of 0.8 and a balanced accuracy of 0.7 are not reached, and
         whether accuracy suffers is undecided. Its votes were measured when the first attempt won wherever
         all weights were 0, and not since. The paper's premise, that the reference's log-probability of the
         mark hardly varies, does not hold for the tiny model. Worked examples check the mark's loss
         (tests/test_credit.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surpass import advantages, choose, curricula, gates, learners, measures, objectives, rewards, searches
from surpass.models import Models
from surpass.parts import Learn, Method, Reward, Task
from surpass.types import Column, Example, Memory, Tree


def laser(
    problems: int = 8,
    n: int = 8,
    temperature: float = 1.0,
    max_tokens: int = 128,
    lr: float = 1e-6,
    alpha: float = 0.1,
    beta_v: float = 0.1,
    tau: float = 0.1,
    warm: int = 200,
    mark: str = "",
    clip: float = 0.2,
    updates: int = 1,
    every: int = 3,
) -> Method:
    """`problems` a round with `n` attempts each; `alpha` weighs the self-reward's loss, and `tau` the
    self-reward's share of the advantage.
    """
    search, policy = (
        searches.samples(n, temperature, max_tokens),
        objectives.clipped(clip, clip, normaliser="path"),
    )
    terms = (
        objectives.only("policy", policy),
        objectives.only("mark", objectives.regression(beta_v, balance="balance")),
    )
    own: dict[str, Reward] = {
        "self": rewards.marked(beta_v, mark),
        "held": Held("self"),
        "votes": rewards.vote(weight="held"),
    }
    return Method(
        curriculum=curricula.shuffle(problems),
        search=search,
        scores={
            "reward": rewards.check(),
            "self": rewards.marked(beta_v, mark, graft=True),
            "held": Held("self"),
        },
        learn=(
            Learn(
                "policy",
                marks(),
                learners.gradient(objectives.total(terms), lr, updates=updates),
                SelfScored(alpha, tau, warm),
                voices=("policy", "mark"),
            ),
        ),
        exam=measures.answers(search, choose=choose.best("votes", then="held"), scores=own),
        gate=gates.no_worse(every),
    )


@dataclass(frozen=True)
class Held:
    """Per leaf: a score clipped to [0, 1]."""

    score: str

    async def __call__(self, models: Models, task: Task, trees: Sequence[Tree]) -> list[Column]:
        return [Column("leaf", np.clip(tree.get(self.score).values, 0, 1)) for tree in trees]


@dataclass(frozen=True)
class marks:
    """Every judged attempt, up to the mark after it."""

    def __call__(self, trees: Sequence[Tree], memory: Memory, rng: int) -> list[Example]:
        return [
            Example(tree, (node,))
            for tree in trees
            for node in _marks(tree)
            if tree.get("advantage").values[node] == 0
        ]


def _marks(tree: Tree) -> list[int]:
    return [node for node, author in enumerate(tree.author) if author == "mark"]


@dataclass(frozen=True)
class SelfScored:
    """Three node columns. "advantage": the attempt's, at all its nodes, and 0 at its mark. "target": r_v at
    the mark. "balance": alpha * w at the mark.
    """

    alpha: float
    tau: float
    warm: int
    least: float = 0.1

    def __call__(self, trees: Sequence[Tree], memory: Memory) -> list[dict[str, Column]]:
        r, own = (
            np.concatenate([np.zeros(0), *(tree.get(name).values for tree in trees)])
            for name in ("reward", "held")
        )
        judged, ended = int((~np.isnan(r)).sum()), ~np.isnan(r) & ~np.isnan(own)
        sides = {side: int((ended & ((r >= 1) == side)).sum()) for side in (True, False)}
        # w = N / (2 N_side), N the attempts that ended; the loss is divided by all judged attempts instead of
        # N, so the weight here is judged / (2 N_side)
        weights = {side: self.alpha * judged / (2 * n) for side, n in sides.items() if n}
        return [self._tree(tree, weights, memory.round) for tree in trees]

    def _tree(self, tree: Tree, weights: dict[bool, float], done: int) -> dict[str, Column]:
        r, own = (np.asarray(tree.get(name).values, float) for name in ("reward", "held"))
        credit = advantages.standardised(r)
        if self.tau and done >= self.warm:
            spread = np.nanstd(own, ddof=1) if (~np.isnan(own)).sum() > 1 else 0.0
            mixed = advantages.standardised(own) if spread > self.least else credit
            credit = np.where(np.isnan(own), credit, (1 - self.tau) * credit + self.tau * mixed)
        advantage, target, balance = (
            np.zeros(len(tree)),
            np.full(len(tree), np.nan),
            np.full(len(tree), np.nan),
        )
        at = {tree.parent[node]: node for node in _marks(tree)}
        for leaf, reward, a, held in zip(tree.leaves(), r, credit, own, strict=True):
            advantage[[i for i in tree.attempt(leaf) if tree.author[i] != "task"]] = a
            if not np.isnan(held) and not np.isnan(reward) and leaf in at:
                right = bool(reward >= 1)
                target[at[leaf]], balance[at[leaf]] = float(right), weights[right]
            if np.isnan(a) and leaf in at:
                advantage[at[leaf]] = np.nan  # an attempt that nobody judged gives no example
        return {
            "advantage": Column("node", advantage),
            "target": Column("node", target),
            "balance": Column("node", balance),
        }
