"""Everything that the project asks a part, a task or an engine for by name is declared where its protocol
is.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import surpass
from surpass import protocols, worlds

ROOT = Path(surpass.__file__).parent
FILES = sorted(path for path in ROOT.rglob("*.py") if "assets" not in path.parts)
PROTOCOLS = [
    kind
    for module in (worlds, protocols)
    for kind in vars(module).values()
    if isinstance(kind, type) and getattr(kind, "_is_protocol", False) and kind.__module__ == module.__name__
]
DECLARED = {name for kind in PROTOCOLS for name in {**vars(kind), **vars(kind).get("__annotations__", {})}}
FOREIGN = {
    "Python": "__file__ __module__ __name__ imag lineno reconfigure sqlite_errorcode queue _selector "
    "_is_protocol content items tolist",
    "torch and transformers": "_linear_pointwise backend_tokenizer chat_template dropout eos_token_id "
    "max_position_embeddings parameter_name quantization_config rope_type to_str config",
    "a module that surpass loaded": "_surpass_digest",
    "a task behind its veil": "_task",
}


def asked(source: str) -> set[str]:
    """The names that getattr and hasattr are given as strings."""
    return {
        node.args[1].value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("getattr", "hasattr")
        and isinstance(node.args[1], ast.Constant)
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_asked_for_by_name_is_declared(path):
    unknown = (
        asked(path.read_text()) - DECLARED - {name for names in FOREIGN.values() for name in names.split()}
    )
    assert not unknown, f"{path.name} asks for {unknown}: declare it as a hook (worlds.py, protocols.py)"


def test_the_walk_finds_what_it_looks_for():
    assert asked("getattr(part, 'hook', None); hasattr(x.y, 'other'); x.get('no')") == {"hook", "other"}


def test_no_hook_is_declared_that_nobody_asks_for():
    used = {
        node.attr
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    }.union(*(asked(path.read_text()) for path in FILES))
    hooks = {
        name
        for kind in PROTOCOLS
        if kind.__name__.endswith("Hooks")
        for name in {**vars(kind), **vars(kind).get("__annotations__", {})}
        if not name.startswith("_")
    }
    assert hooks and hooks <= used, hooks - used


def test_what_is_asked_for_stands_in_no_list_in_vain():
    found = set().union(*(asked(path.read_text()) for path in FILES))
    assert {name for names in FOREIGN.values() for name in names.split()} <= found
