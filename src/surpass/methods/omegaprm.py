"""OmegaPRM: automated process supervision (Luo et al. 2024, arXiv 2406.06592).

Idea     If a wrong solution has a first wrong step, a binary search over its steps finds it with few
         completions, and every completion labels a prefix. A process-reward model learns these labels. Its
         judgement weighs the vote and chooses what to imitate.
Search   completions of prefixes; halving finds the first wrong step of a wrong attempt; wrong attempts are
         searched in order of alpha^(1 - MC) beta^(|r| / length) + c sqrt(sum N) / (1 + N), the highest first
Score    a prefix: MC, the share of its n completions that are right; an attempt: min over steps of the
         model's p(step)
Loss     process-reward model: cross-entropy with the soft label MC at the end of each prefix; policy: SFT on
         the attempts that the updated process-reward model thinks best, if their p > 1/2 and the attempts at
         the problem do not all have the same p
Choose   at inference: vote among n attempts, weighted by the process reward
Family   process reward, search, imitation
Labels   verifier
Needs    engine "train", "value" (a copy of the policy with a value head, if no model plays "prm"); a checker
Differs  The paper collects labels, trains the process-reward model and votes with it. Imitating what that
         model thinks best, round by round, is ours. An untrained model says 1/2 to everything, so nothing is
         imitated until its p differ and exceed 1/2. Problems that are too easy or too hard are filtered by
         the root's MC of n completions, not of 32. Finished completions are labels too (1 or 0). |r| is
         divided by a length of 64 tokens, not 500.
Works    docs/claims.md, the tiny model on sums: binary search finds the first wrong step of 0.96, 0.65 and
         0.67 of the wrong attempts (above 0.8 is not shown). It is no cheaper than going step by step,
         because these attempts have three or four steps. In a scripted writer's attempts of twelve steps it
         always finds it, with 0.57 to 0.60 of the completions of going step by step. A reward model trained
         on 550 labels tells right from wrong steps hardly better than chance (AUC 0.51 to 0.64), and its
         votes equal the majority's. In a first round of 32 problems (lr_value 1e-5 and 3e-4) every p was
         below 1/2, as 0.29 of the attempts were right. None was imitated, where an earlier rule imitated one
         of each tree. Worked examples check the labels (tests/test_credit.py).
"""

from surpass import choose, curricula, gates, learners, measures, objectives, rewards, searches, selectors
from surpass.parts import Learn, Method, Reward
from surpass.types import Cast


def omegaprm(
    problems: int = 8,
    n: int = 8,
    searches_each: int = 20,
    votes: int = 8,
    temperature: float = 1.0,
    max_tokens: int = 128,
    keep: int = 1,
    limit: int = 64,
    lr: float = 1e-6,
    lr_value: float = 1e-5,
    updates: int = 4,
    every: int = 3,
) -> Method:
    """`problems` a round; each gets at most `searches_each` binary searches and gives at most `limit` labels.
    At inference `votes` attempts vote.
    """
    scores: dict[str, Reward] = {"prm": rewards.process("prm"), "votes": rewards.vote(weight="prm")}
    best = selectors.top("prm", keep, 0.5, above=True)
    judge = learners.gradient(objectives.value("bce", target="mc"), lr_value, updates=updates)
    imitate = learners.gradient(objectives.sft(), lr, updates=updates)
    return Method(
        curriculum=curricula.shuffle(problems),
        search=searches.first_error(n, searches_each, temperature=temperature, max_tokens=max_tokens),
        scores={"reward": rewards.check()},
        learn=(
            Learn("prm", selectors.prefixes("mc", limit), judge, voices=("policy",)),
            Learn("policy", best, imitate, scores={"prm": rewards.process("prm")}),
        ),
        exam=measures.answers(
            searches.samples(votes, temperature, max_tokens),
            choose=choose.best("votes", then="prm"),
            scores=scores,
        ),
        gate=gates.no_worse(every),
        cast={"prm": Cast("policy", heads=1)},
    )
