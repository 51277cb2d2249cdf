"""Curricula: which problems come next."""

from surpass.curricula.one import one
from surpass.curricula.proposer import proposer
from surpass.curricula.shuffle import shuffle

__all__ = ["one", "proposer", "shuffle"]
