"""Search-R1: reasoning with a search engine in the loop (Jin et al. 2025, arXiv 2503.09516).

Idea     The policy writes its searches, the task answers them, and only the final answer is rewarded. What
         the search engine returns stays in the context and is never trained on.
Search   n attempts of several turns a problem
Score    the task's check of the final answer (exact match)
Credit   A_i = (r_i - mean(r)) / (std(r) + 1e-4), the same for all tokens that the policy wrote in attempt i
Loss     clipped policy gradient, mean over written tokens within an attempt, then over attempts, +
         beta KL(policy || reference)
Family   policy gradient
Labels   verifier
Needs    engine "train", "logprobs"; a task with tools, e.g. kgqa
Differs  This is the paper's GRPO form, not its PPO form. The loss mask follows from who wrote each token.
Works    not shown: the baseline of slate (docs/claims.md); the tiny model's accuracy on kgqa hardly rises in
         four rounds.
"""

from surpass import advantages, curricula, gates, learners, measures, objectives, rewards, searches, selectors
from surpass.parts import Learn, Method


def search_r1(
    problems: int = 8,
    n: int = 5,
    turns: int = 4,
    temperature: float = 1.0,
    max_tokens: int = 128,
    beta: float = 0.001,
    lr: float = 1e-6,
    clip: float = 0.2,
    updates: int = 1,
    tempered: bool = True,
    every: int = 3,
) -> Method:
    """`problems` a round with `n` attempts of at most `turns` turns each."""
    loss = objectives.leashed(objectives.clipped(clip, clip, normaliser="path"), beta)
    learner = learners.gradient(loss, lr, updates=updates, temperature=temperature if tempered else 1.0)
    return Method(
        curriculum=curricula.shuffle(problems),
        search=searches.samples(n, temperature, max_tokens, turns=turns),
        scores={"reward": rewards.check()},
        learn=(Learn("policy", selectors.every(), learner, advantages.group()),),
        exam=measures.answers(searches.samples(1, 0.0, max_tokens, turns=turns)),
        gate=gates.no_worse(every),
    )
