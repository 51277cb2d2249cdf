"""SLATE: truncated step-level sampling with process rewards (2026).

Idea     Whole trajectories differ everywhere, so the advantage of one step holds the luck of all others. Here
         n continuations of one step share their beginning exactly, a judge scores each at once, and the
         difference is due to that step alone.
Search   at every turn n continuations from one prefix; each is played, the documents it finds are seen by the
         judge; the best goes on
Score    a step: 1, 0 or -1 (by="oracle": the task's exact knowledge; by="judge": the number a model writes
         when shown question, turn and documents), a right answer `early` (turns - used) / turns more
Credit   A_j = (r_j - mean(r)) / (std(r) + 1e-4) among the siblings
Loss     clipped policy gradient on the step's own tokens, mean over them, then over steps, + beta KL(policy
         || start)
Family   process reward, policy gradient
Labels   oracle; with by="judge" only the gate uses answers
Needs    engine "train", "logprobs"; a task with tools whose oracle grades turns (kgqa), or a model that plays
         "judge"
Differs  one score a step, not separate ones for thought and query that are added. The form of the early bonus
         and its weight are ours (the card does not know the paper's); whether the paper advances greedily was
         not verified.
Works    docs/claims.md: of a scripted searcher's right first step the advantage varies 5 times as much over
         whole attempts as among siblings at three hops, and as much at two. Not shown: that the tiny model's
         kgqa, after four rounds, is better than after as many attempts of search_r1, or with 30% of the
         judge's scores flipped better than at the start.
"""

from surpass import advantages, curricula, gates, learners, measures, objectives, searches, selectors
from surpass.errors import SurpassError
from surpass.parts import Learn, Method
from surpass.types import Cast

GRADE = """Question:
{question}

One step of an attempt, and what it brought:
{answer}

Is this step good? It is if it looks for a fact that is still needed, or gives the right answer; it is bad if it repeats, is unclear or wrong.
End with a line "Score: {best}" for good, "Score: 0" for harmless, "Score: {worst}" for bad."""  # noqa: E501


def slate(
    problems: int = 8,
    n: int = 5,
    turns: int = 4,
    by: str = "oracle",
    early: float = 0.5,
    temperature: float = 1.0,
    max_tokens: int = 128,
    beta: float = 0.001,
    lr: float = 1e-6,
    clip: float = 0.2,
    updates: int = 1,
    tempered: bool = True,
    every: int = 3,
) -> Method:
    """`problems` a round, `n` continuations at each of at most `turns` turns, scored `by` the task's oracle
    or a judge.
    """
    if by not in ("oracle", "judge"):
        raise SurpassError(f'slate scores steps by one of oracle, judge; found by="{by}"')
    judge = searches.values.graded(early, turns) if by == "oracle" else searches.values.spoken(GRADE)
    loss = objectives.leashed(objectives.clipped(clip, clip, normaliser="path"), beta)
    learner = learners.gradient(loss, lr, updates=updates, temperature=temperature if tempered else 1.0)
    return Method(
        curriculum=curricula.shuffle(problems),
        search=searches.stepwise(judge, n, turns, temperature=temperature, max_tokens=max_tokens),
        scores={},
        learn=(Learn("policy", selectors.steps(), learner, advantages.siblings("step", scale=True)),),
        exam=measures.answers(searches.samples(1, 0.0, max_tokens, turns=turns)),
        gate=gates.no_worse(every),
        cast={"judge": Cast("policy", shared=True)} if by == "judge" else {},
    )
