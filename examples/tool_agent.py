"""An agent that uses a tool, and is trained only on what it wrote: python examples/tool_agent.py [MODEL]"""

import random
import sys
from dataclasses import dataclass

import surpass
from surpass.tasks import final_answer, tools, unique

STOCK = {"apple": 3, "pear": 7, "plum": 12, "fig": 5, "lime": 9, "date": 4}
ASK = 'We get {} more of {}. How many are there then? Ask <call>stock NAME</call>; end with "Answer: x".'


@dataclass(frozen=True)
class stock(surpass.Task):
    """Only the tool knows what is in stock. The state counts the calls that are left."""

    def problems(self, split, seed):
        def make(index):
            asked, n = random.Random(f"{seed} {index}").choice(sorted(STOCK)), index % 20 + 1
            return surpass.Problem(f"{asked} {n}", ASK.format(n, asked), str(STOCK[asked] + n))

        return unique(make, split)

    async def step(self, models, state, text):
        call, left = tools.parse(text, ("stock",)), state.get("left", 2)
        if not isinstance(call, tools.Call) or not left:
            return surpass.Turn(state)  # over: nobody moves next
        told, _ = tools.result(str(STOCK.get(call.argument, "not known")), 40)
        return surpass.Turn({"left": left - 1}, {"policy": told}, "policy")

    def check(self, models, problem, text):
        return final_answer(text) == problem.answer


if __name__ == "__main__":
    sizes = {"rounds": 2, "problems": 4, "n": 4, "max_tokens": 32, "test": 32, "gate": 32}
    print(surpass.improve("search_r1", stock(), *sys.argv[1:2], **sizes))
