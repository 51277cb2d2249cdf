"""Which attempts, steps and pairs are learnt from."""

from surpass.selectors.pairs import best_worst, siblings
from surpass.selectors.paths import contexts, correct, every, nonconstant, prefixes, so_far, steps, top

__all__ = [
    "best_worst",
    "contexts",
    "correct",
    "every",
    "nonconstant",
    "prefixes",
    "siblings",
    "so_far",
    "steps",
    "top",
]
