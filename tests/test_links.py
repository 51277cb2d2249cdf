"""Links, pipes and devices in a run's folder: none is followed, opened or removed, by any command, and one
message says what to do.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

from run_folders import SHORT, contents, refused
from surpass import lock, nofollow
from surpass.comparing import compare
from surpass.errors import Damaged, SurpassError
from surpass.intact import damage, seal, write_whole
from surpass.lock import Lock, held
from surpass.report import folder as reading
from surpass.report import write_report
from surpass.store import Store

FILES = (
    "lock lock.pid run.json state.json events.jsonl timing.jsonl report.html run.json.partial "
    "state.json.partial report.html.partial trees/0001.parquet trees/0001.sha256 trees/0002.partial "
    "trees/0002.sha256.partial texts/0002.jsonl texts/0002.jsonl.partial examples/0002.partial "
    "credit/0002.partial exams/0002.partial exams/0002.jsonl.partial weights/0001/state.json "
    "weights/0001/checksums.json weights/0001/policy/config.json weights/0001/policy/model.safetensors".split()  # noqa: E501
)
FOLDERS = [
    "weights",
    "trees",
    "texts",
    "examples",
    "credit",
    "exams",
    "surpass",
    "weights/0001",
    "weights/0001/policy",
    "weights/0002",
    "weights/0002.partial",
]


@pytest.fixture(scope="module")
def linked(home, tmp_path_factory):
    """One copy for all: what is refused changes nothing, which each test looks at."""
    folder = tmp_path_factory.mktemp("linked")
    shutil.copytree(home, folder / "home")
    return folder / "home"


@contextlib.contextmanager
def laid(path: Path, lay):
    """Something in place of what lies at a path, which is back afterwards."""
    aside = path.with_name(path.name + "-aside")
    if path.exists():
        path.rename(aside)
    path.parent.mkdir(exist_ok=True)
    lay(path)
    yield
    path.unlink()
    if aside.exists():
        aside.rename(path)


@pytest.mark.parametrize("name", [*FILES, *FOLDERS])
def test_a_link_is_refused_and_nothing_is_changed(name, linked, capsys, monkeypatch):
    monkeypatch.chdir(linked)
    half, victim = linked / "half", linked.parent / "victim"
    shutil.rmtree(victim, ignore_errors=True)
    victim.mkdir()
    kept = victim / "kept"
    if name in FOLDERS:
        if (half / name).exists():
            shutil.copytree(half / name, kept)
        else:
            kept.mkdir()
        (kept / "own").write_text("mine")
    elif (half / name).exists():
        shutil.copy(half / name, kept)
    else:
        kept.write_text("mine")
    with laid(half / name, lambda path: path.symlink_to(kept)):
        before = contents(linked), contents(victim)
        refused(
            ["resume", "half"], capsys, str(Path("half") / name), "symbolic link", "move the whole folder"
        )
        refused(["run", "grpo", "--model", "model", "--out", "half", *SHORT], capsys)
        refused(["export", "half", "--to", "hf"], capsys)
        with pytest.raises(SurpassError, match="symbolic link"):
            write_report("half")
        assert (contents(linked), contents(victim)) == before


@pytest.mark.parametrize(
    "name",
    [
        "lock",
        "run.json",
        "state.json",
        "events.jsonl",
        "timing.jsonl",
        "run.json.partial",
        "trees/0001.parquet",
        "trees/0001.sha256",
        "texts/0001.jsonl",
        "weights/0001/policy/model.safetensors",
        "weights/0001/checksums.json",
    ],
)
@pytest.mark.parametrize("kind", ["pipe", "socket", "nowhere", "device"])
def test_pipes_sockets_devices_and_links_that_lead_nowhere_keep_nobody_waiting(
    name, kind, linked, capsys, monkeypatch
):
    monkeypatch.chdir(linked)

    def lay(path: Path) -> None:
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "nowhere":
            path.symlink_to(linked.parent / "made")
        elif kind == "device":
            path.symlink_to("/dev/zero")
        else:
            # a name for a socket is short
            with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as one:
                one.bind(path.name)

    with laid(linked / "half" / name, lay):
        for words in (
            ["resume", "half"],
            ["run", "grpo", "--model", "model", "--out", "half", *SHORT],
            ["export", "half", "--to", "hf"],
        ):
            refused(words, capsys)
        with pytest.raises(SurpassError):
            write_report("half")
    assert not (linked.parent / "made").exists()


@pytest.mark.parametrize("name", ["lock", "events.jsonl", "timing.jsonl"])
def test_a_hard_link_that_would_be_written_through_is_refused(name, linked, capsys, monkeypatch):
    monkeypatch.chdir(linked)
    victim = linked.parent / "hard"
    victim.write_text("mine")
    with laid(linked / "half" / name, lambda path: os.link(victim, path)):
        refused(["resume", "half"], capsys, "hard link", "cp -r")
    assert victim.read_text() == "mine"
    victim.unlink()


def test_hard_links_elsewhere_are_replaced_and_not_written_through(place, capsys):
    """As a backup by cp -al has them: only what is written where it lies has to be a copy."""
    shutil.rmtree("whole")
    for path in [
        p
        for p in (place / "half").rglob("*")
        if p.is_file() and p.name not in ("lock", "events.jsonl", "timing.jsonl")
    ]:
        other = place / "whole" / path.relative_to(place / "half")
        other.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, other)
    for name in ("state.json.partial", "trees/0002.partial", "run.json.partial", "texts/0002.jsonl.partial"):
        (place / "whole" / name).write_text("mine")
        os.link(place / "whole" / name, place / "half" / name)
    (place / "half" / "weights" / "0002.partial").mkdir()
    os.link(place / "whole" / "run.json", place / "half" / "weights" / "0002.partial" / "config.json")
    before = contents(place / "whole")
    from surpass.cli import main

    assert main(["resume", "half"]) == 0
    assert contents(place / "whole") == before


def test_the_folder_itself_may_be_a_link(place):
    from surpass.cli import main

    (place / "half").rename(place / "elsewhere")
    (place / "half").symlink_to(place / "elsewhere")
    assert main(["resume", "half"]) == 0
    assert main(["export", "half", "--to", "hf"]) == 0


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "anything"])
def test_a_model_folder_with_a_pipe_in_it_keeps_nobody_waiting(name, linked, capsys, monkeypatch):
    monkeypatch.chdir(linked)
    model = "half/weights/0001/policy"
    with laid(Path(model) / name, os.mkfifo):
        refused(["eval", "best_of_n", "--model", model, "--limit", "1"], capsys, name, "is no file")


def test_names_that_lead_out_of_a_folder_are_no_names(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "secret").write_text("s")
    for name in ("../secret", str(tmp_path / "secret"), "a/../../secret", ".."):
        with pytest.raises(SurpassError, match="leads out"):
            nofollow.read(tmp_path / "run", name)
    folder = tmp_path / "run"
    (folder / "checksums.json").write_text(json.dumps({"../secret": nofollow.__name__, "/proc/kmsg": ""}))
    assert "leads out" in damage(folder)
    seal(folder)
    assert damage(folder) == "" or "checksums" in damage(folder)
    (folder / "b.partial").symlink_to(tmp_path / "secret")
    with pytest.raises(SurpassError, match="symbolic link"):
        write_whole(folder / "b", "x")
    assert (tmp_path / "secret").read_text() == "s" and not (folder / "b").exists()
    (folder / "c").symlink_to(tmp_path / "secret")
    write_whole(folder / "c", "x")  # the link is replaced
    assert (tmp_path / "secret").read_text() == "s" and (folder / "c").read_text() == "x"


@pytest.mark.parametrize("swapped", ["folder", "file", "pipe"])
@pytest.mark.parametrize("read", [nofollow.read, reading.opened], ids=["run", "report"])
def test_what_is_swapped_after_it_was_looked_at_is_not_read(swapped, read, tmp_path, monkeypatch):
    run, look = tmp_path / "run", os.stat
    (run / "trees").mkdir(parents=True)
    (run / "trees" / "f").write_text("mine")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "f").write_text("secret")

    def looked(name, **how):
        found = look(name, **how)
        if name == ("trees" if swapped == "folder" else "f"):
            (run / "trees" / "f").unlink()
            if swapped == "folder":
                (run / "trees").rmdir()
                (run / "trees").symlink_to(tmp_path / "secret")
            elif swapped == "file":
                (run / "trees" / "f").symlink_to(tmp_path / "secret" / "f")
            else:
                os.mkfifo(run / "trees" / "f")
        return found

    monkeypatch.setattr(os, "stat", looked)
    with pytest.raises(Damaged, match="named pipe" if swapped == "pipe" else "symbolic link"):
        read(run, "trees/f")
    monkeypatch.undo()
    assert (tmp_path / "secret" / "f").read_text() == "secret"


def test_a_listed_folder_is_no_link(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "f").write_text("x")
    (tmp_path / "run" / "trees").symlink_to(tmp_path / "secret")
    (tmp_path / "run" / "file").write_text("x")
    for listed in (nofollow.listed, reading.names):
        with pytest.raises(Damaged, match="symbolic link"):
            listed(tmp_path / "run", "trees")
        with pytest.raises(Damaged, match="plain file"):
            listed(tmp_path / "run", "file")
        assert listed(tmp_path / "run", "none") == [] and listed(tmp_path / "none", "none") == []
        assert listed(tmp_path, "secret") == ["f"]


def test_an_export_and_a_comparison_follow_no_link(place, capsys):
    victim = place.parent / "victim"
    (place / "whole" / "export-hf").symlink_to(victim)
    refused(["export", "whole", "--to", "hf"], capsys, "exists already")
    assert not victim.exists()
    victim.mkdir()
    for link in ("runs", "runs/grpo", "runs/comparison.html.partial"):
        out = place / f"compare-{len(link)}"
        out.mkdir()
        if link == "runs":
            (out / "grpo").mkdir()
            (out / "grpo" / "seed-1").symlink_to(victim)
        else:
            (out / link.removeprefix("runs/")).symlink_to(victim)
        with pytest.raises(SurpassError, match="symbolic link"):
            compare(
                ["grpo", "star"], model="model", out=out, seeds=1, test=2, gate=2, tell=lambda words: None
            )
    assert not any(victim.iterdir())


def test_a_link_in_place_of_a_folder_that_nobody_named_is_refused(place, capsys):
    from surpass.cli import main

    words = ["run", "grpo", "--model", "model", "--rounds", "0", *SHORT]
    assert main(words) == 0
    (folder,) = (place / "runs").iterdir()
    victim = place.parent / "victim"
    shutil.rmtree(folder)
    victim.mkdir()
    folder.symlink_to(victim)
    refused(words, capsys, "symbolic link", "--out")
    assert not any(victim.iterdir())


@pytest.mark.parametrize("name", ["surpass", ".aim"])
def test_a_tracker_follows_no_link(name, tmp_path, monkeypatch):
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    from surpass.trackers import tracking

    class Writes:
        requires_logging_directory, name = True, "tensorboard"

        def __init__(self, project, logging_dir):
            raise AssertionError("it was begun")

    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "tensorboard", Writes)
    (tmp_path / name).symlink_to(tmp_path.parent)
    with (
        pytest.raises(SurpassError, match="symbolic link"),
        tracking("tensorboard", "x", tmp_path, {}, print),
    ):
        pass


# -- what is a run, and whose


@pytest.mark.parametrize(
    "left",
    [
        ("state.json",),
        ("trees",),
        ("weights",),
        ("events.jsonl",),
        ("state.json", "trees", "weights", "events.jsonl"),
    ],
)
def test_a_folder_without_run_json_is_not_written_over(left, place, capsys):
    for name in os.listdir(place / "whole"):
        if name not in left:
            path = place / "whole" / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = contents(place)
    refused(
        ["run", "rloo", "--seed", "7", "--model", "model", "--out", "whole", *SHORT],
        capsys,
        left[0],
        "run.json",
        "another folder",
    )
    from surpass import improve

    with pytest.raises(SurpassError, match=r"no run\.json"):
        improve("grpo", model="model", out="whole", quiet=True, rounds=1, test=2, gate=2)
    assert contents(place) == before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"format": 1e999}',
        "[" * 100_000,
        '{"format": 2, "x": ' + "[" * 500 + "]" * 500 + "}",
        "\xff",
        '{"format": true}',
    ],
)
@pytest.mark.parametrize("states", [True, False])
def test_a_damaged_run_json_is_not_written_over(text, states, place, capsys):
    (place / "whole" / "run.json").write_bytes(text.encode("latin-1"))
    if not states:
        (place / "whole" / "state.json").unlink()
        shutil.rmtree(place / "whole" / "weights")
    before = contents(place)
    refused(
        ["run", "rloo", "--model", "model", "--out", "whole", *SHORT],
        capsys,
        "run.json" if "format" not in text else "",
    )
    refused(["resume", "whole"], capsys)
    assert contents(place) == before


def test_a_state_of_another_method_is_not_gone_on_from(place, capsys):
    from surpass.cli import main

    assert main(["run", "rloo", "--model", "model", "--out", "other", "--rounds", "1", *SHORT]) == 0
    shutil.copy(place / "other" / "run.json", place / "half" / "run.json")
    before = contents(place / "half" / "weights")
    refused(["resume", "half"], capsys, "another method")
    assert contents(place / "half" / "weights") == before


# -- file systems without locks


def _without(monkeypatch, code: int) -> None:
    import fcntl

    def flock(file, how):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EIO])
def test_a_file_system_without_locks_is_said_and_two_processes_are_kept_apart(code, tmp_path, monkeypatch):
    _without(monkeypatch, code)
    with pytest.warns(UserWarning, match="has no locks"):
        store = Store(tmp_path)
    assert held(tmp_path)
    with pytest.raises(SurpassError, match=rf"in use by process {os.getpid()}"):
        Store(tmp_path)
    store.close()
    assert not (tmp_path / "lock.pid").exists() and not held(tmp_path)
    with pytest.warns(UserWarning, match="has no locks"):
        Store(tmp_path).close()


def test_a_process_that_finds_locks_looks_at_the_other_file_too(tmp_path, monkeypatch):
    code = "import sys\nfrom surpass.lock import Lock\nfrom pathlib import Path\nLock(Path(sys.argv[1]))"
    with monkeypatch.context() as without, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _without(without, errno.ENOLCK)
        one = Lock(tmp_path)
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, env=env
    )
    assert "in use by process" in said.stderr
    one.close()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"pid": -1}',
        '{"pid": "x"}',
        json.dumps({"pid": 2**30, "host": socket.gethostname()}),
        json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "began": "1"}),
    ],
    ids=range(7),
)
def test_a_lock_that_was_left_behind_is_taken_over(text, tmp_path, monkeypatch):
    _without(monkeypatch, errno.ENOLCK)
    (tmp_path / "lock.pid").write_text(text)
    os.utime(tmp_path / "lock.pid", (1, 1))
    with pytest.warns(UserWarning, match="has no locks"):
        Lock(tmp_path).close()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_a_lock_from_another_machine_is_its_users_to_remove(tmp_path, monkeypatch):
    _without(monkeypatch, errno.ENOLCK)
    (tmp_path / "lock.pid").write_text(json.dumps({"pid": 1, "host": "elsewhere"}))
    with pytest.raises(SurpassError, match=r"on elsewhere.*remove that file"):
        Lock(tmp_path)
    assert (tmp_path / "lock.pid").exists()


@pytest.mark.filterwarnings("ignore:the file system")
def test_of_many_who_find_a_lock_left_behind_one_gets_it(tmp_path, monkeypatch):
    _without(monkeypatch, errno.ENOLCK)
    (tmp_path / "lock.pid").write_text(json.dumps({"pid": 2**30, "host": socket.gethostname()}))
    got, gate = [], threading.Barrier(8)

    def take() -> None:
        gate.wait()
        with contextlib.suppress(SurpassError):
            got.append(Lock(tmp_path))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1


def test_a_lock_that_another_process_holds_is_said_as_before(tmp_path):
    one = Lock(tmp_path)
    assert held(tmp_path)
    with pytest.raises(SurpassError, match="in use by another process"):
        Lock(tmp_path)
    one.close()
    one.close()
    assert not held(tmp_path) and lock.PID not in os.listdir(tmp_path)
