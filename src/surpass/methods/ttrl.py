"""TTRL: test-time reinforcement learning (Zuo et al. 2025, arXiv 2504.16084).

Idea     Without labels, take the majority answer of many attempts for the truth, and reward the attempts that
         reach it.
Search   n independent attempts a problem
Score    1 for attempts that state the majority answer (of equals the earlier), 0 for all others
Credit   A_i = (r_i - mean(r)) / (std(r) + 1e-4)
Loss     clipped policy gradient, mean over tokens within an attempt, then over attempts
Family   self-reward, policy gradient
Labels   none
Needs    engine "train", "logprobs"; a task whose answers can be compared (final_answer)
Differs  Written from memory of the paper. The paper votes over 64 attempts and trains on 32 of them at lr
         5e-7; here all n = 16 do both. The paper trains on the test problems themselves; here training, gate
         and test problems are disjoint. The gate is ours and uses no labels. It refuses everything if the
         start model's commonest answer holds less than `trust` of the attempts.
Works    tests/claims/test_votes.py: on a tabular policy accuracy rises where votes are right and falls where
         they are wrong, and the gate refuses a weak vote. Not shown on a language model yet.
"""

from surpass import advantages, curricula, gates, learners, measures, objectives, rewards, searches, selectors
from surpass.parts import Learn, Method


def ttrl(
    problems: int = 8,
    n: int = 16,
    temperature: float = 0.8,
    max_tokens: int = 128,
    trust: float = 0.5,
    lr: float = 1e-5,
    clip: float = 0.2,
    updates: int = 1,
    tempered: bool = True,
    every: int = 3,
) -> Method:
    """`problems` a round with `n` attempts each. The gate decides every `every` rounds and refuses where
    agreement is below `trust`.
    """
    loss = objectives.clipped(clip, clip, normaliser="path")
    learner = learners.gradient(loss, lr, updates=updates, temperature=temperature if tempered else 1.0)
    return Method(
        curriculum=curricula.shuffle(problems),
        search=searches.samples(n, temperature, max_tokens),
        scores={"vote": rewards.vote(), "reward": rewards.majority()},
        learn=(Learn("policy", selectors.every(), learner, advantages.group()),),
        exam=measures.unlabelled(max_tokens, temperature),
        gate=gates.limits(every, trust),
    )
