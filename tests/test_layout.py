"""Data flows from top to bottom: a part imports only from what stands above it; and files stay small."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import surpass

ROOT = Path(surpass.__file__).parent
ORDER = """
    errors answers verdicts shown files nofollow intact records lock hints means problem columns tree types
    tables budget verifier walls sandbox worlds protocols demands part_json parts prompts judging given flat
    unrolled engines serving words weights models tasks choose searches curricula rewards advantages
    selectors objectives learners measures gates needs identity states saved_weights store texts alarms
    result figures standing journal loop methods catalogue find report view forecast progress trackers
    sample solution starting threads api comparison comparing export options parsing resuming shell commands
    cli
""".split()
# modules imported by all of a level's files but standing outside the order
FILES = sorted(path for path in ROOT.rglob("*.py") if path.parent != ROOT or path.stem != "__init__")


def level(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> set[str]:
    """surpass modules imported when the file is: not inside functions, not for type checkers."""
    found = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("surpass"):
            rest = node.module.split(".")[1:]
            found |= {rest[0]} if rest else {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_upwards(path):
    if level(path) in ("assets",):
        return
    assert level(path) in ORDER, f"{path} has no place in the order"
    for name in imported(ast.parse(path.read_text())):
        assert ORDER.index(name) <= ORDER.index(level(path)), (
            f"{path.name} imports {name}, which stands below it"
        )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_small(path):
    assert len(path.read_text().splitlines()) <= 350


def test_every_method_file_is_one_function_of_its_name():
    for path in (ROOT / "methods").glob("[a-z]*.py"):
        functions = [
            node.name
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.FunctionDef) and node.name[0] != "_"
        ]
        assert functions == [path.stem]


def _body(path: Path) -> int:
    """Lines of a method's function and of the parts that its file defines."""
    nodes = [
        node for node in ast.parse(path.read_text()).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    ]
    return sum(
        node.end_lineno - min([node.lineno, *(d.lineno for d in node.decorator_list)]) + 1 for node in nodes
    )


def test_a_method_reads_as_its_papers_summary():
    sizes = sorted(_body(path) for path in (ROOT / "methods").glob("[a-z]*.py"))
    assert sizes[len(sizes) // 2] <= 35, "the median"


def _statements(node: ast.AST) -> list[ast.stmt]:
    body = getattr(node, "body", [])
    return body if isinstance(body, list) else []


def _names_in(tree: ast.Module) -> set[str]:
    """Identifiers, and strings that are code's: not docstrings, not a dataclass field's words about it."""
    prose = {
        id(statement.value)
        for node in ast.walk(tree)
        for statement in _statements(node)
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    }
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    found |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    found |= {
        word
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
        for word in re.findall(r"\w+", node.value)
    }
    return found


OWN = {"nft", "judge", "data", "question", "code", "suite", "rooms"}
"""Names that are an objective's, a role's or a variable's, too."""
ABOUT = {
    "measures/games.py": {"kuhn"},  # what is measured is that game
    "objectives/negative.py": {"grpo"},  # a weighting, by its paper's name
}


def test_nothing_in_the_core_names_a_method_or_a_task():
    """Up to the loop no identifier and no string is the name of a method or a task; prose may hold one."""
    from surpass import tasks

    methods = {path.stem for path in (ROOT / "methods").glob("[a-z]*.py")}
    names = (methods | set(tasks.TASKS)) - OWN
    for path in FILES:
        if level(path) in ("assets", "tasks") or ORDER.index(level(path)) > ORDER.index("loop"):
            continue
        used = _names_in(ast.parse(path.read_text())) & names - ABOUT.get(str(path.relative_to(ROOT)), set())
        assert not used, f"{path} names {used}"
