"""How attempts are proposed."""

from surpass.searches.samples import samples
from surpass.searches.tree import tree

__all__ = ["samples", "tree"]
