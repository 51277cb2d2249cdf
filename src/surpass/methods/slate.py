"""SLATE: truncated step-level sampling with process rewards (2026).

Idea     Whole trajectories differ everywhere, so the advantage of one step contains the luck of all the
         others. Here n continuations of one step share their prefix exactly, and a judge scores each at once.
         Their difference is due to that step alone.
Search   at every turn n continuations of one prefix; each is played, and the judge sees the documents that it
         finds; the best one extends the prefix
Score    a step: 1, 0 or -1 (by="oracle": from the task's exact knowledge; by="judge": the number that a model
         writes when shown question, turn and documents); a right answer earns `early` (turns - used) / turns
         more
Credit   A_j = (r_j - mean(r)) / (std(r) + 1e-4) among the siblings
Loss     clipped policy gradient on the step's own tokens, mean over them, then over steps, +
         beta KL(policy || reference)
Family   process reward, policy gradient
Labels   oracle; with by="judge" only the gate uses answers
Needs    engine "train", "logprobs"; a task with tools whose oracle grades turns (kgqa), or a model that plays
         "judge"
Differs  A step has one score; the paper adds separate ones for thought and query. Form and weight of the
         early bonus are ours, because the summary that this file follows does not give the paper's. Whether
         the paper extends the prefix greedily was not verified.
Works    docs/claims.md, a scripted searcher: the advantage of its right first step varies 5 times as much
         over whole attempts as among siblings at three hops, and equally at two. For the tiny model on
         kgqa, after four rounds on as many attempts, accuracy is below that of search_r1 (by 0.016 to 0.031
         on 64 problems; an earlier measurement could not tell them apart). With 30% of the judge's scores
         flipped a rise above the start is not shown.
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
    """`problems` a round and at most `turns` turns each, with `n` continuations at every turn, scored `by`
    the task's oracle or a judge.
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
