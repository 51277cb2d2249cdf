"""A run's folder that comes from somebody else, or was damaged, or edited by hand: whatever lies in it, a run
goes on, or one message says why not.

Every reader is tried: resume, run on the same folder, the report, export, eval of its weights, compare.
SURPASS_FUZZ=20 tries twenty times as many edits. What once ended in a traceback is kept in
tests/hostile_edits.jsonl, and is tried again each time.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import random
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from run_folders import contents, refused
from surpass import intact, records
from surpass.cli import main
from surpass.errors import SurpassError
from surpass.intact import sealed
from surpass.report import write_report
from surpass.report.read import read_run
from surpass.view.runs import Runs

TIMES = int(os.environ.get("SURPASS_FUZZ", "1"))
KEPT = Path(__file__).parent / "hostile_edits.jsonl"


# -- edits by hand

HOSTILE = [
    None,
    True,
    -1,
    0,
    7,
    0.5,
    10**30,
    10**400,
    math.nan,
    math.inf,
    "",
    "x",
    "../../x",
    "\ud800\0",
    [],
    [[]],
    [1, "a"],
    {},
    {"": {}},
    {"part": "os.system"},
    {"part": 3},
    {"part": "surpass.engines.ledger.Cache", "folder": "made"},
    {"part": "surpass.searches.samples"},
]


def places(value, at=()):
    """The path of every value in JSON."""
    yield at
    for key, item in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from places(item, (*at, key))


def edited(value, at, new):
    """JSON with another value at a path; MISSING takes it away."""
    if not at:
        return new
    copy = json.loads(json.dumps(value))
    inside = copy
    for key in at[:-1]:
        inside = inside[key]
    if new == "MISSING":
        del inside[at[-1]]
    else:
        inside[at[-1]] = new
    return copy


def edit(folder: Path, name: str, at, new, seal: bool) -> None:
    """Edit one value of a JSON file in a run's folder by hand, with its sum made good, or not."""
    path = folder / name
    value = edited(json.loads(path.read_text()), at, new)
    if seal and isinstance(value, dict):
        value.pop("sha256", None)
    with contextlib.suppress(ValueError):
        sealing = seal and isinstance(value, dict) and name != "run.json"
        path.write_text(sealed(json.dumps(value)) if sealing else json.dumps(value))


def edits(home: Path):
    """Every edit there is of run.json and state.json, items of one list counting once: (name, path, new
    value, sum made good).
    """
    found = {}
    for name in ("run.json", "state.json"):
        for at in places(json.loads((home / "half" / name).read_text())):
            found.setdefault((name, tuple("*" if isinstance(key, int) else key for key in at)), at)
    for (name, _), at in found.items():
        for new in [*HOSTILE, *(["MISSING"] if at else [])]:
            yield name, at, new, name == "state.json"
        if name == "state.json" and at:
            yield name, at, "MISSING", False


def tried(place: Path, capsys, name: str, at, new, seal: bool) -> None:
    """Resume, export and report with one edit: an end, or one message."""
    for again in ("folder", "made"):
        shutil.rmtree(place / again, ignore_errors=True)
    shutil.copytree(place / "half", place / "folder")
    edit(place / "folder", name, at, new, seal)
    with contextlib.suppress(SurpassError):
        write_report(place / "folder")
    for words in (["export", "folder", "--to", "hf"], ["resume", "folder"]):
        capsys.readouterr()
        code, error = main(words), capsys.readouterr().err
        told = [line for line in error.splitlines() if line.startswith("surpass: ")]
        assert (code, len(told)) in ((0, 0), (2, 1)), (words, name, at, new, error[-500:])
        assert "fault of surpass" not in error, (words, name, at, new, error[-500:])
    assert not (place / "made").exists()


def test_edits_by_hand_end_in_a_run_or_in_one_message(place, home, capsys):
    every = list(edits(home))
    for name, at, new, seal in random.Random(TIMES).sample(every, min(len(every), 4 * TIMES)):
        tried(place, capsys, name, at, new, seal)


def test_edits_that_once_ended_in_a_traceback(place, capsys):
    kept = KEPT.read_text().splitlines()
    for line in kept if TIMES > 1 else kept[:: len(kept) // 6]:
        name, at, new, seal = json.loads(line)
        tried(place, capsys, name, tuple(at), new, seal)


# -- any bytes


def hostile_bytes(raw: bytes, rng: random.Random) -> bytes:
    """A file's bytes, cut, flipped, doubled, or replaced by something else."""
    at = rng.randrange(len(raw) + 1)
    flipped = bytearray(raw or b"x")
    flipped[at % len(flipped)] ^= 1 << rng.randrange(8)
    lines = raw.split(b"\n")
    torn = rng.randrange(len(lines))
    return rng.choice(
        [
            raw[:at],
            bytes(flipped),
            raw + raw,
            raw[:at] + rng.randbytes(rng.randrange(1, 40)) + raw[at:],
            b"",
            b"{}",
            b"[]",
            b"null",
            b"[" * 100_000,
            b"\xff\xfe\0",
            b"\0" * 4096,
            b"nan\n",
            b'{"event": "exam", "round": 1e999}\n',
            b'{"event": "gate", "round": "<b>", "keep": 1}\n' + raw,
            b"\n".join([*lines[:torn], lines[torn][: len(lines[torn]) // 2], *lines[torn + 1 :]]),
            raw.replace(b"1", b"99999999999999999999999"),
            raw.replace(b'"', b""),
            raw.replace(b"0", b"-1", 3),
            raw.replace(b"policy", b"../../x"),
        ]
    )


def test_any_bytes_in_any_file_end_in_a_run_or_in_one_message(place, capsys):
    rng = random.Random(7 * TIMES)
    names = sorted(
        str(p.relative_to(place / "half"))
        for p in (place / "half").rglob("*")
        if p.is_file() and p.name not in ("lock", "report.html")
    )
    for name in rng.choices(names, k=3 * TIMES):
        shutil.rmtree(place / "folder", ignore_errors=True)
        shutil.copytree(place / "half", place / "folder")
        raw = hostile_bytes((place / "half" / name).read_bytes(), rng)
        (place / "folder" / name).write_bytes(raw)
        if name.startswith("weights/") and rng.random() < 0.5:  # somebody who makes the sums good
            (place / "folder" / "weights" / "0001" / "checksums.json").unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                intact.seal(place / "folder" / "weights" / "0001")
        if name.endswith(".parquet"):
            (place / "folder" / "trees" / "0001.sha256").unlink(missing_ok=True)
        with contextlib.suppress(SurpassError):
            write_report(place / "folder")
        with contextlib.suppress(SurpassError):
            Runs(place).page(Runs(place).run("folder"), {})
        for words in (
            ["export", "folder", "--to", "hf"],
            ["resume", "folder"],
            "eval best_of_n --model folder/weights/0001/policy --limit 1 --n 1 --max-tokens 2 "
            "--task.shots 0".split(),
        ):
            capsys.readouterr()
            code, error = main(words), capsys.readouterr().err
            told = [line for line in error.splitlines() if line.startswith("surpass: ")]
            assert (code, len(told)) in ((0, 0), (2, 1)), (words, name, raw[:200], error[-500:])
            assert "fault of surpass" not in error, (words, name, raw[:200], error[-500:])
        shutil.rmtree(place / "folder" / "export-hf", ignore_errors=True)


def test_torn_lines_and_foreign_files_are_passed_over(place, capsys):
    """In timing.jsonl and events.jsonl as a full disk leaves them; beside weights as people and file managers
    leave them.
    """
    half = place / "half"
    timing = (half / "timing.jsonl").read_bytes().splitlines(keepends=True)
    odd = [
        b'{"phase": "sea\n',
        b"[]\n",
        b'{"phase": 3, "seconds": 1}\n',
        b'{"phase": "x", "seconds": "y"}\n',
        b'{"phase": "x", "seconds": 1e999}\n',
        b"\xff\n",
        b"\0" * 50 + b"\n",
    ]
    (half / "timing.jsonl").write_bytes(b"".join([timing[0], *odd, *timing[1:]]))
    for name in ("notes.txt", "9foo", "0001.bak", ".DS_Store", "0001 (copy)", "²", "1", "99999999999"):
        (half / "weights" / name).mkdir() if name in ("9foo", "0001 (copy)", "²", "1") else (
            half / "weights" / name
        ).write_text("mine")
    for name in ("x.parquet", "²²²².parquet", "1.parquet", "0001.txt"):
        (half / "trees" / name).write_bytes(b"mine")
    (half / "weights" / "9foo" / "state.json").write_text("{}")
    assert main(["resume", "half"]) == 0
    assert {"notes.txt", "9foo", "0001.bak", ".DS_Store", "0002"} <= set(os.listdir(half / "weights"))
    run = read_run(half)
    assert run.rounds == [1, 2] and "search" in run.seconds and not {"x", "3"} & set(run.seconds)
    events = (half / "events.jsonl").read_bytes().splitlines(keepends=True)
    (half / "events.jsonl").write_bytes(
        b"".join(
            [
                events[0],
                b'{"event": "sea\n',
                b'{"event": "gate", "round": "<meta>", "keep": true}\n',
                *events[1:],
            ]
        )
    )
    shown = read_run(half)
    assert shown.events[1]["event"] != "gate" and all(
        isinstance(event["round"], int) for event in shown.events
    )
    write_report(half)
    capsys.readouterr()


def test_events_that_honest_runs_write_are_read_as_they_are(home):
    """Nothing that a run writes is left out when it is read again."""
    for name in ("whole", "lora"):
        written = [json.loads(line) for line in (home / name / "events.jsonl").read_text().splitlines()]
        found = records.events((home / name / "events.jsonl").read_bytes())
        assert len(found) == len(written) >= 4
        for a, b in zip(written, found, strict=True):
            assert a == b | {key: value for key, value in a.items() if value is None}


# -- what a run began with


def change_base(model: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(model / "model.safetensors")
    name = sorted(weights)[3]
    weights[name].view(-1)[0] += 1e-3
    save_file(weights, model / "model.safetensors", {"format": "pt"})


def change_template(model: Path) -> None:
    path = model / "chat_template.jinja"
    path.write_text(path.read_text().replace("{{ m['content'] }}", "{{ m['content'] | trim }}"))


def change_digits(model: Path) -> None:
    path = model / "tokenizer.json"
    found = json.loads(path.read_text())
    words = found["model"]["vocab"]
    words["1"], words["2"] = words["2"], words["1"]
    path.write_text(json.dumps(found))


def change_config(model: Path) -> None:
    path = model / "config.json"
    found = json.loads(path.read_text())
    found["rms_norm_eps"] = 1e-3
    path.write_text(json.dumps(found))


@pytest.mark.parametrize("run", ["half", "lora"])
@pytest.mark.parametrize(
    "change, says",
    [
        (change_base, ""),
        (change_template, "policy's chat template"),
        (change_digits, "policy's tokenizer"),
        (change_config, "policy's configuration"),
    ],
)
def test_what_a_run_began_with_is_what_it_goes_on_with(run, change, says, place, capsys):
    change(place / "model")
    says = "base weights" if run == "lora" and change is change_base else says
    (place / run / "lock").touch()
    before = contents(place / run)
    refused(["resume", run], capsys, "not the one this run began with", says)
    assert contents(place / run) == before
    for name in ("state.json", "weights/0001/state.json"):  # what run.json knows is enough
        (place / run / name).unlink()
    refused(["resume", run], capsys, "not the one this run began with", says)


def test_a_judge_is_the_one_that_a_run_began_with(nano, tmp_path):
    """A role that is never trained, in a run from Python."""
    from small_methods import small
    from surpass.loop import improve
    from surpass.models import Models
    from surpass.store import Store
    from tiny import copy_letter

    def go(judge: int, rounds: int):
        store = Store(tmp_path)
        models = Models(policy=nano(scale=0.05), judge=nano(seed=judge))
        try:
            return models.run(improve(small("grpo"), copy_letter(), models, rounds=rounds, store=store))
        finally:
            store.close()

    go(1, 1)
    with pytest.raises(SurpassError, match="judge's weights changed"):
        go(2, 2)
    go(1, 2)


def test_a_run_that_wrote_no_digests_goes_on(place):
    for name in ("half", "lora"):
        about = json.loads((place / name / "run.json").read_text())
        del about["digests"]
        (place / name / "run.json").write_text(json.dumps(about))
        for path in (place / name).rglob("state.json"):
            state = json.loads(path.read_text())
            state.pop("sha256")
            state["start"] = {"policy": state["start"]["policy"]}
            path.write_text(sealed(json.dumps(state)))
        assert main(["resume", name]) == 0
        assert "digests" not in json.loads((place / name / "run.json").read_text()), (
            "nobody knows what it began with"
        )


def test_where_words_are_sent_and_kept_is_allowed_by_name(place, capsys, monkeypatch):
    """The key and the data would go to whatever address somebody wrote into run.json."""
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    about = json.loads((place / "half" / "run.json").read_text())
    (place / "half" / "state.json").unlink()
    for name in ("weights", "trees"):
        shutil.rmtree(place / "half" / name)
    from surpass.methods.promptagent import promptagent
    from surpass.parts import to_json

    about["method"] = to_json(promptagent())
    for url in (
        "http://evil.example/v1",
        "https://api.openai.com.evil.example/v1",
        "http://127.0.0.1.evil.example/v1",
        "http://localhost@evil.example/v1",
        "http://[",
        "x",
    ):
        about["model"] = {
            "name": "api:m",
            "dtype": "auto",
            "device": "auto",
            "lora": 0,
            "api": {"url": url, "cache": None},
        }
        (place / "half" / "run.json").write_text(json.dumps(about))
        refused(["resume", "half"], capsys, "--url", "OPENAI_API_KEY")
    about["model"]["api"] = {"url": "http://127.0.0.1:9/v1", "cache": str(place / "kept"), "retries": 0}
    (place / "half" / "run.json").write_text(json.dumps(about))
    refused(["resume", "half"], capsys, "--cache", str(place / "kept"))
    assert not (place / "kept").exists()
    refused(["resume", "half", "--cache", str(place / "kept")], capsys, "127.0.0.1:9")


def changed_trees(raw: bytes, rng: random.Random) -> bytes:
    """A table of trees in which one value of one row is another of its type."""
    table = pq.read_table(io.BytesIO(raw))
    rows = table.to_pylist()
    row = rng.choice(rows)
    name = rng.choice(sorted(row))
    value = row[name]
    if name == "problem":
        row[name] = rng.choice(
            [
                "",
                "{",
                "[]",
                "null",
                value.replace('"prompt": "', '"prompt": ["'),
                value.replace('"id": "', '"id": [], "x": "'),
                "[" * 9999,
                json.dumps({"id": "x", "prompt": [{"role": 1}], "answer": None, "meta": {}}),
                json.dumps({"id": None}),
            ]
        )
    elif name == "columns":
        one = rng.choice(value)
        key = rng.choice(["name", "axis", "shape", "values"])
        one[key] = {
            "name": rng.choice(["continues", "used", "", "reward", "count/x", "chosen"]),
            "axis": rng.choice(["", "node", "token", "leaf", "pair", "x"]),
            "shape": rng.choice([[], [-1], [10**12], [0], [2, 2], [1] * 40]),
            "values": rng.choice(
                [[], [math.nan], [math.inf] * 9, [1e308] * len(one["values"]), [-1.0] * len(one["values"])]
            ),
        }[key]
    elif name == "state":
        row[name] = [rng.choice(["", "{", "[]", '"x"', '{"a": 1}', "[" * 9999])] * len(value)
    elif isinstance(value, list):
        numbers = table.schema.field(name).type.value_type
        some = {
            "int8": [-1, 9, 127],
            "int32": [-1, 0, 3, 99, 2**31 - 1, -(2**31)],
            "int64": [-1, 0, 2**62],
            "float": [math.nan, math.inf, -1e30, 5.0],
            "bool": [True, False],
            "string": ["", "x", "task", "\0", "<b>", None],
        }[str(numbers)]
        kind = rng.choice(["one", "all", "cut", "more"])
        if kind == "one" and value:
            value[rng.randrange(len(value))] = rng.choice(some)
        else:
            row[name] = {
                "cut": value[:-1],
                "more": [*value, some[0]],
                "all": [rng.choice(some)] * len(value),
            }.get(kind, value)
    else:
        row[name] = rng.choice([-1, 0, 2**31 - 1])
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), out)
    return out.getvalue()


def test_trees_that_no_run_wrote_end_in_a_run_or_in_one_message(place, capsys):
    """Their sums made good, or taken away: read by the report, the viewer's list, and the round that learns
    from them.
    """
    rng = random.Random(3 * TIMES)
    for _ in range(3 * TIMES):
        shutil.rmtree(place / "folder", ignore_errors=True)
        shutil.copytree(place / "half", place / "folder")
        (place / "folder" / "trees" / "0002.parquet").write_bytes(
            changed_trees((place / "whole" / "trees" / "0002.parquet").read_bytes(), rng)
        )
        with contextlib.suppress(SurpassError):
            write_report(place / "folder")
        with contextlib.suppress(SurpassError):
            Runs(place).page(Runs(place).run("folder"), {})
        capsys.readouterr()
        code, error = main(["resume", "folder"]), capsys.readouterr().err
        told = [line for line in error.splitlines() if line.startswith("surpass: ")]
        assert (code, len(told)) in ((0, 0), (2, 1)), error[-500:]
        assert "fault of surpass" not in error, error[-500:]
