"""Attempts to read: a problem's prompt, and its tree of answers with their rewards."""

from __future__ import annotations

import functools
import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from surpass.report.chart import share
from surpass.report.markup import Html, fill, joined
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


def problem(
    tree: Tree, score: str | None, texts: Mapping[str, Any], span: tuple[float, float], opened: bool
) -> Html:
    """One problem, folded unless `opened`: its prompt, its right answer and every attempt.

    `texts` is the text of nodes that hold none themselves; `span` the least and greatest reward on the page.
    """
    view = _View(tree, score, texts, span)
    leaves = tree.leaves()
    cells = joined(fill('<i class="{}"></i>', view.share(view.values[leaf])) for leaf in leaves[:MOST_CELLS])
    value, n = _mean(view.values.values()), some(len(leaves), "attempt")
    unknown = sum(not math.isfinite(v) for v in view.values.values())
    words = (
        f"{n}, mean reward {plain(value)}{f', {unknown} not judged' if unknown else ''}"
        if math.isfinite(value)
        else f"{n}, not judged"
    )
    return fill(
        '<details class="problem"{}><summary><span class="asked">{}</span>'
        '<span class="sum"><span class="cells" aria-hidden="true">{}</span>{}</span></summary>'
        '<div class="inside">{}{}</div></details>',
        Html(" open") if opened else "",
        _shortened(_title(tree), 160),
        cells,
        words,
        _prompt(tree),
        view.attempts(),
    )


def score_name(about: Mapping[str, Any], trees: Sequence[Tree]) -> str | None:
    """The score that is learnt from: "reward", or the method's first, or some column of leaves."""
    method = about.get("method")
    scores = method.get("scores") if isinstance(method, Mapping) else None
    scores = scores if isinstance(scores, Mapping) else None
    axes = {name: column.axis for tree in trees for name, column in tree.columns.items()}
    leaves = sorted(name for name, axis in axes.items() if axis == "leaf")
    return next(
        (name for name in ["reward", *(scores or {}), *leaves] if axes.get(name) in ("leaf", "node")), None
    )


def leaf_values(tree: Tree, score: str | None) -> dict[int, float]:
    """The reward of every leaf; nan where it was not judged. Of a score of nodes, an attempt's last value."""
    leaves = tree.leaves()
    column = tree.get(score) if score is not None and tree.has(score) else None
    if column is None or column.axis not in ("leaf", "node") or np.ndim(column.values) != 1:
        return dict.fromkeys(leaves, math.nan)
    values = np.asarray(column.values, float)
    if column.axis == "leaf":
        return dict(zip(leaves, values.tolist(), strict=True))
    return {
        leaf: next(
            (float(values[i]) for i in reversed(tree.attempt(leaf)) if not np.isnan(values[i])), math.nan
        )
        for leaf in leaves
    }


def said(text: str | Sequence[str] | None) -> str | None:
    """A node's text from its pieces, or as it is."""
    return text if text is None or isinstance(text, str) else "".join(text)


def _mean(values: Iterable[float]) -> float:
    """The mean of the known values; nan where there are none."""
    known = [v for v in values if math.isfinite(v)]
    return sum(known) / len(known) if known else math.nan


def _plain_text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, default=str)


def _shortened(content: Any, most: int = MOST_TEXT) -> Html:
    """Text for an element, cut to `most` characters."""
    text = _plain_text(content)
    rest = len(text) - most
    return fill("{}{}", text[:most], fill("<em> … {:,} more characters</em>", rest) if rest > 0 else "")


def _framed(text: str, kind: str, name: str, most: int = MOST_TEXT) -> Html:
    """A text unchanged; a long one in a frame that scrolls, also by keyboard."""
    long = len(text) > LONG or text.count("\n") > 18
    scrolls = fill(' tabindex="0" role="region" aria-label="{}"', name) if long else ""
    return fill('<pre class="{}"{}>{}</pre>', kind, scrolls, _shortened(text, most))


def _named(who: str) -> Html:
    return fill('<p class="who">{}</p>', _shortened(who, 60)) if who else Html("")


def _turns(tree: Tree) -> list[tuple[str, str]]:
    """The prompt as (author, text) turns, at least one."""
    prompt = tree.problem.prompt
    if isinstance(prompt, str):
        return [("", prompt)]
    return [(str(turn.get("role", "")), _plain_text(turn.get("content", ""))) for turn in prompt] or [
        ("", "")
    ]


def _title(tree: Tree) -> str:
    return " ".join(_turns(tree)[-1][1].split()) or tree.problem.id


def _prompt(tree: Tree) -> Html:
    """The last turn of the prompt, the earlier ones folded, and the task's right answer."""
    *earlier, (_, text) = _turns(tree)
    parts, n = [], len(earlier)
    if earlier:
        turns = [
            part
            for who, what in earlier[-MOST_TURNS:]
            for part in (_named(who), _framed(what, "said", "earlier turn", MOST_EARLIER))
        ]
        left = (
            fill('<p class="note">The first {} are left out.</p>', n - MOST_TURNS) if n > MOST_TURNS else ""
        )
        folded = "<details><summary>{} of the prompt</summary>{}{}</details>"
        parts.append(fill(folded, some(n, "earlier turn"), left, joined(turns)))
    if len(text) > 120 or "\n" in text:
        parts += [_named("Prompt"), _framed(text, "said", "prompt")]
    if tree.problem.answer is not None:
        parts.append(fill('<p class="who">Right answer <b>{}</b></p>', _shortened(tree.problem.answer, 400)))
    return joined(parts)


@dataclass
class _View:
    """One tree as nested lists. Nodes in a row share a box; the branches after them are indented below it."""

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
        """The other columns of leaves, by leaf."""
        columns = {
            name: c.values
            for name, c in sorted(self.tree.columns.items())
            if c.axis == "leaf" and c.values.ndim == 1
        }
        columns.pop(self.score or "", None)
        leaves = self.tree.leaves()
        return {
            leaf: [f"{name} {plain(float(v[i]))}" for name, v in columns.items()]
            for i, leaf in enumerate(leaves)
        }

    @functools.cached_property
    def children(self) -> dict[int, list[int]]:
        """The nodes that follow each node. A rebuilt context follows the node that it answers."""
        found: dict[int, list[int]] = {}
        for node, before in enumerate(self.before):
            if not self.tree.aside[node]:
                found.setdefault(before, []).append(node)
        return found

    @functools.cached_property
    def before(self) -> list[int]:
        """The node that each node follows."""
        return [
            p if p >= 0 else c
            for p, c in zip(self.tree.parent.tolist(), self.tree.cause.tolist(), strict=True)
        ]

    @functools.cached_property
    def asides(self) -> dict[int, list[int]]:
        """What was said aside (a judge's verdict, a discarded draft), by the node that it is about."""
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

    def share(self, value: float) -> str:
        """The class that fills a cell in proportion to a reward."""
        low, high = self.span
        return share(100 * (value - low) / (high - low) if math.isfinite(value) and high > low else 0.0)

    def attempts(self) -> Html:
        """All boxes that the page has room for."""
        starts, hidden_start = self.children.get(-1, []), []
        if (
            len(starts) == 1
            and np.isnan(self.tree.drawn(starts[0])[0]).all()
            and self.tree.stop[starts[0]] != FAILED
        ):
            hidden_start, starts = starts, self.children.get(starts[0], [])  # the opening repeats the prompt
        flat = all(len(self._chain(node)[1]) == 0 for node in starts)
        parts, size, hidden = [fill('<ul class="{}">', "flat" if flat else "branching")], 0, 0
        waiting: list[int | Html] = [Html("</ul>"), *reversed(starts)]
        while waiting:
            item = waiting.pop()
            if isinstance(item, Html):
                parts.append(item)
            elif size > MOST_PROBLEM:
                hidden += len(self.below[item])
            else:
                chain, branches = self._chain(item)
                box = self._box(chain, bool(branches))
                size += len(box)
                parts += [Html("<li>"), box, Html("<ul>" if branches else "")]
                waiting += [Html("</ul></li>" if branches else "</li>"), *reversed(branches)]
        note = (
            fill('<p class="note">{} more attempts are left out to keep this page small.</p>', hidden)
            if hidden
            else ""
        )
        return joined([*parts, note, self._said_aside([-1, *hidden_start])])

    def _chain(self, node: int) -> tuple[list[int], list[int]]:
        """(nodes in a row from `node` on, the branches after the last of them)."""
        chain = [node]
        while len(self.children.get(chain[-1], [])) == 1:
            chain += self.children[chain[-1]]
        return chain, self.children.get(chain[-1], [])

    def _box(self, chain: Sequence[int], stem: bool) -> Html:
        """The texts of nodes in a row. If an attempt ends there its reward; else the mean reward of those
        that go on.
        """
        last, tree = chain[-1], self.tree
        facts = [
            some(sum(len(tree.own(node)) for node in chain), "token"),
            *([] if stem else self.others.get(last, [])),
        ]
        if int(tree.stop[last]) not in (OPEN, DONE):
            facts.append(_ENDS[int(tree.stop[last])])
        value, n = _mean(self.below[last]), len(self.below[last])
        words = f"mean {plain(value)} of {n}" if stem else f"reward {plain(value)}"
        worth = (
            fill('<i class="{}"></i>{}', self.share(value), words) if math.isfinite(value) else "not judged"
        )
        speakers = [
            (who, list(nodes)) for who, nodes in itertools.groupby(chain, lambda node: tree.author[node])
        ]
        most = max(400, MOST_TEXT // len(speakers))
        turns = [self._turn(who if len(speakers) > 1 else "", nodes, most) for who, nodes in speakers]
        line = fill(
            '<p class="facts"><span class="worth">{}</span><span>{}</span></p>',
            worth,
            _shortened(" · ".join(facts), 300),
        )
        return fill(
            '<div class="{}">{}</div>',
            "box stem" if stem else "box",
            joined([*turns, self._said_aside(chain), line]),
        )

    def _said_aside(self, about: Sequence[int]) -> Html:
        """The asides about some nodes, folded."""
        found = [node for one in about for node in self.asides.get(one, [])]
        words = joined(self._turn(self.tree.author[node], [node], MOST_ASIDE) for node in found[:MOST_ASIDES])
        folded = "<details><summary>{} aside</summary>{}</details>"
        return fill(folded, some(len(found), "node"), words) if found else Html("")

    def _turn(self, who: str, nodes: Sequence[int], most: int) -> Html:
        """One turn of one author, cut to `most` characters."""
        texts = [
            said(self.texts.get(str(node))) if self.tree.text[node] is None else self.tree.text[node]
            for node in nodes
        ]
        if any(text is None for text in texts):
            tokens = sum(len(self.tree.own(node)) for node in nodes)
            inside = fill('<p class="note">The text is not stored: {}.</p>', some(tokens, "token"))
        else:
            text = "".join(str(text) for text in texts)
            inside = (
                _framed(text, "text", "attempt", most)
                if text.strip()
                else Html('<p class="note">Nothing was written.</p>')
            )
        return joined([_named(who), inside])
