"""How attempts are proposed."""

from surpass.searches.refine import refine
from surpass.searches.samples import samples
from surpass.searches.tree import tree

__all__ = ["refine", "samples", "tree"]
