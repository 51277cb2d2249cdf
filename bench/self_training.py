"""What a method makes of the tiny model's sums without a gate: python bench/self_training.py METHOD SEED
ROUNDS [KNOB=VALUE ...]

Prints accuracy at temperature 0 on 512 test problems before and after, the paired gain with its standard
error over problems, how many attempts the last round learnt from, and the tokens trained. Temperature 1, lr
3e-4, at most 96 tokens, unless a knob says otherwise.
"""

from __future__ import annotations

import ast
import dataclasses
import sys

import numpy as np

from surpass import gates, measures, searches
from surpass.engines import LocalEngine
from surpass.find import find_method, make_method
from surpass.loop import improve
from surpass.models import Models
from surpass.tasks.suite import suite

NEVER = 10**6


def accuracy(models: Models, task) -> dict[str, float]:
    exam = measures.sized(measures.answers(searches.samples(1, 0.0, 96)), {"gate": 1, "test": 512})
    return models.run(exam(models, task, "test", 0)).by_problem("accuracy")


def main() -> None:
    name, seed, rounds, *more = sys.argv[1:]
    knobs = {"temperature": 1.0, "lr": 3e-4, "max_tokens": 96, "every": NEVER}
    knobs |= {key: ast.literal_eval(value) for key, _, value in (word.partition("=") for word in more)}
    models, task = Models(policy=LocalEngine("tiny", "mixed")), suite("arithmetic").parts["arithmetic"]
    method = make_method(find_method(name), knobs)
    method = dataclasses.replace(
        method, gate=gates.always(every=NEVER), exam=measures.sized(method.exam, {"gate": 1, "test": 1})
    )
    before = accuracy(models, task)
    result = models.run(improve(method, task, models, rounds=int(rounds), seed=int(seed)))
    after = accuracy(models, task)
    gain = np.array([after[problem] - before[problem] for problem in before])
    learnt = [event["examples"] for event in result.events if event["event"] == "learn"][-1]
    print(
        f"{' '.join(sys.argv[1:])}: {np.mean(list(before.values())):.3f} -> "
        f"{np.mean(list(after.values())):.3f} ({gain.mean():+.3f} +- "
        f"{gain.std(ddof=1) / len(gain) ** 0.5:.3f}), {learnt} attempts in the last round, "
        f"{result.cost['learn']['trained']} tokens trained"
    )


if __name__ == "__main__":
    main()
