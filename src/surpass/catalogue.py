"""The methods by their files' docstrings, read without importing them, and docs/catalogue.md made of these:
python -m surpass.catalogue > docs/catalogue.md
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "methods"
_HEAD = re.compile(r"([A-Z]\w*) {2,}(\S.*)")
_SOURCE = re.compile(r"(?:docs|tests)/[\w/]+\.\w+")


def names() -> list[str]:
    """Every method: the files in surpass/methods."""
    return sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))


def heads(doc: str) -> tuple[str, dict[str, str]]:
    """(title, {head: text}) of a method file's docstring. A head is a capitalised word at the start of a line
    with two or more spaces after it; indented lines belong to the head above them.
    """
    title, _, rest = doc.strip().partition("\n\n")
    found: dict[str, str] = {}
    current = None
    for line in rest.split("\n"):
        if match := _HEAD.match(line):
            current = match[1]
            found[current] = match[2].strip()
        elif current and line.strip():
            found[current] += " " + line.strip()
    return " ".join(title.split()), found


@dataclass(frozen=True)
class Described:
    """A method as its file describes it."""

    name: str
    title: str
    heads: dict[str, str]

    @property
    def families(self) -> list[str]:
        """What kind of method it is: one or several, the most telling first."""
        return _clauses(self.heads["Family"])[0].split(", ")

    @property
    def labels(self) -> str:
        """The truth that training rests on, in a word: none, verifier, ..."""
        return _clauses(self.heads["Labels"])[0]

    @property
    def needs(self) -> list[str]:
        """What the engine must be able to do; nothing where text is enough."""
        first = re.sub(r"\([^)]*\)", "", _clauses(self.heads["Needs"])[0])
        return re.findall(r'"(\w+)"', first) if first.startswith("engine") else []

    @property
    def shown(self) -> str:
        """The first thing that is said to be shown, with where it stands."""
        clauses = _clauses(self.heads["Works"])
        return ": ".join(clauses[:2]) if _SOURCE.fullmatch(clauses[0]) else clauses[0]

    def as_dict(self) -> dict[str, Any]:
        """The row of the catalogue's table, and all heads."""
        return {
            "name": self.name,
            "title": self.title,
            "family": self.families,
            "labels": self.labels,
            "needs": self.needs,
            "shown": self.shown,
            "heads": self.heads,
        }


def _clauses(text: str) -> list[str]:
    """What stands between semicolons and full stops outside parentheses."""
    found, depth = [""], 0
    for at, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0 and letter in ";." and text[at + 1 : at + 2] in ("", " "):
            found.append("")
        else:
            found[-1] += letter
    return [clause.strip() for clause in found if clause.strip()]


def described(name: str) -> Described:
    """The method of a file in surpass/methods."""
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    return Described(name, *heads(ast.get_docstring(ast.parse(text)) or ""))


def catalogue() -> str:
    """The page: a table with a row for every method, then an entry for each."""
    methods = [described(name) for name in names()]
    lines = [
        "# Methods",
        "",
        "Made from the method files by `python -m surpass.catalogue > docs/catalogue.md`.",
        "`Differs` says where a file is not the paper; `Works` names the test that shows it, and what is not "
        "shown. `surpass methods --family F --labels L` filters this table; "
        "[a method of your own](own-method.md) says what each head and word means.",
        "",
        "| method | family | labels | engine | what was shown (the first finding) |",
        "|---|---|---|---|---|",
    ]
    for method in methods:
        cells = [", ".join(method.families), method.labels, ", ".join(method.needs) or "text", method.shown]
        lines.append(f"| [{method.name}](#{method.name}) | {' | '.join(map(_cell, cells))} |")
    lines.append("")
    for method in methods:
        lines += [f"## {method.name}", "", method.title, "", "| | |", "|---|---|"]
        lines += [f"| {head} | {_cell(text)} |" for head, text in method.heads.items()]
        lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(catalogue(), end="")
