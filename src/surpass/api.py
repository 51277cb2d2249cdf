"""surpass from Python: improve, evaluate and solve, blocking or awaited, in a script or a notebook."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from surpass.models import Models
from surpass.parts import Method
from surpass.result import Result
from surpass.solution import Solution, solved
from surpass.starting import check_unchanged, examined, method_of, models_of, planned, started
from surpass.threads import awaited, blocking
from surpass.types import Report


def improve(
    method: str | Method,
    task: Any = "arithmetic",
    model: Any = "smollm2-135m",
    *,
    rounds: int = 12,
    seed: int = 0,
    out: str | Path | None = None,
    reward: str | None = None,
    test: int = 256,
    gate: int = 96,
    dtype: str = "auto",
    device: str = "auto",
    lora: int = 0,
    lora_targets: Sequence[str] = (),
    patience: int = 3,
    retain: int = 2,
    budget: str | None = None,
    track: str | None = None,
    template_args: Mapping[str, Any] | None = None,
    quiet: bool = False,
    **knobs: Any,
) -> Result:
    """Train a model with a method for `rounds` rounds and return the result. A model that is in memory is
    changed in place.

    `method` is a name, "file.py:function" or a Method. `task` is a name (as on the command line),
    "file.py:NAME" or a task. `model` is a name, an engine or Models. `knobs` are the method's own arguments.
    A `budget` such as "tokens=200k" ends the run once it is spent (surpass.budget). `template_args` are
    arguments of the model's chat template, e.g. {"enable_thinking": False}. `lora` is the rank of an adapter
    to train instead of the weights, and `lora_targets` names the layers it is put on (docs/models.md).
    `track` names trackers that get every number, such as "wandb" or "tensorboard" (surpass.trackers).

    With `out` the run is stored in a folder, and the same call resumes it. Blocks, in a notebook too;
    `improve_async` can be awaited. Raises SurpassError.
    """
    return blocking(*_improving(locals()))


async def improve_async(
    method: str | Method, task: Any = "arithmetic", model: Any = "smollm2-135m", **options: Any
) -> Result:
    """`improve`, to be awaited. Other coroutines run meanwhile; a cancelled run can be resumed."""
    given = _given(improve, options, method=method, task=task, model=model)
    return await awaited(*await asyncio.to_thread(_improving, given))


def evaluate(
    method: str | Method,
    task: Any = "arithmetic",
    model: Any = "smollm2-135m",
    *,
    split: str = "test",
    limit: int = 256,
    seed: int = 0,
    reward: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    template_args: Mapping[str, Any] | None = None,
    **knobs: Any,
) -> Report:
    """The method's exam on at most `limit` problems of a split, "test" or "gate". Else as `improve`."""
    return blocking(*examined(locals()))


async def evaluate_async(
    method: str | Method, task: Any = "arithmetic", model: Any = "smollm2-135m", **options: Any
) -> Report:
    """`evaluate`, to be awaited."""
    given = _given(evaluate, options, method=method, task=task, model=model)
    return await awaited(*await asyncio.to_thread(examined, given))


def solve(
    question: str,
    method: str | Method = "self_consistency",
    model: Any = "smollm2-135m",
    *,
    seed: int = 0,
    instruction: str = "",
    template_args: Mapping[str, Any] | None = None,
    **knobs: Any,
) -> Solution:
    """Answer one question by a method's search and choice. `instruction` is put after the question."""
    models = models_of(model, {"template_args": template_args})
    chosen = method_of({"method": method, "knobs": knobs})
    return blocking(models, solved(question, chosen, models, seed, instruction))


def _given(form: Callable[..., Any], options: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """The arguments that `form` would see: its defaults, the options, and all other names as knobs."""
    defaults: dict[str, Any] = form.__kwdefaults__ or {}
    knobs = {key: value for key, value in options.items() if key not in defaults}
    return {
        **defaults,
        **{key: value for key, value in options.items() if key in defaults},
        **more,
        "knobs": knobs,
    }


def _improving(asked: Mapping[str, Any]) -> tuple[Models, Coroutine[Any, Any, Result]]:
    """The models and the coroutine of a run."""
    folder = None if asked["out"] is None else Path(asked["out"])
    plan = planned(asked, stored=folder is not None)
    if folder is not None:
        check_unchanged(folder, plan.about)
    return started(plan, folder, asked["quiet"], asked["track"])
