"""A run's folder that a test changes, and what a command says of it."""

from __future__ import annotations

import os
from pathlib import Path

from surpass.cli import main

SHORT = "--test 2 --gate 2 --problems 2 --n 2 --max-tokens 4 --every 1 --task.shots 0".split()


def contents(folder: Path) -> dict[str, bytes]:
    """What lies in a folder, by name, links as links."""
    return {
        str(p.relative_to(folder)): os.fsencode(os.readlink(p)) if p.is_symlink() else p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_symlink() or p.is_file()
    }


def refused(words: list[str], capsys, *says: str) -> None:
    """The command ends with code 2 and one message, which holds these words."""
    capsys.readouterr()
    code, error = main(words), capsys.readouterr().err
    lines = [line for line in error.splitlines() if line.startswith("surpass: ")]
    assert code == 2 and len(lines) == 1 and "Traceback" not in error, error
    assert all(word in lines[0] for word in says), lines[0]
