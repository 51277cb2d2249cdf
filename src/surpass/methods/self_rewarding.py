"""Self-rewarding language models (Yuan et al. 2024, arXiv 2401.10020).

Idea     The policy judges its own attempts with a five-point rubric, and learns to prefer what it rated
         highest.
Search   n attempts a problem (N = 4, T = 0.7, p = 0.9)
Score    mean of 3 verdicts; each is the score out of 5 that the policy states, in whatever form, when shown
         the question and the attempt with the rubric
Select   best against worst attempt, where the scores differ
Loss     DPO, -log sigmoid(beta [log p/p_old (best) - log p/p_old (worst)]), p_old = the policy at the round's
         start
Family   self-reward, preference
Labels   none
Needs    engine "train", "logprobs"
Differs  A round has `problems` problems, not thousands. It makes `epochs` passes over its pairs, 16 or so a
         step as in the paper: with one step a round the reference and beta would change nothing
         (objectives.dpo). lr is ten times the paper's, for smaller models. The rubric is in our own words.
         Problems come from the task; the paper also writes new ones by few-shot prompting. There is no seed
         SFT on judging data. There are several small rounds, not three large ones. The gate is ours and uses
         no labels (it looks at drift, length and answers).
Works    tests/claims/test_votes.py: with a judge that is always right the pairs are right, and with a judge
         at chance they are at chance. Not shown on a language model yet; bench/judge.py measures whether a
         model's verdicts are worth learning from.
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
    """`problems` a round with `n` attempts each, every attempt judged `verdicts` times; the gate decides
    every `every` rounds.
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
