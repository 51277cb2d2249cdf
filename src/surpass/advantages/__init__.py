"""How much better an attempt or a step is than the others that were tried."""

from surpass.advantages.leaves import against_others, group, leave_one_out, standardised, success
from surpass.advantages.roles import seats
from surpass.advantages.siblings import siblings

__all__ = ["against_others", "group", "leave_one_out", "seats", "siblings", "standardised", "success"]
