"""Self-certainty (Kang et al. 2025, arXiv 2502.18581).

Idea     A model on the right track is sure of every token. The mean distance of its next-token distributions
         from uniform ranks attempts without a reward model, and rank-weighted votes beat a plain majority.
Search   n attempts a problem
Score    SC(y) = (1 / |y|) sum over tokens i of KL(uniform || p(. | x, y_<i)) = -(1 / (|y| V)) sum over i and
         the V tokens of the vocabulary of log(V p)
Choose   Borda: the attempt of rank r gives (n - r + 1)^power votes to its answer; attempts without an answer
         rank last and give none; the best-ranked attempt of the winning answer is chosen. power 0 is the
         plain majority; a large power follows the surest attempt that states an answer
Family   inference
Labels   none
Needs    engine "logprobs"
Differs  Nothing known. V counts real tokens only: rows that pad the vocabulary are left out. A model that
         repeats itself is sure as well, so cap max_tokens.
Works    docs/claims.md, the tiny model on sums: of two attempts at the same problem the right one is the
         surer in 0.53 to 0.65 of the cases (AUC over all problems 0.77 to 0.80), which three seeds do not
         show to be more than half (p = 0.054). Nor is the rest shown: the surest of 8 is no better than a
         random attempt, the surest of 32 no better than that of 8, Borda no better than the majority, and
         plain likelihood ranks better (0.65 to 0.82). Borda does not beat the majority on SmolLM2-135M either
         (docs/results.md, measured when attempts without an answer still had a rank).
"""

from surpass import choose, curricula, gates, measures, rewards, searches
from surpass.parts import Method, Reward


def self_certainty(n: int = 8, power: float = 0.5, temperature: float = 0.8, max_tokens: int = 128) -> Method:
    """`n` attempts a problem, each with (n - rank + 1)^`power` votes."""
    search = searches.samples(n, temperature, max_tokens)
    scores: dict[str, Reward] = {
        "certainty": rewards.certainty(),
        "rank": rewards.ranks("certainty", power),
        "votes": rewards.vote(weight="rank"),
    }
    return Method(
        curriculum=curricula.shuffle(),
        search=search,
        scores=scores,
        exam=measures.answers(search, choose=choose.best("votes", then="certainty"), scores=scores),
        gate=gates.always(),
    )
