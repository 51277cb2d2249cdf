"""Co-Reward: contrastive agreement of two wordings (Zhang et al. 2025, arXiv 2508.00410).

Idea     A model can become sure of a wrong answer to one wording. Two wordings of one problem have one
         answer, so the vote on each labels the attempts at the other: a shortcut that works for one wording
         earns nothing.
Search   n attempts at the problem, n at the same problem in other words
Score    r = 1 if the attempt states the majority answer of the other wording's attempts, else 0
Credit   A_i = (r_i - mean(r)) / (std(r) + 1e-4) within each wording
Loss     clipped policy gradient, mean over tokens within an attempt, then over attempts, + beta KL(policy ||
         start)
Family   self-reward, policy gradient
Labels   none
Needs    engine "train", "logprobs"; a task that can reword its problems, or a `rewrite` prompt; comparable
         answers
Differs  the paper rewrites offline with a much larger model; here the task rewords by rule, or the policy
         rewrites as the round goes. The gate is ours: it uses no labels.
Works    docs/claims.md. On a table whose wordings err apart it rises (0.38 to 0.64), by about half of what
         true labels bring, less with bad wordings; against plain votes (ttrl) nothing is shown. On the tiny
         model's sums, five rounds: neither above plain votes on as many attempts nor above the start. Crossed
         votes are tested by hand (tests/test_credit.py).
"""

from surpass import advantages, curricula, gates, learners, measures, objectives, rewards, searches, selectors
from surpass.parts import Learn, Method


def co_reward(
    problems: int = 8,
    n: int = 8,
    temperature: float = 1.0,
    max_tokens: int = 128,
    rewrite: str = "",
    beta: float = 0.005,
    lr: float = 3e-6,
    clip: float = 0.2,
    updates: int = 1,
    tempered: bool = True,
    every: int = 3,
) -> Method:
    """`problems` a round with `n` attempts at each of two wordings; `rewrite` asks a model for the second
    one.
    """
    loss = objectives.leashed(objectives.clipped(clip, clip, normaliser="path"), beta)
    learner = learners.gradient(loss, lr, updates=updates, temperature=temperature if tempered else 1.0)
    return Method(
        curriculum=curricula.shuffle(problems),
        search=searches.views(n, temperature, max_tokens, rewrite),
        scores={"reward": rewards.crossed()},
        learn=(Learn("policy", selectors.every(), learner, advantages.group(apart=True)),),
        exam=measures.unlabelled(max_tokens, temperature),
        gate=gates.limits(every),
    )
