"""What "better" means."""

from surpass.measures.agreement import agreement
from surpass.measures.answers import answers
from surpass.measures.join import answering, by_split, sized, together

__all__ = ["agreement", "answering", "answers", "by_split", "sized", "together"]
