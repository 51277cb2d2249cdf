"""Which problems come next."""

from surpass.curricula.shuffle import shuffle

__all__ = ["shuffle"]
