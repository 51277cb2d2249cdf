"""Data sets that mean harm: bombs, endless lines, devices, other encodings, right answers that say nothing.
One message, soon.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
import warnings

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from surpass.cli import main
from surpass.errors import SurpassError
from surpass.tasks import data, maths, reasoning_gym, suite
from surpass.tasks.gold import says
from surpass.tasks.reasoning_gym import CURATED
from surpass.tasks.rows import read

TIMES = int(os.environ.get("SURPASS_FUZZ", "1"))
MB = 2**20


def bomb(table):
    def write(path):
        parquet.write_table(pa.table(table()), path, compression="zstd")
        assert path.stat().st_size < MB

    return write


HARMFUL = {
    "text.parquet": (bomb(lambda: {"prompt": pa.array(["a" * MB] * 200)}), "more than the 0.1 GB"),
    "bytes.parquet": (bomb(lambda: {"prompt": pa.array([b"a" * MB] * 200)}), "more than the 0.1 GB"),
    "list.parquet": (
        bomb(lambda: {"prompt": ["x"], "answer": pa.array([["b" * 10_000] * 20_000])}),
        "more than the 0.1 GB",
    ),
    "numbers.parquet": (bomb(lambda: {"prompt": pa.nulls(4_000_000, pa.int32())}), "more than the 0.1 GB"),
    "inside.parquet": (
        bomb(lambda: {"prompt": pa.array([{"a": [{"b": "c" * MB}] * 200}])}),
        "more than the 0.1 GB",
    ),
    "cut.parquet": (lambda path: path.write_bytes(b"PAR1" + b"\xff" * 100 + b"PAR1"), "no .parquet file"),
    "endless.jsonl": (lambda path: path.write_text('{"prompt": "' + "a" * (17 * MB)), "longer than 16 MB"),
    "deep.jsonl": (lambda path: path.write_text('{"prompt": ' + "[" * 100_000), "nested too deeply"),
    "deep.json": (lambda path: path.write_text("[" * 100_000), "nested too deeply"),
    "digits.jsonl": (lambda path: path.write_text('{"prompt": "x", "answer": ' + "9" * 5000 + "}"), "digits"),
    "half.jsonl": (lambda path: path.write_text('{"prompt": "\\ud800"}'), "half a surrogate pair"),
    "utf16.jsonl": (lambda path: path.write_text('{"prompt": "x"}', encoding="utf-16"), "save it as UTF-8"),
    "utf16.csv": (
        lambda path: path.write_text("prompt,answer\nx,1\n", encoding="utf-16"),
        "save it as UTF-8",
    ),
    "latin.csv": (lambda path: path.write_bytes(b"prompt,answer\ncaf\xe9,1\n"), "save it as UTF-8"),
    "latin.jsonl": (lambda path: path.write_bytes(b'{"prompt": "caf\xe9"}'), "save it as UTF-8"),
    "nul.jsonl": (lambda path: path.write_bytes(b'{"prompt": "a\0b"}'), "is no JSON"),
    "wide.csv": (
        lambda path: path.write_text(
            "\n".join([",".join(f"c{i}" for i in range(20_000)), "1," * 19_999 + "1"])
        ),
        "19,980 more",
    ),
    "twice.csv": (
        lambda path: path.write_text("\n".join(["c," * 19_999 + "prompt", "1," * 19_999 + "1"])),
        "two columns named c",
    ),
    "wide.jsonl": (
        lambda path: path.write_text(json.dumps({f"c{i}": 1 for i in range(50_000)})),
        "49,980 more",
    ),
    "pipe.jsonl": (os.mkfifo, "a device, a pipe or a socket"),
    "device.jsonl": (lambda path: path.symlink_to("/dev/zero"), "a device, a pipe or a socket"),
    "device.parquet": (lambda path: path.symlink_to("/dev/full"), "a device, a pipe or a socket"),
    "circle.jsonl": (lambda path: path.symlink_to(path.name), "there is no file"),
}


@pytest.mark.parametrize("name", HARMFUL)
def test_a_file_that_means_harm_is_one_message(name, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SURPASS_DATA_GB", "0.1")
    write, words = HARMFUL[name]
    write(tmp_path / name)
    began = time.process_time()
    assert (
        main(
            [
                "eval",
                "best_of_n",
                "--task",
                f"data:{tmp_path / name}",
                "--model",
                "nano",
                "--limit",
                "1",
                "--n",
                "1",
            ]
        )
        == 2
    )
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error and len(error) < 1500
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "source",
    [
        "~nobody-is-called-so/x.jsonl",
        "~/nowhere-at-all/x.jsonl",
        "/dev/zero",
        "/dev/stdin",
        "/dev/tty",
        "/dev/null",
        "a" * 5000 + ".jsonl",
        "a\nb.jsonl",
    ],
)
def test_a_source_that_is_no_file_is_one_message(source, capsys):
    assert main(["eval", "best_of_n", "--task", f"data:{source}", "--model", "nano", "--limit", "1"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_what_a_file_may_hold_can_be_raised(tmp_path, monkeypatch):
    file = tmp_path / "x.parquet"
    parquet.write_table(
        pa.table(
            {
                "prompt": ["a" * 1000] * 2000,
                "answer": [["x", "y"]] * 2000,
                "n": [{"a": "q", "b": [1.0]}] * 2000,
            }
        ),
        file,
    )
    assert read(str(file))[""][7].values == {
        "prompt": "a" * 1000,
        "answer": ["x", "y"],
        "n": {"a": "q", "b": [1.0]},
    }
    monkeypatch.setenv("SURPASS_DATA_GB", "0.001")
    with pytest.raises(SurpassError, match=r"more than the 0\.001 GB"):
        read(str(file))
    for wrong in ("nan", "inf", "-1", "much", "1e999"):
        monkeypatch.setenv("SURPASS_DATA_GB", wrong)
        with pytest.raises(SurpassError, match="no number of gigabytes"):
            read(str(file))


# -- right answers that say nothing

NOTHING = [
    ".",
    "$",
    "$$",
    "\\text{}",
    "\\boxed{}",
    "\\boxed{\\text{ }}",
    "...",
    "…",
    "!?",
    ",",
    ";",
    "()",
    "[ ]",
    "{}",
    "**",
    "****",
    "__",
    "<answer></answer>",
    "<answer> . </answer>",
    "\\(\\)",
    "\\[ \\]",
    "$.$",
    "\\left(\\right)",
    "\\,",
    "\\quad",
    "\\displaystyle",
    "\\mathrm{.}",
    "\u200b",
    "\u2060\ufeff",
    "\u200d\u200e\u202e",
    "\ufe0f",
    "\u0301",
    "\u2800",
    "\u3164",
    "Answer:",
    "**Answer:** .",
    "The answer is",
    "#### ",
    "``",
    '""',
    "-",
    "—",
    "*",
    "_",
    "。",
    "，",
    "\\\\",
    "\0",
    "\x1b",
]
SIGNS = [
    "+",
    "<",
    "√",
    "∞",
    "/",
    "%",
    "&",
    "÷",
    "≤",
    "^",
    "👍",
    "👩‍👩‍👧",
    "€",
    "π",
    "°",
    "x",
    "0",
    "C#",
    "no",
    "∅",
    "→",
    "♥",
]
EMPTY = [
    "",
    " ",
    ".",
    "!",
    "?",
    "$$",
    "\\boxed{}",
    "\\text{}",
    "<answer></answer>",
    "Answer:",
    "Answer: .",
    "**",
    "()",
    "\u200b",
    "…",
    "```\n```",
    "<think>+</think>",
]


@pytest.mark.parametrize("compare", ["math", "text"])
@pytest.mark.parametrize("gold", NOTHING, ids=ascii)
def test_a_right_answer_that_says_nothing_is_refused_with_its_row(gold, compare, tmp_path):
    file = tmp_path / "x.jsonl"
    for wrong in (gold, ["42", gold]):
        file.write_text(
            json.dumps({"prompt": "a", "answer": "1"}) + "\n" + json.dumps({"prompt": "b", "answer": wrong})
        )
        with pytest.raises(SurpassError, match=r"line 2: the answer .* says nothing"):
            data(str(file), compare=compare)
    assert not any(maths.equal(gold, text) for text in EMPTY)


@pytest.mark.parametrize("gold", SIGNS)
def test_a_sign_is_an_answer_and_nothing_is_not(gold, tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_text(json.dumps({"prompt": "Which?", "answer": gold}))
    assert says(gold)
    for compare in ("math", "text"):
        task = data(str(file), compare=compare)
        (problem,) = next(part for split in ("train", "gate", "test") if (part := task._loaded.splits[split]))
        assert (
            asyncio.run(task.check(None, problem, gold))
            == asyncio.run(task.check(None, problem, f"Answer: {gold}"))
            == 1
        )
        assert not any(asyncio.run(task.check(None, problem, text)) for text in EMPTY)


def test_a_blank_answer_is_not_judged_and_a_program_may_be_any(tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_text(
        '{"prompt": "a", "answer": " "}\n{"prompt": "b", "answer": null}\n{"prompt": "c", "answer": 0}'
    )
    answers = [p.answer for part in data(str(file))._loaded.splits.values() for p in part]
    assert sorted(map(str, answers)) == ["0", "None", "None"]


def test_nothing_is_no_right_answer_to_any_task():
    parts = suite().parts
    seen = dict.fromkeys(parts, 0)
    for problem in suite().problems("test", 0):
        name = problem.meta["task"]
        seen[name] += 1
        if seen[name] > 5:
            break
        for text in (
            text for text in EMPTY if name != "instructions" or not re.search("[a-z]", text)
        ):  # where a text of any words may be right
            assert asyncio.run(parts[name].check(None, problem, text)) < 0.3, (name, text)
    for name, knobs in CURATED.items():
        task = reasoning_gym(name, knobs)
        for problem, _ in zip(task.problems("test", 0), range(3), strict=False):
            for text in EMPTY:
                assert asyncio.run(task.check(None, problem, text)) < 0.3, (name, text)


# -- any bytes

KEPT = [
    b"{\"prompt\": \"[{'role': 'user', 'content': " + b"(" * 3000,
    b'{"prompt": [{"role": "user", "content": [{"type": "text"}]}]}',
    b'{"prompt": [{"role": "tool"}]}',
    b'{"prompt": {"role": 1}}',
    b'{"prompt": "x", "answer": {"a": "."}}',
    b'{"prompt": "x", "answer": [[], "."]}',
    b'{"prompt": "x", "answer": [{}]}',
    b'{"prompt": true}',
    b'{"": 1}',
    b'{"prompt": "x", "prompt": 1}',
    b'{"prompt": "x", "answer": 1e400}',
    b'{"prompt": "x", "answer": -0.0}',
    b'{"reward_model": {"ground_truth": "$"}, "prompt": "x"}',
    b'{"prompt": [{"role": "user", "content": "x", "tool_calls": [1]}]}',
    b'{"prompt": [{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":"[["}}]},{"role":"user","content":"x"}]}',  # noqa: E501
]
RAW = st.one_of(
    st.sampled_from(KEPT),
    st.binary(max_size=60),
    st.lists(
        st.sampled_from(
            [
                b'{"prompt": ',
                b'"x"',
                b', "answer": ',
                b'"."',
                b"[",
                b"]",
                b"{",
                b"}",
                b"\n",
                b"\xef\xbb\xbf",
                b"\xff\xfe",
                b"\0",
                b"prompt,answer\n",
                b"x,1\n",
                b'"',
                b",",
                b"\\ud800",
                b"NaN",
                b"1" * 5000,
                b"\r",
            ]
        ),
        max_size=14,
    ).map(b"".join),
)


@settings(
    max_examples=150 * TIMES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(raw=b'"\n"\n\x00', ending=".csv", compare="math", at=0)  # a column whose name is a line's end
@given(
    RAW,
    st.sampled_from([".jsonl", ".json", ".csv", ".parquet"]),
    st.sampled_from(["math", "text", "tests"]),
    st.integers(0, 2**16),
)
def test_any_file_is_read_or_refused(tmp_path, raw, ending, compare, at):
    file = tmp_path / f"x{ending}"
    if ending == ".parquet":
        parquet.write_table(pa.table({"prompt": ["x", "y"], "answer": ["1", "."]}), file)
        whole = bytearray(file.read_bytes())
        whole[at % len(whole) : at % len(whole) + len(raw)] = raw
        raw = bytes(whole)
    file.write_bytes(raw)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            task = data(str(file), compare=compare)
            problems = [problem for part in task._loaded.splits.values() for problem in part]
        except SurpassError as error:
            said, problems = str(error), []
        else:
            said = ""
    assert len(said) < 1500 and "\n" not in said
    for problem in problems[:2] if compare == "text" else ():
        value = asyncio.run(task.check(None, problem, "nothing"))
        assert value == 0 or value != value
