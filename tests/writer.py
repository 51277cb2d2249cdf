"""A scripted writer of reward functions: random sums of transformed features, and edits of a program it is
shown.
"""

from __future__ import annotations

import json
import random
import re

FEATURES = {
    "row": "abs(s['row'] - world['{}'][0])",
    "column": "abs(s['column'] - world['{}'][1])",
    "away": "abs(s['row'] - world['{}'][0]) + abs(s['column'] - world['{}'][1])",
}
SHAPES = {
    "less": "f(before) - f(after)",
    "level": "-f(after)",
    "exp": "math.exp(-f(after) / {t})",
    "tanh": "math.tanh(f(after) / {t})",
}


def part(rng: random.Random) -> dict:
    """One component: a distance to the key, the door or the goal, with or without the key, somehow
    transformed and scaled.
    """
    where = rng.choice(["key", "door", "goal"])
    sense = rng.random() < 0.7  # what is next: the key without it, the door and the goal with it
    return {
        "what": rng.choice(list(FEATURES)),
        "where": where,
        "shape": rng.choice(list(SHAPES)),
        "has_key": where != "key" if sense else rng.choice([True, False, None]),
        "weight": rng.choice([-1.0, 0.1, 1.0, 1.0, 10.0]),
        "t": rng.choice([0.5, 2.0, 8.0]),
    }


def written(parts: list[dict]) -> str:
    """The program of some parts, which are written into its first line so that they can be edited."""
    lines = [
        f"# parts: {json.dumps(parts)}",
        "import math",
        "def reward(world, before, action, after):",
        "    parts = {}",
    ]
    for i, p in enumerate(parts):
        feature = FEATURES[p["what"]].replace("{}", p["where"])
        gate = (
            ""
            if p["has_key"] is None
            else f" if before['has_key'] is {p['has_key']} and after['has_key'] is {p['has_key']} else 0.0"
        )
        lines += [
            f"    f = lambda s: {feature}",
            f"    parts['p{i}'] = {p['weight']} * ({SHAPES[p['shape']].format(t=p['t'])}){gate}",
        ]
    return "\n".join(["```python", *lines, "    return sum(parts.values()), parts", "```"])


def edited(parts: list[dict], told: str, rng: random.Random) -> list[dict]:
    """One part added, changed or left out; a constant one, or one that drowns the others, first, if the
    record tells of it. What was worth nothing is written anew.
    """
    if re.search(r"it is worth 0\. |^success: (0 )*0;", told, re.MULTILINE):
        return [part(rng) for _ in range(rng.randrange(1, 4))]
    seen = {
        int(i): (float(high), float(low))
        for i, high, low in re.findall(r"part p(\d+): .*largest (\S+), mean \S+, smallest (\S+)", told)
    }
    sizes = {i: max(map(abs, pair)) for i, pair in seen.items() if i < len(parts)}
    constant = [i for i in sizes if seen[i][0] == seen[i][1]]
    loud = [i for i in sizes if len(sizes) > 1 and sizes[i] > 20 * sorted(sizes.values())[-2]]
    parts = [dict(p) for p in parts]
    move, at = rng.choice(["add", "change", "drop"]), rng.randrange(len(parts))
    if constant:
        parts[rng.choice(constant)] = part(rng)
    elif loud:
        parts[loud[0]]["weight"] /= 10
    elif move == "change":
        parts[at] = part(rng)
    elif move == "drop" and len(parts) > 1:
        del parts[at]
    else:
        parts.append(part(rng))
    return parts


def writer(text: str, key: int) -> str:
    """A program after everything that was said: an edit of the last one shown, or a new one. One in ten does
    not run.
    """
    rng = random.Random(key)
    if rng.random() < 0.1:
        return "```python\ndef reward(world, before, action, after):\n    return missing, {}\n```"
    found = list(re.finditer(r"# parts: (.*)", text))
    if not found:
        return written([part(rng) for _ in range(rng.randrange(1, 4))])
    return written(edited(json.loads(found[-1][1]), text[found[-1].end() :], rng))
