"""What is worth learning from."""

from surpass.selectors.pairs import best_worst
from surpass.selectors.paths import correct, every, nonconstant

__all__ = ["best_worst", "correct", "every", "nonconstant"]
