"""How often does a verifier take a wrong answer for right, or a right one for wrong? Four verifiers on the
pairs of tests/verifier_pairs.jsonl: surpass's, math-verify as its README calls it, the same with dollar signs
around both answers (it reads LaTeX only inside them), and equality of the texts. A wrong answer taken for
right weighs ten times: it is learnt.

    python bench/verifier.py [--kinds] [--missed]
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable
from pathlib import Path

from math_verify import parse, verify

from surpass import verifier

WEIGHT = 10
PAIRS = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "tests" / "verifier_pairs.jsonl").read_text().splitlines()
]
MADE = {
    "before": "before the verifier was written",
    "during": "while it was written",
    "after": "after it was written",
    "probe": "to find its faults",
}


def math_verify(gold: str, answer: str) -> bool:
    return verify(parse(gold), parse(answer))


def math_verify_in_dollars(gold: str, answer: str) -> bool:
    gold, answer = (text if "$" in text else f"${text}$" for text in (gold, answer))
    return verify(parse(gold), parse(answer))


def text(gold: str, answer: str) -> bool:
    return gold.strip() == answer.strip()


VERIFIERS: dict[str, Callable[[str, str], bool]] = {
    "surpass": verifier.equal,
    "math-verify": math_verify,
    "math-verify, both in dollar signs": math_verify_in_dollars,
    "equality of text": text,
}


def table(heading: str, groups: dict[str, list[dict]], judged: dict[str, list[bool]]) -> None:
    """Wrong answers taken for right / right ones refused / (10 times the first + the second) by the number of
    pairs.
    """
    print(f"| {heading} | pairs | " + " | ".join(judged) + " |")
    print("|---" * (2 + len(judged)) + "|")
    for name, pairs in groups.items():
        cells = []
        for found in judged.values():
            told = [(pair["equal"], found[pair["at"]]) for pair in pairs]
            wrong, refused = told.count((False, True)), told.count((True, False))
            cells.append(f"{wrong} / {refused} / {(WEIGHT * wrong + refused) / len(pairs):.2f}")
        print(f"| {name} | {len(pairs)} | " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kinds", action="store_true", help="a table by kind of answer, too")
    parser.add_argument("--missed", action="store_true", help="the pairs that surpass judges wrongly")
    given = parser.parse_args()
    logging.disable()
    for at, pair in enumerate(PAIRS):
        pair["at"] = at
    judged = {
        name: [bool(judge(pair["gold"], pair["answer"])) for pair in PAIRS]
        for name, judge in VERIFIERS.items()
    }
    right = sum(pair["equal"] for pair in PAIRS)
    print(f"{len(PAIRS)} pairs, {right} of them equal\n")
    made = {words: [pair for pair in PAIRS if pair["made"] == name] for name, words in MADE.items()}
    table("written", made | {"all": PAIRS}, judged)
    if given.kinds:
        print()
        table(
            "kind",
            {kind: [p for p in PAIRS if p["kind"] == kind] for kind in sorted({p["kind"] for p in PAIRS})},
            judged,
        )
    if given.missed:
        print()
        for pair in PAIRS:
            if judged["surpass"][pair["at"]] != pair["equal"]:
                print(f"{'refused' if pair['equal'] else 'taken'}: {pair['gold']} and {pair['answer']}")


if __name__ == "__main__":
    main()
