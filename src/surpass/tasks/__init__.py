"""Where problems come from and how attempts are judged."""

from surpass.tasks.arithmetic import arithmetic
from surpass.tasks.reasoning_gym import reasoning_gym

__all__ = ["arithmetic", "reasoning_gym"]
