"""What an attempt is worth."""

from surpass.rewards.check import check
from surpass.rewards.judge import judge
from surpass.rewards.likelihood import likelihood
from surpass.rewards.shaping import divergence, overlong, weighted
from surpass.rewards.vote import majority, vote

__all__ = ["check", "divergence", "judge", "likelihood", "majority", "overlong", "vote", "weighted"]
