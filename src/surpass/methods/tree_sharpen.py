"""tree_sharpen: learn what the start model finds probable (ours, after Huang et al. 2024, arXiv 2412.01951).

Idea     A model often rates its right answers higher than it samples them. So move the probability of whole
         attempts to those that the start model already rates best. This creates no knowledge; it makes one
         draw as good as the best of many.
Search   m first steps, k continuations of each (n), as tree_grpo
Score    r = exp(4 m), m = mean log p_0(token) over the attempt's tokens; p_0 is the frozen start model;
         labels are never used
Credit   V(node) = mean reward of the leaves below; A(node) = V(node) - mean V of its other siblings
Loss     clipped policy gradient, mean over tokens
Family   self-reward, search, policy gradient
Labels   none
Needs    engine "train", "logprobs"; the snapshot policy@0
Differs  The paper's rewards are sums of log-probs; ours is a mean, so that short attempts are not favoured.
         The paper's losses are SFT on the best of n or a regression on pairs. The exponential and the tree
         are ours. The gate uses no labels: it limits drift, length, attempts that are cut off or without an
         answer, and answers that are all alike. It cannot see accuracy, and neither can the method.
Works    tests/claims/test_sharpening.py: on a tabular policy accuracy rises where the most probable answer is
         right, and falls where it is wrong. docs/no-labels.md: SmolLM2-135M on sums, seeds, and where it
         stops.
"""

from surpass import advantages, curricula, gates, learners, measures, objectives, rewards, searches, selectors
from surpass.parts import Learn, Method


def tree_sharpen(
    problems: int = 16,
    n: tuple[int, ...] = (4, 2),
    stop: str = "\n",
    temperature: float = 0.8,
    max_tokens: int = 128,
    scale: float = 4.0,
    lr: float = 1e-5,
    clip: float = 0.2,
    updates: int = 1,
    tempered: bool = True,
    every: int = 3,
) -> Method:
    """`problems` a round; a step ends with `stop`; the reward is exp(`scale` * mean log-prob under the start
    model); the gate decides every `every` rounds.
    """
    loss = objectives.clipped(clip, clip, normaliser="token")
    answers = measures.answers(searches.samples(1, 0.0, max_tokens))
    agreement = measures.agreement(searches.samples(8, temperature, max_tokens))
    learner = learners.gradient(loss, lr, updates=updates, temperature=temperature if tempered else 1.0)
    return Method(
        curriculum=curricula.shuffle(problems),
        search=searches.tree(n, stop, temperature=temperature, max_tokens=max_tokens),
        scores={"reward": rewards.likelihood("policy@0", scale)},
        learn=(Learn("policy", selectors.every(), learner, advantages.siblings()),),
        exam=measures.by_split({"gate": agreement, "test": measures.together((answers, agreement))}),
        gate=gates.limits(every),
    )
