"""Methods that learn, on four of the suite's tasks, at equal tokens, with the tiny model: python
bench/league.py [TASK ...]

Prints the tables of docs/comparisons.md. Runs are kept in runs/league (--out FOLDER) and reused; two tasks
can be run by two processes at the same time, each with OMP_NUM_THREADS=1. --methods=grpo,star compares fewer.
All of it takes about two hours of two cores.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import numpy as np

from surpass.comparing import compare
from surpass.comparison import Comparison, difference
from surpass.find import find_method, make_task

TASKS = ("arithmetic", "countdown", "maze", "instructions")
METHODS = (
    "grpo",
    "dr_grpo",
    "dapo",
    "gspo",
    "rloo",
    "tree_grpo",
    "star",
    "rest_em",
    "iterative_dpo",
    "nft",
    "tree_vote",
    "ttrl",
    "promptagent",
    "tree_sharpen",
    "laser",
    "rest_mcts",
    "self_rewarding",
    "mcts_dpo",
    "cream",
)
KNOBS = {"lr": "2e-4", "max_tokens": "96"}
BUDGET, SEEDS, TEST, GATE = "tokens=20k", 3, 192, 48


def entry(method: str) -> str:
    """The method with the knobs that all have, as far as it has them."""
    known = inspect.signature(find_method(method)).parameters
    return ",".join([method, *(f"{knob}={value}" for knob, value in KNOBS.items() if knob in known)])


def league(task: str, out: Path, methods: tuple[str, ...]) -> Comparison:
    return compare(
        [entry(method) for method in methods],
        make_task(f"suite:{task}"),
        "tiny",
        name=f"suite:{task}",
        budget=BUDGET,
        seeds=SEEDS,
        test=TEST,
        gate=GATE,
        out=out / task,
    )


def table(found: dict[str, Comparison]) -> str:
    """A line a method: its accuracy on each task, in bold where it is better than at the start; best mean
    first.
    """
    means: dict[str, dict[str, str]] = {}
    order: dict[str, list[float]] = {}
    for task, comparison in found.items():
        for runs in comparison.runs:
            after, before = runs.values("accuracy"), runs.values("accuracy", before=True)
            gain, stderr, p = difference(after, before)
            words = f"{after.mean():.3f} ({gain:+.3f} ± {stderr:.3f})"
            means.setdefault(runs.entry.method, {})[task] = f"**{words}**" if p < 0.05 and gain > 0 else words
            order.setdefault(runs.entry.method, []).append(gain)
    lines = [f"| method | {' | '.join(found)} |", "|---|" + "---|" * len(found)]
    for method in sorted(means, key=lambda m: -np.mean(order[m])):
        lines.append(f"| `{method}` | {' | '.join(means[method].get(task, '') for task in found)} |")
    return "\n".join(lines)


def main() -> None:
    words = sys.argv[1:]
    out = Path(words.pop(words.index("--out") + 1)) if "--out" in words else Path("runs/league")
    chosen = tuple(
        word.removeprefix("--methods=").split(",") for word in words if word.startswith("--methods=")
    )
    methods = tuple(chosen[0]) if chosen else METHODS
    tasks = [word for word in words if not word.startswith("--")] or TASKS
    found = {task: league(task, out, methods) for task in tasks}
    print(table(found))
    for task, comparison in found.items():
        decided = [
            words for words, d in zip(comparison.verdicts(), comparison.differences, strict=True) if d.decided
        ]
        print(
            f"\n{task}, start "
            f"{np.mean([r.values('accuracy', before=True).mean() for r in comparison.runs]):.3f}: "
            f"{len(decided)} of {len(comparison.differences)} pairs decided"
        )
        print("\n".join(f"- {words}" for words in decided))


if __name__ == "__main__":
    main()
