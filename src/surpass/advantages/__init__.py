"""How much better an attempt, or a step, is than what else was tried."""

from surpass.advantages.leaves import against_others, group, leave_one_out
from surpass.advantages.siblings import siblings

__all__ = ["against_others", "group", "leave_one_out", "siblings"]
