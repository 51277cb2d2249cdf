"""Measures: reports of what "better" means."""

from surpass.measures.agreement import agreement
from surpass.measures.answers import answers
from surpass.measures.games import against, kuhn_exploitability
from surpass.measures.join import answering, by_split, redrawn, sized, together, unlabelled
from surpass.measures.skills import auc, fit, skills, table
from surpass.measures.strategies import strategies

__all__ = [
    "against",
    "agreement",
    "answering",
    "answers",
    "auc",
    "by_split",
    "fit",
    "kuhn_exploitability",
    "redrawn",
    "sized",
    "skills",
    "strategies",
    "table",
    "together",
    "unlabelled",
]
