"""surpass's side of bench/compare.py."""

from __future__ import annotations

import os
import sys

import numpy as np
import torch
from child import serve
from workloads import DEMO, answers, lengths, right, widths

from surpass import learners, objectives
from surpass.engines import LocalEngine
from surpass.engines.requests import Generate, Sampling
from surpass.find import make_task
from surpass.loop import credited
from surpass.methods.grpo import grpo
from surpass.models import Models
from surpass.parts import Learn
from surpass.searches.round import search_all
from surpass.types import Column, Example, Memory, Problem, Tree, fold

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))
MODELS = Models(policy=LocalEngine(sys.argv[1]))


def trees_of(work: dict) -> list[Tree]:
    """A tree a prompt, with log-probs as if each answer had been drawn, and its advantages."""
    trees, levels = [], widths(work)
    step = work["length"] // len(levels)
    for prompt, some, advantage in zip(*answers(work), strict=True):
        tree = Tree(Problem(f"bench {len(trees)}", ""))
        above, nodes = [tree.add(-1, "task", prompt)], 1
        for level, width in enumerate(levels):
            nodes *= width
            first = some[:: len(some) // nodes, level * step : (level + 1) * step]
            above = [
                tree.add(above[i // width], "policy", tokens, logp=np.full(step, -11.0, np.float32))
                for i, tokens in enumerate(first)
            ]
        tree.put("advantage", Column("leaf", advantage))
        trees.append(tree)
    return trees


def learn(objective, examples: list[Example]) -> None:
    """One update, as in a run: packing, passes and the optimiser's step."""
    learner = learners.gradient(objective, lr=1e-6)
    MODELS.run(learner(MODELS, Learn("policy", None, learner), examples, Memory(), 0))


def step(work: dict):
    trees = trees_of(work)
    examples = [Example(tree, (leaf,)) for tree in trees for leaf in tree.leaves()]
    return lambda: learn(objectives.clipped(), examples)


def pairs(work: dict):
    examples = [Example(tree, tuple(tree.leaves()[:2])) for tree in trees_of(work)]
    MODELS.remember(["policy@0"])
    learn(objectives.dpo(base="policy@0"), examples)  # from here on the weights are not the reference's
    return lambda: learn(objectives.dpo(base="policy@0"), examples)


def rollouts(work: dict):
    prompts, _, _ = answers(work)
    engine = MODELS.engine("policy")
    requests = [
        Generate(prompt.astype("int32"), (1000 * p + i,), Sampling(max_tokens=int(most)))
        for p, (prompt, some) in enumerate(zip(prompts, lengths(work), strict=True))
        for i, most in enumerate(some)
    ]

    def run():
        engine.fresh()
        return {"tokens": sum(len(reply[0].tokens) for _, reply in engine.serve(requests))}

    return run


def iteration(work: dict):
    """A whole round of GRPO: draw, judge as the other side does, learn."""
    task = make_task(*DEMO)
    method = grpo(
        problems=work["prompts"],
        n=work["n"],
        max_tokens=work["length"],
        temperature=1.0,
        lr=work.get("lr", 1e-6),
    )
    (row,), start = method.learn, work.get("seed", 0)
    memory = Memory(seed=start)  # which orders the problems

    async def once() -> dict:
        MODELS.fresh()
        seed = fold(start, "round", memory.round)
        problems, _ = await method.curriculum(MODELS, task, memory, seed)
        trees = await search_all(method.search, MODELS, task, problems, seed)
        for tree in trees:
            said = [MODELS.text("policy", tree, leaf) for leaf in tree.leaves()]
            tree.put(
                "reward",
                Column("leaf", np.array([right(text, tree.problem.answer["answer"]) for text in said])),
            )
        examples = row.select(credited(trees, row, memory), memory, 0)
        await row.learner(MODELS, row, examples, memory, 0)
        memory.round += 1
        return {"tokens": sum(len(tree.own(leaf)) for tree in trees for leaf in tree.leaves())}

    return lambda: MODELS.run(once())


def save(folder: str) -> None:
    MODELS.engine("policy").save(folder)


if __name__ == "__main__":
    serve({"step": step, "pairs": pairs, "rollouts": rollouts, "iteration": iteration}, save)
