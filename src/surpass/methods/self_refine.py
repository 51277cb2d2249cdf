"""Self-Refine (Madaan et al. 2023, arXiv 2303.17651).

Idea     One model writes, criticises what it wrote, and writes again with the criticism in view, until it
         finds nothing to change.
Search   an attempt; then up to `times`: feedback in a context of its own, and a new attempt whose prompt
         shows the last attempt and the feedback
Choose   the last attempt; nothing is learnt
Family   inference
Labels   none
Needs    nothing but text
Differs  The prompts are ours and the same for every task; the paper has few-shot prompts for each. A
         refinement sees the last attempt and its feedback, not the whole history.
Works    tests/claims/test_inference.py: where feedback names the mistake, accuracy rises with each
         refinement; where it is empty, it does not.
"""

from surpass import curricula, gates, measures, searches
from surpass.parts import Method
from surpass.prompts import FEEDBACK, IMPROVE


def self_refine(times: int = 2, temperature: float = 0.7, max_tokens: int = 256) -> Method:
    """Up to `times` refinements of one attempt."""
    search = searches.refine(FEEDBACK, IMPROVE, times, temperature=temperature, max_tokens=max_tokens)
    return Method(
        curriculum=curricula.shuffle(),
        search=search,
        scores={},
        exam=measures.answers(search),
        gate=gates.always(),
    )
