"""Train on a data set with a reward function of your own: python examples/own_reward.py [MODEL] [ROUNDS]"""

import json
import random
import sys
from pathlib import Path

import surpass


def short_and_right(prompts, completions, answer, **columns):
    """1 for the right number, less the more words stand around it; TRL's signature."""
    return [
        float(right in text.split()) * 20 / (20 + len(text.split()))
        for text, right in zip(completions, answer, strict=True)
    ]


def main(model: str = "tiny", rounds: int = 4) -> None:
    rng, data = random.Random(0), Path("sums.jsonl")
    sums = {tuple(rng.randint(10, 99) for _ in range(2)) for _ in range(400)}
    data.write_text(
        "".join(json.dumps({"prompt": f"{a} + {b} =", "answer": str(a + b)}) + "\n" for a, b in sorted(sums))
    )
    result = surpass.improve(
        "grpo",
        task=f"data:{data}",
        reward=f"{__file__}:short_and_right",
        model=model,
        rounds=rounds,
        problems=8,
        n=8,
        max_tokens=24,
        test=64,
        gate=32,
        out="runs/own-reward",
    )
    print(result)


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:3]))
