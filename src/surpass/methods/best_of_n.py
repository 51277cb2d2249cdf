"""Best-of-n by a score (Cobbe et al. 2021, arXiv 2110.14168; Huang et al. 2024, arXiv 2412.01951).

Idea     Draw several attempts and answer with the one that scores best.
Search   n attempts a problem at temperature > 0
Score    by = "check": the task's own check, a verifier at inference as in Cobbe et al. (the result is an
         upper bound: the share of problems with a right attempt); "vote": the share of attempts that state
         the same answer; "likelihood": exp(mean log-prob of the attempt's tokens), as in Huang et al.;
         "judge": the model's own verdict with the rubric of self_rewarding
Choose   the first attempt with the highest score; nothing is learnt
Family   inference
Labels   none; by="check" asks a verifier at inference
Needs    nothing but text; "likelihood" needs the log-probs of the draw
Differs  Cobbe et al. train the verifier; here no score is trained.
Works    tests/claims/test_inference.py: by "check" the accuracy is 1 - (1 - p)^n, the closed form for
         attempts that are right with probability p.
"""

from surpass import choose, curricula, gates, measures, rewards, searches
from surpass.errors import SurpassError
from surpass.parts import Method, Reward
from surpass.prompts import RUBRIC


def best_of_n(n: int = 8, by: str = "judge", temperature: float = 0.7, max_tokens: int = 128) -> Method:
    """`n` attempts a problem; the answer is the best `by` check, vote, likelihood or judge."""
    known: dict[str, Reward] = {
        "check": rewards.check(),
        "vote": rewards.vote(),
        "likelihood": rewards.likelihood(role=""),
        "judge": rewards.judge(RUBRIC),
    }
    if by not in known:
        raise SurpassError(f'best_of_n chooses by one of {", ".join(known)}; found by="{by}"')
    search, scores = searches.samples(n, temperature, max_tokens), {"score": known[by]}
    return Method(
        curriculum=curricula.shuffle(),
        search=search,
        scores=scores,
        exam=measures.answers(search, choose=choose.best("score"), scores=scores),
        gate=gates.always(),
    )
