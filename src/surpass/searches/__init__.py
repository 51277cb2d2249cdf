"""Searches: how attempts are proposed."""

from surpass.searches import values
from surpass.searches.beam import beam, best_first
from surpass.searches.evolve import evolve
from surpass.searches.first_error import first_error
from surpass.searches.mcts import mcts
from surpass.searches.prompts import prompts
from surpass.searches.refine import refine
from surpass.searches.samples import samples
from surpass.searches.stepwise import stepwise
from surpass.searches.tree import tree
from surpass.searches.views import views

__all__ = [
    "beam",
    "best_first",
    "evolve",
    "first_error",
    "mcts",
    "prompts",
    "refine",
    "samples",
    "stepwise",
    "tree",
    "values",
    "views",
]
