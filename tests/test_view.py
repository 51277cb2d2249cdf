"""The server behind surpass view: whom it answers, and that what it says of a run is what the run holds."""

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from urllib.parse import quote

import numpy as np
import pytest

from report_data import EVIL, branching_tree, exam, flat_tree, whole_run, write
from servers import get
from surpass.errors import SurpassError
from surpass.store import Store
from surpass.texts import pieces
from surpass.types import DONE, LENGTH, Column, Problem, Tree
from surpass.view import Viewer
from surpass.view.runs import Runs
from surpass.view.trees import CUT, LONGEST, _cut, tree_of


def many(n, round):
    """A round of n trees of four attempts each, whose scores and lengths differ."""
    trees = []
    for i in range(n):
        tree = Tree(Problem(f"p{i}", f"problem number {i}", i), i)
        tree.add(-1, "task", [1], text=f"problem number {i}")
        for j in range(4):
            tokens = [2] * (1 + (7 * i + 3 * j + round) % 11)
            tree.add(
                0,
                "policy",
                tokens,
                logp=[-0.5] * len(tokens),
                stop=LENGTH if j == 3 else DONE,
                text=f"try {j} at {i}",
            )
        scores = [np.nan if (i + j) % 5 == 0 else ((i * j) % 7) / 7 for j in range(4)]
        tree.put("reward", Column("leaf", np.array(scores)))
        trees.append(tree)
    return trees


@pytest.fixture
def root(tmp_path):
    about = {
        "format": 2,
        "name": "grpo",
        "seed": 7,
        "task": {"part": "surpass.tasks.arithmetic"},
        "method": {"scores": {"reward": {}}},
    }
    for name in ("one", "deep/er/two"):
        folder = tmp_path / "runs" / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        write(folder, whole_run(), many(5, 1), run=about)
    store = Store(folder)
    store.write_exam(0, [flat_tree(), branching_tree()], [{0: "", 1: ["a", "b", "c"], 2: ["d"]}, {}])
    store.close()
    write(
        tmp_path / "runs" / EVIL.replace("/", "|"),
        whole_run(),
        [flat_tree()],
        [{"tree": 0, "nodes": {"1": [EVIL, "x", "y"]}}],
        run=about,
    )
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "events.jsonl").write_text("{\n{\n")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "events.jsonl").write_text('{"event": "exam", "round": 0}\n')
    os.symlink(tmp_path / "secret", tmp_path / "runs" / "link")
    return tmp_path / "runs"


def test_it_listens_on_loopback_alone_and_its_address_holds_the_token(viewer):
    assert viewer.server_address[0] == "127.0.0.1"
    assert (
        viewer.address == f"http://127.0.0.1:{viewer.server_port}/{viewer.token}/" and len(viewer.token) >= 32
    )


@pytest.mark.parametrize(
    "path",
    ["", "run?name=one", "view.js", "attempts?name=one", "tree?name=one&round=1&tree=0", "stamp?name=one"],
)
def test_nothing_is_answered_without_the_token_or_to_another_origin(viewer, path):
    assert get(viewer, path)[0] == 200
    refused = [
        get(viewer, path, token=""),
        get(viewer, path, token="x" * len(viewer.token)),
        get(viewer, path, token=viewer.token[:-1]),
        get(viewer, path, token="%C3%A9"),
        get(viewer, path, Host="evil.example"),
        get(viewer, path, Host=f"evil.example:{viewer.server_port}"),
        get(viewer, path, Origin="http://evil.example"),
        get(viewer, path, Origin="null"),
        get(viewer, path, Sec_Fetch_Site="cross-site"),
        get(viewer, path, Sec_Fetch_Site="same-site"),
    ]
    for status, headers, body in refused:
        assert status in (400, 403) and "grpo" not in body and viewer.token not in body
        if status == 403:
            assert "default-src 'none'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_it_only_reads(viewer, method):
    assert get(viewer, "run?name=one", method=method)[0] == 501


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "..",
        "/",
        "/etc",
        "link",
        "one/../one",
        "one/..",
        "%2e%2e/secret",
        "deep",
        "one\x00",
        ".",
        "",
    ],
)
def test_a_run_is_one_of_those_listed(viewer, name):
    for path in ("run", "attempts", "stamp", "parts", "outcomes"):
        status, _, body = get(viewer, f"{path}?name={quote(name)}")
        assert status == 404 and body == f'there is no run "{name}"'
    for kind in ("../../secret", "weights", "..", "/etc"):
        assert get(viewer, f"tree?name=one&round=1&tree=0&kind={quote(kind)}")[0] == 404


@pytest.mark.parametrize(
    "path", ["../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "assets/view.js", "one/run.json", "runs.py"]
)
def test_there_are_no_files_to_ask_for(viewer, path):
    assert get(viewer, path)[0] == 404


@pytest.mark.parametrize(
    "query",
    ["round=x", "low=abc", "high=nan", "low=inf", "offset=-", "limit=1e999", "sort=name", "sort=__class__"],
)
def test_questions_that_make_no_sense_are_said_to(viewer, query):
    status, _, body = get(viewer, f"attempts?name=one&{query}")
    assert (status, "total" in body) == ((200, True) if query == "round=x" else (400, False))
    assert (
        get(viewer, "tree?name=one&round=-1&tree=0")[0] == 400
        and get(viewer, "tree?name=one&round=1&tree=99")[0] == 404
    )
    assert get(viewer, "tree?name=one&round=" + "9" * 5000 + "&tree=0")[0] == 400


def test_every_page_forbids_requests_elsewhere_and_escapes_what_runs_hold(viewer, root):
    evil = quote(EVIL.replace("/", "|"))
    for path in ("", f"run?name={evil}", f"pair?name={evil}&other=one"):
        status, headers, body = get(viewer, path)
        assert (
            status == 200
            and "<script>alert" not in body
            and "src=http" not in body
            and "//" not in body.replace("&#x27;", "")
        )
        assert (
            "default-src 'none'" in headers["Content-Security-Policy"]
            and headers["X-Content-Type-Options"] == "nosniff"
        )
        assert headers["Referrer-Policy"] == "no-referrer", "the address holds the secret"
    index = get(viewer, "")[2]
    assert "broken" in index and "link" not in index.replace('rel="stylesheet"', "").split("<main>")[1]
    assert json.loads(get(viewer, f"tree?name={evil}&round=1&tree=0")[2])["nodes"][1]["text"] == [
        EVIL,
        "x",
        "y",
    ]


def page(runs, **wanted):
    return runs.page(runs.run("one"), {key: str(value) for key, value in wanted.items()})


def test_attempts_are_filtered_sorted_and_paged_as_a_plain_loop_would(root):
    runs = Runs(root)
    every, broken = runs.attempts(runs.run("one"))
    assert broken == []
    assert len(every) == 3 * 5 * 4 == page(runs)["all"]
    first = many(5, 1)
    for a in every:
        assert a.tokens == len(first[a.tree].own(a.leaf)) and a.text == first[a.tree].text[a.leaf]
    judged = [a for a in every if a.score == a.score]
    assert 0 < len(judged) < len(every)
    for wanted, fits in [
        ({"low": 0.3}, lambda a: a.score >= 0.3),
        ({"high": 0.3}, lambda a: a.score <= 0.3),
        ({"round": 2}, lambda a: a.round == 2),
        ({"stop": "length"}, lambda a: a.stop == "length"),
        ({"short": 3, "long": 6}, lambda a: 3 <= a.tokens <= 6),
        ({"text": "TRY 1 at 4"}, lambda a: a.leaf == 2 and a.tree == 4),
        ({"text": "number 3"}, lambda a: a.tree == 3),
    ]:
        assert page(runs, **wanted)["total"] == sum(map(fits, every)) > 0
    found = [row for at in range(0, 60, 7) for row in page(runs, sort="-score", offset=at, limit=7)["rows"]]
    assert len({(row["round"], row["tree"], row["leaf"]) for row in found}) == 60
    scores = [row["score"] for row in found]
    assert scores[: len(judged)] == sorted((a.score for a in judged), reverse=True) and all(
        s != s for s in scores[len(judged) :]
    )
    assert page(runs, offset=10**6)["rows"] == [] and page(runs, limit=10**9)["rows"] != []


def test_a_tree_as_json_is_the_tree(root):
    runs = Runs(root)
    tree = tree_of(runs.run("deep/er/two"), 0, 1, "exams")
    assert [node["before"] for node in tree["nodes"]] == [-1, 0, 1, 1, 2, 4] and [
        node["aside"] for node in tree["nodes"]
    ] == [False] * 4 + [True] * 2
    assert tree["leaves"] == [2, 3] and tree["rewards"] == tree["scores"]["reward"] == [1.0, 0.5]
    assert tree["attempts"] == [[0, 1, 2], [0, 1, 3]]
    flat = tree_of(runs.run("deep/er/two"), 0, 0, "exams")
    assert (
        flat["nodes"][1]["text"] == ["a", "b", "c"]
        and flat["nodes"][1]["logp"] == [-1.0] * 3
        and flat["nodes"][0]["logp"] is None
    )
    assert [who for who, _ in flat["prompt"]] == ["user", "assistant", "user"]


def test_what_a_real_run_leaves_can_be_read(tmp_path):
    """Credit, examples, exams and pieces of a run of the smallest model."""
    from surpass.loop import improve
    from surpass.methods.grpo import grpo
    from tiny import copy_letter, nano_models

    store = Store(tmp_path / "runs" / "grpo")
    models = nano_models()
    result = models.run(
        improve(grpo(n=4, problems=3, max_tokens=6), copy_letter(), models, rounds=2, seed=1, store=store)
    )
    store.close()
    runs = Runs(tmp_path / "runs")
    run = runs.run("grpo")
    every, _ = runs.attempts(run)
    assert len(every) == 2 * 3 * 4
    for i in range(3):
        tree = tree_of(run, 1, i)
        stored = store.read_trees(1)[0][i]
        for node, own in enumerate(tree["nodes"]):
            assert "".join(own["text"]) == models.engine("policy").text.decode(stored.own(node)) and len(
                own["text"]
            ) == len(stored.own(node))
        rewards = np.array(tree["rewards"])
        advantage = tree["scores"]["advantage"]
        assert np.sign(advantage).tolist() == np.sign(np.round(rewards - rewards.mean(), 9)).tolist()
    outcomes = runs.outcomes(("grpo", 0), ("grpo", -1))
    before, after = result.before.by_problem("accuracy"), result.after.by_problem("accuracy")
    assert {row["problem"]: row["values"] for row in outcomes} == {p: [before[p], after[p]] for p in before}
    for row in outcomes[:20]:
        for value, where in zip(row["values"], row["trees"], strict=True):
            tree = tree_of(run, where["round"], where["tree"], "exams")
            assert (
                tree["id"] == row["problem"] and tree["score"] == "chosen" and max(tree["rewards"]) >= value
            )


def test_an_attempt_is_what_happened_in_time_also_where_two_play(tmp_path):
    """A player's context continues by `parent`; the attempt is both players' moves, and its score a column of
    nodes.
    """
    tree = Tree(Problem("g", "a game", None), 3)
    tree.add(-1, "task", [1], text="Card: Q", state=1)
    tree.add(0, "first", [2, 3], logp=[-1, -1], text="check")
    tree.add(-1, "task", [4], cause=1, text="Card: K. The other checks.")
    tree.add(2, "second", [5], logp=[-1], text="bet")
    tree.add(1, "task", [6], cause=3, text="The other bets.")
    tree.add(4, "first", [7], logp=[-1], stop=DONE, text="call")
    tree.mark("outcome", 5, -2.0)
    about = {"format": 2, "method": {"scores": {"outcome": {}}}}
    runs = Runs(write(tmp_path / "game", whole_run(), [tree], run=about).parent)
    found = tree_of(runs.run("game"), 1, 0)
    assert found["attempts"] == [[0, 1, 2, 3, 4, 5]] and [node["before"] for node in found["nodes"]] == [
        -1,
        0,
        1,
        2,
        3,
        4,
    ]
    (attempt, *_), _ = runs.attempts(runs.run("game"))
    assert (
        attempt.text == "checkbetcall"
        and attempt.tokens == 4
        and attempt.score == -2.0 == found["rewards"][0]
    )


def test_a_round_that_cannot_be_read_is_named_and_left_out(root):
    path = root / "one" / "trees" / "0002.parquet"
    path.write_bytes(path.read_bytes()[:100])
    found = page(Runs(root))
    assert (
        found["broken"] == [2] and found["total"] == 40 and {row["round"] for row in found["rows"]} == {1, 3}
    )


@pytest.mark.parametrize(
    "name, text",
    [
        ("events.jsonl", "[1, 2]\n"),
        ("run.json", "[]"),
        ("events.jsonl", '{"event": "search"}\n'),
        ("events.jsonl", '{"event": "exam", "round": 0, "split": "test", "metrics": {"accuracy": 3}}\n'),
    ],
)
def test_whatever_lies_in_a_folder_the_other_runs_are_shown(viewer, root, name, text):
    odd = write(root / "odd", whole_run())
    (odd / name).write_text(text)
    os.mkdir(os.fsencode(root) + b"/\xff")
    shutil.copy(os.fsencode(root / "one" / "events.jsonl"), os.fsencode(root) + b"/\xff/events.jsonl")
    viewer.runs._walked = (-1e9, {})
    status, _, body = get(viewer, "")
    assert status == 200, body
    assert "run?name=one" in body and "odd" in body
    assert get(viewer, "run?name=odd")[0] in (200, 500)


def test_a_run_without_an_end_has_no_outcome_there(root):
    started = [exam(0, "test", range(2), 10), exam(0, "gate", range(2), 10)]
    write(root / "going", started)
    runs = Runs(root)
    assert runs.outcomes(("going", 0), ("going", -1)) == runs.outcomes(("going", -1), ("one", -1)) == []
    assert len(runs.outcomes(("one", 0), ("one", -1))) == 10


def test_an_answer_at_the_end_of_a_long_text_is_found(tmp_path):
    tree = Tree(Problem("p", "w " * 5000 + "needle", None), 1)
    tree.add(-1, "task", [1], text="")
    tree.add(0, "policy", [2], logp=[-1.0], stop=DONE, text="because " * 1000 + "Answer: 4217")
    runs = Runs(write(tmp_path / "one", whole_run(), [tree]).parent)
    assert (
        page(runs, text="4217")["total"] == page(runs, text="needle")["total"] == 3
        and page(runs, text="4218")["total"] == 0
    )
    assert len(page(runs)["rows"][0]["text"]) <= 160 and len(page(runs)["rows"][0]["problem"]) <= 300


def test_credit_of_two_learn_rows_of_one_role_is_told_apart(tmp_path):
    store = Store(tmp_path / "runs" / "one")
    trees = many(2, 1)
    store.write_trees(1, trees, {})
    given = [
        [tree.with_columns({"advantage": Column("leaf", np.full(4, value))}) for tree in trees]
        for value in (0.8, -0.5)
    ]
    store.write_credit(1, [("policy", given[0]), ("policy", given[1])], trees)
    store.events(whole_run())
    store.close()
    runs = Runs(tmp_path / "runs")
    scores = tree_of(runs.run("one"), 1, 1)["scores"]
    assert scores["advantage 1 (policy)"] == [0.8] * 4 and scores["advantage 2 (policy)"] == [-0.5] * 4


def test_a_long_text_is_cut_between_its_pieces():
    assert (
        _cut(["x" * 999] * 50) == [*["x" * 999] * 20, CUT]
        and _cut("y" * 50_000) == "y" * LONGEST + CUT
        and _cut(["short"]) == ["short"]
    )


def test_a_page_of_a_run_that_goes_on(viewer, root):
    assert json.loads(get(viewer, "stamp?name=one")[2])["state"] == "finished"
    folder = write(
        root / "going", [{"event": "exam", "round": 0, "split": "test", "metrics": {}, "rows": {}}]
    )
    before = json.loads(get(viewer, "stamp?name=going")[2])
    assert before["state"] == "stopped"
    store = Store(folder)
    assert json.loads(get(viewer, "stamp?name=going")[2])["state"] == "running"
    store.events([{"event": "search", "round": 1, "reward": 0.5}])
    assert json.loads(get(viewer, "stamp?name=going")[2])["stamp"] != before["stamp"]
    assert "0.500" in json.loads(get(viewer, "parts?name=going")[2])["charts"]
    store.close()


def test_folders_and_ports_that_cannot_be(tmp_path, viewer):
    with pytest.raises(SurpassError, match="is no folder"):
        Viewer(tmp_path / "none")
    with pytest.raises(SurpassError, match=f"port {viewer.server_port} cannot be had"):
        Viewer(tmp_path, viewer.server_port)


def test_as_a_user(root):
    """The command prints the address, answers there and ends with Ctrl-C without a word of complaint."""
    command = [sys.executable, "-m", "surpass.cli", "view", str(root)]
    # a shell's background jobs ignore it
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **heard
    ) as process:
        address = process.stdout.readline().strip()
        with urllib.request.urlopen(address, timeout=30) as page:
            assert "<h1>Runs" in page.read().decode()
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=30)
    assert process.returncode == 0 and complaint == ""


@pytest.mark.parametrize(
    "decode, tokens",
    [
        # characters of two, three and four tokens
        (lambda ts: bytes(ts).decode("utf-8", "replace"), list("añ€😀b".encode())),
        (lambda ts: bytes(ts).decode("utf-8", "replace"), list("€".encode()[:2])),  # one that never ends
        (lambda ts: " ".join(f"w{t}" for t in ts), [1, 2, 3]),  # spaces that only stand between
        (lambda ts: "".join(chr(t) for t in ts if t < 200), [65, 250, 66]),  # a special token
        (lambda ts: "", [1, 2]),
        (lambda ts: "", []),
    ],
)
def test_pieces_join_to_the_text(decode, tokens):
    found = pieces(decode, tokens)
    assert len(found) == len(tokens) and "".join(found) == decode(tokens)


def test_where_no_pieces_join_there_are_none():
    tidy = lambda ts: " ".join(["is", "n't", "."][t] for t in ts).replace(" n't", "n't").replace(" .", ".")  # noqa: E731
    assert pieces(tidy, [0, 1, 2]) in (["is", "n't", "."], "isn't.")
