"""Markup in anything that a run holds is text on every page: with it and without it a parser finds the same
elements and attributes.
"""

import ast
import base64
import copy
import dataclasses
import hashlib
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import surpass
from report_data import Skeleton, exam, reports, whole_run, write
from surpass.budget import Budget
from surpass.comparison import Runs, judged
from surpass.find import Entry
from surpass.report import write_report
from surpass.report.comparison import write_comparison
from surpass.report.markup import Html, fill, joined
from surpass.store import Store, as_line
from surpass.types import DONE, Column, Problem, Tree
from surpass.view import pages
from surpass.view.runs import Runs as Folder

TIMES = int(os.environ.get("SURPASS_FUZZ", "1"))
EVIL = """"'></title></style></textarea>--><meta http-equiv=refresh content=0;url=http:evil><script>alert(1)<{0}{x}&lt;&#60;img src=x onerror=a>]]>|"""  # noqa: E501
# in JSON, too, of the same length
TAME = "".join("\\" if c == '"' else "x" if c in "'<>&=;:#{}()[]!-/" else c for c in EVIL)
PAGES = [
    *(Path(surpass.__file__).parent / "report").glob("*.py"),
    *(Path(surpass.__file__).parent / "view").glob("*.py"),
]


def bare(page):
    skeleton = Skeleton(str(page))
    return skeleton.found, skeleton.letters


def tree(word):
    turns = (
        {"role": f"user{word}", "content": f"earlier{word}"},
        {"role": "user", "content": f"{word} what?"},
    )
    found = Tree(Problem(f"p{word}", turns, {"a": word}, {"m": word}), 1)
    found.add(-1, "task", [1, 2], text=word)
    found.add(0, f"who{word}", [3], logp=[-1.0], stop=DONE, text=f"{word} one", state={"s": word})
    found.add(0, "policy", [3, 4], logp=[-1.0, -2.0], stop=DONE)
    aside = found.add(-1, "task", [4], cause=1, text=f"judge{word}", aside=True)
    found.add(aside, f"judge{word}", [5], logp=[-1.0], stop=DONE, text=word, aside=True)
    found.put("reward", Column("leaf", np.array([1.0, 0.25])))
    found.put(f"other{word}", Column("leaf", np.array([1.0, 0.25])))
    return found


ABOUT = {
    "format": 2,
    "name": "grpo",
    "seed": 7,
    "task": {"part": "surpass.tasks.arithmetic"},
    "model": {"name": "m", "api": {"url": "u"}},
    "files": {"a.py": "d"},
    "method": {"scores": {"reward": {}}, "gate": {"part": "p", "labels": True}, "long": ["x" * 200]},
}
COST = {"search": {"calls": 9, "generated": 1500}, "learn": {"trained": 734}}
TIMING = [{"phase": "search", "round": 1, "seconds": 60.0}]


def spoilt(value, word, strings=True, numbers=False):
    """A JSON value whose strings (a word added) or numbers (replaced by a word) are spoilt, names of fields
    too.
    """
    if isinstance(value, dict):
        return {
            f"{k}{word}" if strings and k not in KEPT else k: v
            if k in KEPT
            else spoilt(v, word, strings, numbers)
            for k, v in value.items()
        }
    if isinstance(value, list):
        return [spoilt(item, word, strings, numbers) for item in value]
    if isinstance(value, str):
        return value + word if strings else value
    return word if numbers and value is not None else value


KEPT = set(
    "format event round split keep metrics rows mean stderr n missing scores reward phase seconds "
    "nodes tree name task method gate part seed kept".split()
)


def everything(root, word, events, about=ABOUT, cost=COST, timing=TIMING, name="run"):
    """What each page of a run comes to, the run holding `word` in its trees and texts."""
    folder = root / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    texts = [{"tree": 0, "nodes": {"2": ["a", word, "b"], word: word}}]
    write(folder, events, [tree(word)], texts, run=about, state={"cost": cost})
    (folder / "timing.jsonl").write_text("".join(as_line(line) + "\n" for line in timing), encoding="utf-8")
    store = Store(folder)
    store.write_exam(0, [tree(word)], [{1: word}])
    store.close()
    runs = Folder(root)
    found = {
        "report": bare(write_report(folder).read_text(encoding="utf-8")),
        "index": bare(pages.index(runs)),
        "run": bare(pages.run_page(runs, name)),
        "pair": bare(pages.pair_page(runs, name, name)),
        "parts": [bare(part) for part in pages.parts(runs.run(name)).values()],
    }
    return found


def same(tmp_path, make):
    """A run made with harmful and with harmless words of one length gives pages alike."""
    harmful, harmless = (
        everything(tmp_path / kind / "runs", word, **make(word))
        for kind, word in (("evil", EVIL), ("tame", TAME))
    )
    for page in harmless:
        assert harmful[page] == harmless[page], page


def words_everywhere(word):
    events = whole_run()
    for event in events:
        event["why"] = event["role"] = f"why{word}"
        event[word] = event[f"reward{word}"] = word
        if event["event"] == "exam":
            event["metrics"] = {
                "accuracy": event["metrics"]["accuracy"],
                word: {**event["metrics"]["accuracy"], word: word},
            }
            event["rows"] = {
                "accuracy": [[f"{p}{word}", v] for p, v in event["rows"]["accuracy"]],
                word: [[word, 1.0]],
            }
    about = {
        **ABOUT,
        "name": word,
        "seed": word,
        "task": {"part": word, "name": f"task{word}"},
        word: {word: word},
        "list": [word],
        "model": spoilt(ABOUT["model"], word),
    }
    about["method"] = {"scores": {"reward": {}, word: word}, "gate": {"part": word, "labels": word}}
    return {
        "events": events,
        "about": about,
        "cost": {word: {"generated": 5, word: 5}},
        "timing": [{"phase": word, "round": word, "seconds": 1.0}],
    }


def test_words_everywhere(tmp_path):
    same(tmp_path, words_everywhere)


def test_names_of_folders(tmp_path):
    """A run's name stands in links, fields and titles; the folder that is shown, above the list."""
    word, tame = EVIL.replace("/", "\\"), TAME.replace("/", "\\")
    harmful, harmless = (
        everything(tmp_path / w / "runs", w, whole_run(), name=w[:80])
        for w in (word, tame.replace("\\", "x"))
    )
    assert harmful.keys() == harmless.keys()
    for page in ("report", "run", "pair", "index"):
        assert harmful[page][0] == harmless[page][0], page


def test_only_numbers_that_are_none(tmp_path):
    """Every number of every event, words instead; what an event cannot be without goes with it."""
    same(
        tmp_path,
        lambda word: {
            "events": [
                *whole_run(),
                *(
                    spoilt(e, word, numbers=True)
                    | {"event": e["event"], "round": 4, "split": "gate", "keep": True}
                    for e in whole_run()
                ),
            ]
        },
    )


def fields(value, path=()):
    """The way to each value in a JSON value; one of each list."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key)
            yield from fields(item, (*path, key))
    elif isinstance(value, list) and value:
        yield (*path, 0)
        yield from fields(value[0], (*path, 0))


EVENTS = {(event["event"], event.get("split", "")): event for event in whole_run()}
PLACES = [(kind, path) for kind, event in EVENTS.items() for path in fields(event)]


def put(value, path, word):
    found = copy.deepcopy(value)
    at = found
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = word
    return found


def check_place(tmp_path, kind, path, shape):
    def pages_of(word):
        words = {"text": word, "list": [word], "object": {word: word}}[shape]
        spoil = lambda event: (  # noqa: E731
            put(event, path, words) if (event["event"], event.get("split", "")) == kind else event
        )
        folder = tmp_path / str(len(list(tmp_path.iterdir()))) / "run"
        folder.parent.mkdir()
        events = [exam(0, "gate", range(2), 4), *map(spoil, whole_run())]
        write(folder, events, run=ABOUT)
        runs = Folder(folder.parent)
        return [
            bare(write_report(folder).read_text(encoding="utf-8")),
            bare(pages.run_page(runs, "run")),
            bare(pages.index(runs)),
        ]

    assert pages_of(EVIL) == pages_of(TAME)


@pytest.mark.parametrize("kind", EVENTS, ids=" ".join)
def test_every_field_of_every_event(tmp_path, kind):
    for path in [path for of, path in PLACES if of == kind]:
        check_place(tmp_path, kind, path, "text")


@settings(max_examples=6 * TIMES, deadline=None)
@given(st.sampled_from(PLACES), st.sampled_from(["list", "object"]))
def test_lists_and_objects_where_there_are_none(tmp_path_factory, place, shape):
    check_place(tmp_path_factory.mktemp("place"), *place, shape)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([EVIL, "", "gate", "test", 10**400, 1e308, -0.0, math.nan])
    | st.text(max_size=5),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(st.sampled_from([*KEPT, EVIL, "accuracy", "grad_norm", "p"]), inside, max_size=5)
    ),
    max_leaves=12,
)
HARMLESS = set(
    "html head body main meta title link style script nav a section h1 h2 h3 p b span div dl dt dd "
    "small svg g circle line path polyline polygon text ul li table thead tbody tr th td figure "
    "figcaption details summary pre footer i em button".split()
)


@settings(max_examples=25 * TIMES, deadline=None)
@given(
    st.lists(st.sampled_from(whole_run()), max_size=6),
    st.lists(st.tuples(st.integers(0, 5), JSON, st.sampled_from([*KEPT, "reward", "why"])), max_size=4),
    JSON,
)
def test_any_events_make_a_page_or_are_refused(tmp_path_factory, events, changes, about):
    events = [dict(event) for event in events]
    for i, value, name in changes:
        if i < len(events):
            events[i][name] = value
    folder = write(tmp_path_factory.mktemp("any") / "run", [])
    (folder / "events.jsonl").write_text(
        "".join(json.dumps(event) + "\n" for event in [exam(0, "test", range(2), 4), *events]),
        encoding="utf-8",
    )
    (folder / "run.json").write_text(
        json.dumps({"format": 2, "name": about, "task": about, "method": about, "x": about}), encoding="utf-8"
    )
    (folder / "state.json").write_text(json.dumps({"cost": about}), encoding="utf-8")
    page = Skeleton(write_report(folder).read_text(encoding="utf-8"))
    tags = [item for item in page.found if isinstance(item, tuple)]
    assert {tag for tag, *_ in tags} <= HARMLESS and page.found.count("comment") == 1
    assert (
        sum(tag in ("script", "style", "link") for tag, *_ in tags) == 2
        and sum(tag == "meta" for tag, *_ in tags) == 4
    )
    assert not any(
        name.startswith("on") or name in ("style", "src") for _, names, _ in tags for name in names
    )


def test_a_comparison(tmp_path):
    def page(word, learns):
        rng = np.random.default_rng(0)
        runs = [
            Runs(
                dataclasses.replace(Entry.parse(name), name=f"{name}{word}"),
                reports(rng.binomial(1, right, (2, 200))),
                reports(rng.binomial(1, 0.1, (2, 200))),
                [{"search": {"generated": 90}}] * 2,
                [[(0, 0.1), (90, right)], [(0, 0.2), (80, right)]] if learns else [],
            )
            for name, right in (("grpo", 0.3), ("star", 0.9), ("rloo", 0.3))
        ]
        found = judged(
            runs, f"task{word}", f"m{word}", Budget("tokens", 100) if learns else None, "accuracy", 10
        )
        return bare(write_comparison(found, tmp_path).read_text(encoding="utf-8"))

    for learns in (True, False):
        assert page(EVIL, learns) == page(TAME, learns)


def test_what_a_page_may_do(tmp_path):
    """The policy stands before anything a run holds, and lets nothing in but the page's own sheet and
    script.
    """
    everything(tmp_path, "x", whole_run())
    text = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    policy = next(
        acts["content"]
        for tag, _, acts in (item for item in Skeleton(text).found if isinstance(item, tuple))
        if "http-equiv" in acts
    )
    assert (
        policy.startswith("default-src 'none'; style-src 'sha256-")
        and "unsafe" not in policy
        and "*" not in policy
    )
    assert "base-uri 'none'; form-action 'none'" in policy and text.index(
        "Content-Security-Policy"
    ) < text.index("<title>")
    for tag in ("style", "script"):
        inside = text.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
        assert base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode() in policy


def test_fill_escapes_what_is_no_markup():
    assert fill('<a b="{}">{:.1f}</a>', "\"'<&", 1.25) == '<a b="&quot;&#x27;&lt;&amp;">1.2</a>'
    assert joined(["<", Html("<b>"), fill("{}", Html("<i>")), 3]) == "&lt;<b><i>3"
    assert fill("{}", f"{Html('<b>')}") == "&lt;b&gt;", "what is put together otherwise is text"
    with pytest.raises(ValueError):
        fill("{:.1f}", "<b>")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_templates_are_constants(path):
    """No value gets into a page but through a template's places."""
    whole = ast.parse(path.read_text(encoding="utf-8"))
    given = {}
    for node in ast.walk(whole):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                pairs = (
                    zip(target.elts, node.value.elts, strict=True)
                    if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
                    else [(target, node.value)]
                )
                for name, value in pairs:
                    given.setdefault(ast.unparse(name), []).append(value)

    def constant(node):
        return isinstance(node, ast.Constant) or (
            isinstance(node, ast.IfExp) and constant(node.body) and constant(node.orelse)
        )

    own = (
        {"Html(STYLE)", "Html(script)", "Html(policy.format(*digests))"} if path.name == "page.py" else set()
    )
    for call in (
        node for node in ast.walk(whole) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ):
        if call.func.id == "fill":
            template = call.args[0]
            assert constant(template) or (
                isinstance(template, ast.Name) and all(map(constant, given[template.id]))
            ), ast.unparse(call)
        if call.func.id == "Html" and path.name != "markup.py":
            assert constant(call.args[0]) or ast.unparse(call) in own, ast.unparse(call)
