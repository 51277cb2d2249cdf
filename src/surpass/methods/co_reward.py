"""Co-Reward: contrastive agreement of two wordings (Zhang et al. 2025, arXiv 2508.00410).

Idea     A model can become sure of a wrong answer to one wording. Two wordings of one problem have the same
         answer, so the vote on each labels the attempts at the other. A shortcut that works for one wording
         only earns nothing.
Search   n attempts at the problem, n at the same problem in other words
Score    r = 1 if the attempt states the majority answer of the other wording's attempts, else 0
Credit   A_i = (r_i - mean(r)) / (std(r) + 1e-4) within each wording
Loss     clipped policy gradient, mean over tokens within an attempt, then over attempts, +
         beta KL(policy || reference)
Family   self-reward, policy gradient
Labels   none
Needs    engine "train", "logprobs"; a task that can reword its problems, or a `rewrite` prompt; answers that
         can be compared
Differs  The paper rewords offline with a much larger model. Here the task rewords by rule, or the policy does
         so during the round. The gate is ours and uses no labels.
Works    docs/claims.md, on a tabular policy that errs on each wording independently: accuracy rises (0.38 to
         0.64), by about half of what true labels bring, and less with bad wordings. A gain over plain votes
         (ttrl) is not shown. Not shown either, after five rounds on the tiny model's sums: accuracy above
         plain votes on as many attempts, or above the start. Worked examples check the crossed votes
         (tests/test_credit.py).
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
    """`problems` a round with `n` attempts at each of two wordings; `rewrite` is the prompt that asks a model
    for the second wording ("": the task rewords).
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
