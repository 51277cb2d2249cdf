"""tree_vote: tree_grpo with the vote of the tree's own leaves as the reward (ours).

Idea     Without labels, the answer that most attempts at a problem reach stands in for the truth; each
         attempt counts by how sure the model was. That helps where votes are usually right and harms where
         they are not.
Search   m first steps, k continuations of each (n), as tree_grpo
Score    weight of a leaf: exp(mean log-prob of its tokens at the draw); share(answer) = weight of its leaves
         / all weight; reward = share of the winner where the leaf states the winning answer, else 0
Credit   V(node) = mean reward of the leaves below; A(node) = V(node) - mean V of its other siblings
Loss     clipped policy gradient, mean over tokens
Family   self-reward, search, policy gradient
Labels   none; labels=True lets the gate use answers
Needs    engine "train", "logprobs"; a task whose answers can be compared (final_answer)
Differs  There is no paper to differ from. The gate uses no labels, but refuses everything if, at the start,
         the commonest answer holds less than `trust` of the attempts: a vote that weak teaches mistakes.
         labels=True lets the gate use answers instead.
Works    tests/claims/test_votes.py: on a tabular policy accuracy rises where votes are right and falls where
         they are wrong, and the gate refuses a weak vote. docs/no-labels.md: SmolLM2-135M on sums.
"""

from surpass import advantages, curricula, gates, learners, measures, objectives, rewards, searches, selectors
from surpass.parts import Gate, Learn, Measure, Method


def tree_vote(
    problems: int = 16,
    n: tuple[int, ...] = (4, 2),
    stop: str = "\n",
    temperature: float = 0.8,
    max_tokens: int = 128,
    trust: float = 0.5,
    labels: bool = False,
    lr: float = 1e-5,
    clip: float = 0.2,
    updates: int = 1,
    tempered: bool = True,
    every: int = 3,
) -> Method:
    """`problems` a round; a step ends with `stop`. The gate decides every `every` rounds: it refuses where
    agreement is below `trust`, or, with `labels`, what is significantly worse by the task's own answers.
    """
    loss = objectives.clipped(clip, clip, normaliser="token")
    answers = measures.answers(searches.samples(1, 0.0, max_tokens))
    agreement = measures.agreement(searches.samples(8, temperature, max_tokens))
    seen: Measure = answers if labels else agreement
    gate: Gate = gates.no_worse(every) if labels else gates.limits(every, trust)
    learner = learners.gradient(loss, lr, updates=updates, temperature=temperature if tempered else 1.0)
    return Method(
        curriculum=curricula.shuffle(problems),
        search=searches.tree(n, stop, temperature=temperature, max_tokens=max_tokens),
        scores={
            "sure": rewards.likelihood(role=""),
            "vote": rewards.vote(weight="sure"),
            "reward": rewards.majority(scaled=True),
        },
        learn=(Learn("policy", selectors.every(), learner, advantages.siblings()),),
        exam=measures.by_split({"gate": seen, "test": measures.together((answers, agreement))}),
        gate=gate,
    )
