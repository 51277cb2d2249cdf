"""Where problems come from and how attempts are judged."""

from surpass.tasks.answers import final_answer
from surpass.tasks.arithmetic import arithmetic
from surpass.tasks.data import data
from surpass.tasks.question import question
from surpass.tasks.reasoning_gym import reasoning_gym
from surpass.tasks.rewarded import rewarded
from surpass.tasks.splits import unique

TASKS = ("arithmetic", "data", "reasoning_gym")
"""What --task may name."""

__all__ = ["TASKS", "arithmetic", "data", "final_answer", "question", "reasoning_gym", "rewarded", "unique"]
