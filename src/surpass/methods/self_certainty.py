"""Self-certainty (Kang et al. 2025, arXiv 2502.18581).

Idea     A model on the right track is sure of every word. The mean distance of its next-word distributions from uniform ranks attempts
         without a reward model, and rank-weighted votes beat a plain majority.
Search   n attempts a problem
Score    SC(y) = (1 / |y|) sum over tokens i of KL(uniform || p(. | x, y_<i)) = -(1 / (|y| V)) sum over i and the V words of log(V p)
Choose   Borda: the attempt of rank r counts (n - r + 1)^power for its answer; the best-ranked attempt of the winning answer.
         power 0 is the plain majority; a large one follows the surest attempt that states an answer
Needs    engine "logprobs"
Differs  nothing known. V is the number of real words: rows that pad the vocabulary are left out. A loop is sure, too: cap max_tokens.
Works    tests/claims/test_self_certainty.py, three seeds on the tiny model's sums: certainty ranks right attempts above wrong ones at the same
         problem (AUC 0.65, 0.61, 0.62 +- 0.05; over all problems 0.81), and Borda at power 0.5 is not below the majority. Not shown:
         the surest of 8 is no better than a random attempt (0.39, 0.37, 0.37 against 0.40, 0.40, 0.39), and plain likelihood ranks
         better there (0.76, 0.79, 0.82).
"""

from surpass import choose, curricula, gates, measures, rewards, searches
from surpass.parts import Method, Reward


def self_certainty(n: int = 8, power: float = 0.5, temperature: float = 0.8, max_tokens: int = 128) -> Method:
    """`n` attempts a problem; `power` of the ranks."""
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
