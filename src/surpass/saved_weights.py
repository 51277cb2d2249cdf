"""A round's weights on disk: per role a folder that transformers loads, with the optimiser in it."""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from surpass.errors import RunBroken
from surpass.models import Models
from surpass.weights import Snapshot


def write(folder: Path, models: Models, roles: Iterable[str]) -> None:
    """Write each role's weights and optimiser into folder/ROLE, and those before into ROLE@-1.safetensors."""
    for role in roles:
        with _disk_errors(folder):
            models.engine(role).save(folder / role)
        if (optimiser := getattr(models.engine(role), "optimisers", {}).get(role)) is not None:
            state = optimiser.state_dict()
            tensors = {
                f"{i}.{name}": value.contiguous()
                for i, values in state["state"].items()
                for name, value in values.items()
            }
            with _disk_errors(folder):
                save_file(tensors, folder / role / "optimiser.safetensors")
            (folder / role / "optimiser.json").write_text(json.dumps(state["param_groups"]), encoding="utf-8")
    for name in models.weights.predecessors():
        tensors = {key: value.contiguous() for key, value in models.weights.snapshots[name].items()}
        with _disk_errors(folder):
            save_file(tensors, folder / f"{name}.safetensors")


def read(folder: Path, models: Models, role: str, start: dict[str, torch.Tensor], version: int) -> Snapshot:
    """What `write` wrote of a role, or of ROLE@-1, whose tensors go to the devices of `start`."""
    if "@" in role:
        found = load_file(folder / f"{role}.safetensors")
        return Snapshot({name: value.to(start[name].device) for name, value in found.items()}, None, 0)
    own = folder / role
    if not own.exists():
        raise RunBroken(
            f"{own} is missing; without it the run cannot be resumed from round {int(folder.name)}"
        )
    weights = models.engine(role).read(own)
    optimiser = None
    if (own / "optimiser.json").exists():
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in load_file(own / "optimiser.safetensors").items():
            i, _, field = name.partition(".")
            state.setdefault(int(i), {})[field] = value
        groups = json.loads((own / "optimiser.json").read_text(encoding="utf-8"))
        optimiser = {"state": state, "param_groups": [g | {"betas": tuple(g["betas"])} for g in groups]}
    return Snapshot(weights, optimiser, version)


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """An error of safetensors as an OSError, which a full disk is everywhere else."""
    try:
        yield
    except SafetensorError as error:
        raise OSError(
            errno.ENOSPC if "No space left" in str(error) else errno.EIO,
            " ".join(str(error).split()),
            str(path),
        ) from error
