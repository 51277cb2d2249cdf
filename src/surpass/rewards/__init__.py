"""What an attempt is worth."""

from surpass.rewards.check import check, worth
from surpass.rewards.likelihood import likelihood
from surpass.rewards.certainty import certainty, verdict
from surpass.rewards.judge import judge
from surpass.rewards.shaping import divergence, overlong, weighted
from surpass.rewards.truth import noisy_truth
from surpass.rewards.vote import majority, vote

__all__ = ["certainty", "check", "divergence", "judge", "likelihood", "majority", "noisy_truth", "overlong", "verdict", "vote",
           "weighted", "worth"]  # fmt: skip
