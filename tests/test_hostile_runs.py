"""Run folders and requests that mean harm: the viewer and the report answer, in a moment, and say what they
do not read.

`corpus/view` holds files of runs as somebody might have made them; each is named for the file it is laid in
place of. Whatever was once found to be read wrongly belongs there.
"""

import contextlib
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import surpass
from report_data import Skeleton, branching_tree, flat_tree, whole_run
from servers import get, serving
from surpass.errors import Damaged, SurpassError
from surpass.report import folder as reading
from surpass.report import write_report
from surpass.report.folder import lines, opened
from surpass.report.read import read_run
from surpass.store import Store
from surpass.view import Viewer, pages, runs, server
from surpass.view.runs import Busy, Runs
from surpass.view.trees import tree_of

TIMES = int(os.environ.get("SURPASS_FUZZ", "1"))
CORPUS = sorted((Path(__file__).parent / "corpus" / "view").iterdir())
ABOUT = {
    "format": 2,
    "name": "grpo",
    "seed": 7,
    "task": {"part": "surpass.tasks.arithmetic"},
    "method": {"scores": {"reward": {}}},
}
FILES = (
    "events.jsonl run.json state.json timing.jsonl lock trees/0001.parquet texts/0001.jsonl "
    "credit/0001.parquet examples/0001.parquet exams/0000.parquet exams/0000.jsonl trees texts exams "
    "credit examples".split()
)
ASKED = [
    "run?name={}",
    "parts?name={}",
    "stamp?name={}",
    "attempts?name={}",
    "outcomes?name={}",
    "tree?name={}&round=1&tree=0",
    "tree?name={}&round=0&tree=0&kind=exams",
    "pair?name={}&other=one",
]
SECRET = "a secret that lies outside"


def make(root, name):
    """A small run with a file of each kind."""
    folder = root / name
    folder.mkdir(parents=True)
    store = Store(folder)
    trees = [flat_tree(), branching_tree()]
    store.describe(ABOUT)
    store.events(whole_run())
    store.write_trees(1, trees, {})
    store.write_texts(1, [{1: ["a", "b", "c"], 2: "d"}, {}])
    store.write_exam(0, trees, [{1: ["a", "b", "c"]}, {}])
    store.write_credit(
        1, [("policy", [tree.with_columns({"advantage": tree.get("reward")}) for tree in trees])], trees
    )
    with store.timed("search", 1):
        pass
    store.close()
    (folder / "examples").mkdir()
    pq.write_table(
        pa.table({"tree": pa.array([0], pa.int32()), "nodes": [[1]]}), folder / "examples" / "0001.parquet"
    )
    (folder / "state.json").write_text(json.dumps({"cost": {"search": {"generated": 9}}}), encoding="utf-8")
    return folder


@pytest.fixture
def root(tmp_path):
    make(tmp_path / "runs", "one")
    return tmp_path / "runs"


@contextlib.contextmanager
def within(seconds):
    """What takes longer failed, though it be right in the end."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def lay(kind, path, secret):
    """Something at `path` that is no plain file of a run; False where this machine or this user cannot."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as one, contextlib.chdir(path.parent):
            one.bind(path.name)
    elif kind == "device":
        try:
            os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5))
        except OSError:
            return False
    elif kind == "huge":
        with open(path, "wb") as file:
            try:
                file.truncate(2**40)
            except OSError:
                return False
    else:
        os.symlink(
            {
                "zero": "/dev/zero",
                "terminal": "/dev/tty",
                "input": "/dev/stdin",
                "outside": secret,
                "nowhere": path.parent / "none",
                "itself": path,
            }[kind],
            path,
        )
    return True


@pytest.mark.parametrize(
    "kind",
    [
        "pipe",
        "folder",
        "socket",
        "device",
        "huge",
        "zero",
        "terminal",
        "input",
        "outside",
        "nowhere",
        "itself",
    ],
)
def test_what_is_no_plain_file_is_named_and_hides_no_run(viewer, root, tmp_path, kind):
    secret = tmp_path / "secret"
    secret.mkdir()
    for name in ("0001.parquet", "0000.parquet", "0001.jsonl", "0000.jsonl"):
        shutil.copy(root / "one" / "trees" / "0001.parquet", secret / name)
        if name.endswith("jsonl"):
            (secret / name).write_text(
                json.dumps({"tree": 0, "nodes": {"1": SECRET}}) + "\n", encoding="utf-8"
            )
    (tmp_path / "secret.json").write_text(
        json.dumps({"format": 2, "event": "gate", "round": 7, "keep": True, "why": SECRET, "name": SECRET})
        + "\n",
        encoding="utf-8",
    )
    laid = []
    for file in FILES:
        folder = root / f"on-{file.replace('/', '-')}"
        shutil.copytree(root / "one", folder)
        outside = {
            ".parquet": secret / "0001.parquet",
            ".jsonl": tmp_path / "secret.json" if "/" not in file else secret / "0001.jsonl",
        }.get(Path(file).suffix, tmp_path / "secret.json")
        if lay(
            kind,
            folder / file,
            secret if file in ("trees", "texts", "exams", "credit", "examples") else outside,
        ):
            laid.append((folder, file))
    with within(30):
        status, _, index = get(viewer, "")
        assert status == 200 and 'href="run?name=one"' in index and SECRET not in index
        for folder, file in laid:
            assert folder.name in index
            for path in ASKED:
                status, _, body = get(viewer, path.format(folder.name))
                assert status in (200, 404, 500) and SECRET not in body and "Error" not in body, (
                    file,
                    path,
                    body,
                )
            with contextlib.suppress(SurpassError):
                assert SECRET not in write_report(folder).read_text(encoding="utf-8")
        assert get(viewer, "run?name=one")[0] == get(viewer, "tree?name=one&round=1&tree=0")[0] == 200


def test_a_link_on_the_way_is_refused_too(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "trees").symlink_to(tmp_path)
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(Damaged, match=r"trees is a symbolic link, where a run of surpass has a folder"):
        opened(tmp_path / "run", "trees/file")
    assert opened(tmp_path, "none") is opened(tmp_path, "none/file") is None
    with pytest.raises(Damaged, match="file is a plain file, where a run of surpass has a folder"):
        opened(tmp_path, "file/file")


def test_a_file_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MOST_FILE", 100)
    (tmp_path / "f").write_bytes(b"x" * 101)
    with pytest.raises(Damaged, match="101 bytes"):
        opened(tmp_path, "f")


def test_lines_too_long_or_too_many(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MOST_LINE", 100)
    monkeypatch.setattr(reading, "MOST_LINES", 4)
    (tmp_path / "f").write_bytes(b'{"a": 1}\n{"b": "' + b"x" * 500 + b'"}\n{"c": 3}\n{"d": "torn')
    assert list(lines(tmp_path, "f")) == [{"a": 1}, None, {"c": 3}]
    assert list(lines(tmp_path, "f", 9)) == [{"a": 1}] and list(lines(tmp_path, "f", 12)) == [{"a": 1}]
    (tmp_path / "f").write_bytes(b'{"a": 1}\n' * 5)
    with pytest.raises(Damaged, match="more than 4 lines"):
        list(lines(tmp_path, "f"))


def test_a_small_table_that_unpacks_to_a_large_one(root, monkeypatch):
    """20 kB that are 200 MB once they are read."""
    path = root / "one" / "exams" / "0000.parquet"
    shutil.copy(next(file for file in CORPUS if file.name == "trees-unpacks"), path)
    assert path.stat().st_size < 50_000
    monkeypatch.setattr(reading, "MOST_TABLE", 2**24)
    with within(20), pytest.raises(Damaged, match="unpacks to more than 16,777,216 bytes"):
        Runs(root).outcomes(("one", 0), ("one", -1))


def test_reading_has_so_much_memory_and_no_more(root):
    """A table of a few kB whose 64 rows are 512 MB: what asks for it is refused, and the next one is
    served.
    """
    bomb = pa.array([pa.scalar("y" * 2**23)] * 1).dictionary_encode().take(pa.array([0] * 64))
    pq.write_table(
        pa.table({"problem": bomb}),
        root / "one" / "exams" / "0000.parquet",
        compression="zstd",
        store_schema=False,
    )
    assert (root / "one" / "exams" / "0000.parquet").stat().st_size < 10_000
    script = f"""
import pathlib, surpass.view.server as server
server.ROOM = 2**28
runs = server.Runs(pathlib.Path({str(root)!r}))
with server.limited():
    try:
        runs.outcomes(("one", 0), ("one", -1))
    except server.Damaged as error:
        print(error)
    print(len(runs.attempts(runs.run("one"))[0]))
bytearray(2**29)
"""
    env = os.environ | {"PYTHONPATH": str(Path(surpass.__file__).parents[1])}
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, env=env
    )
    assert "0000.parquet is damaged: ArrowMemoryError" in found.stdout and found.stdout.split()[-1] == "4", (
        found.stdout,
        found.stderr,
    )


def test_a_run_that_is_read_for_long_holds_no_other_up(viewer, root, monkeypatch):
    make(root, "slow")
    held, read = threading.Event(), runs.read_run

    def slowly(folder):
        if folder.name == "slow":
            held.wait(30)
        return read(folder)

    monkeypatch.setattr(runs, "read_run", slowly)
    monkeypatch.setattr(runs, "PATIENCE", 0.2)
    monkeypatch.setattr(pages, "PATIENCE", 0.3)
    try:
        with within(25):
            waiting = threading.Thread(target=get, args=(viewer, "run?name=slow"))
            waiting.start()
            time.sleep(0.05)
            assert get(viewer, "run?name=one")[0] == get(viewer, "attempts?name=one")[0] == 200
            index = get(viewer, "")[2]
            assert 'href="run?name=one"' in index and "still being read" in index
            assert get(viewer, "stamp?name=slow")[0] == 503
    finally:
        held.set()
    waiting.join()
    assert get(viewer, "stamp?name=slow")[0] == 200 and 'href="run?name=slow"' in get(viewer, "")[2]
    monkeypatch.setattr(Runs, "run", lambda self, name: time.sleep(0.5))
    with pytest.raises(Busy):
        Runs(root).soon("one", 0.05)


def test_what_is_mended_is_read_again(root):
    found = Runs(root)
    for name, bad in (("run.json", "{"), ("events.jsonl", "{\n{\n"), ("timing.jsonl", None)):
        path = root / "one" / name
        good = path.read_bytes()
        path.unlink()
        os.mkfifo(path) if bad is None else path.write_text(bad, encoding="utf-8")
        for _ in range(2):
            with pytest.raises(Damaged, match=name):
                found.run("one")
        path.unlink()
        path.write_bytes(good)
        assert found.run("one").end


# -- the corpus, and whatever is near it


def placed(root, name):
    """Which file of a run one of the corpus stands for."""
    kind = name.rpartition("/")[2].partition("-")[0]
    if name.startswith("exam-texts"):
        return root / "exams" / "0000.jsonl"
    return root / {
        "texts": "texts/0001.jsonl",
        "trees": "trees/0001.parquet",
        "credit": "credit/0001.parquet",
        "examples": "examples/0001.parquet",
    }.get(kind, kind)


def look(folder):
    """Every page and answer of a run, and its report: each is there, or refused by SurpassError; and none
    holds an element that was not meant.
    """
    found = Runs(folder.parent)
    name = folder.name

    def ask(question):
        with contextlib.suppress(SurpassError):
            return question()
        return None

    htmls = [
        ask(lambda: pages.run_page(found, name)),
        ask(lambda: pages.pair_page(found, name, "one")),
        ask(lambda: pages.index(found)),
        ask(lambda: write_report(folder).read_text(encoding="utf-8")),
    ]
    run = ask(lambda: found.run(name))
    if run is not None:
        answers = [
            ask(lambda: found.page(run, {"sort": "-score", "text": "a", "low": "0"})),
            ask(lambda: found.outcomes((name, 0), ("one", -1))),
        ]
        answers += [
            ask(lambda i=i, kind=kind: tree_of(run, kind == "trees", i, kind))
            for kind in ("trees", "exams")
            for i in (0, 1, 5)
        ]
        for answer in answers:
            server.as_line(answer)
    for html in filter(None, htmls):
        tags = [item for item in Skeleton(html).found if isinstance(item, tuple)]
        assert sum(tag == "meta" for tag, *_ in tags) <= 4 and sum(tag == "script" for tag, *_ in tags) <= 1
        assert not any(
            attribute.startswith("on") or attribute == "style" for _, names, _ in tags for attribute in names
        )
    assert ask(lambda: pages.run_page(found, "one")) and 'href="run?name=one"' in htmls[2]


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.name)
def test_what_was_found_once_is_read_or_refused(root, file):
    folder = make(root, "odd")
    for path in (
        placed(folder, file.name),
        *([folder / "exams" / "0000.parquet"] if file.name.startswith("trees") else []),
    ):
        shutil.copy(file, path)
    with within(20):
        look(folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("whole")
    make(root, "one")
    return root


@settings(
    max_examples=20 * TIMES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.sampled_from(
        [
            file
            for file in CORPUS
            if file.stat().st_size < 20_000 and not file.name.startswith(("trees", "credit", "examples"))
        ]
    ),
    st.data(),
)
def test_what_is_near_it_is_read_or_refused(whole, file, data):
    """Cut, with bytes changed, doubled, or with another file's bytes in it."""
    folder = whole / "odd"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole / "one", folder)
    raw = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(0, len(raw) - 1)))
        kind = data.draw(st.sampled_from(["cut", "junk", "words", "twice"]))
        if kind == "cut":
            raw = raw[:at]
        elif kind == "twice":
            raw[at:at] = raw[:at]
        else:
            raw[at : at + data.draw(st.integers(0, 8))] = data.draw(
                st.binary(max_size=6)
                if kind == "junk"
                else st.sampled_from(
                    [
                        b'"',
                        b"{",
                        b"[",
                        b"}",
                        b"]",
                        b"null",
                        b"-1",
                        b"1e999",
                        b"\n",
                        b'"<b>"',
                        b'"round"',
                        b'"n": 1',
                        b"9" * 30,
                    ]
                )
            )
    placed(folder, file.name).write_bytes(raw)
    look(folder)


TREES = """
import contextlib, sys, random, shutil, pathlib
sys.path.insert(0, {tests!r})
import test_hostile_runs as tests
rng, whole, corpus = random.Random({seed}), pathlib.Path({whole!r}), [f for f in tests.CORPUS if f.name.startswith("trees") and f.name != "trees-unpacks"]
for i in range({times}):
    folder = whole / "bits"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole / "one", folder)
    raw = bytearray(rng.choice(corpus).read_bytes()) or bytearray(8)
    for _ in range(rng.randrange(1, 6)):
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    for place in ("trees/0001.parquet", "exams/0000.parquet"):
        (folder / place).write_bytes(raw[: rng.choice([len(raw)] * 4 + [rng.randrange(len(raw))])])
    tests.look(folder)
print("whole")
"""  # noqa: E501


def test_tables_with_bits_changed(whole):
    """In a process of its own: what reads tables is not ours."""
    script = TREES.format(tests=str(Path(__file__).parent), seed=1, whole=str(whole), times=25 * TIMES)
    found = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60 + 30 * TIMES,
        env=os.environ | {"PYTHONPATH": str(Path(surpass.__file__).parents[1])},
    )
    assert found.returncode == 0 and found.stdout.strip() == "whole", found.stderr[-3000:]


# -- requests


def say(server, data, seconds=10.0, end=False):
    """What comes back for these bytes."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=seconds) as connection:
        connection.sendall(data)
        if end:
            connection.shutdown(socket.SHUT_WR)
        found = b""
        with contextlib.suppress(ConnectionError):
            while more := connection.recv(65_536):
                found += more
    return found


T = "/TOKEN/"
ODD = [
    "GET http://[/ HTTP/1.1",
    "GET http://[::1 HTTP/1.1",
    f"GET http://127.0.0.1{T} HTTP/1.1",
    f"GET {T}",
    f"GET {T} HTTP/0.9",
    f"GET {T} HTTP/2.0",
    f"GET {T} HTTP/1.1 x",
    f"GET  {T} HTTP/1.1",
    f"get {T} HTTP/1.1",
    f"GET {T}?a b HTTP/1.1",
    f"GET {T}\x01 HTTP/1.1",
    f"GET {T}é HTTP/1.1",
    "\x00\x01\x02",
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "GET",
    "GET /" + "x" * 20_000,
    "x" * 30_000,
    "GET",
    " ",
    "*",
    "GET * HTTP/1.1",
    "PRI * HTTP/2.0",
    f"GET {T} HTTP/1.\u00b2",
    "\x1b[2J",
    "CONNECT a:1 HTTP/1.1",
]
UNCLEAR = [
    "%",
    "%zz",
    "run?name=%",
    "run?name=%ff",
    "run?name=%g1",
    "%c3%28",
    "run?name=one#x",
    "attempts?name=one&offset=%20",
    "attempts?name=one&low=1e999",
    "tree?name=one&round=&tree=0",
    "tree?name=one&round=1&tree=-1",
    "tree?name=one&round=%C2%B2&tree=0",
    "tree?name=one&round=1&tree=" + "9" * 400,
    "tree?name=one&round=0x1&tree=0",
    "attempts?" + "a=1&" * 30,
    "attempts?name=one&sort=<b>",
]


@pytest.mark.parametrize("line", ODD, ids=lambda line: ascii(line)[:30])
def test_odd_requests_are_answered_with_400(viewer, capfd, monkeypatch, line):
    monkeypatch.setattr(server, "SECONDS", 60.0)
    line = line.replace("TOKEN", viewer.token).encode("utf-8" if "é" in line else "latin-1")
    with within(20):
        for data in (
            line + b"\r\n\r\n",
            line + b"\n",
            line + f"\r\nHost: 127.0.0.1:{viewer.server_port}\r\n\r\n".encode(),
        ):
            found = say(viewer, data, end=True)
            assert (
                found.startswith(b"HTTP/1.1 400 ")
                and b"<" not in found
                and viewer.token.encode() not in found
            ), found
            assert b"default-src 'none'" in found
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("path", UNCLEAR, ids=lambda path: path[:30])
def test_odd_questions_are_answered_with_400(viewer, capfd, path):
    status, headers, body = get(viewer, path)
    assert (
        status == 400
        and headers["Content-Type"].startswith("text/plain")
        and headers["X-Content-Type-Options"] == "nosniff"
    ), body
    assert capfd.readouterr() == ("", "")


HEADS = [
    "",
    "Host: evil\r\n",
    "Host: 127.0.0.1\r\n",
    "HOST\r\n",
    "Host: 127.0.0.1:{0}\r\nHost: evil\r\n",
    "Host: 127.0.0.1:{0}\r\nOrigin: http://127.0.0.1:{0}\r\nOrigin: http://evil\r\n",
    "Host: 127.0.0.1:{0}\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site\r\n",
    "X: y\r\n Host: 127.0.0.1:{0}\r\n",
    "Host: 127.0.0.1:{0}\r\nA: " + "b" * 17_000 + "\r\n",
    "Host: 127.0.0.1:{0}\r\n\x00: \xff\r\n x\r\nOrigin: null\r\n",
]


@pytest.mark.parametrize("head", HEADS, ids=lambda head: ascii(head)[:30])
def test_odd_heads_get_nothing(viewer, capfd, head):
    head = head.replace("{0}", str(viewer.server_port))
    found = say(viewer, f"GET /{viewer.token}/ HTTP/1.1\r\n{head}\r\n".encode("latin-1"))
    assert found[:13] in (b"HTTP/1.1 400 ", b"HTTP/1.1 403 ") and b"<main>" not in found
    assert capfd.readouterr() == ("", "")


@pytest.fixture(scope="module")
def open_server(whole):
    """A viewer that notes what it complains of."""
    found = Viewer(whole)
    found.complaints = []
    found.handle_error = lambda *_: found.complaints.append(sys.exception())
    with serving(found):
        yield found


PIECES = [
    b"GET ",
    b"POST ",
    b"/",
    b"TOKEN",
    b"/TOKEN/",
    b"run?name=one",
    b"attempts?name=one&",
    b"tree?name=one&round=1&tree=0",
    b"low=",
    b"sort=-score",
    b"offset=",
    b"1",
    b"-",
    b"%",
    b"%2e%2e",
    b"?",
    b"&",
    b"#",
    b" HTTP/1.1",
    b"\r\n",
    b"\n",
    b"Host: HOST\r\n",
    b"Origin: x\r\n",
    b":",
    b"\x00",
    b"\xff",
    b" ",
    b"[",
    b"http://",
    b"9" * 400,
    b"\r\n\r\n",
]


@settings(max_examples=40 * TIMES, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), max_size=14), st.booleans())
def test_requests_near_to_right_ones(open_server, pieces, begins):
    data = b"".join([b"GET /TOKEN/" if begins else b"", *pieces, b" HTTP/1.1\r\nHost: HOST\r\n\r\n"])
    data = data.replace(b"TOKEN", open_server.token.encode()).replace(
        b"HOST", f"127.0.0.1:{open_server.server_port}".encode()
    )
    found = say(open_server, data, end=True)
    assert found[:13] in [f"HTTP/1.1 {code} ".encode() for code in (200, 400, 403, 404, 501)], found
    assert b"default-src 'none'" in found.partition(b"\r\n\r\n")[0] and not open_server.complaints


@contextlib.contextmanager
def connections(server, n, data):
    found = []
    try:
        for _ in range(n):
            found.append(socket.create_connection(("127.0.0.1", server.server_port), timeout=10))
            found[-1].sendall(data)
        yield found
    finally:
        for one in found:
            one.close()


def over(connection, seconds):
    """Whether a connection ends within so many seconds."""
    connection.settimeout(seconds)
    try:
        while connection.recv(4096):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize("data", [b"", b"G", b"GET /", b"GET /x", b"POST /"])
def test_those_who_say_nothing_keep_nobody_waiting(viewer, monkeypatch, data):
    monkeypatch.setattr(server, "SECONDS", 60.0)
    with connections(viewer, 200, data) as silent:
        with within(20):
            assert get(viewer, "")[0] == get(viewer, "run?name=one")[0] == 200
        assert sum(over(one, 0.01) for one in silent[:100]) > 50, "of so many the oldest are closed"
    assert len(viewer.waiting) <= server.MOST_WAITING


def test_a_request_has_a_moment_to_arrive(viewer, monkeypatch):
    """By drops, too, and with the secret as without."""
    monkeypatch.setattr(server, "SECONDS", 0.5)
    for data in (b"GET /", f"GET /{viewer.token}/ HTTP/1.1\r\nHost: ".encode()):
        with connections(viewer, 1, data) as (one,), within(6):
            began = time.monotonic()
            while time.monotonic() - began < 5:
                with contextlib.suppress(OSError):
                    one.sendall(b"x")
                if over(one, 0.05):
                    break
            assert time.monotonic() - began < 3


def test_whoever_lacks_the_secret_is_refused_at_the_first_line(viewer, monkeypatch):
    """Before the rest of the request comes, and without a look at any run."""
    monkeypatch.setattr(Runs, "names", lambda self: time.sleep(30))
    with connections(viewer, 30, b"GET /nothing/run?name=one HTTP/1.1\r\n") as some, within(20):
        for one in some:
            assert one.recv(20).startswith(b"HTTP/1.1 403 ")
            assert over(one, 3)


def test_those_who_do_not_take_their_answer_hold_nobody_up(viewer, root):
    (root / "one" / "run.json").write_text(json.dumps(ABOUT | {"x": ["y" * 100] * 100}), encoding="utf-8")
    ask = (
        f"GET /{viewer.token}/run?name=one HTTP/1.1\r\nHost: 127.0.0.1:{viewer.server_port}\r\n\r\n".encode()
    )
    with connections(viewer, 40, ask), within(20):
        assert get(viewer, "run?name=one")[0] == 200


def test_a_folder_of_very_many_folders(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "MOST_FOLDERS", 50)
    for i in range(100):
        (tmp_path / f"{i:03}").mkdir()
    make(tmp_path, "zzz")
    assert Runs(tmp_path).names() in ([], ["zzz"])
    assert read_run(tmp_path / "zzz").rounds == [1] and Viewer(tmp_path).server_close() is None


def test_names_of_tables(root):
    """Only what a run writes counts as a round."""
    trees = root / "one" / "trees"
    for name in (
        "1.parquet",
        "00001.parquet",
        "\u00b2\u00b2\u00b2\u00b2.parquet",
        "9" * 200 + ".parquet",
        "-001.parquet",
        "0x01.parquet",
        "0003.parquet.partial",
        "x.parquet",
        "\u0661\u0661\u0661\u0661.parquet",
    ):
        (trees / name).write_bytes(b"")
    (trees / "0002.parquet").mkdir()
    assert read_run(root / "one").rounds == [1, 2]
    found = Runs(root)
    assert found.page(found.run("one"), {})["broken"] == [2]
    assert "0002.parquet" in write_report(root / "one").read_text(encoding="utf-8")
