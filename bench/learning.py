"""Time to an accuracy on the demo's task, surpass's GRPO against TRL's: python bench/learning.py [--seeds 1 2 3 4 5] [--target 0.7] [--most 80]

The same problems, batch (8 x 8, at most 24 tokens), rewards of right and wrong, learning rate, clipping, normalisation and AdamW, no KL term. Every `--every`
iterations both models sit the same exam, greedy, on 256 test problems; exams and loading are not counted. Slow: TRL takes about a minute an iteration.
Two of these can run at once with a core and half of the seeds each: OMP_NUM_THREADS=1 taskset -c 0 python bench/learning.py --seeds 1 2 3.
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

    models, exam = Models(policy=LocalEngine(weights)), measures.answers(searches.samples(1, 0.0, WORK["length"]))
    return models.run(exam(models, make_task(*DEMO), "test", 0)).metrics["accuracy"]["mean"]


def learnt(side: Side, work: dict, target: float, every: int, most: int) -> tuple[float, int, float]:
    """(seconds, iterations, accuracy) when the target is reached, or in the end."""
    side.ask({"prepare": work})
    seconds, n, found = 0.0, 0, 0.0
    while n < most and found < target:
        for _ in range(every):
            seconds += side.ask({"run": n})["seconds"]
            n += 1
        with tempfile.TemporaryDirectory() as weights:
            side.ask({"save": weights})
            found = accuracy(weights)
        print(f"{n} iterations, {seconds:.0f} s: {found:.3f}", file=sys.stderr, flush=True)
    side.close()
    return seconds, n, found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--target", type=float, default=0.7)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--most", type=int, default=80, help="iterations after which a run that has not got there is given up")
    parser.add_argument("--only", choices=["surpass", "TRL"], help="one side alone")
    args = parser.parse_args()
    model, _ = folder()
    commands = {"surpass": ours(model), "TRL": (str(REFERENCE), str(REFERENCE.parents[2] / "bench" / "reference.py"), model)}
    if args.only:
        commands = {args.only: commands[args.only]}
    elif not REFERENCE.exists():
        parser.error("TRL is not installed beside surpass: make .venv-bench/trl")
    print("| seed | side | seconds of training | iterations | accuracy then |\n|---|---|---|---|---|", flush=True)
    for seed in args.seeds:
        for name, command in commands.items():
            work = {**WORK, "seed": seed, "problems": problems(args.most * WORK["prompts"])}
            seconds, n, found = learnt(Side(*command), work, args.target, args.every, args.most)
            print(
                f"| {seed} | {name} | {seconds:.0f} | {n} | {found:.3f}{'' if found >= args.target else ', not reached'} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
