"""SPO: self-play preference optimisation, a minimaximalist approach (Swamy et al. 2024, arXiv 2401.04056).

Idea     Preferences can be cyclic, so there may be no reward that explains them. But there is always a policy
         to which no other is preferred. The game between two copies of a policy is symmetric, so one policy
         playing against its own attempts finds it: the reward is how often an attempt wins.
Search   n attempts a problem
Score    P[i, j], the probability that attempt i is preferred to j, from the task (by="task") or from the
         model's own comparisons (by="duel"); r_i = mean over j != i of P[i, j]
Credit   A_i = r_i - 1/2, as the mean of a group is 1/2
Loss     clipped policy gradient, mean over tokens within an attempt, then over attempts
Family   self-play, policy gradient
Labels   preferences; none with by="duel"
Needs    engine "train"; a task with prefer(models, problem, a, b), or engine "logprobs" for duels
Differs  Written from a summary of the paper. The paper's experiments are continuous control with a queue of
         past trajectories; this is its form for prompted models. With cyclic preferences the average over
         rounds converges, not the last policy. The gate uses no labels: it keeps every update, unless the
         policy moved too far or the answers became alike.
Works    docs/claims.md, a tabular policy and a cyclic preference: the average policy's exploitability is 0.03
         (the mixed optimum has 0), where a fixed scalar reward collapses to one style, with an exploitability
         of 0.25. The last policy cycles. With a transitive preference and every fifth comparison flipped it
         finds the best style, with no fewer comparisons than a reward fitted to them.
"""

from surpass import advantages, curricula, gates, learners, measures, objectives, rewards, searches, selectors
from surpass.errors import SurpassError
from surpass.parts import Learn, Method

DUEL = """Question:
{question}

Answer A:
{a}

Answer B:
{b}

Which answer is better, A or B? Say one letter."""


def spo_minimax(
    problems: int = 8,
    n: int = 8,
    by: str = "task",
    temperature: float = 1.0,
    max_tokens: int = 128,
    lr: float = 1e-5,
    clip: float = 0.2,
    updates: int = 1,
    tempered: bool = True,
    every: int = 3,
) -> Method:
    """`problems` a round with `n` attempts each; the task or a duel (`by`) compares every attempt with every
    other.
    """
    if by not in ("task", "duel"):
        raise SurpassError(f'spo_minimax compares by one of task, duel; found by="{by}"')
    loss = objectives.clipped(clip, clip, normaliser="path")
    learner = learners.gradient(loss, lr, updates=updates, temperature=temperature if tempered else 1.0)
    return Method(
        curriculum=curricula.shuffle(problems),
        search=searches.samples(n, temperature, max_tokens),
        scores={
            "pairs": rewards.preferred() if by == "task" else rewards.duels(DUEL),
            "reward": rewards.wins("pairs"),
        },
        learn=(Learn("policy", selectors.every(), learner, advantages.group(scale=False)),),
        exam=measures.unlabelled(max_tokens, temperature),
        gate=gates.limits(every),
    )
