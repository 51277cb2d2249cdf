"""Self-consistency (Wang et al. 2022, arXiv 2203.11171).

Idea     Many ways of thinking lead to one right answer, so the answer that most attempts agree on is probably
         right.
Search   n attempts a problem at temperature > 0
Score    the share of attempts that state the same final answer
Choose   the first attempt with the largest share; nothing is learnt, no labels are used
Family   inference
Labels   none
Needs    nothing but text
Differs  Nothing known. n defaults to 16 (the paper shows up to 40).
Works    tests/claims/test_self_consistency.py: where attempts are right with probability p > 1/2 and errors
         are scattered, accuracy rises with n as the binomial says.
"""

from surpass import choose, curricula, gates, measures, rewards, searches
from surpass.parts import Method


def self_consistency(n: int = 16, temperature: float = 0.7, max_tokens: int = 128) -> Method:
    """`n` attempts a problem."""
    search, scores = searches.samples(n, temperature, max_tokens), {"vote": rewards.vote()}
    return Method(
        curriculum=curricula.shuffle(),
        search=search,
        scores=scores,
        exam=measures.answers(search, choose=choose.best("vote"), scores=scores),
        gate=gates.always(),
    )
