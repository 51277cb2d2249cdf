"""Bag of tricks for inference-time computation (Liu et al. 2025, arXiv 2502.07191).

Idea     Strategies of inference differ in what they spend. Under one budget of tokens, small knobs
         (temperature, what judges) are worth as much as methods, and a search that is not guided well loses
         to a vote.
Search   a pool of independent attempts within `budget` tokens; step beam, best-first search, MCTS and
         refinement with the same budget
Score    certainty, likelihood, the model's own verdict, and chance
Choose   the first attempt; majority; the best by each score; votes weighted by each score; what chance and a
         perfect choice would get
Family   inference
Labels   none
Needs    engine "logprobs"
Differs  a measure: it trains nothing. There is no learned verifier, and greedy choice of steps is a beam of
         width 1. Best-first search stands for the paper's depth-first tree of thoughts; the value of a step
         is the model's verdict on it (`guide`="verdict") or nothing ("constant"); PUCT's constant is 1.25 and
         does not grow with visits.
Works    docs/claims.md, the tiny model's sums at 256 tokens a problem: MCTS is a point or two below the plain
         majority; not shown: votes weighted by certainty beat it, its own verdict chooses better than chance.
         tests/test_strategies.py: a random score's choice is the pool's mean, a perfect one's whether any
         attempt is right.
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
    """At most `budget` drawn tokens a problem for every strategy; searches judge steps by `guide`, verdict or
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
