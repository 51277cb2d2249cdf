"""surpass against TRL, in one call, in turn, pair by pair: python bench/compare.py [WORKLOAD ...] [--pairs 3]
[--defaults]

Each workload begins two processes, one a side, on the same weights (SmolLM2-135M, float32) and two threads;
after a warm-up both run in turn. Printed are medians, the median of the pairs' ratios and their range. TRL
runs without gradient checkpointing and without bfloat16, at the best size of micro-batches, of three or more
that are tried; --defaults compares with TRL as it comes, too. Of training steps the operations are counted
(matrix products of body, attention and head; backwards twice of forwards) and set against the best rate that
a plain matrix product reached here.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

from workloads import DEMO, widths

HERE = Path(__file__).parent
REFERENCE = HERE.parent / ".venv-bench" / "bin" / "python"
WORKLOADS = {
    "a1": (
        "a GRPO step, prompt 256, 8 x 64",
        3.5,
        {"kind": "step", "prompts": 1, "prompt": 256, "n": 8, "length": 64},
    ),
    "a2": (
        "a GRPO step, prompt 64, 8 x 128",
        1.5,
        {"kind": "step", "prompts": 1, "prompt": 64, "n": 8, "length": 128},
    ),
    "a3": (
        "the demo's batch: 8 prompts of 200, 8 x 24",
        0,
        {"kind": "step", "prompts": 8, "prompt": 200, "n": 8, "length": 24},
    ),
    "b": (
        "8 DPO pairs, prompt 256, answers of 64, with reference",
        1.8,
        {"kind": "pairs", "prompts": 8, "prompt": 256, "n": 2, "length": 64},
    ),
    "c": (
        "rollouts: 8 prompts of 256, 8 x 1 to 64 new tokens",
        3,
        {"kind": "rollouts", "prompts": 8, "prompt": 256, "n": 8, "length": 64},
    ),
    "d": (
        "one GRPO iteration of the demo: 8 x 8, at most 24 tokens",
        4,
        {"kind": "iteration", "prompts": 8, "n": 8, "length": 24},
    ),
}
GROWTH = {
    f"growth {prompt} {n}": (
        f"a GRPO step, prompt {prompt}, {n} x 32",
        1,
        {
            "kind": "step",
            "prompts": 1,
            "prompt": prompt,
            "n": n,
            "length": 32,
            "micro": max(1, min(8, n, 2048 // prompt)),
        },
    )
    for prompt in (32, 256, 1024)
    for n in (1, 8, 64)
    if prompt * n < 2**15
}
GROWTH |= {
    f"tree {depth} {width}": (
        f"a tree, prompt 64, {depth} levels of {width} x 16",
        1,
        {
            "kind": "step",
            "prompts": 1,
            "prompt": 64,
            "n": width**depth,
            "widths": [width] * depth,
            "length": 16 * depth,
            "micro": min(8, width**depth),
        },
    )
    for depth, width in ((2, 2), (4, 2), (6, 2), (2, 4), (2, 8))
}
HEAD = """| workload | surpass s | TRL s | TRL / surpass | bar | peak GB | share of the peak rate | TRL's defaults / surpass |
|---|---|---|---|---|---|---|---|"""  # noqa: E501


class Side:
    """One side's process."""

    def __init__(self, *command: str):
        self.words = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.words, text=True
        )

    def ask(self, order: dict) -> dict:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            self.words.seek(0)
            raise SystemExit(
                f"{self.process.args} ended without an answer to {order}:\n" + self.words.read()[-2000:]
            )
        return json.loads(line)

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def ours(model: str) -> tuple[str, ...]:
    return sys.executable, str(HERE / "ours.py"), model


def folder() -> tuple[str, Any]:
    """The weights that both sides load, as safetensors, and their model's configuration."""
    from surpass.engines import LocalEngine

    where, engine = tempfile.mkdtemp(), LocalEngine("smollm2-135m")
    engine.save(where)
    return where, engine.causal.config


def peak() -> float:
    """Operations a second of a square matrix product on two threads, the best of five, by whatever library
    surpass would have it from.
    """
    import torch

    from surpass.engines.linear import times

    torch.set_num_threads(2)
    a, took = torch.randn(2048, 2048), []
    for _ in range(5):
        begin = time.perf_counter()
        times(a, a)
        took.append(time.perf_counter() - begin)
    return 2 * 2048**3 / min(took)


def operations(work: dict, config: Any, shared: bool) -> float:
    """Operations of a training step, what answers share computed once or once an answer."""
    width, kv = config.hidden_size, config.num_key_value_heads * config.head_dim
    body = config.num_hidden_layers * (
        2 * width * width + 2 * width * kv + 3 * width * config.intermediate_size
    )
    levels, prompt, n = widths(work), work["prompt"], work["prompts"] * work["n"]
    step = work["length"] // len(levels)
    nodes = [work["prompts"] * math.prod(levels[: i + 1]) if shared else n for i in range(len(levels))]
    pieces = [
        (work["prompts"] if shared else n, 0, prompt),
        *((many, prompt + i * step, step) for i, many in enumerate(nodes)),
    ]
    seen = sum(many * (length * before + length * (length + 1) / 2) for many, before, length in pieces)
    tokens = sum(many * length for many, _, length in pieces)
    return 3 * (
        2 * body * tokens
        + 4 * config.num_hidden_layers * width * seen
        + 2 * width * config.vocab_size * step * sum(nodes)
    )


def problems(n: int = 512) -> str:
    """The demo's problems as a file of prompts and answers."""
    from surpass.find import make_task

    task = make_task(*DEMO)
    rows = [
        {"prompt": list(p.prompt), "answer": p.answer["answer"]} for p in islice(task.problems("train", 0), n)
    ]
    path = Path(tempfile.mkdtemp()) / "problems.json"
    path.write_text(json.dumps(rows))
    return str(path)


def compared(work: dict, model: str, pairs: int, *more: str) -> dict:
    """Both sides in turn: medians, ratios, peaks of memory."""
    reference = str(REFERENCE), str(HERE / "reference.py"), model, *more
    if "micro" not in work and not more and work["kind"] != "rollouts":
        finder = Side(*reference)  # a process of its own, whose peak of memory is not counted
        finder.ask({"prepare": work})
        work = {**work, "micro": finder.ask({"run": 0})["micro"]}
        finder.close()
    sides = {"ours": Side(*ours(model)), "theirs": Side(*reference)}
    for side in sides.values():
        side.ask({"prepare": work})
    for i in range(2):
        sides["ours"].ask({"run": i})  # theirs has warmed up while it was prepared
    runs = [{name: side.ask({"run": i}) for name, side in sides.items()} for i in range(pairs)]
    for side in sides.values():
        side.close()
    ratios = sorted(run["theirs"]["seconds"] / run["ours"]["seconds"] for run in runs)
    found = {
        name: {
            "seconds": statistics.median(run[name]["seconds"] for run in runs),
            **{k: v for k, v in runs[-1][name].items() if k != "seconds"},
        }
        for name in sides
    }
    return {**found, "ratio": statistics.median(ratios), "least": ratios[0], "most": ratios[-1]}


def row(title: str, bar: float, found: dict, defaults: dict | None, rates: str = "") -> str:
    ours, theirs = found["ours"], found["theirs"]
    micro = f" (micro-batches of {theirs['micro']})" if "micro" in theirs else ""
    cells = [
        title,
        f"{ours['seconds']:.2f}",
        f"{theirs['seconds']:.2f}{micro}",
        f"**{found['ratio']:.2f}** ({found['least']:.2f} to {found['most']:.2f})",
        f"{bar:g}" if bar else "",
        f"{ours['gigabytes']:.1f} / {theirs['gigabytes']:.1f}",
        rates,
        f"{defaults['ratio']:.2f}" if defaults else "",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("workloads", nargs="*", help=f"of {', '.join(WORKLOADS)}, growth; default: all")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--defaults", action="store_true", help="a second comparison with TRL as it comes")
    args = parser.parse_args()
    if unknown := set(args.workloads) - {*WORKLOADS, *GROWTH, "growth"}:
        parser.error(
            f"no workload {', '.join(sorted(unknown))}; there are: {', '.join(WORKLOADS)}, growth, "
            f"{', '.join(GROWTH)}"
        )
    if not REFERENCE.exists():
        parser.error("TRL is not installed beside surpass; `make bench` does that, or: make .venv-bench/trl")
    (model, config), best = folder(), peak()
    print(f"torch {version('torch')}; a matrix product reaches {best / 1e9:.0f} GFLOP/s\n\n{HEAD}")
    works = {name: (WORKLOADS | GROWTH)[name] for name in args.workloads or WORKLOADS if name != "growth"}
    if not args.workloads or "growth" in args.workloads:
        works |= GROWTH
    for name, (title, bar, work) in works.items():
        work = {**work, "problems": problems()} if work["kind"] == "iteration" else work
        found = compared(work, model, 1 if name in GROWTH else args.pairs)
        defaults = compared(work, model, 1, "--defaults") if args.defaults and name not in GROWTH else None
        rates = [
            operations(work, config, shared) / found[side]["seconds"] / best
            for side, shared in (("ours", True), ("theirs", False))
            if work["kind"] == "step"
        ]
        print(row(title, bar, found, defaults, " / ".join(f"{rate:.0%}" for rate in rates)), flush=True)


if __name__ == "__main__":
    main()
