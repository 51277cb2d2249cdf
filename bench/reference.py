"""TRL's side of bench/compare.py, run by the Python of its own environment: its trainers' own losses,
generation and iteration.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from child import serve
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, StoppingCriteria
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer
from workloads import answers, lengths, right

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))
FOLDER, DEFAULTS = sys.argv[1], "--defaults" in sys.argv
TRAINER = None  # the last one made: the one that runs
PLAIN = {"bf16": False, "gradient_checkpointing": False}


def loaded():
    return AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32), AutoTokenizer.from_pretrained(
        FOLDER
    )


def settings(**more) -> dict:
    return (
        {
            "output_dir": tempfile.mkdtemp(),
            "use_cpu": True,
            "report_to": [],
            "learning_rate": 1e-6,
            "lr_scheduler_type": "constant",
            "disable_tqdm": True,
            "save_strategy": "no",
        }
        | ({} if DEFAULTS else PLAIN)
        | more
    )


def grpo_trainer(work: dict, micro: int, rows=None, reward=None) -> GRPOTrainer:
    rows = rows or [{"prompt": "x"}] * work["prompts"]
    model, tokenizer = loaded()
    n = max(2, work["n"])  # TRL refuses one answer a prompt; a step over one is still timed
    args = GRPOConfig(
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=work["prompts"] * n // micro,
        num_generations=n,
        max_completion_length=work["length"],
        temperature=1.0,
        **({"loss_type": "grpo"} if "lr" in work else {}),
        **settings(**named(work)),
    )
    trainer = GRPOTrainer(
        model,
        reward or (lambda completions, **_: [0.0] * len(completions)),
        args,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    return begun(trainer)


def named(work: dict) -> dict:
    """What a run to an accuracy has in common on both sides; a step's speed does not depend on it."""
    return {"learning_rate": work["lr"], "seed": work["seed"], "max_grad_norm": 1.0} if "lr" in work else {}


def begun(trainer):
    global TRAINER
    TRAINER = trainer
    trainer.create_optimizer()
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
    return trainer


def optimise(trainer) -> None:
    trainer.accelerator.clip_grad_norm_(trainer.model.parameters(), trainer.args.max_grad_norm)
    trainer.optimizer.step()
    trainer.optimizer.zero_grad(set_to_none=True)


def best(work: dict, rows: int, make):
    """make(micro), warm, for a size of micro-batches; with TRL's defaults its own, 8. Without a size what
    finds the best one: at least three are tried, from 16 rows downwards, and on as long as they get faster.
    The first warms up.
    """
    if "micro" in work or DEFAULTS:
        return warm(make, work.get("micro", min(8, rows)))
    sizes = [size for size in (16, 8, 4, 2, 1) if size <= rows]
    took: dict[int, float] = {}
    for micro in [sizes[0], *sizes]:
        tried = list(took.values())
        if len(tried) > 2 and tried[-1] > tried[-2]:
            break
        run = make(micro)
        begin = time.perf_counter()
        run()
        took[micro] = time.perf_counter() - begin
        del run
        gc.collect()  # a trainer holds itself
    return lambda: {"micro": min(took, key=took.__getitem__)}


def warm(make, micro: int):
    run = make(micro)
    run()
    return lambda: (run() or {}) | {"micro": micro}


def step(work: dict):
    prompts, found, advantages = answers(work)
    n = work["prompts"] * work["n"]
    ids = {"prompt_ids": np.repeat(prompts, work["n"], 0), "completion_ids": found.reshape(n, -1)}
    inputs = {name: torch.from_numpy(value) for name, value in ids.items()}
    inputs |= {name.replace("ids", "mask"): torch.ones_like(value) for name, value in inputs.items()}
    inputs["advantages"] = torch.from_numpy(advantages.reshape(-1)).float()

    def make(micro: int):
        trainer = grpo_trainer(work, micro)

        def run() -> None:
            for a in range(0, n, micro):
                part = {name: value[a : a + micro] for name, value in inputs.items()}
                part["num_items_in_batch"] = torch.tensor(n * work["length"])
                with trainer.compute_loss_context_manager():
                    loss = trainer.compute_loss(trainer.model, part)
                trainer.accelerator.backward(loss)
            optimise(trainer)

        return run

    return best(work, n, make)


def pairs(work: dict):
    prompts, found, _ = answers(work)
    rows = [
        {"prompt_ids": p.tolist(), "chosen_ids": some[0].tolist(), "rejected_ids": some[1].tolist()}
        for p, some in zip(prompts, found, strict=True)
    ]

    def make(micro: int):
        model, tokenizer = loaded()
        words = Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}] * len(rows))
        args = DPOConfig(
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=len(rows) // micro,
            max_length=None,
            **settings(),
        )
        trainer = begun(
            DPOTrainer(
                model,
                AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32),
                args,
                train_dataset=words,
                processing_class=tokenizer,
            )
        )

        def run() -> None:
            for a in range(0, len(rows), micro):
                trainer.training_step(trainer.model, trainer.data_collator(rows[a : a + micro]), None)
            optimise(trainer)

        return run

    return best(work, len(rows), make)


class Until(StoppingCriteria):
    """Every row ends when it has its own number of new tokens."""

    def __init__(self, prompt: int, most):
        self.prompt, self.most = prompt, torch.from_numpy(most)

    def __call__(self, input_ids, scores, **kwargs):
        return input_ids.shape[1] - self.prompt >= self.most


def rollouts(work: dict):
    prompts, _, _ = answers(work)
    trainer = grpo_trainer(work, 8)
    most = lengths(work).reshape(-1)
    ids = np.repeat(prompts, work["n"], 0).tolist()
    trainer.model.generate = functools.partial(
        trainer.model.generate, stopping_criteria=[Until(work["prompt"], most)]
    )

    def run() -> dict:
        trainer._generate_single_turn(ids, None, {}, work["n"])
        return {"tokens": int(most.sum())}

    run()
    return run


def iteration(work: dict):
    """The trainer's own generation, reward and loss for one optimiser step."""
    rows = json.loads(Path(work["problems"]).read_text())

    def reward(completions, answer, **_):
        return [right(c[0]["content"], a) for c, a in zip(completions, answer, strict=True)]

    def make(micro: int):
        trainer = grpo_trainer(work, micro, rows, reward)
        batches = iter(trainer.get_train_dataloader())

        def run() -> None:
            for _ in range(trainer.args.gradient_accumulation_steps):
                trainer.training_step(trainer.model, next(batches), None)
            optimise(trainer)

        return run

    return make(work["micro"]) if "lr" in work else best(work, work["prompts"] * work["n"], make)


def save(folder: str) -> None:
    assert TRAINER is not None
    TRAINER.model.save_pretrained(folder)
    TRAINER.processing_class.save_pretrained(folder)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        serve({"step": step, "pairs": pairs, "rollouts": rollouts, "iteration": iteration}, save)
