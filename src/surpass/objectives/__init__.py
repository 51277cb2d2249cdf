"""Losses, one equation each. A loss is a sum over a batch, returned under the name of what divides it."""

from surpass.objectives.clipped import clipped
from surpass.objectives.imitation import sft
from surpass.objectives.negative import nft
from surpass.objectives.preference import dpo
from surpass.objectives.regression import regression
from surpass.objectives.regularise import entropy, kl, leashed, only, total
from surpass.objectives.value import value

__all__ = ["clipped", "dpo", "entropy", "kl", "leashed", "nft", "only", "regression", "sft", "total", "value"]
