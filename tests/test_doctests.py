"""The examples in docstrings run and give what stands below them."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

import surpass

ROOT = Path(surpass.__file__).parent
PROMPT = re.compile(r"^\s*>>> ", re.M)
WRITTEN = {
    ".".join(("surpass", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): count
    for path in sorted(ROOT.rglob("*.py"))
    if "assets" not in path.relative_to(ROOT).parts and (count := len(PROMPT.findall(path.read_text())))
}
"""How many examples each module holds."""


def test_some_docstrings_hold_examples():
    assert sum(WRITTEN.values()) >= 12


@pytest.mark.parametrize("name", WRITTEN)
def test_examples_give_what_they_say(name):
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("surpass"):
            raise
        pytest.skip(f"{name} needs the package {error.name}, which is not installed")
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module):
        runner.run(test, out=said.append)
    assert runner.failures == 0, "".join(said)
    assert runner.tries == WRITTEN[name], "an example stands where doctest does not look"
