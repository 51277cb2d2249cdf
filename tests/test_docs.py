"""Documents are true: the catalogue is the method files', README commands parse, docstrings that show calls run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from surpass.catalogue import catalogue, heads
from surpass.cli import RunOptions, _parse, _task_settings
from surpass.find import find_method, make_task, method_names

ROOT = Path(__file__).parent.parent


def commands() -> list[str]:
    """Every surpass command in the README, the docs and the Makefile."""
    found = []
    for path in [ROOT / "README.md", ROOT / "Makefile", *(ROOT / "docs").glob("*.md")]:
        text = path.read_text().replace("\\\n", " ")
        found += re.findall(r"^\s*(?:\.venv/bin/)?surpass (run [^\n#|]*)", text, re.M)
    return [command.strip() for command in found if "METHOD" not in command]


def test_there_are_commands_to_check():
    assert len(commands()) >= 3


@pytest.mark.parametrize("command", commands())
def test_documented_runs_are_accepted_by_the_command_line(command):
    name, *words = shlex.split(command.partition("(")[0])[1:]
    words, settings = _task_settings(words)
    options, knobs = _parse(find_method(name), RunOptions, words, name)
    make_task(options.task, settings)
    find_method(name)(**knobs)


def test_the_readmes_python_runs(tmp_path, capsys):
    """As printed, but for the model (nano) and the number of rounds."""
    from conftest import make_causal, make_tokenizer
    from surpass.engines import LocalEngine

    LocalEngine.of(make_causal(0, 0.05, max_position_embeddings=512), make_tokenizer()).save(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert '"smollm2-135m"' in block
    assert "rounds=5" in block
    exec(block.replace("smollm2-135m", str(tmp_path)).replace("rounds=5", "rounds=1"), {})
    assert re.search(r"'mean': .*'stderr': .*'n': 256", capsys.readouterr().out)


def test_catalogue_is_up_to_date():
    assert (ROOT / "docs" / "catalogue.md").read_text() == catalogue(), "run: make catalogue"
    assert all(f"## {name}\n" in catalogue() for name in method_names())


def test_heads_join_continued_lines():
    title, found = heads("T: a title\n(2020).\n\nIdea     one\n         two\nWorks    x\n")
    assert title == "T: a title (2020)."
    assert found == {"Idea": "one two", "Works": "x"}


def test_files_and_tests_that_documents_name_exist():
    named = set()
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        named |= set(re.findall(r"`?((?:tests|docs|bench|examples)/[\w/]+\.(?:py|md))`?", path.read_text()))
    assert named
    missing = sorted(name for name in named if not (ROOT / name).exists())
    assert not missing
