"""The examples run as they stand, but for the model and the size."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples"
SIZES = {"own_reward": ["1"], "own_task": ["1"], "own_method": ["300"], "frozen_model": [], "tool_agent": []}


def test_every_example_is_short_and_run_here():
    files = sorted(FOLDER.glob("*.py"))
    assert {file.stem for file in files} == set(SIZES)
    assert all(len(file.read_text().splitlines()) <= 40 for file in files)


@pytest.mark.parametrize("name", SIZES)
def test_an_example_runs(name, model, api, tmp_path, monkeypatch, capsys):
    """In this process, which has imported torch; as a script (run_name)."""
    words = ["m", api] if name == "frozen_model" else [model, *SIZES[name]]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *words])
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    assert {"own_method": "undecided", "frozen_model": "self_consistency: Answer: 4"}.get(
        name, " -> "
    ) in capsys.readouterr().out
