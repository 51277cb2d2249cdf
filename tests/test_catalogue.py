"""What method files say of themselves: heads that are known, a family and labels that are true, filters."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from surpass.catalogue import Described, catalogue, described, heads, names
from surpass.cli import main
from surpass.find import find_method
from surpass.parts import needs_of, to_json

PAGE = (Path(__file__).parent.parent / "docs" / "own-method.md").read_text()
EVERY = ("Family", "Labels", "Needs", "Differs", "Works")
TRUTHS = {
    "surpass.rewards.check": "verifier",
    "surpass.searches.prompts": "verifier",
    "surpass.searches.first_error": "verifier",
    "surpass.methods.search_self_play.Paid": "verifier",
    "surpass.searches.values.graded": "oracle",
    "surpass.rewards.preferred": "preferences",
    "surpass.rewards.outcome": "game",
    "surpass.searches.evolve": "trial",
}
"""The parts that ask a task for the truth. A label that none of them explains wants one more here."""


def documented(title: str) -> list[str]:
    """The words in the first column of the page's table with this title."""
    table = PAGE[PAGE.index(f"| {title} |") :].partition("\n\n")[0]
    return re.findall(r"^\| `([^`]+)` \|", table, re.M)


def parts(data: object) -> Iterator[str]:
    """The parts in a JSON configuration."""
    if isinstance(data, dict):
        yield from [data["part"]] if "part" in data else []
        data = list(data.values())
    for item in data if isinstance(data, list) else []:
        yield from parts(item)


def truths(name: str) -> set[str]:
    """What the training of a method asks the task for, with its default knobs."""
    method = find_method(name)()
    found = set(parts([to_json(getattr(method, some)) for some in ("search", "scores", "learn", "adapt")]))
    return {TRUTHS[part] for part in found & TRUTHS.keys()}


@pytest.mark.parametrize("name", names())
def test_every_head_is_known_and_the_ones_that_all_have_are_there(name):
    found = described(name).heads
    assert not set(found) - set(documented("head")), "a stray head: mend it, or document it in own-method.md"
    assert set(EVERY) <= set(found)


def test_every_documented_word_is_used_and_none_other():
    methods = [described(name) for name in names()]
    assert {head for method in methods for head in method.heads} == set(documented("head"))
    assert {word for method in methods for word in method.families} == set(documented("family"))
    assert {method.labels for method in methods} == set(documented("labels"))


@pytest.mark.parametrize("name", names())
def test_labels_are_what_the_parts_ask_for(name):
    method, said = find_method(name)(), described(name).labels
    assert {said} - {"none"} == truths(name)
    assert not (method.learn and method.gate.labels and said == "none"), "the gate compares with answers"


@pytest.mark.parametrize("name", names())
def test_inference_is_what_learns_nothing(name):
    method, families = find_method(name)(), described(name).families
    assert ("inference" in families) <= (not method.learn)
    assert method.learn or {"inference", "prompts and programs"} & set(families)


@pytest.mark.parametrize("name", names())
def test_what_the_engine_must_be_able_to_do_is_declared(name):
    """`Needs` may say more than the default knobs ask for, never that text is enough where training is."""
    method = find_method(name)()
    trains = any("train" in needs_of(learn.learner) for learn in method.learn)
    assert trains == ("train" in described(name).needs)


def test_any_capitalised_word_with_two_spaces_is_a_head():
    title, found = heads(
        "T: a title\n(2020).\n\nIdea     one\n         Two  words\nCurriculum  x\n         y\n"
    )
    assert title == "T: a title (2020)." and found == {"Idea": "one Two  words", "Curriculum": "x y"}


def test_a_row_says_the_first_clause():
    method = Described(
        "m",
        "M",
        {
            "Family": "search, preference",
            "Labels": "none; with by=x others",
            "Needs": 'engine "train", "value" (a copy, if no model plays "prm"); "logprobs" for x',
            "Works": "docs/claims.md. It rises (0.1 to 0.2; n=3), by half. Not shown: more.",
        },
    )
    assert method.families == ["search", "preference"] and method.labels == "none"
    assert method.needs == ["train", "value"]
    assert method.shown == "docs/claims.md: It rises (0.1 to 0.2; n=3), by half"


def test_the_page_is_a_table_first():
    table, _, entries = catalogue().partition("\n## ")
    assert all(f"| [{name}](#{name}) |" in table and f"## {name}\n" in "\n## " + entries for name in names())


def listed(capsys, *words: str) -> list[dict]:
    assert main(["methods", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_methods_are_filtered(capsys):
    everything = listed(capsys)
    assert [method["name"] for method in everything] == names()
    assert {"name", "title", "family", "labels", "needs", "shown", "heads"} == set(everything[0])
    some = listed(capsys, "--family", "search", "--labels", "none")
    assert {"tree_sharpen", "tree_vote"} <= {method["name"] for method in some}
    assert all("search" in method["family"] and method["labels"] == "none" for method in some)
    assert listed(capsys, "--family=policy-gradient") == listed(capsys, "--family", "policy gradient") != []
    assert listed(capsys, "--family", "imitation", "--labels", "none") == []
    assert main(["methods", "--family", "imitation"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("star ") for line in lines) and not any(
        line.startswith("grpo ") for line in lines
    )


@pytest.mark.parametrize(
    "words, message",
    [
        (["--family", "serch"], "did you mean search?"),
        (["--labels", "non"], "did you mean none?"),
        (["--family"], "usage: surpass methods"),
        (["grpo"], "usage: surpass methods"),
    ],
)
def test_wrong_filters_are_one_message(words, message, capsys):
    assert main(["methods", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_listing_methods_loads_no_model_library():
    program = (
        "import sys; from surpass.cli import main; main(['methods']); "
        "print([name for name in ('torch', 'transformers', 'tyro') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
