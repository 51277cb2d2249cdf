"""The flags that every run, evaluation and question has, and how they are read; a method's own knobs come
from its signature.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import json
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from surpass.errors import SurpassError
from surpass.files import at_home
from surpass.shown import bare, shown

HOME = Path("~/.cache/surpass/api")
DRAWING = {"temperature": "Temperature of the draws", "top_p": "Share of the probability that is drawn from"}
"""Flags of an evaluation and a question, for methods that have no such knob of their own."""


@dataclass
class RunOptions:
    """What every run has."""

    model: str = "smollm2-135m"
    """A Hub id, a folder, a .gguf file, or an alias: tiny, nano, smollm2-135m; api:NAME for methods that
    train no weights.
    """
    task: str = "arithmetic"
    """NAME[:X], data:FILE_OR_HUB_ID, or file.py[:class]. Its parameters follow as --task.KEY VALUE."""
    reward: str | None = None
    """file.py:function that judges attempts in place of the task (TRL's signature, or verl's compute_score).
    """
    rounds: int = 12
    """Rounds of propose, score, select, learn."""
    seed: int = 0
    """Seeds problems and draws. Gate and test problems are the same for every seed."""
    out: Path | None = None
    """The run's folder (default: runs/METHOD-TASK-HASH)."""
    test: int = 256
    """Test problems: start and end of the run."""
    gate: int = 96
    """Gate problems: the decisions in between."""
    dtype: str = "auto"
    """float32, bfloat16, float16, or mixed: float32 weights and draws, training in bfloat16; auto: float32 on
    a CPU, on a GPU mixed, with --lora bfloat16.
    """
    device: str = "auto"
    """cpu, cuda, cuda:1 ..."""
    lora: int = 0
    """Rank of a LoRA adapter to train instead of the weights (0: the weights)."""
    lora_targets: tuple[str, ...] = ()
    """What the adapter is put on: names of layers (q_proj v_proj), of fused weights (experts.gate_up_proj),
    or all-linear, the default.
    """
    patience: int = 3
    """Stop after this many refused updates in a row."""
    retain: int = 2
    """Rounds whose weights stay on disk, beside those the run may go back to (0: all)."""
    budget: str | None = None
    """KIND=AMOUNT after which the run ends, too, e.g. tokens=200k; KIND out of tokens (drawn), prefilled,
    scored, trained, flops, calls, seconds.
    """
    track: str | None = None
    """Who is told every number: tensorboard, wandb, mlflow, trackio, comet_ml, ... (several: a,b), each a
    package of its own.
    """
    template_args: tuple[str, ...] = ()
    """NAME=VALUE that the model's chat template reads, e.g. enable_thinking=false; several: repeat the flag.
    """
    json: bool = False
    """Print one JSON object as the last line."""
    api: ApiOptions = dataclasses.field(default_factory=lambda: ApiOptions())
    """For --model api:NAME."""


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
    """Times a request that failed for a passing reason is tried again."""
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


@dataclass
class EvalOptions:
    """What every evaluation has."""

    model: str = "smollm2-135m"
    """A Hub id, a folder (a run's weights, too), a .gguf file, api:NAME, or an alias: tiny, nano,
    smollm2-135m.
    """
    task: str = "arithmetic"
    """NAME[:X], data:FILE_OR_HUB_ID, or file.py[:class]. Its parameters follow as --task.KEY VALUE."""
    reward: str | None = None
    """file.py:function that judges attempts in place of the task."""
    split: str = "test"
    """test or gate."""
    seed: int = 0
    """Seeds the draws."""
    limit: int = 256
    """Problems at most."""
    dtype: str = "auto"
    """float32, bfloat16, float16, or mixed: float32 weights and draws, training in bfloat16; auto: float32 on
    a CPU, bfloat16 on a GPU.
    """
    device: str = "auto"
    """cpu, cuda, cuda:1 ..."""
    template_args: tuple[str, ...] = ()
    """NAME=VALUE that the model's chat template reads, e.g. enable_thinking=false; several: repeat the flag.
    """
    json: bool = False
    """Print one JSON object as the last line."""
    api: ApiOptions = dataclasses.field(default_factory=ApiOptions)
    """For --model api:NAME."""


@dataclass
class SkillOptions:
    """What a table of skills has."""

    model: str = "tiny"
    """A Hub id, a folder (a run's weights, too), a .gguf file, or an alias: tiny, nano, smollm2-135m."""
    task: str = "suite"
    """suite (each of its tasks gets a line), suite:NAMES, or any other task. Its parameters follow as
    --task.KEY VALUE.
    """
    split: str = "test"
    """test or gate."""
    limit: int = 512
    """Problems of each task."""
    k: int = 16
    """Attempts at each problem, for pass@k."""
    max_tokens: int = 192
    """Tokens of a turn, at most."""
    seed: int = 0
    """Seeds the draws."""
    dtype: str = "auto"
    """float32, bfloat16, float16, or mixed: float32 weights and draws, training in bfloat16; auto: float32 on
    a CPU, bfloat16 on a GPU.
    """
    device: str = "auto"
    """cpu, cuda, cuda:1 ..."""
    template_args: tuple[str, ...] = ()
    """NAME=VALUE that the model's chat template reads, e.g. enable_thinking=false; several: repeat the flag.
    """
    json: bool = False
    """Print one JSON object as the last line."""


@dataclass
class CompareOptions:
    """What a comparison has."""

    budget: str = "tokens=200k"
    """KIND=AMOUNT that each run may spend outside exams; KIND out of tokens (drawn), prefilled, scored,
    trained, flops, calls, seconds.
    """
    seeds: int = 3
    """Runs of each method, with seeds 1, 2, ..."""
    model: str = "smollm2-135m"
    """A Hub id, a folder, a .gguf file, or an alias: tiny, nano, smollm2-135m."""
    task: str = "arithmetic"
    """NAME[:X], data:FILE_OR_HUB_ID, or file.py[:class]. Its parameters follow as --task.KEY VALUE."""
    reward: str | None = None
    """file.py:function that judges attempts in place of the task."""
    out: Path = Path("runs/compare")
    """The folder of all runs: finished ones in it are reused, interrupted ones go on."""
    test: int = 256
    """Test problems: what is compared."""
    gate: int = 96
    """Gate problems: a run's own decisions."""
    metric: str = "accuracy"
    """What is compared: a metric of the exam."""
    dtype: str = "auto"
    """float32, bfloat16, float16, or mixed: float32 weights and draws, training in bfloat16; auto: float32 on
    a CPU, on a GPU mixed.
    """
    device: str = "auto"
    """cpu, cuda, cuda:1 ..."""
    template_args: tuple[str, ...] = ()
    """NAME=VALUE that the model's chat template reads, e.g. enable_thinking=false; several: repeat the flag.
    """
    json: bool = False
    """Print one JSON object as the last line."""


@dataclass
class SolveOptions:
    """What every question has."""

    model: str = "smollm2-135m"
    """A Hub id, a folder (a run's weights, too), a .gguf file, api:NAME, or an alias: tiny, nano,
    smollm2-135m.
    """
    instruction: str = 'Think step by step. End with a line "Answer: x".'
    """Put after the question."""
    seed: int = 0
    """Seeds the draws."""
    dtype: str = "auto"
    """float32, bfloat16, float16, or mixed: float32 weights and draws, training in bfloat16; auto: float32 on
    a CPU, bfloat16 on a GPU.
    """
    device: str = "auto"
    """cpu, cuda, cuda:1 ..."""
    template_args: tuple[str, ...] = ()
    """NAME=VALUE that the model's chat template reads, e.g. enable_thinking=false; several: repeat the flag.
    """
    json: bool = False
    """Print one JSON object instead."""
    api: ApiOptions = dataclasses.field(default_factory=ApiOptions)
    """For --model api:NAME."""


def parse(
    function: Callable[..., Any], options: type, arguments: Sequence[str], program: str, drawing: bool = False
) -> tuple[Any, dict[str, Any]]:
    """(options, the method's knobs): the command line is the method's signature and the options, nothing
    deeper. With `drawing`, how is drawn is a flag also where the method has no such knob, and options.drawing
    holds what was given of it.
    """
    signature = inspect.signature(function, eval_str=True)
    for p in signature.parameters.values():
        if p.annotation is p.empty or p.default is p.empty:
            raise SurpassError(
                f"the arguments of {function.__name__} are its command line: give {p.name} a type and a "
                "default"
            )
    taken = {f.name for f in dataclasses.fields(options)} & set(signature.parameters)
    if taken:
        raise SurpassError(
            f"{function.__name__} has a knob that every run has: {', '.join(sorted(taken))}; rename it"
        )
    knobs = dataclasses.make_dataclass(
        "Knobs",
        [(p.name, p.annotation, dataclasses.field(default=p.default)) for p in signature.parameters.values()],
    )
    knobs.__doc__ = inspect.getdoc(function)
    import tyro

    flags = [
        (
            name,
            Annotated[float | None, tyro.conf.arg(help=f"{what} (default: the method's).")],
            dataclasses.field(default=None),
        )
        for name, what in DRAWING.items()
        if drawing and name not in signature.parameters
    ]
    whole = [("options", options), ("method", knobs), ("draws", dataclasses.make_dataclass("Draws", flags))]
    both = dataclasses.make_dataclass("Both", whole[: 3 if flags else 2])
    both.__doc__ = (inspect.getmodule(function).__doc__ or "").split("\n")[0]
    said = io.StringIO()
    try:
        # help has colours of its own
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(bare(sys.stdout)):
            parsed: Any = tyro.cli(
                both, config=(tyro.conf.OmitArgPrefixes,), args=_gathered(arguments), prog=shown(program)
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise SurpassError(_unboxed(said.getvalue(), program)) from None
    parsed.options.template_args = template_arguments(parsed.options.template_args) or None
    found = {field.name: getattr(parsed.method, field.name) for field in dataclasses.fields(knobs)}
    if drawing:
        given = {
            word.partition("=")[0].removeprefix("--").replace("-", "_")
            for word in arguments
            if word.startswith("--")
        }
        every = {**found, **(vars(parsed.draws) if flags else {})}
        parsed.options.drawing = {name: every[name] for name in DRAWING if name in given}
    return parsed.options, found


def _gathered(arguments: Sequence[str]) -> list[str]:
    """The arguments with all --template-args as one, whose values stand behind it."""
    rest, values, waiting = [], [], list(arguments)
    while waiting:
        word, equals, value = (
            waiting.pop(0).partition("=")
            if waiting[0].startswith("--template-args=")
            else (waiting.pop(0), "", "")
        )
        if word not in ("--template-args", "--template_args"):
            rest.append(word)
            continue
        values += [value] if equals else []
        while not equals and waiting and not waiting[0].startswith("--"):
            values.append(waiting.pop(0))
    return [*rest, *(["--template-args", *values] if values else [])]


def template_arguments(words: Sequence[str]) -> dict[str, Any]:
    """{NAME: VALUE} of NAME=VALUE; a value is JSON, or else text."""
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier() or name in found:
            raise SurpassError(
                "--template-args wants NAME=VALUE, each name once, such as enable_thinking=false; "
                f'found "{word}"'
            )
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found


def _unboxed(text: str, program: str) -> str:
    """What is said inside tyro's boxes as one line, without its help texts."""
    lines = [line.strip(" │") for line in text.splitlines()[1:]]  # the first is the box's title
    words = " ".join(line for line in lines if line.strip("─-╰╯"))
    words = re.split(r"Argument helptext:|For full helptext| \(default", words)[0].strip()
    words += " (several values are written apart: 4 4)" if "valid parse" in words else ""
    return f"{words.replace(' Perhaps you meant:', '; perhaps you meant')}. Every option: {program} --help"


def spec_of(options: Any) -> dict[str, Any]:
    """What find.make_models needs of the options."""
    from surpass.api import model_spec

    spec = {"name": options.model, **model_spec({"lora": 0} | vars(options))}
    if options.model.startswith("api:") and hasattr(options, "api"):
        api = dataclasses.asdict(options.api)
        tokens, dollars, cache = api.pop("budget_tokens"), api.pop("budget_dollars"), _cache(api["cache"])
        spec["api"] = api | {
            "tokens": tokens,
            "dollars": dollars,
            "cache": cache,
            "price": list(api["price"]),
        }
    return spec


def _cache(folder: Path | None) -> str | None:
    """Where answers are kept; nowhere, with a note, where the folder is the usual one and cannot be had: no
    home, or one that is read-only.
    """
    from surpass.engines.ledger import Cache

    if folder != HOME:
        return str(at_home(folder)) if folder else None
    try:
        return str(Cache(at_home(folder)).folder)
    except SurpassError as error:
        warnings.warn(
            f"answers are not kept: {error}. --cache FOLDER keeps them elsewhere, --cache None says "
            "that it is meant",
            stacklevel=2,
        )
        return None
