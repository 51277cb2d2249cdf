"""Messages in parts, and whose tokens are read by whom."""

from __future__ import annotations

import dataclasses

import pytest

from surpass.engines import ScriptedEngine
from surpass.errors import SurpassError, UnmetNeed
from surpass.loop import evaluate
from surpass.methods.best_of_n import best_of_n
from surpass.models import Models
from surpass.types import Problem, Tree
from tiny import copy_letter

TEXT = {"type": "text", "text": "What is this?"}
IMAGE = {"type": "image", "image": "a.png"}


def opened(models, content):
    tree = Tree(Problem("p", ({"role": "user", "content": content},)))
    root = models.open("policy", tree, tree.problem.prompt)
    models.tell("policy", tree, root, {"role": "user", "content": content})
    return tree


def test_parts_of_text_are_lines_of_one_text():
    models = Models(policy=ScriptedEngine(lambda text, key: "a"))
    parts, whole = (
        opened(models, [TEXT, {"type": "text", "text": "Say it."}]),
        opened(models, "What is this?\nSay it."),
    )
    assert parts.tokens.tolist() == whole.tokens.tolist() and parts.said == whole.said
    assert parts.problem.asks == whole.problem.asks == "What is this?\nSay it."


@pytest.mark.parametrize("part", [{"type": "video"}, {"type": "text"}, "text", {"text": "no type"}, None])
def test_other_parts_are_refused(part):
    models = Models(policy=ScriptedEngine(lambda text, key: "a"))
    with pytest.raises(SurpassError, match="the parts of a message are"):
        opened(models, [TEXT, part])


def test_an_image_is_refused_by_an_engine_that_reads_text_alone():
    models = Models(policy=ScriptedEngine(lambda text, key: "a"))
    with pytest.raises(
        UnmetNeed, match=r'"policy" was shown an image.*scripted.*text alone; it can: text, tokens'
    ):
        opened(models, [TEXT, IMAGE])


def test_an_engine_that_sees_is_given_the_parts_as_they_are():
    class Seeing(ScriptedEngine):
        can = frozenset({"text", "tokens", "images"})

    engine = Seeing(lambda text, key: "a")
    heard = []
    engine.text.open = lambda messages: heard.append(messages) or [1]
    models, tree = Models(policy=engine), Tree(Problem("p", ""))
    models.open("policy", tree, [{"role": "user", "content": [TEXT, IMAGE]}])
    assert heard == [[{"role": "user", "content": [TEXT, IMAGE]}]]


def test_a_task_with_images_is_refused_before_the_first_token():
    @dataclasses.dataclass(frozen=True)
    class pictures(copy_letter):
        needs = frozenset({"images"})

    asked = []
    models = Models(policy=ScriptedEngine(lambda text, key: asked.append(text) or "a"))
    with pytest.raises(UnmetNeed, match='pictures needs pictures, which the model of "policy"'):
        models.run(evaluate(best_of_n(2, "check"), pictures(), models))
    assert not asked
