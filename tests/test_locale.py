"""Shells, locales and homes of strangers: files are UTF-8 whatever the locale, the terminal shows what it can, and nothing needs a home."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import surpass

ROOT = Path(surpass.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
TEXT = {"read_text", "write_text", "TextIOWrapper", "fdopen"}


def bare(call: ast.Call) -> bool:
    """Whether a call reads or writes text in the locale's encoding: no `encoding`, and no mode or option that makes it bytes."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id if isinstance(call.func, ast.Name) else ""
    given = {word.arg: word.value for word in call.keywords}
    words = [a.value for a in call.args if isinstance(a, ast.Constant)] + [
        v.value for v in given.values() if isinstance(v, ast.Constant)
    ]
    if "encoding" in given or any(isinstance(word, str) and "b" in word and len(word) <= 3 for word in words):
        return False
    if name in ("run", "Popen", "check_output", "check_call"):
        return any(isinstance(given.get(key), ast.Constant) and given[key].value for key in ("text", "universal_newlines"))
    if name == "open":
        of = call.func.value.id if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name) else ""
        builtin = isinstance(call.func, ast.Name) or of in ("io", "codecs", "gzip", "lzma", "bz2")
        mode = any(isinstance(word, str) and set(word) <= set("rwaxt+") for word in words)
        return builtin or (mode and of != "os")
    if name in ("TemporaryFile", "NamedTemporaryFile"):
        return any(isinstance(word, str) and set(word) <= set("rwaxt+") for word in words)  # bytes where no mode is given
    return name in TEXT


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_read_or_written_in_the_encoding_of_the_locale(path):
    lines = [node.lineno for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Call) and bare(node)]
    assert not lines, f'{path.name} lacks encoding="utf-8" in lines {lines}'


@pytest.mark.parametrize("line, found", [
    ("open('x')", True), ("open('x', 'w')", True), ("open(p, mode='a')", True), ("path.open('w')", True), ("path.read_text()", True),
    ("path.write_text('x')", True), ("subprocess.run(c, text=True)", True), ("subprocess.Popen(c, universal_newlines=True)", True),
    ("io.open(p)", True), ("NamedTemporaryFile('w')", True), ("gzip.open(p, 'rt')", True),
    ("open('x', 'rb')", False), ("open('x', encoding='utf-8')", False), ("path.open('wb')", False), ("os.open('x', flags)", False),
    ("subprocess.run(c)", False), ("models.open(role, tree, words)", False), ("text.open(messages)", False), ("grown.open()", False),
])  # fmt: skip
def test_the_rule_finds_what_it_is_for(line, found):
    assert bare(ast.parse(line).body[0].value) is found
