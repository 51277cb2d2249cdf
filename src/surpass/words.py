"""The turns of a tree as text, and which engines can read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from surpass import answers
from surpass.errors import SurpassError, UnmetNeed
from surpass.types import FAILED, Tree

_TAIL = 32  # the last tokens of a prompt, which hold the mark that opens a thought


def turn(tree: Tree, node: int, since: int | None) -> tuple[int, list[int]]:
    """(the node before a turn, or -1; the turn's nodes). The turn is all nodes after the ancestor `since`; by
    default the trailing nodes of one author.
    """
    path = tree.path(node)
    if since is None:
        first = len(path) - 1
        while first > 0 and tree.author[path[first - 1]] == tree.author[node]:
            first -= 1
    else:
        first = path.index(since) + 1 if since >= 0 else 0
    stop = tree.stop
    nodes = [i for i in path[first:] if stop[i] != FAILED]  # a failed node's text is its error
    return path[first - 1] if first else -1, nodes


def begun(text: Any, tree: Tree, before: int) -> str:
    """The mark (<think>) that the node before a turn opens a thought with; "" if there is none."""
    return answers.opening(text.decode(tree.own(before)[-_TAIL:])) if before >= 0 else ""


def decoded(text: Any, tree: Tree, nodes: Sequence[int]) -> str:
    """The nodes' text, decoded from all tokens at once, not piece by piece; a server's own if it sent one."""
    if nodes and all(tree.text[i] is not None for i in nodes):
        return "".join(str(tree.text[i]) for i in nodes)
    return text.decode(np.concatenate([tree.own(i) for i in nodes]) if nodes else np.zeros(0, np.int32))


def heard(text: Any, tree: Tree, node: int) -> tuple[list[Mapping[str, Any]], np.ndarray, np.ndarray] | None:
    """(a context's messages, the tokens of its last message, the tokens of the answer to it). None if nobody
    noted the messages or the engine has no template.
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
    """Note on an opening which role's tokenizer wrote its context."""
    if hasattr(text, "vocabulary"):
        tree.vocabulary[root] = role, text.vocabulary


def reader(tree: Tree, node: int, role: str, engine: Any) -> Any:
    """The role's engine. UnmetNeed if another tokenizer wrote this context."""
    wrote = tree.vocabulary.get(tree.path(node)[0]) if tree.vocabulary and node >= 0 else None
    if wrote is not None and wrote[1] != getattr(engine.text, "vocabulary", wrote[1]):
        raise UnmetNeed(
            f'the tokens of this context are those of "{wrote[0]}", and "{role}" ({engine.name}) has another '
            "tokenizer: it would read other words. Open a context of its own (models.open) with the text"
        )
    return engine


def worded(messages: Any, role: str, engine: Any) -> Any:
    """The messages as this engine takes them. Content may be a list of parts, {"type": "text", "text": ...}
    and {"type": "image", ...}. An engine that can read images gets them as they are. Any other gets the texts
    as lines of one text; an image then raises UnmetNeed.
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
