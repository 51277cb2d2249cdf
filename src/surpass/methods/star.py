"""STaR: self-taught reasoner (Zelikman et al. 2022, arXiv 2203.14465).

Idea     Attempts that reach the right answer are worth imitating, reasoning included.
Search   n attempts a problem
Select   attempts of all rounds so far that the task's check calls right, at most one a problem
Loss     supervised fine-tuning on them, from the START weights every round; the number of steps grows with
         the attempts
Family   imitation
Labels   verifier
Needs    engine "train"
Differs  The paper's loop goes over the whole train set and fits the start model to what that loop found, in
         40 steps and a fifth more each loop. Here a round is `problems` of the train set, and the start model
         is fitted to what all rounds found; where a problem comes again, its last round counts. past=False
         fits it to that round's attempts alone, for rounds that are the whole train set (problems=768). There
         is no rationalisation (a second attempt with the answer as a hint) for problems that were missed. n
         samples replace one greedy attempt, so that small rounds find something to learn; n=1, temperature=0
         is the paper's.
Works    docs/claims.md, rounds of 768 problems (past=False): within two minutes a task it lifts the tiny
         model on six of eight tasks of the suite. python bench/self_training.py star SEED 12, the tiny model
         on sums in rounds of 32 problems, accuracy at temperature 0: 0.393 -> 0.441, 0.453, 0.471 (seeds 1 to
         3; +0.049, +0.061, +0.078, standard errors below 0.02); with past=False 0.420, 0.375, 0.426, where
         the last round learns from 11 to 16 attempts instead of 175. tests/test_conformance.py: on the
         identity task a tabular policy reaches accuracy 1.
"""

from surpass import curricula, gates, learners, measures, objectives, rewards, searches, selectors
from surpass.parts import Learn, Method, Selector


def star(
    problems: int = 32,
    n: int = 4,
    temperature: float = 0.8,
    max_tokens: int = 128,
    lr: float = 1e-5,
    epochs: int = 1,
    updates: int = 8,
    past: bool = True,
    every: int = 1,
) -> Method:
    """`problems` a round with `n` attempts each. Every round that is learnt from (all so far if `past`, else
    this one) adds `epochs` passes of `updates` steps. The gate decides every `every` rounds.
    """
    right: Selector = selectors.correct(limit=1)
    batch = -(-problems // max(1, updates)) if past else None
    learner = learners.gradient(objectives.sft("path"), lr, epochs, updates, batch=batch)
    return Method(
        curriculum=curricula.shuffle(problems),
        search=searches.samples(n, temperature, max_tokens),
        scores={"reward": rewards.check()},
        learn=(Learn("policy", selectors.so_far(right) if past else right, learner, start="policy@0"),),
        exam=measures.answers(searches.samples(1, 0.0, max_tokens)),
        gate=gates.no_worse(every),
    )
