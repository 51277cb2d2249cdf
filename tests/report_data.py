"""Runs as a report shows them, and a page as a test reads it."""

from __future__ import annotations

import json
import math
from html.parser import HTMLParser

import numpy as np
import pyarrow.parquet as pq

from surpass.store import trees_to_table
from surpass.types import DONE, OPEN, Column, Problem, Report, Row, Tree

EVIL = "<script>alert('x')</script>"


VOID = {"meta", "link", "br", "input", "img"}


class Page(HTMLParser):
    """What a browser would make of the page: tags, ids, text, and whether every tag is closed."""

    def __init__(self, text: str):
        super().__init__()
        self.text, self.tags, self.ids, self.open, self.words = text, [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] not in (["style"], ["script"]):
            self.words.append(data)

    def count(self, tag, **attrs):
        return sum(
            t == tag and all(a.get(k.rstrip("_")) == v for k, v in attrs.items()) for t, a in self.tags
        )

    @property
    def says(self):
        return " ".join(" ".join(self.words).split())


def exam(round, split, right, n):
    values = [float(i in right) for i in range(n)]
    error = float(np.std(values, ddof=1) / math.sqrt(n))
    return {
        "event": "exam",
        "round": round,
        "split": split,
        "rows": {"accuracy": [[f"{split}{i}", v] for i, v in enumerate(values)]},
        "metrics": {"accuracy": {"mean": sum(values) / n, "stderr": error, "n": n, "missing": 0}},
    }


def flat_tree():
    """Two attempts whose texts lie beside the trees, one of them hostile."""
    turns = (
        {"role": "user", "content": "earlier question"},
        {"role": "assistant", "content": "earlier answer"},
    )
    tree = Tree(Problem("p", (*turns, {"role": "user", "content": f"{EVIL} what?"}), "41 & 42"), 1)
    tree.add(-1, "task", [1, 2])
    for tokens in ([3, 4, 5], [6]):
        tree.add(0, "policy", tokens, logp=np.full(len(tokens), -1.0), stop=DONE)
    tree.put("reward", Column("leaf", np.array([1.0, 0.25])))
    return tree


def branching_tree():
    """One step continued twice, and a judge's verdict aside; its texts are in the tree."""
    tree = Tree(Problem("q", "branch", None), 2)
    tree.add(-1, "task", [1], text="branch")
    tree.add(0, "policy", [2], logp=[-1.0], stop=OPEN, text="the stem")
    for text in ("left leaf", "right leaf"):
        tree.add(1, "policy", [3, 3], logp=[-1.0, -1.0], stop=DONE, text=text)
    aside = tree.add(-1, "task", [4], cause=2, text="judge this", aside=True)
    tree.add(aside, "judge", [5], logp=[-1.0], stop=DONE, text="a fair verdict", aside=True)
    tree.put("reward", Column("leaf", np.array([1.0, 0.5])))
    return tree


def write(folder, events, trees=(), texts=(), **files):
    folder.mkdir(exist_ok=True)
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    for round in (1, 2, 3) if trees else ():
        (folder / "trees").mkdir(exist_ok=True)
        pq.write_table(trees_to_table(trees), folder / "trees" / f"{round:04d}.parquet")
    if texts:
        (folder / "texts").mkdir(exist_ok=True)
        (folder / "texts" / "0001.jsonl").write_text("".join(json.dumps(line) + "\n" for line in texts))
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    return folder


def whole_run():
    rounds = (1, 2, 3)
    searches = [
        {"event": "search", "round": r, "reward": 0.1 * r, "reward_stderr": 0.05, "entropy": 1 / r}
        for r in rounds
    ]
    learns = [
        {"event": "learn", "round": r, "role": "policy", "grad_norm": 0.5, "loss": math.nan} for r in rounds
    ]
    gates = [
        {"event": "gate", "round": r, "keep": r != 2, "why": f"round {r} {EVIL} (+-)", "p": 0.5}
        for r in rounds
    ]
    exams = [exam(r, "gate", range(r + 1), 8) for r in (0, 1, 2, 3)]
    test = [exam(0, "test", range(2), 10), exam(3, "test", range(1, 8), 10)]
    end = {"event": "end", "round": 3, "kept": 3, "why": ""}
    return [test[0], exams[0], *searches, *learns, *exams[1:], *gates, test[1], end]


def reports(values):
    return [
        Report(
            "answers", [Row(f"p{i}", 0, "accuracy", v) for i, v in enumerate(row)], info={"asked": len(row)}
        )
        for row in values
    ]


class Skeleton(HTMLParser):
    """A page's elements, each with the names of its attributes and the values of those that do something, and
    how much text there is.
    """

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.found, self.letters = [], 0
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        acts = {
            name: value
            for name, value in attrs
            if name in ("id", "class", "src", "style", "http-equiv", "content", "type", "rel", "d", "points")
        }
        self.found.append((tag, [name for name, _ in attrs], acts))

    handle_startendtag = handle_starttag

    def handle_endtag(self, tag):
        self.found.append(f"/{tag}")

    def handle_data(self, data):
        self.letters += len(data)

    def handle_comment(self, data):
        self.found.append("comment")

    handle_decl = unknown_decl = handle_pi = handle_comment
