"""What "better" means."""

from surpass.measures.agreement import agreement
from surpass.measures.answers import answers
from surpass.measures.join import answering, by_split, sized, together
from surpass.measures.skills import auc, fit, skills, table

__all__ = ["agreement", "answering", "answers", "auc", "by_split", "fit", "sized", "skills", "table", "together"]
