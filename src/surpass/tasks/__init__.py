"""Where problems come from and how attempts are judged."""

from surpass.answers import final_answer
from surpass.tasks.arithmetic import arithmetic
from surpass.tasks.code import code
from surpass.tasks.countdown import countdown
from surpass.tasks.data import data
from surpass.tasks.instructions import instructions
from surpass.tasks.judge import judge
from surpass.tasks.kgqa import kgqa
from surpass.tasks.kuhn import kuhn
from surpass.tasks.maze import maze
from surpass.tasks.question import question
from surpass.tasks.reasoning_gym import reasoning_gym
from surpass.tasks.reward_code import reward_code
from surpass.tasks.rewarded import rewarded
from surpass.tasks.rooms import rooms
from surpass.tasks.splits import unique
from surpass.tasks.sql import sql
from surpass.tasks.suite import suite
from surpass.tasks.tictactoe import tictactoe

TASKS = tuple(
    "arithmetic code countdown data instructions judge kgqa kuhn maze reasoning_gym reward_code rooms "
    "sql suite tictactoe".split()
)
"""What --task may name."""

__all__ = [
    "TASKS",
    "arithmetic",
    "code",
    "countdown",
    "data",
    "final_answer",
    "instructions",
    "judge",
    "kgqa",
    "kuhn",
    "maze",
    "question",
    "reasoning_gym",
    "reward_code",
    "rewarded",
    "rooms",
    "sql",
    "suite",
    "tictactoe",
    "unique",
]
