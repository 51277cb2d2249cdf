"""Losses, one equation each: sums by normaliser over the tokens of a batch."""

from surpass.objectives.clipped import clipped
from surpass.objectives.imitation import sft
from surpass.objectives.preference import dpo
from surpass.objectives.regularise import entropy, kl, total

__all__ = ["clipped", "dpo", "entropy", "kl", "sft", "total"]
