"""Data sets of one's own: every format gives the same problems, splits share none, answers are compared
honestly and in bounded time, and a bad file is told in one sentence.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import sys
import threading
import time
import warnings
from collections.abc import Mapping
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from surpass.engines import ScriptedEngine
from surpass.errors import SurpassError
from surpass.models import Models
from surpass.parts import from_json, to_json
from surpass.rewards import check, vote
from surpass.searches import samples
from surpass.searches.round import search_all
from surpass.tasks import data, maths
from surpass.tasks.splits import SHARES, split_of
from surpass.types import FAILED, Problem

ROWS = [{"question": f"What is {i} + {i}?", "answer": str(2 * i), "level": i % 3} for i in range(60)]


def write(path, rows=ROWS):
    """Rows as a file, in the format that its ending says."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".csv":
        pa.csv.write_csv(pa.Table.from_pylist(rows), path)
    else:
        pa.parquet.write_table(pa.Table.from_pylist(rows), path)
    return str(path)


def all_of(task, seed=0):
    """Every problem by split; splits that have none are []."""
    found = {}
    for split in SHARES:
        found[split] = []
        with contextlib.suppress(SurpassError):
            found[split] = list(task.problems(split, seed))
    return found


def only(tmp_path, row, **settings):
    """The single problem of a file with one row."""
    return next(
        p
        for problems in all_of(data(write(tmp_path / "one.jsonl", [row]), **settings)).values()
        for p in problems
    )


def checked(task, problem, text):
    return asyncio.run(task.check(None, problem, text))


def refused(source, **settings):
    with pytest.raises(SurpassError) as error:
        data(str(source), **settings)
    message = str(error.value)
    assert "\n" not in message and len(message) < 900
    return message


# -- formats and splits


@pytest.mark.parametrize("ending", [".json", ".csv", ".parquet"])
def test_every_format_gives_the_same_problems(tmp_path, ending):
    lines, other = data(write(tmp_path / "a.jsonl")), data(write(tmp_path / f"a{ending}"))
    for split in SHARES:
        for p, q in zip(lines.problems(split, 5), other.problems(split, 5), strict=True):
            assert (p.id, p.prompt, p.answer) == (q.id, q.prompt, q.answer)
            assert q.meta["level"] == (str(p.meta["level"]) if ending == ".csv" else p.meta["level"])
    assert lines.counts == other.counts and lines.counts["rows"] == 60


def test_one_file_is_split_by_hash_into_parts_that_share_nothing(tmp_path):
    task = data(write(tmp_path / "a.jsonl"))
    found = all_of(task, seed=1)
    assert sum(map(len, found.values())) == 60 and all(found.values())
    assert len({p.id for problems in found.values() for p in problems}) == 60
    assert all(split_of(p.id) == split for split, problems in found.items() for p in problems)
    again, other = data(str(tmp_path / "a.jsonl")), all_of(task, seed=2)
    assert all_of(again, seed=1) == found, "the same file and seed, the same order"
    for split in SHARES:
        assert [p.id for p in other[split]] != [p.id for p in found[split]], "another seed, another order"
        assert {p.id for p in other[split]} == {p.id for p in found[split]}


def test_a_folders_own_splits_are_used_and_share_nothing(tmp_path):
    write(tmp_path / "train.jsonl", ROWS[:40])
    write(tmp_path / "test.parquet", ROWS[30:50])
    write(tmp_path / "notes.json", [{"x": 1}])
    task = data(str(tmp_path))
    found = {split: {p.answer for p in problems} for split, problems in all_of(task).items()}
    assert found["test"] == {row["answer"] for row in ROWS[30:50]}, (
        "all of it, and what it shares with train is the test's"
    )
    assert found["train"] | found["gate"] == {row["answer"] for row in ROWS[:30]}
    assert found["gate"] and not found["train"] & found["gate"], "made out of train by hash"
    assert task.counts["shared"] == 10 and task.counts["repeated"] == 0
    before = found["train"]
    write(tmp_path / "validation.csv", ROWS[45:60])
    found = {split: {p.answer for p in problems} for split, problems in all_of(data(str(tmp_path))).items()}
    assert (
        found["gate"] == {row["answer"] for row in ROWS[50:60]}
        and found["train"] == {row["answer"] for row in ROWS[:30]} > before
    )


def test_shards_of_a_split_are_one_split(tmp_path):
    for i in range(3):
        write(tmp_path / f"train-0000{i}-of-00003.parquet", ROWS[20 * i : 20 * i + 20])
    assert sum(map(len, all_of(data(str(tmp_path))).values())) == 60


def test_a_lone_test_split_can_be_examined_but_not_trained_on(tmp_path):
    write(tmp_path / "test.jsonl")
    task = data(str(tmp_path))
    assert len(list(task.problems("test", 0))) == 60
    with pytest.raises(
        SurpassError, match=r'no problem for the split "train" \(it has 60 test, 0 gate, 0 train\)'
    ):
        task.problems("train", 0)
    with pytest.raises(SurpassError, match='no split "tset"'):
        task.problems("tset", 0)


def test_repeated_prompts_count_once_and_the_first_wins(tmp_path):
    rows = [*ROWS, {"question": ROWS[7]["question"], "answer": "wrong"}, ROWS[3]]
    task = data(write(tmp_path / "a.jsonl", rows))
    assert task.counts["repeated"] == 2
    (answer,) = [
        p.answer for problems in all_of(task).values() for p in problems if p.prompt == ROWS[7]["question"]
    ]
    assert answer == "14"


def test_limit_takes_the_first_rows_of_each_split(tmp_path):
    source = write(tmp_path / "a.jsonl")
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write("not read\n")
    assert data(source, limit=60).counts["rows"] == 60, "what follows is not even read"
    (tmp_path / "f").mkdir()
    for i, name in enumerate(["train-00000-of-00002", "train-00001-of-00002", "test"]):
        write(tmp_path / "f" / f"{name}.jsonl", ROWS[20 * i : 20 * i + 20])
    assert data(str(tmp_path / "f"), limit=25).counts["rows"] == 45


def test_a_source_is_read_once_until_it_changes(tmp_path, monkeypatch):
    import surpass.tasks.data  # noqa: F401

    module, calls = sys.modules["surpass.tasks.data"], []
    monkeypatch.setattr(
        module, "read", lambda *given, _read=module.read: calls.append(given) or _read(*given)
    )
    source = write(tmp_path / "a.jsonl")
    assert data(source) == data(source) and data(source, compare="text") and len(calls) == 1
    write(tmp_path / "a.jsonl", ROWS[:30])
    assert data(source).counts["rows"] == 30 and len(calls) == 2


def test_the_task_is_a_part(tmp_path):
    task = data(write(tmp_path / "a.jsonl"), instruction="Be brief.", limit=20)
    config = json.loads(json.dumps(to_json(task)))
    assert config["part"] == "surpass.tasks.data" and from_json(config) == task


# -- columns and prompts


def test_columns_are_found_in_order_or_by_name(tmp_path):
    row = {"query": "q?", "question": "Q?", "label": 3, "target": {"deep": 4}, "note": None}
    p = only(tmp_path, row)
    assert (p.prompt, p.answer) == ("Q?", {"deep": 4}) and p.meta == {
        k: v for k, v in row.items() if k != "question"
    }
    p = only(tmp_path, row, prompt="query", answer="target.deep")
    assert (p.prompt, p.answer) == ("q?", 4)
    assert only(tmp_path, {"question": "?", "x": 1}).answer is None
    assert only(tmp_path, {"question": "?", "answer": "  "}).answer is None, "an empty cell is no answer"


def test_verls_rows_are_understood(tmp_path):
    rows = [
        {
            "data_source": "gsm8k",
            "prompt": [{"role": "user", "content": f"{i}?"}],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": str(i)},
            "extra_info": {"split": "train", "index": i},
        }
        for i in range(30)
    ]
    for split, problems in all_of(data(write(tmp_path / "a.parquet", rows))).items():
        for p in problems:
            assert p.prompt == ({"role": "user", "content": f"{p.answer}?"},), split
            assert p.meta["data_source"] == "gsm8k" and p.meta["extra_info"]["index"] == int(p.answer)


def test_messages_end_before_the_models_answer(tmp_path):
    user, other = {"role": "user", "content": "Hi"}, {"role": "user", "content": "And?"}
    said = {"role": "assistant", "content": "Ho"}
    assert only(tmp_path, {"messages": [user, said, other, said, said]}).prompt == (user, said, other)
    assert only(tmp_path, {"messages": [user, said]}).id == only(tmp_path, {"prompt": "Hi"}).id, (
        "a chat model sees the same"
    )


def test_messages_stored_as_text_are_messages(tmp_path):
    """As JSON or as Python prints a list: such text was itself the prompt, without a word."""
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": 'It\'s "a"?'},
        {"role": "assistant", "content": "no"},
    ]
    wanted = only(tmp_path, {"prompt": turns})
    for column in ("prompt", "messages"):
        for stored in (json.dumps(turns), f" {json.dumps(turns, indent=1)}\n", repr(turns)):
            found = only(tmp_path, {column: stored})
            assert (found.prompt, found.id) == (wanted.prompt, wanted.id) and found.prompt == tuple(turns[:2])
    one = {"role": "user", "content": "a"}
    for stored in (one, json.dumps(one), [one]):
        assert only(tmp_path, {"prompt": stored}).prompt == (one,)
    for text in (
        '[{"role": "user", "content": "a"',
        '{"role": 1',
        '[{"content": "a"}] is a list',
        "[1, 2, 3]: how many?",
        '{"a": {"role": 1}}',
    ):
        assert only(tmp_path, {"prompt": text}).prompt == text, "a question about JSON stays one"


def test_contents_may_be_null_or_parts_and_tools_may_be_called(tmp_path):
    user = {"role": "user", "content": "What is 6*7?"}
    call = {"id": "c1", "type": "function", "function": {"name": "product", "arguments": '{"a": 6, "b": 7}'}}
    rows = [
        user,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "name": "product", "tool_call_id": "c1", "content": "42"},
    ]
    held = {"type": "function", "function": {"name": "product", "arguments": {"a": 6, "b": 7}}}
    wanted = (
        user,
        {"role": "assistant", "content": "", "tool_calls": [held]},
        {"role": "tool", "content": "42", "name": "product"},
    )
    assert only(tmp_path, {"messages": rows}).prompt == wanted
    # a column has every key in every row, mostly null
    table = pa.Table.from_pylist([{"messages": rows, "answer": "42"}])
    pa.parquet.write_table(table, tmp_path / "a.parquet")
    assert [p.prompt for some in all_of(data(str(tmp_path / "a.parquet"))).values() for p in some] == [wanted]
    parts = [{"type": "text", "text": "What is"}, {"type": "text", "text": "6*7?"}]
    assert (
        only(tmp_path, {"messages": [{"role": "user", "content": parts}]}).prompt[0]["content"]
        == "What is\n6*7?"
    )
    assert (
        only(tmp_path, {"messages": [{"role": "assistant", "content": None}, user]}).prompt[0]["content"]
        == ""
    )


@pytest.mark.parametrize(
    "turn, words",
    [
        ({"role": "user", "content": None}, "wants messages"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": "x"}]},
            "a part of the type image_url",
        ),
        ({"role": "assistant", "content": None, "tool_calls": [{"function": {}}]}, "wants tool_calls"),
        ({"role": "user", "content": [5]}, "of the type int"),
    ],
    ids=["null", "image", "call", "number"],
)
def test_what_is_no_text_is_named(tmp_path, turn, words):
    user = {"role": "user", "content": "a"}
    (tmp_path / "a.jsonl").write_text(json.dumps({"prompt": [turn, user]}))
    message = refused(tmp_path / "a.jsonl")
    assert "a.jsonl line 1: " in message and words in message


def test_calls_reach_every_model(tmp_path):
    """A template that reads tool_calls gets them; another, and an API, the same in words."""
    from surpass.engines.messages import MessageText
    from test_templates import CHATML, Text, make_tokenizer, shown

    call = {"function": {"name": "f", "arguments": {"a": 6}}}
    rows = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "42"},
    ]
    prompt = only(tmp_path, {"messages": rows}).prompt
    words = '<tool_call>\n{"name": "f", "arguments": {"a": 6}}\n</tool_call>'
    plain = Text(make_tokenizer(CHATML))
    assert words in shown(plain, plain.open(prompt)) and words in MessageText().decode(
        MessageText().open(prompt)
    )
    reads = Text(
        make_tokenizer(
            CHATML.replace(
                "{{ m.content }}",
                "{{ m.content }}{% for c in m.tool_calls %}CALL {{ c.function.name }}{% endfor %}",
            )
        )
    )
    assert "CALL f" in shown(reads, reads.open(prompt)) and words not in shown(reads, reads.open(prompt))


def test_a_prompt_with_two_answers_is_told(tmp_path):
    rows = [*ROWS, *({**row, "answer": "0"} for row in ROWS[1:31]), *ROWS[:5]]
    with pytest.warns(
        UserWarning,
        match="30 rows repeat a prompt with another answer and are left out; the first row's answer counts",
    ) as told:
        task = data(write(tmp_path / "a.jsonl", rows))
    assert len(told) == 1
    assert task.counts["rows"] == 95 and task.counts["repeated"] == 35 and task.counts["contrary"] == 30
    assert {p.prompt: p.answer for some in all_of(task).values() for p in some} == {
        row["question"]: row["answer"] for row in ROWS
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert data(write(tmp_path / "b.jsonl", [*ROWS, *ROWS])).counts["contrary"] == 0
        several = data(write(tmp_path / "c.jsonl", [{"prompt": "a", "answer": ["1", "2"]}]), compare="text")
    (p,) = [p for some in all_of(several).values() for p in some]
    assert checked(several, p, "2") == checked(several, p, "1") == 1.0


def test_prompts_longer_than_the_context_are_counted_before_the_run(tmp_path):
    from test_templates import CHATML, make_engine

    rows = [{"prompt": "x" * (700 if i % 3 == 0 else 20) + str(i), "answer": "1"} for i in range(60)]
    task = data(write(tmp_path / "a.jsonl", rows), compare="text")
    models = Models(policy=make_engine(CHATML))
    problems = [p for some in all_of(task).values() for p in some]
    with pytest.warns(UserWarning, match="leave no room") as told:
        trees = models.run(search_all(samples(1, max_tokens=2), models, task, problems, 0))
    assert sum(tree.stop[0] == FAILED for tree in trees) == 20
    said = [str(one.message) for one in told]
    assert len(said) == 1 and "20 of the 60 prompts of" in said[0] and "context of 512 tokens" in said[0], (
        "once"
    )


def test_instruction_and_system_frame_the_prompt_and_leave_its_split(tmp_path):
    system, turns = {"role": "system", "content": "Be brief."}, [{"role": "user", "content": c} for c in "ab"]
    said = {"role": "assistant", "content": "ok"}
    bare = only(tmp_path, {"prompt": "a"})
    p = only(tmp_path, {"prompt": "a"}, instruction="Say why.")
    assert p.prompt == "a\n\nSay why." and p.id == bare.id
    assert only(tmp_path, {"prompt": "a"}, system="Be brief.").prompt == (system, turns[0])
    p = only(tmp_path, {"prompt": [turns[0], said, turns[1]]}, instruction="Say why.", system="Be brief.")
    assert p.prompt == (system, turns[0], said, {"role": "user", "content": "b\n\nSay why."})


def test_meta_holds_json_values_only(tmp_path):
    import datetime

    table = pa.table(
        {
            "prompt": ["a"],
            "answer": [math.nan],
            "when": [datetime.date(2026, 1, 2)],
            "raw": [b"x"],
            "far": [math.inf],
        }
    )
    pa.parquet.write_table(table, tmp_path / "a.parquet")
    (p,) = [p for problems in all_of(data(str(tmp_path / "a.parquet"))).values() for p in problems]
    assert p.answer is None and p.meta == {"answer": None, "when": "2026-01-02", "raw": "b'x'", "far": "inf"}
    assert json.loads(json.dumps(p.meta, allow_nan=False)) == p.meta


# -- the Hub, without a network


def hub(monkeypatch, answer):
    """A stand-in for the package `datasets`; returns the calls it gets."""
    calls = []

    def load_dataset(*given):
        calls.append(given)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    return calls


def test_hub_ids_with_splits_and_configurations(monkeypatch):
    calls = hub(
        monkeypatch,
        {"train": ROWS[:40], "validation": ROWS[40:50], "test": ROWS[50:], "extra": [{"question": "no"}]},
    )
    found = all_of(data("someone/sums:main"))
    assert calls == [("someone/sums", "main")]
    assert {split: len(problems) for split, problems in found.items()} == {
        "test": 10,
        "gate": 10,
        "train": 40,
    }
    calls = hub(monkeypatch, {"all": ROWS[:30], "more": ROWS[30:]})
    assert data("sums").counts["rows"] == 60 and calls == [("sums", None)], (
        "names that mean no split are one heap"
    )
    hub(monkeypatch, {"train": ROWS, "test": [{"question": 5}]})
    assert 'sums2 test row 1: "question" wants text or messages; found 5' in refused("sums2")


def test_hub_ids_that_cannot_be_had(monkeypatch):
    hub(monkeypatch, ConnectionError("no route to\nhost"))
    message = refused("someone/nothing")
    assert (
        "ConnectionError: no route to host" in message
        and "network" in message
        and "no file or folder" in message
    )
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "pip install 'surpass[data]'" in refused("someone/nothing")


# -- errors


@pytest.mark.parametrize(
    "raw, message",
    [
        (b'{"prompt": "a"}\n{"prompt": \n', "FILE line 2: is no JSON: Expecting value (column 11)"),
        (
            b'{"prompt": "a"}\n\n[1]\n',
            'FILE line 3: wanted an object such as {"prompt": ..., "answer": ...}; found list [1]',
        ),
        (b'{"prompt": "a\xff"}', "FILE line 1: is not UTF-8 (byte 0xff at 13)"),
        (b'{"prompt": "a", "x": NaN}', "NaN is no JSON value"),
        (b'{"prompt": "a", "x": -Infinity}', "-Infinity is no JSON value"),
        (
            b'{"prompt": "a", "x": ' + b"[" * 100_000,
            "FILE line 1: is no JSON that can be read: it is nested too deeply",
        ),
        (
            b'{"prompt": "a", "x": ' + b"[" * 90 + b"]" * 90 + b"}",
            "FILE line 1: lists and objects stand more than 64 deep",
        ),
        (
            b'{"prompt": "a", "x": ' + b"1" * 5000 + b"}",
            "FILE line 1: is no JSON that can be read: Exceeds the limit",
        ),
        (b'{"prompt": "a\\ud800"}', "FILE line 1: it holds half a surrogate pair"),
        (b"", "FILE holds no row"),
        (b"\n \n", "FILE holds no row"),
        (b'{"prompt": "a"}\n{"answer": 1}\n', 'FILE line 2: has no column "prompt"'),
        (b'{"prompt": " "}', "FILE line 1: \"prompt\" wants text or messages; found ' '"),
        (b'{"prompt": []}', 'FILE line 1: "prompt" has no message of the role user'),
        (
            b'{"prompt": [{"role": "system", "content": "x"}, {"role": "assistant", "content": "y"}]}',
            "no message of the role user",
        ),
        (
            b'{"prompt": [{"role": "user"}]}',
            "wants messages {\"role\": text, \"content\": text}; found {'role': 'user'}",
        ),
        (b'{"qestion": "a", "n": 1}', "FILE wants one of the columns prompt, messages, question"),
    ],
    ids=range(17),
)
def test_bad_lines_are_named(tmp_path, raw, message):
    (tmp_path / "a.jsonl").write_bytes(raw)
    assert message.replace("FILE", str(tmp_path / "a.jsonl")) in refused(tmp_path / "a.jsonl")


def test_a_line_may_not_be_endless(tmp_path, monkeypatch):
    monkeypatch.setattr("surpass.tasks.rows.MOST_BYTES", 100)
    (tmp_path / "a.jsonl").write_text('{"prompt": "a"}\n{"prompt": "' + "b" * 100 + '"}\n')
    assert "a.jsonl line 2: is longer than" in refused(tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    "name, raw, message",
    [
        ("a.json", b'{"prompt": "a"}', "wanted a list of objects; found dict"),
        ("a.json", b'[\n{"prompt": "a"},\n5]', "a.json row 2: wanted an object"),
        ("a.json", b'[\n{"prompt": "a",}]', "a.json: is no JSON: "),
        ("a.json", b"[" * 100_000, "nested too deeply"),
        ("a.json", b"[]", "a.json holds no row"),
        ("a.csv", b"", "a.csv is no .csv file that can be read: Empty CSV"),
        ("a.csv", b"prompt,answer\na,1,2\n", "Expected 2 columns, got 3"),
        ("a.csv", b"prompt,answer,answer\na,1,2\n", "a.csv has two columns named answer"),
        ("a.csv", b"prompt,answer\na\xff,1\n", "invalid UTF8"),
        ("a.csv", b"prompt,answer\n", "a.csv holds no row"),
        ("a.parquet", b"PAR1 not really", "a.parquet is no .parquet file that can be read"),
        ("a.txt", b"hello", "has the ending .txt; data is read from .jsonl, .json, .csv, .parquet"),
    ],
)
def test_other_formats_errors_are_named(tmp_path, name, raw, message):
    (tmp_path / name).write_bytes(raw)
    assert message in refused(tmp_path / name)


def test_missing_files_folders_and_columns_are_helped(tmp_path):
    source = write(tmp_path / "sums.jsonl")
    assert f"there is no file {tmp_path}/summs.jsonl; near: sums.jsonl" in refused(tmp_path / "summs.jsonl")
    assert "nor the folder" in refused(tmp_path / "no" / "sums.jsonl")
    assert "wants files named train, test, validation or gate" in refused(
        tmp_path
    ) and "sums.jsonl" in refused(tmp_path)
    assert "wants a source" in refused("")
    assert (
        'wants a column "anwser" for its answers; it has: question, answer, level; did you mean answer?'
        in refused(source, answer="anwser")
    )
    assert 'wants a column "xyz" for its prompts' in refused(source, prompt="xyz")
    assert "did you mean" not in refused(source, prompt="xyz")
    assert 'found compare = "maths"; use math' in refused(source, compare="maths")
    assert "limit = 0" in refused(source, limit=-1)
    assert "text as its prompt" in refused(source, prompt=3)
    folder = tmp_path / "same"
    folder.mkdir()
    write(folder / "train.jsonl", ROWS[:5])
    write(folder / "test.jsonl", ROWS[:9])
    assert 'nothing is left of the split "train"' in refused(folder)
    write(folder / "dev.jsonl", [])
    assert "dev.jsonl holds no row" in refused(folder)


TIMES = int(os.environ.get("SURPASS_FUZZ", "1"))  # as many inputs as usual; `make soak` tries more
LINES = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["prompt", "answer", "role", "content", "reward_model", "ground_truth", "x"]
                    ),
                    inner,
                    max_size=3,
                )
            ),
            max_leaves=8,
        ).map(lambda value: json.dumps(value).encode()),
        st.sampled_from(
            [
                b'{"prompt": "a", "answer": "1"}',
                b'{"prompt": [{"role": "user", "content": "a"}]}',
                b'{"prompt": "\\udfff"}',
            ]
        ),
    ),
    max_size=5,
)


@settings(
    deadline=None,
    max_examples=300 * TIMES,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(LINES)
def test_any_bytes_are_read_or_refused_in_one_sentence(tmp_path, lines):
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    task = None
    with contextlib.suppress(SurpassError):
        task = data(str(tmp_path / "a.jsonl"))
    for problems in (all_of(task) if task else {}).values():
        for p in problems:
            json.dumps([p.prompt, p.answer, dict(p.meta)], allow_nan=False).encode()


@settings(deadline=None, max_examples=60 * TIMES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.sampled_from([".json", ".csv", ".parquet"]))
def test_any_bytes_of_other_formats_too(tmp_path, raw, ending):
    (tmp_path / f"a{ending}").write_bytes(raw)
    with contextlib.suppress(SurpassError):
        data(str(tmp_path / f"a{ending}"))


# -- answers


SAME = [
    ("42", "Answer: 42"),
    ("42", "**Answer:** 42"),
    ("42", r"So $\boxed{42}$."),
    ("42", "that makes 42 in all"),
    ("1,000", r"\boxed{1000}"),
    (r"\frac12", "Answer: 0.5"),
    ("0.5", r"Answer: $\frac{1}{2}$"),
    ("1/2", "Answer: 50%"),
    ("3", "Answer: 3 apples"),
    ("5", "Answer: 5 km"),
    ("x+1", "Answer: 1 + x"),
    ("2xy+3", "Answer: 3 + 2yx"),
    ("(3,4]", "Answer: (3, 4]"),
    ("5", "Answer: x = 5"),
    ("x=5", "Answer: 5"),
    (r"\{1,2\}", "Answer: 2 or 1"),
    (r"\sqrt{8}", r"Answer: 2\sqrt2"),
    (r"3\pi", "Answer: 3π"),
    ("-7", "Answer: −7"),
    ("2^{10}", "Answer: 1024"),
    ("x^{10}", "Answer: x^10"),
    ("$18", r"Answer: \$18.00"),
    ("1e-07", "Answer: 0.0000001"),
    ("Paris", "Answer: paris."),
    ("B", "Answer: (B)"),
    (r"\text{Evelyn}", "Answer: Evelyn"),
    ("9*8=72 boxes.\n#### 72", "Answer: 72"),
    ("#### 1,234", "Answer: $1234"),
    ("The answer = 3 halves. " * 99 + "\n#### 72", "Answer: 72"),
    ("true", "Answer: True"),
    ("Add them.\nSo $\\boxed{\\frac{3}{4}}$.", r"\boxed{0.75}"),
    ("6", "Answer:\n\\boxed{6}"),
    ("6", "Answer: 5\nNo.\nAnswer: 6"),
    ("y=2x+1", "Answer: 2x+1"),
    ("x<3", "Answer: 3 > x"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\boxed{\begin{pmatrix} 1 \\ 2 \end{pmatrix}}"),
]
OTHER = [
    ("42", "Answer: 43"),
    ("42", ""),
    ("42", "I do not know"),
    ("2", r"Answer: \sqrt2"),
    (r"\sqrt{2}", "Answer: 2"),
    ("Paris", "Answer: Sirap"),
    ("no", "Answer: on"),
    ("7", "Answer: -7"),
    ("1e-07", "Answer: 1"),
    ("(3,4]", "Answer: [3,4]"),
    ("2", "Answer: 1 or 2 or 3"),
    ("B", "Answer: C"),
    ("72", "so 72, and then 24."),
    ("42", r"\boxed{42"),
    ("6", "Answer: 6\nNo.\nAnswer: 5"),
    ("x+1", "Answer: x+2"),
    ("5", r"\boxed{5} Answer: 6"),
]


@pytest.mark.parametrize("gold, text", SAME)
def test_answers_that_are_equal(gold, text):
    assert maths.equal(gold, text)


@pytest.mark.parametrize("gold, text", OTHER)
def test_answers_that_are_not(gold, text):
    assert not maths.equal(gold, text)


@pytest.fixture
def task(tmp_path):
    return data(write(tmp_path / "a.jsonl"))


def test_check_gives_one_zero_or_nan(task):
    assert checked(task, Problem("p", "?", "1,000"), "Answer: 1000") == 1.0
    assert checked(task, Problem("p", "?", "1,000"), "Answer: 1") == 0.0
    assert math.isnan(checked(task, Problem("p", "?", None), "Answer: 1"))
    assert (
        checked(task, Problem("p", "?", 0.5), r"\boxed{\frac12}") == 1.0
        and checked(task, Problem("p", "?", 1e-7), "Answer: 1") == 0.0
    )
    assert (
        checked(task, Problem("p", "?", ["3", "4"]), "Answer: 4") == 1.0
        and checked(task, Problem("p", "?", []), "4") != 0
    )


def test_text_is_compared_as_text(tmp_path):
    task = data(write(tmp_path / "a.jsonl"), compare="text")
    assert (
        checked(task, Problem("p", "?", "Yes "), " yES\n") == 1
        and checked(task, Problem("p", "?", "1,000"), "1000") == 0
    )
    assert checked(task, Problem("p", "?", "yes"), "because\nAnswer: Yes.") == 1 and math.isnan(
        checked(task, Problem("p", "?"), "x")
    )
    assert (
        task.final_answer(" Yes\n") == task.final_answer("Answer: yes") == "yes"
        and task.final_answer(" ") is None
    )


@pytest.mark.parametrize(
    "forms, answer",
    [
        (
            [
                "Answer: 1,000",
                r"\boxed{1000}",
                "it is 1000",
                "Answer: 1000.0",
                "Answer: x = 1000",
                "Answer: 400 + 600 = 1000",
            ],
            "1000",
        ),
        ([r"Answer: \frac12", "Answer: 0.5", r"\boxed{\dfrac{1}{2}}", "Answer: 1/2", "Answer: 50%"], "1/2"),
        (["Answer: x + 1", "Answer: 1+x", r"\boxed{x+1}"], "x + 1"),
        (["Answer: Paris", "Answer: paris."], "paris"),
        (["no idea", "", r"\boxed{", "Answer:"], None),
    ],
)
def test_votes_see_one_answer_in_all_its_forms(task, forms, answer):
    assert [task.final_answer(text) for text in forms] == [answer] * len(forms)


HOSTILE = [
    "9^{9^{9^{9}}}",
    "9**9**9**9**9",
    r"\sum_{i=1}^{10^{12}} i^i",
    "(" * 900,
    r"\frac{1}{" * 100,
    "1" * 5000,
    "\\boxed{" * 500,
    "answer" * 300,
    "\ud800\x00",
]


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_answers_are_wrong_and_cost_at_most_two_seconds(task, hostile):
    maths.equal("1", "Answer: 2")  # a worker stands ready
    began = time.perf_counter()
    assert checked(task, Problem("p", "?", "7"), f"Answer: {hostile}") == 0.0
    first = time.perf_counter() - began
    assert first < 2 * (1 + busy()), f"{first} s"
    assert checked(task, Problem("p", "?", "7"), "Answer: 7.0") == 1.0, "and the next one is judged as ever"


def busy():
    """How much longer the machine takes for a second of work than it would alone: others may share its
    cores.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    while time.process_time() - cpu < 0.05:
        pass
    return max(0.0, (time.perf_counter() - wall) / 0.05 - 1)


def test_code_in_an_answer_is_not_run(task, tmp_path):
    target = tmp_path / "pwned"
    for code in (
        f"__import__('os').system('touch {target}')",
        f"\\operatorname{{__import__}}('os').system('touch {target}')",
    ):
        for text in (f"Answer: {code}", f"${code}$", code):
            assert checked(task, Problem("p", "?", "7"), text) == 0.0
    assert not target.exists()


def test_checks_work_at_once_and_outside_the_main_thread(task):
    async def many():
        return await asyncio.gather(
            *(task.check(None, Problem("p", "?", str(i % 5)), f"Answer: {i}.0") for i in range(40))
        )

    found = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(many())))
    thread.start()
    thread.join()
    assert found == [[float(i % 5 == i) for i in range(40)]]
    assert len(maths._idle) <= maths.WORKERS


def test_a_worker_that_dies_is_replaced(task):
    maths.equal("1", "Answer: 5")
    maths._idle[-1].process.kill()
    assert maths.equal("x + 17", "Answer: 17 + x") in (True, False)
    assert maths.equal("x + 18", "Answer: 18 + x")


def test_a_round_with_a_data_set(task):
    problem = next(task.problems("train", 0))
    models = Models(
        policy=ScriptedEngine(
            lambda text, key: ["Answer: %s.0", r"\boxed{%s}", "hm"][key % 3].replace("%s", problem.answer)
        )
    )
    (tree,) = models.run(search_all(samples(12), models, task, [problem], 1))
    texts = [models.text("policy", tree, leaf) for leaf in tree.leaves()]
    ((values,), (votes,)) = (
        models.run(check()(models, task, [tree])),
        models.run(vote()(models, task, [tree])),
    )
    assert values.values.tolist() == [float(text != "hm") for text in texts] and len(set(texts)) == 3
    right = sum(text != "hm" for text in texts) / 12
    assert [v if v == v else None for v in votes.values] == [
        None if text == "hm" else pytest.approx(right) for text in texts
    ]
    assert isinstance(problem.meta, Mapping)
