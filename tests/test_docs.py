"""Documents are true: their commands and their Python run, the catalogue is the method files', files and
folders that are named exist, words that are explained are used, and the reference names every part.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import surpass
from surpass.catalogue import catalogue, heads
from surpass.cli import main
from surpass.find import method_names

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SMALL = {
    "run": ["--rounds", "1", "--test", "2", "--gate", "2", "--max-tokens", "4"],
    "eval": ["--limit", "2", "--max-tokens", "4"],
    "solve": ["--max-tokens", "4"],
    "compare": ["--budget", "tokens=20", "--seeds", "1", "--test", "2", "--gate", "2"],
}
MEASURED = (
    "results.md",
    "tiny.md",
    "no-labels.md",
)  # their commands were run whole, with their numbers; here only once small


def commands() -> list[str]:
    """Every surpass command that stands on a line of its own, and the Makefile's."""
    found = []
    for path in [*PAGES, ROOT / "Makefile"]:
        text = path.read_text().replace("\\\n", " ")
        found += re.findall(
            r"^\s*(?:\.venv/bin/)?(surpass (?:run|eval|solve|compare|init|methods|tasks)\b[^\n#|]*)",
            text,
            re.M,
        )
    return list(
        dict.fromkeys(
            " ".join(command.partition("  (")[0].split()) for command in found if "METHOD" not in command
        )
    )


@pytest.fixture
def world(tmp_path, monkeypatch, capsys, model):
    """What the documents take for granted: data files, files of one's own, a model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    rows = [{"prompt": f"{i} + 1 =", "answer": str(i + 1)} for i in range(60)]
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "prompts.jsonl").write_text(
        "".join(json.dumps({"prompt": row["prompt"]}) + "\n" for row in rows)
    )
    for kind in ("task", "reward", "method"):
        assert main(["init", f"my{kind}.py", "--kind", kind]) == 0
    capsys.readouterr()
    yield tmp_path
    for kind in ("task", "reward", "method"):
        sys.modules.pop(f"my{kind}", None)


def test_there_are_commands_to_check():
    assert len(commands()) >= 20


@pytest.mark.parametrize("command", commands())
def test_documented_commands_run(command, world, model, api, capsys):
    """As they stand, but for the model (nano), the size, and where the API is."""
    name, *words = shlex.split(command)[1:]
    if name == "init":
        (world / words[0]).unlink(missing_ok=True)
    if name == "compare":  # its methods' knobs stand with their names
        n = words.index("--model")
        words[:n] = [
            f"{word},max_tokens=4" + ",problems=2" * ("--budget" in words and "problems=" not in word)
            for word in words[:n]
        ]
        for flag in SMALL[name][::2]:
            if flag in words:
                del words[words.index(flag) : words.index(flag) + 2]
    if "--k" in words:
        words += ["--k", "2"]
    if name in SMALL:
        words += SMALL[name]
        if "api:NAME" in words:
            words[words.index("--url") + 1] = api
            words += ["--cache", str(world / "cache")]
        elif not {"tiny", "nano"} & set(words):  # those ship with the package
            words += ["--model", model]
        if name == "run":
            words += ["--out", "run"] + (["--problems", "2"] if "mymethod.py" not in words else [])
        shown = "chain_sum" in command or "arithmetic" in command or "--task" not in words
        words += (
            ["--task.shots", "1"] if shown and name != "solve" and "suite" not in command else []
        )  # the nano model's context is short
    assert main([name, *words]) == 0, capsys.readouterr().err
    if name == "solve" or (name == "eval" and not words[0].startswith("-")):
        assert "cost" in capsys.readouterr().out


def blocks() -> list:
    """Every Python block of the documents."""
    # which shows shapes, not programs
    return [
        pytest.param(path, text, id=f"{path.stem}-{i}")
        for path in PAGES
        if path.name not in (*MEASURED, "design.md")
        for i, text in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(), re.S))
    ]


@pytest.mark.parametrize("path, text", blocks())
def test_documented_python_runs(path, text, world, model, api, capsys):
    """As printed, but for the model (nano), the API's address and the sizes."""
    for old, new in (
        ("smollm2-135m", model),
        ("https://HOST/v1", api),
        ('"runs/api-cache"', '"api-cache"'),
        ("rounds=5", "rounds=1"),
        ('task="arithmetic"', 'task="mytask.py", test=2, gate=2, max_tokens=4'),
        ("limit=100", "limit=2"),
        ("arithmetic(terms=3)", "arithmetic(terms=3, shots=1)"),
    ):
        text = text.replace(old, new)
    module = f"block_{path.stem.replace('-', '_')}"
    sys.modules[module] = type(sys)(module)  # dataclasses look up the module of a class
    names = vars(sys.modules[module])
    exec(text, names)
    if path.stem == "own-method" and "mymethod" in names:
        assert names["mymethod"]().scores
    if path.stem == "own-reward":
        assert list(names.get("myreward", lambda *a, **k: [1.0])(["p"], ["4"], answer=["4"])) == [1.0]
    if path.stem == "own-task" and "mytask" in names:
        task = names["mytask"]()
        problem = next(task.problems("test", 0))
        assert task.check(None, problem, f"It is {problem.answer}") and not task.check(None, problem, "0")
        assert len(text.strip().splitlines()) <= 20


def test_the_readmes_task_is_ten_to_fifteen_lines_and_runs(world, model):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    (task,) = [block for block in blocks if "surpass.Task" in block]
    lines = [line for line in task.strip().splitlines() if line.strip()]
    assert 10 <= len(lines) - lines.index("@dataclass(frozen=True)") <= 15
    (world / "readme_task.py").write_text(task)
    assert (
        main(
            [
                "eval",
                "grpo",
                "--task",
                "readme_task.py",
                "--model",
                model,
                "--limit",
                "2",
                "--max-tokens",
                "4",
            ]
        )
        == 0
    )


def test_catalogue_is_up_to_date():
    assert (ROOT / "docs" / "catalogue.md").read_text() == catalogue(), "run: make catalogue"
    assert all(f"## {name}\n" in catalogue() for name in method_names())


def test_heads_join_continued_lines():
    title, found = heads("T: a title\n(2020).\n\nIdea     one\n         two\nWorks    x\n")
    assert title == "T: a title (2020)."
    assert found == {"Idea": "one two", "Works": "x"}


def test_files_and_tests_that_documents_name_exist():
    named = set()
    for path in PAGES:
        text = path.read_text()
        named |= set(re.findall(r"`?((?:tests|docs|bench|examples)/[\w/]+\.(?:py|md))`?", text))
        named |= {
            str((path.parent / link).resolve().relative_to(ROOT))
            for link in re.findall(r"\]\(([\w./-]+\.md)\)", text)
        }
    assert named
    missing = sorted(name for name in named if not (ROOT / name).exists())
    assert not missing


def test_the_readmes_folders_are_those_that_exist():
    tree = (ROOT / "README.md").read_text().partition("## How it is built")[2].split("```")[1]
    shown = re.findall(r"^( *)([\w/]+)/ ", tree.replace("src/surpass/\n", "src/surpass/ \n"), re.M)
    inner = {name for indent, name in shown if indent}
    folders = {path.parent.name for path in (ROOT / "src" / "surpass").glob("*/*") if path.suffix != ".pyc"}
    assert inner == folders - {"__pycache__"}
    outer = {name for indent, name in shown if not indent}
    assert outer == {"src/surpass", "bench", "docs", "examples", "tests"}
    assert all((ROOT / name).is_dir() for name in outer)


def glossary() -> list[str]:
    """The words of the glossary's first column."""
    text = (ROOT / "docs" / "concepts.md").read_text().partition("## Glossary")[2]
    cells = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
    return [word for cell in cells if cell not in ("word", "---") for word in cell.strip("`").split(", ")]


@cache
def outside_the_glossary() -> list[str]:
    """All text but the glossary's page."""
    pages = [path for path in PAGES if path.name != "concepts.md"]
    return [path.read_text() for path in [*pages, *(ROOT / "src").rglob("*.py")]]


@pytest.mark.parametrize("word", glossary())
def test_a_word_of_the_glossary_is_used(word):
    assert any(re.search(rf"(?<!\w){re.escape(word)}s?(?!\w)", text, re.I) for text in outside_the_glossary())


def test_the_glossary_has_each_word_once():
    assert len(glossary()) == len(set(glossary())) >= 50


def reference() -> dict[str, list[str]]:
    """The objects that each page of the Python reference shows, by their dotted names."""
    pages = (ROOT / "docs").glob("api*.md")
    return {path.name: re.findall(r"^::: (\S+)", path.read_text(), re.M) for path in pages}


def found(name: str) -> object:
    """The object of a dotted name."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("name", [name for names in reference().values() for name in names])
def test_what_the_reference_shows_exists(name):
    assert (inspect.getdoc(found(name)) or "").strip()


@pytest.mark.parametrize(
    "folder",
    "curricula searches rewards advantages selectors objectives learners measures tasks engines".split(),
)
def test_the_reference_shows_every_part(folder):
    package = importlib.import_module(f"surpass.{folder}")
    shown = {name for names in reference().values() for name in names}
    wanted = {name: getattr(package, name) for name in package.__all__}
    objects = {name: value for name, value in wanted.items() if callable(value)}
    assert objects
    missing = {
        name
        for name, value in objects.items()
        if not any(found(n) is value for n in shown if n.endswith(name))
    }
    assert not missing


def test_the_reference_shows_all_that_surpass_exports():
    shown = {name for names in reference().values() for name in names}
    objects = [found(name) for name in shown]
    assert all(any(getattr(surpass, name) is value for value in objects) for name in surpass.__all__)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_python_in_documents_has_the_layout_of_the_code(path, tmp_path):
    if path.name == "design.md":  # which shows shapes, not programs
        return
    for i, text in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(), re.S)):
        (tmp_path / f"{i}.py").write_text(text)
    if list(tmp_path.glob("*.py")):
        ruff = [sys.executable, "-m", "ruff", "format", "--diff", "--config", str(ROOT / "pyproject.toml")]
        done = subprocess.run([*ruff, str(tmp_path)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_one_version_stands_everywhere():
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.M)
    assert cited and cited[1] == surpass.__version__
    assert f"\n## {surpass.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    ruff = re.search(r"^ruff==(.+)$", (ROOT / "constraints.txt").read_text(), re.M)
    hooks = re.findall(r"ruff==([\d.]+)", (ROOT / ".pre-commit-config.yaml").read_text())
    assert ruff and hooks and set(hooks) == {ruff[1]}


def test_pictures_exist_and_are_small():
    for path in PAGES:
        for link in re.findall(r"!\[[^]]+\]\(([^)]+)\)", path.read_text()):
            assert (path.parent / link).stat().st_size < 200_000
