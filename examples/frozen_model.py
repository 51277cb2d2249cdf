"""Search at inference with a model behind an OpenAI-compatible API: python examples/frozen_model.py NAME URL

The key is taken from OPENAI_API_KEY. Answers are kept in runs/api-cache: the second call costs nothing.
"""

import sys

import surpass
from surpass.engines.openai_api import OpenAIEngine


def main(name: str, url: str, question: str = "How many primes lie below 60?") -> None:
    model = OpenAIEngine(name, url=url, tokens=100_000, cache="runs/api-cache")
    for method, knobs in (
        ("self_consistency", {"n": 8}),
        ("best_of_n", {"n": 4, "by": "vote"}),
        ("self_refine", {"times": 1}),
    ):
        found = surpass.solve(question, method, model, **knobs)
        print(
            f"{method}: {found.answer.splitlines()[-1]}   ({len(found.attempts)} attempts, "
            f"{found.cost.get('generated', 0)} tokens)"
        )
        for note in found.notes():
            print(f"  {note}")


if __name__ == "__main__":
    main(*sys.argv[1:])
