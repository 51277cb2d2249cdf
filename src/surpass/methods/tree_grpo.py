"""tree_grpo: policy gradient on a tree of steps (ours).

Idea     Attempts that share their first steps show which step was good. Compare a step with its siblings, not
         whole attempts.
Search   m first steps, k continuations of each (n = (m, k); more numbers, more levels); shared steps are
         drawn once
Score    the task's check at every leaf
Credit   V(node) = mean reward of the leaves below; A(node) = V(node) - mean V of its other siblings, for all
         its tokens
Loss     clipped policy gradient over the leaves' paths, mean over tokens. A token's weight is the number of
         leaves below it, so the tree gives the gradient of the mean leaf reward with one baseline per
         branching
Family   search, policy gradient
Labels   verifier
Needs    engine "train"
Differs  There is no paper to differ from. Ratios are of softmax(logits / temperature), the distribution that
         was drawn from; tempered and correct as in grpo.
Works    tests/claims/test_tree_grpo.py: where the first step decides most of the reward, the gradient at the
         second step has less variance than with whole-attempt credit at the same number of leaves.
         docs/results.md: SmolLM2-135M on sums.
"""

from surpass import advantages, curricula, gates, learners, measures, objectives, rewards, searches, selectors
from surpass.parts import Learn, Method


def tree_grpo(
    problems: int = 8,
    n: tuple[int, ...] = (4, 2),
    stop: str = "\n",
    temperature: float = 0.8,
    max_tokens: int = 128,
    lr: float = 1e-5,
    normaliser: str = "token",
    clip: float = 0.2,
    updates: int = 1,
    tempered: bool = True,
    correct: float = 0.0,
    every: int = 3,
) -> Method:
    """`problems` a round and `updates` optimiser steps; a step of an attempt ends with `stop`; the gate
    decides every `every` rounds.
    """
    loss = objectives.clipped(clip, clip, normaliser=normaliser, correct=correct)
    learner = learners.gradient(loss, lr, updates=updates, temperature=temperature if tempered else 1.0)
    return Method(
        curriculum=curricula.shuffle(problems),
        search=searches.tree(n, stop, temperature=temperature, max_tokens=max_tokens),
        scores={"reward": rewards.check()},
        learn=(Learn("policy", selectors.every(), learner, advantages.siblings()),),
        exam=measures.answers(searches.samples(1, 0.0, max_tokens)),
        gate=gates.no_worse(every),
    )
