"""An agent that uses a tool, and is trained on what it wrote alone: python examples/tool_agent.py [MODEL]"""

import random
import sys
from dataclasses import dataclass

import surpass
from surpass.tasks import final_answer, tools, unique

STOCK = {"apple": 3, "pear": 7, "plum": 12, "fig": 5, "lime": 9, "date": 4}


@dataclass(frozen=True)
class stock(surpass.Task):
    """What is in stock a tool alone knows; a state counts the calls that are left."""

    def problems(self, split, seed):
        def make(index):
            asked, n = random.Random(f"{seed} {index}").choice(sorted(STOCK)), index % 20 + 1
            words = (
                f"We get {n} more of {asked}. How many are there then? Ask <call>stock NAME</call>; end "
                'with "Answer: x".'
            )
            return surpass.Problem(f"{asked} {n}", words, str(STOCK[asked] + n))

        return unique(make, split)

    async def start(self, models, problem):
        return surpass.Turn({"left": 2}, {"policy": problem.prompt}, "policy")

    async def step(self, models, state, text):
        call = tools.parse(text, ("stock",))
        if not isinstance(call, tools.Call) or not state["left"]:
            return surpass.Turn(state)  # over: nobody moves next
        told, _ = tools.result(str(STOCK.get(call.argument, "not known")), 40)
        return surpass.Turn({"left": state["left"] - 1}, {"policy": told}, "policy")

    def check(self, models, problem, text):
        return final_answer(text) == problem.answer


if __name__ == "__main__":
    print(
        surpass.improve(
            "search_r1", stock(), *sys.argv[1:2], rounds=2, problems=4, n=4, max_tokens=32, test=32, gate=32
        )
    )
