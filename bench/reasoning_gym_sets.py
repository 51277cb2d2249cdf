"""Which of reasoning-gym's sets a small model can begin to learn from: python bench/reasoning_gym_sets.py
[MODEL [PROBLEMS [ATTEMPTS]]]

Prints a Markdown table for every set of surpass.tasks.reasoning_gym.CURATED, with its parameters: greedy
accuracy, and the share of problems solved by at least one of some attempts at temperature 1. A set is of use
for training where the second is not 0.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module

from surpass.find import make_models
from surpass.measures.answers import exam_trees
from surpass.rewards import check
from surpass.searches import samples
from surpass.tasks import reasoning_gym


def main(model: str = "smollm2-135m", problems: str = "64", attempts: str = "4") -> None:
    models = make_models({"name": model, "dtype": "auto", "device": "auto", "lora": 0})
    print(f"| set | parameters | greedy | any of {attempts} |\n|---|---|---|---|")
    curated = import_module("surpass.tasks.reasoning_gym").CURATED
    for name, parameters in curated.items():
        task, shares = reasoning_gym(name, parameters), []
        for search in (samples(1, 0.0, 48), samples(int(attempts), 1.0, 48)):
            trees = models.run(exam_trees(search, models, task, "gate", int(problems), 0))
            values = models.run(check()(models, task, trees))
            right = [float(column.values.max() >= 1) for column in values]
            share = sum(right) / len(right)
            shares.append(f"{share:.2f} ± {(share * (1 - share) / len(right)) ** 0.5:.2f}")
        print(f"| {name} | `{json.dumps(parameters)}` | {' | '.join(shares)} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
