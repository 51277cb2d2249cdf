"""What is worth learning from."""

from surpass.selectors.pairs import best_worst, siblings
from surpass.selectors.paths import contexts, correct, every, nonconstant, prefixes, steps, top

__all__ = ["best_worst", "contexts", "correct", "every", "nonconstant", "prefixes", "siblings", "steps", "top"]
