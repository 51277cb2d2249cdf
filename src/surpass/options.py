"""The flags of the commands, with the names and defaults of the Python functions behind them."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

HOME = Path("~/.cache/surpass/api")
INSTRUCTION = 'Think step by step. End with a line "Answer: x".'
DRAWING = {"temperature": "Temperature of the draws", "top_p": "Share of the probability that is drawn from"}
"""Flags of an evaluation and a question, for methods that have no such knob of their own."""

_ALIASES = "or an alias: tiny, nano, smollm2-135m"
_DTYPES = "float32, bfloat16, float16, or mixed: float32 weights and draws, training in bfloat16"
_KINDS = "KIND is one of tokens (drawn), prefilled, scored, trained, flops, calls, seconds."
HELP = {
    "model": f"A Hub id, a folder (a run's weights, too), a .gguf file, api:NAME, {_ALIASES}.",
    "task": "NAME[:X], data:FILE_OR_HUB_ID, or file.py[:class]. Its parameters follow as --task.KEY VALUE.",
    "reward": "file.py:function that judges attempts in place of the task.",
    "rounds": "Rounds of propose, score, select, learn.",
    "seed": "Seeds the draws.",
    "seeds": "Runs of each method, with seeds 1, 2, ...",
    "out": "The run's folder (default: runs/METHOD-TASK-HASH).",
    "test": "Test problems: start and end of the run.",
    "gate": "Gate problems: the decisions in between.",
    "split": "test or gate.",
    "limit": "Problems at most.",
    "k": "Attempts at each problem, for pass@k.",
    "max_tokens": "Tokens of a turn, at most.",
    "metric": "What is compared: a metric of the exam.",
    "dtype": f"{_DTYPES}; auto: float32 on a CPU, bfloat16 on a GPU.",
    "device": "cpu, cuda, cuda:1 ...",
    "lora": "Rank of a LoRA adapter to train instead of the weights (0: the weights).",
    "lora_targets": "What the adapter is put on: names of layers (q_proj v_proj), of fused weights "
    "(experts.gate_up_proj), or all-linear, the default.",
    "patience": "Stop after this many refused updates in a row.",
    "retain": "Rounds whose weights stay on disk, beside those the run may go back to (0: all).",
    "budget": f"KIND=AMOUNT that ends the run once it is spent, e.g. tokens=200k; {_KINDS}",
    "track": "Trackers that get every number: tensorboard, wandb, mlflow, trackio, comet_ml, ... "
    "(several: a,b); each is a package of its own.",
    "instruction": "Put after the question.",
    "template_args": "NAME=VALUE that the model's chat template reads, e.g. enable_thinking=false; several: "
    "repeat the flag.",
    "json": "Print one JSON object as the last line.",
}

_TYPES: dict[str, Any] = {
    "task": str,
    "model": str,
    "out": Path | None,
    "lora_targets": tuple[str, ...],
    "template_args": tuple[str, ...],
}
"""What a flag reads where the function takes more than a command line can say."""


@dataclass
class ApiOptions:
    """A model behind an OpenAI-compatible API (--model api:NAME); the key is read from OPENAI_API_KEY."""

    url: str = "https://api.openai.com/v1"
    """Where the API is, up to and with /v1."""
    concurrency: int = 16
    """Requests under way at once."""
    timeout: float = 120.0
    """Seconds a request may take before it is tried again."""
    retries: int = 6
    """Times a request is tried again that failed for a passing reason."""
    wait: float = 300.0
    """Seconds without any answer for which a busy server (429) is waited for, asked again when it says."""
    budget_tokens: int = 0
    """Stop before more tokens than this are billed (0: no limit)."""
    budget_dollars: float = 0.0
    """Stop before more money than this is spent (0: no limit); needs --price."""
    price: tuple[float, float] = (0.0, 0.0)
    """Dollars per million prompt tokens, and per million answered tokens."""
    cache: Path | None = HOME
    """Answers are kept here by the full request, and not asked for twice; None: not kept."""


def flags(
    function: Callable[..., Any],
    about: str,
    but: Collection[str] = (),
    more: Mapping[str, Any] | None = None,
    **words: str,
) -> type:
    """The flags of a command as a dataclass: the parameters of `function` that have a default, without those
    in `but`. `more`, {name: default}, adds flags and replaces defaults; `words` replaces help texts.
    """
    import tyro

    found = {
        p.name: (p.annotation, p.default)
        for p in inspect.signature(function, eval_str=True).parameters.values()
        if p.default is not p.empty and p.name not in ("method", *but)
    }
    for name, default in {**(more or {}), "template_args": (), "json": False}.items():
        found[name] = (found[name][0] if name in found else type(default), default)
    fields: list[tuple[str, Any, Any]] = []
    for name, (kind, default) in found.items():
        if isinstance(default, ApiOptions):
            fields.append((name, ApiOptions, dataclasses.field(default_factory=ApiOptions)))
            continue
        read = Path if isinstance(default, Path) else _TYPES.get(name, kind)
        told = Annotated[read, tyro.conf.arg(help=words.get(name, HELP.get(name)))]  # type: ignore[valid-type]
        fields.append((name, told, dataclasses.field(default=default)))
    made = dataclasses.make_dataclass("Options", fields)
    made.__doc__ = about
    return made


def run_flags() -> type:
    from surpass.api import improve

    return flags(
        improve,
        "What every run has.",
        but=("quiet",),
        more={"api": ApiOptions()},
        model=f"A Hub id, a folder, a .gguf file, {_ALIASES}; api:NAME for methods that train no weights.",
        reward="file.py:function that judges attempts in place of the task (TRL's signature, or verl's "
        "compute_score).",
        seed="Seeds problems and draws. Gate and test problems are the same for every seed.",
        dtype=f"{_DTYPES}; auto: float32 on a CPU, on a GPU mixed, with --lora bfloat16.",
    )


def eval_flags() -> type:
    from surpass.api import evaluate

    return flags(evaluate, "What every evaluation has.", more={"api": ApiOptions()})


def skill_flags(function: Callable[..., Any]) -> type:
    return flags(
        function,
        "What a table of skills has.",
        but=("settings",),
        model=f"A Hub id, a folder (a run's weights, too), a .gguf file, {_ALIASES}.",
        task="suite (each of its tasks gets a line), suite:NAMES, or any other task. Its parameters follow "
        "as --task.KEY VALUE.",
        limit="Problems of each task.",
    )


def compare_flags() -> type:
    from surpass.comparing import compare

    return flags(
        compare,
        "What a comparison has.",
        but=("name", "tell"),
        more={"out": Path("runs/compare"), "dtype": "auto", "device": "auto"},
        model=f"A Hub id, a folder, a .gguf file, {_ALIASES}.",
        budget=f"KIND=AMOUNT that each run may spend outside exams; {_KINDS}",
        out="The folder of all runs: finished ones in it are reused, interrupted ones go on.",
        test="Test problems: what is compared.",
        gate="Gate problems: a run's own decisions.",
        dtype=f"{_DTYPES}; auto: float32 on a CPU, on a GPU mixed.",
    )


def solve_flags() -> type:
    from surpass.api import solve

    more = {"instruction": INSTRUCTION, "dtype": "auto", "device": "auto", "api": ApiOptions()}
    return flags(solve, "What every question has.", more=more, json="Print one JSON object instead.")
