"""Every method at a size that a test can run, and the bytes of its run that must repeat."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import inspect
import pkgutil
from pathlib import Path

import surpass.methods
from surpass import measures, rewards
from surpass.parts import needs_of
from tiny import copy_letter

NAMES = sorted(module.name for module in pkgutil.iter_modules(surpass.methods.__path__))


SMALL = {
    "problems": 4,
    "n": 4,
    "stop": "a",
    "max_tokens": 4,
    "lr": 0.05,
    "temperature": 1.0,
    "updates": 2,
    "every": 1,
    "trust": 0.0,
    "simulations": 3,
    "rollout": 1,
    "searches_each": 2,
    "dev": 2,
    "lr_value": 0.05,
    "warm": 0,
    "checked": False,
    "mark": "b",  # a table reserves no token
    "self_evaluate": False,  # and has no words for a verdict
}


SIZES = {
    "mcts_dpo": {"n": 2},
    "omegaprm": {"n": 3, "votes": 4},
    "promptagent": {"n": 3},
    "rest_mcts": {"n": 3},
    "slate": {"n": 3},
    **{name: {"n": (2, 2)} for name in ("tree_grpo", "tree_sharpen", "tree_vote")},
}
"""Attempts or children at a node, where they are not SMALL's."""


def task_of(name: str):
    """The tiny task, or for a method that needs two players a game."""
    from surpass.tasks import kuhn

    return kuhn(opponent="self") if name in GAMES else copy_letter()


GAMES = {"spiral_games"}


def small(name: str, **knobs):
    """The method with the knobs of a test, as far as it has them, and an exam of two problems."""
    function = getattr(importlib.import_module(f"surpass.methods.{name}"), name)
    every = SMALL | SIZES.get(name, {}) | knobs
    wanted = {k: v for k, v in every.items() if k in inspect.signature(function).parameters}
    method = function(**wanted)
    # a nano model never writes "Score:"; any digit will do
    if isinstance(method.scores.get("reward"), rewards.judge):
        method = dataclasses.replace(
            method, scores={"reward": rewards.judge("{question}{answer}", pattern=r"(\d)")}
        )
    return dataclasses.replace(method, exam=measures.sized(method.exam, {"gate": 2, "test": 2}))


LEARNING = [name for name in NAMES if "train" in needs_of(small(name).learn)]


CHECKED = [
    name
    for name in LEARNING
    if any(isinstance(score, rewards.check) for score in small(name).scores.values())
]


def digest(folder: Path) -> dict[str, str]:
    """Every file of a run that must repeat, and a hash of its bytes."""
    skip = {"timing.jsonl", "lock", "report.html"}
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name not in skip]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
