"""Bag of tricks for inference-time computation (Liu et al. 2025, arXiv 2502.07191).

Idea     Inference strategies differ in what they cost. Under one token budget, small knobs (the temperature,
         what judges) matter as much as the method, and a badly guided search loses to a vote.
Search   a pool of independent attempts within `budget` tokens; step beam, best-first search, MCTS and
         refinement with the same budget
Score    certainty, likelihood, the model's own verdict, and chance
Choose   the first attempt; the majority; the best by each score; votes weighted by each score; for
         comparison, what chance and a perfect choice would get
Family   inference
Labels   none
Needs    engine "logprobs"
Differs  This is a measurement and trains nothing. There is no learned verifier. Greedy choice of steps is a
         beam of width 1. Best-first search stands in for the paper's depth-first tree of thoughts. The value
         of a step is the model's verdict on it (`guide`="verdict") or a constant ("constant"). PUCT's
         constant is 1.25 and does not grow with visits.
Works    docs/claims.md, the tiny model on sums at 256 tokens a problem: MCTS is a point or two below the
         plain majority. Not shown: votes weighted by certainty beat the majority; the model's own verdict
         chooses better than chance. tests/test_strategies.py: choosing by a random score gives the pool's
         mean accuracy, and choosing by a perfect one the share of problems with a right attempt.
"""

from typing import Any

from surpass import curricula, gates, measures, rewards, searches
from surpass.errors import SurpassError
from surpass.parts import Method, Reward, Search
from surpass.prompts import FEEDBACK, IMPROVE


def bag_of_tricks_itc(
    budget: int = 512,
    pool: int = 32,
    temperature: float = 0.7,
    max_tokens: int = 128,
    width: int = 3,
    guide: str = "verdict",
) -> Method:
    """Every strategy draws at most `budget` tokens a problem; searches judge steps by `guide`: verdict or
    constant.
    """
    known = {"verdict": searches.values.asked(), "constant": searches.values.constant()}
    if guide not in known:
        raise SurpassError(
            f'bag_of_tricks_itc judges steps by one of verdict, constant; found guide="{guide}"'
        )
    steps: dict[str, Any] = {
        "value": known[guide],
        "token_budget": budget,
        "temperature": temperature,
        "max_tokens": max_tokens,
    }
    found: dict[str, Search] = {
        "beam": searches.beam(width=width, n=width, **steps),
        "best_first": searches.best_first(n=width, expansions=64, **steps),
        "mcts": searches.mcts(choice="puct", explore=1.25, simulations=64, n=width, **steps),
        "refine": searches.refine(
            FEEDBACK, IMPROVE, temperature=temperature, max_tokens=max(16, min(max_tokens, budget // 5))
        ),
    }
    scores: dict[str, Reward] = {
        "certainty": rewards.certainty(),
        "likelihood": rewards.likelihood(role=""),
        "verdict": rewards.verdict(),
    }
    return Method(
        curriculum=curricula.shuffle(),
        search=searches.samples(pool, temperature, max_tokens),
        scores={},
        exam=measures.strategies(budget, pool, temperature, max_tokens, scores, found),
        gate=gates.always(),
    )
