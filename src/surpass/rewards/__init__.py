"""Rewards: what an attempt is worth, as columns of a tree."""

from surpass.rewards.check import check
from surpass.rewards.code import code
from surpass.rewards.likelihood import implicit, likelihood
from surpass.rewards.certainty import certainty, marked, verdict
from surpass.rewards.judge import judge
from surpass.rewards.outcome import outcome
from surpass.rewards.pairwise import duels, preferred, wins
from surpass.rewards.process import process
from surpass.rewards.shaping import overlong, weighted
from surpass.rewards.truth import noisy_truth
from surpass.rewards.vote import crossed, majority, ranks, vote

__all__ = [
    "certainty",
    "check",
    "code",
    "crossed",
    "duels",
    "implicit",
    "judge",
    "likelihood",
    "majority",
    "marked",
    "noisy_truth",
    "outcome",
    "overlong",
    "preferred",
    "process",
    "ranks",
    "verdict",
    "vote",
    "weighted",
    "wins",
]
