"""docs/catalogue.md, made from the heads of the method files: python -m surpass.catalogue >
docs/catalogue.md
"""

from __future__ import annotations

import importlib
import pkgutil
import re

import surpass.methods

HEADS = tuple("Idea Search Score Trust Credit Select Choose Loss Needs Before Differs Works".split())
_HEAD = re.compile(rf"^({'|'.join(HEADS)})\s+(.*)$")


def heads(doc: str) -> tuple[str, dict[str, str]]:
    """(title, {head: text}) of a method file's docstring; indented lines belong to the head above them."""
    title, _, rest = doc.strip().partition("\n\n")
    found: dict[str, str] = {}
    current = None
    for line in rest.split("\n"):
        match = _HEAD.match(line)
        if match:
            current = match[1]
            found[current] = match[2].strip()
        elif current and line.strip():
            found[current] += " " + line.strip()
    return " ".join(title.split()), found


def catalogue() -> str:
    """The page, one section a method."""
    names = sorted(module.name for module in pkgutil.iter_modules(surpass.methods.__path__))
    lines = [
        "# Methods",
        "",
        "Made from the method files by `python -m surpass.catalogue > docs/catalogue.md`.",
    ]
    lines += ["`Differs` says where a file is not the paper; `Works` names the test that shows it.", ""]
    for name in names:
        title, found = heads(importlib.import_module(f"surpass.methods.{name}").__doc__ or "")
        lines += [f"## {name}", "", title, "", "| | |", "|---|---|"]
        lines += [f"| {head} | {text.replace('|', chr(92) + '|')} |" for head, text in found.items()]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    print(catalogue(), end="")
