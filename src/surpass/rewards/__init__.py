"""What an attempt is worth."""

from surpass.rewards.check import check
from surpass.rewards.vote import vote

__all__ = ["check", "vote"]
