"""Train on a data set with a reward function of your own: python examples/own_reward.py [MODEL] [ROUNDS]"""

import json
import random
import sys
from pathlib import Path

import surpass


def short_and_right(prompts, completions, answer, **columns):
    """1 for the right number, less with more words around it; TRL's signature."""
    return [
        float(right in text.split()) * 20 / (20 + len(text.split()))
        for text, right in zip(completions, answer, strict=True)
    ]


def main(model: str = "tiny", rounds: int = 4) -> None:
    rng, data = random.Random(0), Path("sums.jsonl")
    sums = {tuple(rng.randint(10, 99) for _ in range(2)) for _ in range(400)}
    rows = [json.dumps({"prompt": f"{a} + {b} =", "answer": str(a + b)}) for a, b in sorted(sums)]
    data.write_text("\n".join(rows))
    sizes = {"rounds": rounds, "problems": 8, "n": 8, "max_tokens": 24, "test": 64, "gate": 32}
    reward, out = f"{__file__}:short_and_right", "runs/own-reward"
    print(surpass.improve("grpo", f"data:{data}", model, reward=reward, out=out, **sizes))


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:3]))
