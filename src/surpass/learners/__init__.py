"""What changes a role."""

from surpass.learners.gradient import gradient

__all__ = ["gradient"]
