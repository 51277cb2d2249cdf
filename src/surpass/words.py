"""A tree's turns as text, and who can read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from surpass import answers
from surpass.errors import SurpassError, UnmetNeed
from surpass.types import FAILED, Tree

_TAIL = 32  # tokens of a prompt that hold the mark with which a template begins a thought


def turn(tree: Tree, node: int, since: int | None) -> tuple[int, list[int]]:
    """(the node before a turn, -1 for none; the turn's nodes): those after the ancestor `since`, by default
    the trailing ones of one author.
    """
    path = tree.path(node)
    if since is None:
        first = len(path) - 1
        while first > 0 and tree.author[path[first - 1]] == tree.author[node]:
            first -= 1
    else:
        first = path.index(since) + 1 if since >= 0 else 0
    stop = tree.stop
    nodes = [i for i in path[first:] if stop[i] != FAILED]  # the text of one that failed is why
    return path[first - 1] if first else -1, nodes


def begun(text: Any, tree: Tree, before: int) -> str:
    """The mark (<think>) with which the node before a turn begins a thought; "" for none."""
    return answers.opening(text.decode(tree.own(before)[-_TAIL:])) if before >= 0 else ""


def decoded(text: Any, tree: Tree, nodes: Sequence[int]) -> str:
    """The nodes' text, decoded from whole tokens, never joined from pieces; a server's own if it gave it."""
    if nodes and all(tree.text[i] is not None for i in nodes):
        return "".join(str(tree.text[i]) for i in nodes)
    return text.decode(np.concatenate([tree.own(i) for i in nodes]) if nodes else np.zeros(0, np.int32))


def heard(text: Any, tree: Tree, node: int) -> tuple[list[Mapping[str, Any]], np.ndarray, np.ndarray] | None:
    """(a context's messages, the tokens of the last of them, those of the answer to it); None where nobody
    noted the messages, or the engine has no template.
    """
    path = tree.path(node)
    if not (hasattr(text, "follow") and text.chats and path[0] in tree.said):
        return None
    history, asked, drawn = list(tree.said[path[0]]), tree.own(path[0]), np.zeros(0, np.int32)
    for i in path[1:]:
        if i in tree.said:
            history += [text.said(asked, drawn), *tree.said[i]]
            asked, drawn = tree.own(i), np.zeros(0, np.int32)
        else:
            drawn = np.concatenate([drawn, tree.own(i)])
    return history, asked, drawn


def note_vocabulary(tree: Tree, root: int, role: str, text: Any) -> None:
    """Note on an opening whose tokens its context is written in."""
    if hasattr(text, "vocabulary"):
        tree.vocabulary[root] = role, text.vocabulary


def reader(tree: Tree, node: int, role: str, engine: Any) -> Any:
    """The role's engine; UnmetNeed where the context's tokens are those of another tokenizer."""
    wrote = tree.vocabulary.get(tree.path(node)[0]) if tree.vocabulary and node >= 0 else None
    if wrote is not None and wrote[1] != getattr(engine.text, "vocabulary", wrote[1]):
        raise UnmetNeed(
            f'the tokens of this context are those of "{wrote[0]}", and "{role}" ({engine.name}) has another '
            "tokenizer: to it they are other words. Open a context of its own (models.open) with the text"
        )
    return engine


def worded(messages: Any, role: str, engine: Any) -> Any:
    """The messages as this engine takes them. A content may be in parts, {"type": "text", "text": ...} and
    {"type": "image", ...}: an engine that `can` do images is given them as they are; to any other texts are
    lines of one text, and an image is an UnmetNeed.
    """
    if isinstance(messages, str) or "images" in engine.can:
        return messages
    if isinstance(messages, Mapping):
        return _without_parts(messages, role, engine)
    return [one if isinstance(one, str) else _without_parts(one, role, engine) for one in messages]


def _without_parts(message: Mapping[str, Any], role: str, engine: Any) -> Mapping[str, Any]:
    content = message.get("content")
    if not isinstance(content, (list, tuple)):
        return message
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "image":
            raise UnmetNeed(
                f'the role "{role}" was shown an image, and its engine ({engine.name}) reads text alone; '
                f"it can: {', '.join(sorted(engine.can))}"
            )
        if kind != "text" or not isinstance(part.get("text"), str):
            raise SurpassError(
                'the parts of a message are {"type": "text", "text": TEXT} or {"type": "image", ...}; found '
                f"{part!r:.80}"
            )
    return {**message, "content": "\n".join(part["text"] for part in content)}
