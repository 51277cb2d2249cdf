"""Reports that train nothing."""

from surpass.measures.answers import answers

__all__ = ["answers"]
