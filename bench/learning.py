"""Time to accuracies on the demo's task, surpass's GRPO against TRL's: python bench/learning.py [--seeds 1 2
3 4 5] [--targets 0.5 0.7] [--most 80]

Problems of one training split, the same batch (8 x 8, at most 24 tokens), rewards of right and wrong,
learning rate, clipping, normalisation and AdamW, no KL term. Every `--every` iterations both models sit the
same exam, greedy, on 256 test problems; exams and loading are not counted. Slow: TRL takes about a minute an
iteration. Two of these can run at once with a core and half of the seeds each: OMP_NUM_THREADS=1 taskset -c 0
python bench/learning.py --seeds 1 2 3.
"""

from __future__ import annotations

import argparse
import sys
import tempfile

from compare import REFERENCE, Side, folder, ours, problems
from workloads import DEMO

WORK = {"kind": "iteration", "prompts": 8, "n": 8, "length": 24, "micro": 4, "lr": 1e-5}


def accuracy(weights: str) -> float:
    """Greedy, on the test problems of the demo."""
    from surpass import measures, searches
    from surpass.engines import LocalEngine
    from surpass.find import make_task
    from surpass.models import Models

    models, exam = (
        Models(policy=LocalEngine(weights)),
        measures.answers(searches.samples(1, 0.0, WORK["length"])),
    )
    return models.run(exam(models, make_task(*DEMO), "test", 0)).metrics["accuracy"]["mean"]


def learnt(side: Side, work: dict, target: float, every: int, most: int) -> list[tuple[int, float, float]]:
    """(iterations, seconds, accuracy) at each exam, until the target is reached or most iterations are
    over.
    """
    side.ask({"prepare": work})
    seconds, curve = 0.0, [(0, 0.0, 0.0)]
    while curve[-1][0] < most and curve[-1][2] < target:
        n = curve[-1][0]
        seconds += sum(side.ask({"run": n + i})["seconds"] for i in range(every))
        with tempfile.TemporaryDirectory() as weights:
            side.ask({"save": weights})
            curve.append((n + every, seconds, accuracy(weights)))
        print("{} iterations, {:.0f} s: {:.3f}".format(*curve[-1]), file=sys.stderr, flush=True)
    side.close()
    return curve


def reached(curve: list[tuple[int, float, float]], target: float) -> str:
    """When an exam first reached the target."""
    return next((f"{seconds:.0f} s, {n}" for n, seconds, found in curve if found >= target), "not reached")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument(
        "--targets",
        type=float,
        nargs="+",
        default=[0.4, 0.5, 0.6, 0.7],
        help="accuracies; a run ends at the highest",
    )
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument(
        "--most", type=int, default=80, help="iterations after which a run that has not got there is given up"
    )
    parser.add_argument("--only", choices=["surpass", "TRL"], help="one side alone")
    args = parser.parse_args()
    model, _ = folder()
    commands = {
        "surpass": ours(model),
        "TRL": (str(REFERENCE), str(REFERENCE.parents[2] / "bench" / "reference.py"), model),
    }
    if args.only:
        commands = {args.only: commands[args.only]}
    elif not REFERENCE.exists():
        parser.error("TRL is not installed beside surpass: make .venv-bench/trl")
    heads = [
        "seed",
        "side",
        *(f"to {target:g}: training, iterations" for target in args.targets),
        "at the end",
    ]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}", flush=True)
    for seed in args.seeds:
        for name, command in commands.items():
            work = {**WORK, "seed": seed, "problems": problems(2000)}
            curve = learnt(Side(*command), work, max(args.targets), args.every, args.most)
            n, seconds, last = curve[-1]
            cells = [
                str(seed),
                name,
                *(reached(curve, target) for target in args.targets),
                f"{last:.3f} ({seconds:.0f} s, {n})",
            ]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
