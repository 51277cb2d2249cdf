"""Attempts to read: a problem's prompt, and its tree of answers with what each was worth."""

from __future__ import annotations

import functools
import html
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from surpass.report.words import plain, some
from surpass.types import DONE, FAILED, INVALID, LENGTH, OPEN, Tree

LONG = 700  # characters above which a text scrolls in its own frame
MOST_TEXT = 6000  # characters of one node
MOST_PROBLEM = 40_000  # characters of one problem's attempts, tags included
MOST_EARLIER = 1500  # characters of one earlier turn of a prompt
MOST_TURNS = 12  # earlier turns of a prompt
MOST_ASIDES = 8  # nodes aside, per box
MOST_ASIDE = 600  # characters of one
MOST_CELLS = 64  # attempts in the strip beside a problem's title
_ENDS = {LENGTH: "cut off at its limit of tokens", INVALID: "not accepted by the task", FAILED: "failed"}


def problem(tree: Tree, score: str | None, texts: Mapping[str, Any], span: tuple[float, float], opened: bool) -> str:
    """One problem, folded unless `opened`: its prompt, its right answer and every attempt.

    `texts` is the text of nodes that hold none themselves; `span` the least and greatest reward on the page.
    """
    view = _View(tree, score, texts, span)
    leaves = tree.leaves()
    cells = "".join(f'<i style="--v:{view.share(view.values[leaf]):.0f}%"></i>' for leaf in leaves[:MOST_CELLS])
    value, n = _mean(view.values.values()), some(len(leaves), "attempt")
    unknown = sum(not math.isfinite(v) for v in view.values.values())
    words = (
        f"{n}, mean reward {plain(value)}{f', {unknown} not judged' if unknown else ''}"
        if math.isfinite(value)
        else f"{n}, not judged"
    )
    return (
        f'<details class="problem"{" open" if opened else ""}><summary><span class="asked">{_escape(_title(tree), 160)}</span>'
        f'<span class="sum"><span class="cells" aria-hidden="true">{cells}</span>{words}</span></summary>'
        f'<div class="inside">{_prompt(tree)}{view.attempts()}</div></details>'
    )


def score_name(about: Mapping[str, Any], trees: Sequence[Tree]) -> str | None:
    """The score that is learnt from: "reward", or the method's first; without its method, a column of leaves."""
    method = about.get("method")
    scores = method.get("scores") if isinstance(method, Mapping) else None
    scores = scores if isinstance(scores, Mapping) else None
    axes = {name: column.axis for tree in trees for name, column in tree.columns.items()}
    leaves = sorted(name for name, axis in axes.items() if axis == "leaf")
    return next((name for name in ["reward", *(scores or {}), *leaves] if axes.get(name) in ("leaf", "node")), None)


def leaf_values(tree: Tree, score: str | None) -> dict[int, float]:
    """The reward of every leaf; nan where it was not judged. Of a score of nodes: the last one of the attempt."""
    leaves = tree.leaves()
    column = tree.get(score) if score is not None and tree.has(score) else None
    if column is None or column.axis not in ("leaf", "node") or np.ndim(column.values) != 1:
        return dict.fromkeys(leaves, math.nan)
    values = np.asarray(column.values, float)
    if column.axis == "leaf":
        return dict(zip(leaves, values.tolist(), strict=True))
    return {
        leaf: next((float(values[i]) for i in reversed(tree.attempt(leaf)) if not np.isnan(values[i])), math.nan)
        for leaf in leaves
    }


def said(text: str | Sequence[str] | None) -> str | None:
    """A node's text from its pieces, or as it is."""
    return text if text is None or isinstance(text, str) else "".join(text)


def _mean(values) -> float:
    """The mean of what is known; nan where nothing is."""
    known = [v for v in values if math.isfinite(v)]
    return sum(known) / len(known) if known else math.nan


def _plain_text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, default=str)


def _escape(content: Any, most: int = MOST_TEXT) -> str:
    """Text safe to stand in an element, cut to `most` characters."""
    text = _plain_text(content)
    rest = len(text) - most
    return html.escape(text[:most], quote=False) + (f"<em> … {rest:,} more characters</em>" if rest > 0 else "")


def _framed(text: str, kind: str, name: str, most: int = MOST_TEXT) -> str:
    """A text as it is, in a frame that scrolls, by keyboard too, where it is long."""
    scrolls = f' tabindex="0" role="region" aria-label="{name}"' if len(text) > LONG or text.count("\n") > 18 else ""
    return f'<pre class="{kind}"{scrolls}>{_escape(text, most)}</pre>'


def _named(who: str) -> str:
    return f'<p class="who">{_escape(who, 60)}</p>' if who else ""


def _turns(tree: Tree) -> list[tuple[str, str]]:
    """The prompt as (who, what) turns, at least one."""
    prompt = tree.problem.prompt
    if isinstance(prompt, str):
        return [("", prompt)]
    return [(str(turn.get("role", "")), _plain_text(turn.get("content", ""))) for turn in prompt] or [("", "")]


def _title(tree: Tree) -> str:
    return " ".join(_turns(tree)[-1][1].split()) or tree.problem.id


def _prompt(tree: Tree) -> str:
    """The last turn of the prompt, the earlier ones folded, and the answer the task holds to be right."""
    *earlier, (_, text) = _turns(tree)
    parts, n = [], len(earlier)
    if earlier:
        turns = "".join(_named(who) + _framed(what, "said", "earlier turn", MOST_EARLIER) for who, what in earlier[-MOST_TURNS:])
        left = f'<p class="note">The first {n - MOST_TURNS} are left out.</p>' if n > MOST_TURNS else ""
        parts.append(f"<details><summary>{some(n, 'earlier turn')} of the prompt</summary>{left}{turns}</details>")
    if len(text) > 120 or "\n" in text:
        parts.append(_named("Prompt") + _framed(text, "said", "prompt"))
    if tree.problem.answer is not None:
        parts.append(f'<p class="who">Right answer <b>{_escape(tree.problem.answer, 400)}</b></p>')
    return "".join(parts)


@dataclass
class _View:
    """One tree as nested lists: nodes that follow one another stand in one box, branches below it, indented."""

    tree: Tree
    score: str | None
    texts: Mapping[str, Any]
    span: tuple[float, float]

    @functools.cached_property
    def values(self) -> dict[int, float]:
        """The reward of every leaf."""
        return leaf_values(self.tree, self.score)

    @functools.cached_property
    def others(self) -> dict[int, list[str]]:
        """What the other columns say of every leaf."""
        columns = {name: c.values for name, c in sorted(self.tree.columns.items()) if c.axis == "leaf" and c.values.ndim == 1}
        columns.pop(self.score or "", None)
        leaves = self.tree.leaves()
        return {leaf: [f"{name} {plain(float(v[i]))}" for name, v in columns.items()] for i, leaf in enumerate(leaves)}

    @functools.cached_property
    def children(self) -> dict[int, list[int]]:
        """The nodes that go on from each node; where a context was rebuilt, from the node it answers."""
        found: dict[int, list[int]] = {}
        for node, before in enumerate(self.before):
            if not self.tree.aside[node]:
                found.setdefault(before, []).append(node)
        return found

    @functools.cached_property
    def before(self) -> list[int]:
        """The node that each one goes on from."""
        return [p if p >= 0 else c for p, c in zip(self.tree.parent.tolist(), self.tree.cause.tolist(), strict=True)]

    @functools.cached_property
    def asides(self) -> dict[int, list[int]]:
        """What was said aside (a judge's verdict, a discarded draft), by the node of the attempt it is about."""
        found: dict[int, list[int]] = {}
        for node in (i for i, aside in enumerate(self.tree.aside) if aside):
            about = self.before[node]
            while about >= 0 and self.tree.aside[about]:
                about = self.before[about]
            found.setdefault(about, []).append(node)
        return found

    @functools.cached_property
    def below(self) -> dict[int, list[float]]:
        """The rewards of the leaves at or below each node."""
        found: dict[int, list[float]] = {}
        for node in reversed(range(len(self.tree))):
            after = self.children.get(node)
            found[node] = [v for c in after for v in found[c]] if after else [self.values.get(node, math.nan)]
        return found

    def share(self, value: float) -> float:
        """How much of a cell a reward fills, in percent."""
        low, high = self.span
        return 100 * (value - low) / (high - low) if math.isfinite(value) and high > low else 0.0

    def attempts(self) -> str:
        """All boxes, as far as the page has room for them."""
        starts, hidden_start = self.children.get(-1, []), []
        if len(starts) == 1 and np.isnan(self.tree.drawn(starts[0])[0]).all() and self.tree.stop[starts[0]] != FAILED:
            hidden_start, starts = starts, self.children.get(starts[0], [])  # the opening repeats the prompt
        flat = all(len(self._chain(node)[1]) == 0 for node in starts)
        parts, size, hidden = [f'<ul class="{"flat" if flat else "branching"}">'], 0, 0
        waiting: list[int | str] = ["</ul>", *reversed(starts)]
        while waiting:
            item = waiting.pop()
            if isinstance(item, str):
                parts.append(item)
            elif size > MOST_PROBLEM:
                hidden += len(self.below[item])
            else:
                chain, branches = self._chain(item)
                box = self._box(chain, bool(branches))
                size += len(box)
                parts += ["<li>", box, "<ul>" if branches else ""]
                waiting += ["</ul></li>" if branches else "</li>", *reversed(branches)]
        note = f'<p class="note">{hidden} more attempts are left out to keep this page small.</p>' if hidden else ""
        return "".join(parts) + note + self._said_aside([-1, *hidden_start])

    def _chain(self, node: int) -> tuple[list[int], list[int]]:
        """(the nodes that follow one another from `node`, what branches off the last one)."""
        chain = [node]
        while len(self.children.get(chain[-1], [])) == 1:
            chain += self.children[chain[-1]]
        return chain, self.children.get(chain[-1], [])

    def _box(self, chain: Sequence[int], stem: bool) -> str:
        """The texts of a chain, and the reward of the attempt it ends or, of a stem, the mean of those that go on from it."""
        last, tree = chain[-1], self.tree
        facts = [some(sum(len(tree.own(node)) for node in chain), "token"), *([] if stem else self.others.get(last, []))]
        if int(tree.stop[last]) not in (OPEN, DONE):
            facts.append(_ENDS[int(tree.stop[last])])
        value, n = _mean(self.below[last]), len(self.below[last])
        words = f"mean {plain(value)} of {n}" if stem else f"reward {plain(value)}"
        worth = f'<i style="--v:{self.share(value):.0f}%"></i>{words}' if math.isfinite(value) else "not judged"
        speakers = [(who, list(nodes)) for who, nodes in itertools.groupby(chain, lambda node: tree.author[node])]
        share = max(400, MOST_TEXT // len(speakers))
        turns = "".join(self._turn(who if len(speakers) > 1 else "", nodes, share) for who, nodes in speakers)
        turns += self._said_aside(chain)
        facts_line = f'<p class="facts"><span class="worth">{worth}</span><span>{_escape(" · ".join(facts), 300)}</span></p>'
        return f'<div class="{"box stem" if stem else "box"}">{turns}{facts_line}</div>'

    def _said_aside(self, about: Sequence[int]) -> str:
        """What was said aside about some nodes, folded."""
        said = [node for one in about for node in self.asides.get(one, [])]
        words = "".join(self._turn(self.tree.author[node], [node], MOST_ASIDE) for node in said[:MOST_ASIDES])
        return f"<details><summary>{some(len(said), 'node')} aside</summary>{words}</details>" if said else ""

    def _turn(self, who: str, nodes: Sequence[int], most: int) -> str:
        """What one author said in one go, cut to `most` characters."""
        name = _named(who)
        texts = [said(self.texts.get(str(node))) if self.tree.text[node] is None else self.tree.text[node] for node in nodes]
        if any(text is None for text in texts):
            tokens = sum(len(self.tree.own(node)) for node in nodes)
            return f'{name}<p class="note">The text is not stored: {some(tokens, "token")}.</p>'
        text = "".join(str(text) for text in texts)
        return name + (_framed(text, "text", "attempt", most) if text.strip() else '<p class="note">Nothing was written.</p>')
