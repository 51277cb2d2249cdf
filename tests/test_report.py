"""The page of a run: the right numbers, whole and safe, whatever the run holds."""

import json
import math
import re

import numpy as np
import pytest

from report_data import EVIL, Page, branching_tree, exam, flat_tree, whole_run, write
from surpass.alarms import alarms
from surpass.errors import SurpassError
from surpass.figures import round_figures
from surpass.report import write_report
from surpass.report.chart import Point, Series, line_chart, ticks
from surpass.report.words import duration, plain
from surpass.types import DONE, FAILED, Column, Problem, Tree


@pytest.fixture
def run(tmp_path):
    texts = [{"tree": 0, "nodes": {"1": f"I say {EVIL}", "2": "decoded apart"}}]
    about = {
        "format": 1,
        "name": "grpo",
        "seed": 7,
        "task": {"part": "surpass.tasks.arithmetic"},
        "models": {"policy": EVIL},
        "method": {"scores": {"reward": {}}, "long": ["x" * 200]},
    }
    cost = {"search": {"calls": 9, "generated": 1500}, "learn": {"trained": 734, "scored": 0}}
    folder = write(
        tmp_path / "run", whole_run(), [flat_tree(), branching_tree()], texts, run=about, state={"cost": cost}
    )
    lines = [
        {"phase": "search", "round": 1, "seconds": 60.0},
        {"phase": "learn", "round": 1, "seconds": 12.0},
    ]
    (folder / "timing.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def page_of(folder):
    path = write_report(folder)
    assert path == folder / "report.html"
    return Page(path.read_text())


def test_headline(run):
    page = page_of(run)
    difference = np.array([float(i in range(1, 8)) - float(i in range(2)) for i in range(10)])
    stderr = difference.std(ddof=1) / math.sqrt(10)
    assert "Test accuracy before 0.200 ± 0.133" in page.says
    assert "after 0.700 ± 0.153" in page.says
    assert f"Change +0.500 ± {stderr:.3f} paired, n = 10" in page.says
    assert f"Test accuracy rose by 0.500 ± {stderr:.3f} over the same 10 problems." in page.says
    assert "2 of 3 gate decisions kept; the model is that of round 3" in page.says
    assert "Tokens 2,234 1,500 drawn, 734 trained on" in page.says
    assert "1 min 12 s" in page.says
    assert "grpo on arithmetic run, seed 7" in page.says


def test_the_change_is_paired_by_problem(tmp_path):
    after = exam(1, "test", range(2, 5), 10)
    # another order, and two problems that were not judged
    after["rows"]["accuracy"] = after["rows"]["accuracy"][::-1][:8]
    end = {"event": "end", "round": 1, "kept": 1, "why": ""}
    page = page_of(write(tmp_path / "run", [exam(0, "test", range(2), 10), after, end]))
    # the two were right before: not judged now, they count as wrong
    difference = np.array([-1.0, -1, 1, 1, 1, 0, 0, 0, 0, 0])
    assert (
        f"Change +0.100 ± {difference.std(ddof=1) / math.sqrt(10):.3f} paired, n = 10, 2 of them judged "
        "once only" in page.says
    )


def test_what_was_not_judged_is_said_with_the_result(tmp_path):
    before, after = exam(0, "test", range(5), 10), exam(1, "test", range(5), 10)
    after["metrics"]["accuracy"] = {"mean": 1.0, "stderr": 0.0, "n": 5, "missing": 5}
    after["rows"]["accuracy"] = [[p, v or None] for p, v in after["rows"]["accuracy"]]
    end = {"event": "end", "round": 1, "kept": 1, "why": ""}
    search = {"event": "search", "round": 1, "reward": 1.0, "leaves": 10, "unjudged": 4}
    page = page_of(write(tmp_path / "run", [before, search, after, end]))
    assert "after 0.500 to 1.000 5 of 10 not judged; 1.000 ± 0.000 of the others" in page.says
    assert "Change 0.000 ± 0.000 paired, n = 10, 5 of them judged once only" in page.says
    assert "40% of the last round's attempts could not be judged" in page.says
    assert (
        "In the test exam of round 1 5 of 10 problems could not be judged, more than at the start"
        in page.says
    )


def test_nothing_is_requested_and_nothing_runs_but_the_page_s_own_script(run):
    page = page_of(run)
    assert not re.search(
        r"https?://|@import|url\(|\bsrc=", page.text.replace("http://www.w3.org/2000/svg", "")
    )
    assert page.count("script") == 1 and EVIL not in page.text
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert page.says.count(EVIL) == 3 + 3 + 1 + 1  # prompts, verdicts, an attempt, the models
    assert "default-src 'none'" in next(
        a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a
    )
    assert len(page.ids) == len(set(page.ids))


def test_gate_decisions(run):
    page = page_of(run)
    assert page.count("tr", class_="kept") == 2 and page.count("tr", class_="refused") == 1
    assert "round 2 <script>alert('x')</script> (±)" in page.says
    full = page.text.partition('<div class="full">')[2].partition("</svg>")[0]
    assert full.count('class="hollow"') == 1 and "round 2, gate, refused: 0.375" in full
    assert full.count('class="dot" cx') == 3  # the start and two kept
    assert full.count('class="dot" d=') == 2  # the test exams
    line = re.search(r'polyline class="line c1" points="([^"]+)"', full)[1]
    assert len(line.split()) == 3


def test_attempts(run):
    page = page_of(run)
    assert page.count("details", class_="problem") == 3 * 2
    assert page.count("button", type="button") == 1
    assert "2 earlier turns of the prompt" in page.says and "earlier answer" in page.says
    assert "Right answer 41 & 42" in page.says
    assert "I say <script>alert('x')</script> reward 1.000 3 tokens" in page.says
    assert "decoded apart reward 0.250 1 token" in page.says
    assert page.says.count("The text is not stored: 3 tokens.") == 2  # rounds 2 and 3 have no texts
    assert "2 attempts, mean reward 0.625" in page.says


def test_branches_stand_below_their_stem_and_asides_are_folded(run):
    text = page_of(run).text
    tree = re.search(r'<ul class="branching">.*?the stem.*?</ul></li></ul>', text)[0]
    assert re.search(
        r"the stem.*mean 0\.750 of 2.*<ul><li>.*left leaf.*reward 1\.000.*<li>.*right leaf.*reward 0\.500",
        tree,
    )
    assert re.search(
        r"left leaf.*<details><summary>2 nodes aside</summary>.*judge.*a fair verdict.*right leaf", tree
    )
    assert text.count('<ul class="flat">') == 3


def test_a_run_under_way_has_a_page(tmp_path):
    events = [
        exam(0, "test", range(2), 10),
        exam(0, "gate", range(2), 10),
        {"event": "search", "round": 1, "reward": None},
    ]
    folder = write(tmp_path / "run", events)
    with open(folder / "events.jsonl", "a") as file:
        file.write('{"event": "lea')  # cut off while it was written
    page = page_of(folder)
    assert (
        "The run is not finished" in page.says and "Test accuracy before 0.200 ± 0.133, n = 10" in page.says
    )
    assert (
        "no gate decision yet" in page.says
        and "Attempts to read" not in page.says
        and page.count("script") == 0
    )


def test_events_after_the_committed_state_do_not_count(tmp_path):
    events = whole_run()
    size = len("".join(json.dumps(event) + "\n" for event in events[:2]))
    page = page_of(write(tmp_path / "run", events, state={"events": size}))
    assert "The run is not finished" in page.says and page.count("tr", class_="kept") == 0


def test_a_run_that_kept_nothing_says_so(tmp_path):
    start = exam(0, "test", range(2), 10)
    end = {"event": "end", "round": 3, "kept": 0, "why": "3 updates in a row were refused"}
    page = page_of(write(tmp_path / "run", [start, start | {"round": 3}, end]))
    assert (
        "No update was kept" in page.says
        and "The run stopped early: 3 updates in a row were refused." in page.says
    )
    assert "Change 0.000 ± 0.000" in page.says


def test_failed_and_unjudged_attempts(tmp_path):
    failed, odd = Tree(Problem("f", "q"), 1), Tree(Problem("o", ""), 2)
    failed.add(-1, "task", stop=FAILED, text="ValueError: broken")
    odd.add(-1, "task", [1])
    page = page_of(
        write(tmp_path / "run", [exam(0, "test", range(2), 10)], [failed, odd, Tree(Problem("e", "none"), 3)])
    )
    assert (
        "ValueError: broken not judged 0 tokens · failed" in page.says
        and "1 attempt, not judged" in page.says
    )
    assert "0 attempts, not judged" in page.says


def test_a_great_run_stays_small(tmp_path):
    tree = Tree(Problem("p", "&" * 100_000, "a" * 100_000), 1)
    tree.add(-1, "task", [1])
    for _ in range(100):
        tree.add(0, "policy", [2], logp=[-1.0], stop=DONE, text="word " * 3_000)
    tree.put("reward", Column("leaf", np.zeros(100)))
    events = [exam(0, "test", range(2), 10)]
    for r in range(1, 3001):
        events += [
            {"event": "search", "round": r, "reward": 0.5, "reward_stderr": 0.1, "entropy": 1.0},
            {"event": "gate", "round": r, "keep": True, "why": "so", "p": 1.0},
            exam(r, "gate", range(3), 4),
        ]
    page = page_of(write(tmp_path / "run", events, [tree] * 3))
    assert len(page.text) < 1_000_000
    assert "more attempts are left out" in page.says and "300 of 3000 rounds are drawn" in page.says
    assert page.count("tr", class_="kept") == 200 and "3000 of 3000 kept" in page.says


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(SurpassError, match="no such folder"):
        write_report(tmp_path / "absent")
    with pytest.raises(SurpassError, match="nothing to report"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_axes_and_gaps():
    assert ticks(0.21, 0.79) == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert ticks(1, 30, 7, whole=True) == [0, 5, 10, 15, 20, 25, 30]
    assert len(ticks(2.0, 2.0)) >= 2
    series = Series("s", [Point(1, 1.0), Point(2, 2.0), Point(3, math.nan), Point(4, 3.0), Point(5, 4.0)])
    drawing = line_chart("a chart", [series])
    assert drawing.count("<polyline") == 2 and drawing.count('class="dot"') == 4 and "nan" not in drawing
    assert line_chart("none", [Series("s", [Point(1, math.nan)])]) == ""
    heights = [float(y) for y in re.findall(r'class="dot" cx="[^"]+" cy="([^"]+)"', drawing)]
    assert heights == sorted(heights, reverse=True) and heights[0] - heights[1] == pytest.approx(
        heights[2] - heights[3], abs=0.2
    )


def test_numbers_in_words():
    assert [plain(v) for v in (0.12345, -0.5, 12.34, 1234.5)] == ["0.123", "−0.500", "12.3", "1,234"]
    assert [plain(v) for v in (math.nan, 2.5e-7)] == ["–", "2.5e-07"]
    assert [duration(s) for s in (0.25, 59.0, 61, 7500)] == ["0.25 s", "59.0 s", "1 min 01 s", "2 h 05 min"]


def unlabelled(round, split, agreement, accuracy=None, n=8):
    """An exam of a method without labels; accuracy where test problems have some."""
    rows = {
        "agreement": [[f"{split}{i}", agreement] for i in range(n)],
        "accuracy": [] if accuracy is None else [[f"{split}{i}", float(i < accuracy * n)] for i in range(n)],
    }
    means = {
        "agreement": (agreement, n),
        "accuracy": (accuracy, n if accuracy is not None else 0),
        "drift": (0.1 * round, n),
    }
    metrics = {
        k: {"mean": math.nan if m is None else m, "stderr": 0.01, "n": n, "missing": 0}
        for k, (m, n) in means.items()
    }
    if split == "gate":
        del rows["accuracy"], metrics["accuracy"]
    return {"event": "exam", "round": round, "split": split, "rows": rows, "metrics": metrics}


@pytest.mark.parametrize(
    "accuracy, says, not_said",
    [
        (
            None,
            [
                "Test agreement before 0.300",
                "whether answers became better is not known",
                "drifted 0.200 nats",
            ],
            ["accuracy before"],
        ),
        (
            0.5,
            [
                "Test accuracy before 0.500",
                "for this page alone",
                "agreement among attempts changed by +0.500",
            ],
            ["is not known"],
        ),
    ],
)
def test_a_run_without_labels_says_what_is_known_and_what_is_not(tmp_path, accuracy, says, not_said):
    events = [
        unlabelled(0, "test", 0.3, accuracy),
        unlabelled(0, "gate", 0.3),
        {"event": "search", "round": 1, "reward": 0.2, "vote_share": 0.3, "entropy": 0.5},
        {"event": "learn", "round": 1, "role": "policy", "examples": 3, "grad_norm": 0.1},
        unlabelled(1, "gate", 0.7),
        {"event": "gate", "round": 1, "keep": True, "why": "within limits", "p": math.nan},
        unlabelled(2, "test", 0.8, accuracy),
        {"event": "end", "round": 1, "kept": 1, "why": ""},
    ]
    about = {
        "format": 1,
        "name": "tree_vote",
        "method": {"gate": {"part": "surpass.gates.limits", "labels": False}},
    }
    page = page_of(write(tmp_path / "run", events, run=about))
    for words in [
        "Training and gate used no labels.",
        "Votes are weak",
        "commonest answer, right or wrong",
        *says,
    ]:
        assert words in page.says, words
    for words in not_said:
        assert words not in page.says


def gamed(keep):
    """A reward that rises while the gate's accuracy falls from 32 of 40 to 8."""
    search = [
        {"event": "search", "round": r, "reward": y, "reward_stderr": 0.02, "entropy": 1.0}
        for r, y in ((1, 0.2), (2, 0.8))
    ]
    learn = {"event": "learn", "round": 2, "role": "policy", "grad_norm": 1.0, "examples": 3}
    return [
        exam(0, "gate", range(32), 40),
        *search,
        learn,
        exam(2, "gate", range(8), 40),
        {"event": "gate", "round": 2, "keep": keep, "why": ""},
    ]


def test_a_reward_that_is_gamed_is_noticed_where_the_model_was_kept():
    (words,) = alarms(gamed(True))
    assert words.startswith(
        "The reward that is learnt from rose by 0.600 while accuracy on held-out problems fell by 0.600"
    )
    assert alarms(gamed(False)) == [], "what was refused is undone"
    slight = gamed(True)
    slight[-2] = exam(2, "gate", range(31), 40)
    assert alarms(slight) == []


def test_attempts_cut_off_are_noticed():
    event = {"event": "search", "round": 1, "completions/clipped_ratio": 0.75}
    assert (
        alarms([event])[0].startswith("75% of the last round's attempts were cut off")
        and alarms([event | {"completions/clipped_ratio": 0.4}]) == []
    )


def test_distinct_counts_copies_once():
    tree = flat_tree()
    assert round_figures([tree], "reward")["distinct"] == 1.0
    tree.add(0, "policy", [6], logp=[-1.0], stop=DONE)
    tree.add(0, "policy", [6], logp=[-1.0], stop=DONE)
    assert round_figures([tree], None)["distinct"] == 0.5
