"""Learners: what changes a role."""

from surpass.learners.adopt import adopt
from surpass.learners.gradient import gradient

__all__ = ["adopt", "gradient"]
