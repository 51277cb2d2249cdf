"""What trees say, token by token: for people, not for computing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from surpass.types import Tree

if TYPE_CHECKING:
    from surpass.models import Models


def node_texts(
    models: Models, trees: Sequence[Tree], role: str = "policy"
) -> list[dict[int, str | list[str]]]:
    """Each tree's {node: text}: one piece a token; whole where the engine gave text and no tokens."""
    text = models.engine(role if role in models.engines else next(iter(models.engines))).text
    known: dict[int, str] = {}
    return [
        {
            i: str(said) if said is not None else pieces(text.decode, tree.own(i).tolist(), known)
            for i, said in enumerate(tree.text)
        }
        for tree in trees
    ]


def pieces(
    decode: Callable[[Sequence[int]], str], tokens: Sequence[int], known: dict[int, str] | None = None
) -> list[str] | str:
    """One text a token; joined they are `decode(tokens)`. Special tokens are "", and so are all but the last
    of the tokens that make up one character. The whole text, if the decoder edits it so that no pieces join
    to it. `known` keeps the texts of single tokens from one call to the next.
    """
    known = {} if known is None else known
    if not len(tokens):
        return []
    whole = decode(tokens)
    alone = [known[t] if t in known else known.setdefault(t, decode([t])) for t in tokens]
    if "".join(alone) == whole:
        return alone
    # a token's text may depend on the one before it (spaces), or need the ones after it (bytes)
    found, begin, read = [], 0, 0
    for i in range(len(tokens)):
        before, now = decode(tokens[begin:read]), decode(tokens[begin : i + 1])
        if len(now) > len(before) and not now.endswith("\ufffd"):
            found.append(now[len(before) :])
            begin, read = read, i + 1
        else:
            found.append("")
    rest = whole.removeprefix("".join(found))
    if found and whole == "".join(found) + rest:
        return [*found[:-1], found[-1] + rest]
    return whole
