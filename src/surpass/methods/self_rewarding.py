"""Self-rewarding language models (Yuan et al. 2024, arXiv 2401.10020).

Idea     The policy judges its own attempts with a five-point rubric and learns by preference what it rated
         highest.
Search   n attempts a problem (N = 4, T = 0.7, p = 0.9)
Score    mean of 3 verdicts, each the score out of 5 that the policy states, in whatever form, when shown
         question and attempt with the rubric
Select   best against worst attempt, where the scores differ
Loss     DPO, -log sigmoid(beta [log p/p_start (best) - log p/p_start (worst)]), start = the weights at the
         round's start
Family   self-reward, preference
Labels   none
Needs    engine "train", "logprobs"
Differs  a round has `problems` problems, not thousands, so its pairs, 16 or so a step as in the paper, are
         gone over `epochs` times: with one step a round the reference and beta change nothing
         (objectives.dpo). lr is ten times the paper's, for smaller models. The rubric is in our own words;
         problems come from the task (the paper also writes new ones by few-shot prompting); no seed SFT on
         judging data; several small rounds, not three large ones. The gate is ours: it uses no labels (drift,
         length, answers).
Works    tests/claims/test_votes.py: with a judge that is right the pairs are, and with a judge at chance they
         are at chance. Not shown on a language model yet; bench/judge.py measures whether its verdicts are
         worth learning from.
"""

from surpass import curricula, gates, learners, measures, objectives, rewards, searches, selectors
from surpass.parts import Learn, Method
from surpass.prompts import RUBRIC


def self_rewarding(
    problems: int = 64,
    n: int = 4,
    temperature: float = 0.7,
    top_p: float = 0.9,
    max_tokens: int = 128,
    verdicts: int = 3,
    beta: float = 0.1,
    lr: float = 1e-5,
    epochs: int = 8,
    updates: int = 4,
    every: int = 3,
) -> Method:
    """`problems` a round with `n` attempts each, every attempt judged `verdicts` times; a gate decision
    `every` so many rounds.
    """
    return Method(
        curriculum=curricula.shuffle(problems),
        search=searches.samples(n, temperature, max_tokens, top_p=top_p),
        scores={"reward": rewards.judge(RUBRIC, n=verdicts)},
        learn=(
            Learn(
                "policy", selectors.best_worst(), learners.gradient(objectives.dpo(beta), lr, epochs, updates)
            ),
        ),
        exam=measures.unlabelled(max_tokens, temperature),
        gate=gates.limits(every),
    )
