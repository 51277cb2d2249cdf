"""What a user is told when something is wrong: one message, exit code 2, no traceback, nothing lost.

docs/errors.md is made of these cases: SURPASS_WRITE=1 python -m pytest tests/test_errors.py
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from conftest import make_causal, make_tokenizer
from servers import Chat, serving
from surpass.cli import main
from surpass.engines import LocalEngine

TABLE = Path(__file__).parent.parent / "docs" / "errors.md"
SHORT = "--rounds 1 --test 2 --gate 2 --problems 2 --n 2 --max-tokens 4 --every 1".split()
ROWS = "".join(json.dumps({"prompt": f"{i} + 1 =", "answer": str(i + 1)}) + "\n" for i in range(40))
LONG = "".join(json.dumps({"prompt": f"{i} " * 400, "answer": "1"}) + "\n" for i in range(40))
CHAT = "".join(
    json.dumps({"prompt": [{"role": "user", "content": f"{i} + 1 ="}], "answer": str(i + 1)}) + "\n"
    for i in range(40)
)
DATA = ["--task", "data:rows.jsonl", *SHORT]


@dataclass
class Case:
    """Something wrong: the command (MODEL and BASE are nano models), the files that lie there, what the
    message must say.
    """

    what: str
    command: list[str]
    says: str
    files: dict[str, str] = field(default_factory=dict)


CASES = [
    Case("a command that does not exist", ["rum"], "did you mean run?"),
    Case("a method that does not exist", ["run", "grop"], "did you mean grpo?"),
    Case("a task that does not exist", ["run", "grpo", "--task", "arithmetics"], "did you mean arithmetic?"),
    Case("a flag that does not exist", ["run", "grpo", "--lrr", "3"], "--lr"),
    Case("a value of the wrong kind", ["run", "grpo", "--rounds", "many"], "--rounds"),
    Case("a value out of its range", ["run", "grpo", "--temperature", "-1"], "temperature of at least 0"),
    Case("nothing to draw", ["run", "grpo", "--max-tokens", "0"], "max_tokens of at least 1"),
    Case("a run of fewer rounds than none", ["run", "grpo", "--rounds", "-1"], "rounds of at least 0"),
    Case(
        "a device that is not there",
        ["run", "grpo", "--model", "MODEL", "--device", "tpu", *DATA],
        "cpu, cuda",
        {"rows.jsonl": ROWS},
    ),
    Case(
        "a dtype that does not exist",
        ["run", "grpo", "--model", "MODEL", "--dtype", "float8", *DATA],
        "auto, float32",
        {"rows.jsonl": ROWS},
    ),
    Case(
        "a target for an adapter that the model does not have",
        ["run", "grpo", "--model", "MODEL", "--lora", "2", "--lora-targets", "q_prj", *DATA],
        "did you mean q_proj?",
        {"rows.jsonl": ROWS},
    ),
    Case(
        "targets for an adapter that nobody asked for",
        ["run", "grpo", "--model", "MODEL", "--lora-targets", "q_proj", *DATA],
        "--lora 16",
        {"rows.jsonl": ROWS},
    ),
    Case("one method to compare", ["compare", "grpo"], "two methods or more"),
    Case(
        "a knob of the wrong kind to compare", ["compare", "grpo,n=many", "star"], "wants n as int, such as 8"
    ),
    Case(
        "an export to another program's format",
        ["export", "nowhere", "--to", "gguf"],
        "hf by their own converters",
    ),
    Case(
        "a folder in which nothing is to train on",
        ["run", "grpo", "--task", "data:rows"],
        "train.jsonl",
        {"rows/test.jsonl": ROWS, "rows/prompts.jsonl": ROWS},
    ),
    Case(
        "a task's parameter that does not exist", ["run", "grpo", "--task.term", "3"], "did you mean terms?"
    ),
    Case("a method that learns nothing", ["run", "self_consistency", "--model", "MODEL"], "surpass eval"),
    Case(
        "a data file given as a task",
        ["run", "grpo", "--task", "rows.jsonl"],
        "data:rows.jsonl",
        {"rows.jsonl": ROWS},
    ),
    Case(
        "a model behind an API that is to be trained",
        ["run", "grpo", "--model", "api:m"],
        "cannot be trained",
    ),
    Case("several values in one word", ["run", "tree_grpo", "--n", "4,4"], "written apart: 4 4"),
    Case(
        "a data file that does not exist",
        ["run", "grpo", "--task", "data:row.jsonl"],
        "rows.jsonl",
        {"rows.jsonl": ROWS},
    ),
    Case(
        "a missing column",
        ["run", "grpo", *DATA, "--task.prompt", "promt"],
        "did you mean prompt",
        {"rows.jsonl": ROWS},
    ),
    Case(
        "no column that could be the prompt",
        ["run", "grpo", *DATA],
        "--task.prompt",
        {"rows.jsonl": '{"x": 1}\n'},
    ),
    Case("an empty data set", ["run", "grpo", *DATA], "rows.jsonl", {"rows.jsonl": ""}),
    Case("a broken line", ["run", "grpo", *DATA], "line 41", {"rows.jsonl": ROWS + '{"prompt": \n'}),
    Case(
        "no problem left for a split",
        ["run", "grpo", "--model", "MODEL", *DATA],
        "no problem for the split",
        {"rows.jsonl": ROWS[: ROWS.index("\n") + 1]},
    ),
    Case(
        "a model that does not exist", ["run", "grpo", "--model", "no-such-model", *SHORT], "neither an alias"
    ),
    Case(
        "chat messages for a model without a chat template",
        ["run", "grpo", "--model", "BASE", *DATA],
        "no chat template",
        {"rows.jsonl": CHAT},
    ),
    Case(
        "a prompt longer than the context",
        ["run", "grpo", "--model", "MODEL", *DATA],
        "longer than the model's context",
        {"rows.jsonl": LONG},
    ),
    Case(
        "a reward file that does not exist",
        ["run", "grpo", *DATA, "--reward", "prize.py:f"],
        "did you mean price.py",
        {"rows.jsonl": ROWS, "price.py": ""},
    ),
    Case(
        "a reward function that does not exist",
        ["run", "grpo", *DATA, "--reward", "price.py:pric"],
        "did you mean price",
        {"rows.jsonl": ROWS, "price.py": "def price(completions):\n    return [1]\n"},
    ),
    Case(
        "a reward that raises",
        ["run", "grpo", "--model", "MODEL", *DATA, "--reward", "price.py:price"],
        "in line 2",
        {"rows.jsonl": ROWS, "price.py": "def price(completions):\n    return 1 / 0\n"},
    ),
    Case(
        "a reward that returns the wrong number of values",
        ["run", "grpo", "--model", "MODEL", *DATA, "--reward", "price.py:price"],
        "1 rewards for 2 completions",
        {"rows.jsonl": ROWS, "price.py": "def price(completions):\n    return [1]\n"},
    ),
    Case(
        "a reward that never comes",
        [
            "run",
            "grpo",
            "--model",
            "MODEL",
            *DATA,
            "--reward",
            "price.py:price",
            "--task.reward_seconds",
            "0.3",
        ],
        "longer than 0.3 seconds",
        {"rows.jsonl": ROWS, "price.py": "import time\ndef price(completions):\n    time.sleep(1e6)\n"},
    ),
    Case(
        "a file of one's own that cannot be run",
        ["run", "grpo", "--task", "mine.py"],
        "ModuleNotFoundError in line 1",
        {"mine.py": "import nothing_like_it\n"},
    ),
    Case(
        "a file of one's own without a task",
        ["run", "grpo", "--task", "mine.py"],
        "has no task",
        {"mine.py": "x = 1\n"},
    ),
    Case(
        "an API that cannot be reached",
        [
            "eval",
            "best_of_n",
            "--model",
            "api:m",
            "--url",
            "http://127.0.0.1:9/v1",
            "--retries",
            "0",
            "--limit",
            "2",
            *DATA[:2],
        ],
        "127.0.0.1:9",
        {"rows.jsonl": ROWS},
    ),
    Case(
        "a method that needs more than an API gives",
        ["eval", "best_of_n", "--by", "likelihood", "--model", "api:m", "--limit", "2", *DATA[:2]],
        "likelihood needs single tokens",
        {"rows.jsonl": ROWS},
    ),
    Case(
        "a task that lacks what a method asks it for",
        ["eval", "eureka", "--task", "maze", "--model", "MODEL", "--limit", "2"],
        "asks the task for trial",
    ),
    Case(
        "a task whose oracle does not grade turns",
        ["run", "slate", "--task", "maze", "--model", "MODEL"],
        "asks the task for oracle.grade",
    ),
    Case("a folder to view that does not exist", ["view", "nowhere"], "is no folder"),
    Case(
        "a tracker that does not exist",
        ["run", "grpo", "--model", "MODEL", "--track", "tensorbored", "--out", "tracked"],
        "a tracker is one of",
    ),
    Case("a folder that is no run", ["resume", "nowhere"], "is not a run"),
    Case("an export of a run that is none", ["export", "nowhere", "--to", "hf"], "is not a run"),
    Case("a file that init would overwrite", ["init", "mine.py"], "left as it is", {"mine.py": "x = 1\n"}),
]
MESSAGES: dict[str, str] = {}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A nano model without a chat template."""
    folder = tmp_path_factory.mktemp("base")
    tokenizer = make_tokenizer()
    tokenizer.chat_template = None
    LocalEngine.of(make_causal(0, 0.05), tokenizer).save(folder)
    return str(folder)


def told(capsys, folder: Path, model: str, base: str) -> str:
    """The one line on standard error, with folders' names shortened."""
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if line.startswith("surpass: ")]
    assert "Traceback" not in error
    assert len(lines) == 1, error
    assert error.rstrip().endswith(lines[0]), "the message is the last thing said"
    said = (
        lines[0]
        .removeprefix("surpass: ")
        .replace(f"{folder}/", "")
        .replace(model, "MODEL")
        .replace(base, "BASE")
    )
    said = re.sub(r"over \d+\.\d seconds", "over 0.0 seconds", said)  # a busy machine takes longer
    return re.sub(r"(runs/[\w.-]+)-[0-9a-f]{8}\b", r"\1-HASH", said)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_one_message_and_exit_code_2(case, capsys, tmp_path, monkeypatch, model, base):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    for name, text in case.files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    words = [{"MODEL": model, "BASE": base}.get(word, word) for word in case.command]
    assert main(words) == 2
    MESSAGES[case.what] = told(capsys, tmp_path, model, base)
    assert case.says in MESSAGES[case.what]
    for name, text in case.files.items():
        assert (tmp_path / name).read_text() == text


def run_at(out: Path, model: str) -> list[str]:
    return ["run", "grpo", "--model", model, "--out", str(out), "--task.shots", "1", *SHORT]


def test_a_folder_that_holds_a_run_is_not_written_over(capsys, tmp_path, model):
    assert main(run_at(tmp_path / "run", model)) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main(run_at(tmp_path / "run", model)) == 2
    MESSAGES["a folder that holds a run"] = told(capsys, tmp_path, model, model)
    assert "surpass resume" in MESSAGES["a folder that holds a run"]
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def failing(function, after: int, error: Exception):
    """The function, which works so many times and then raises."""
    left = [after]

    def called(*arguments, **options):
        left[0] -= 1
        if left[0] < 0:
            raise error
        return function(*arguments, **options)

    return called


def test_a_full_disk_costs_no_finished_round(capsys, tmp_path, monkeypatch, model):
    import pyarrow.parquet as pq

    full = failing(pq.write_table, 3, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "trees/0003.parquet"))
    words = run_at(tmp_path / "run", model)
    words[words.index("--rounds") + 1] = "3"
    with monkeypatch.context() as disk:
        disk.setattr(pq, "write_table", full)
        assert main(words) == 2
    MESSAGES["a full disk"] = told(capsys, tmp_path, model, model)
    assert (
        "No space left on device" in MESSAGES["a full disk"] and "surpass resume" in MESSAGES["a full disk"]
    )
    events = (tmp_path / "run" / "events.jsonl").read_bytes()
    assert main(["resume", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "events.jsonl").read_bytes().startswith(events)


ASKS = """import json, urllib.request
def price(completions):
    with urllib.request.urlopen("http://127.0.0.1:{}", json.dumps(completions).encode(), timeout=5) as reply:
        return json.load(reply)
"""


def judge_on(port: int, calls: int) -> ThreadingHTTPServer:
    """A server of rewards on loopback that answers so many times and is gone."""
    left = [calls]

    class Judge(Chat):
        def answer(self):
            left[0] -= 1
            if left[0] < 0:
                return None
            return 200, json.dumps([float(len(text) % 2) for text in json.loads(self.body)]).encode()

    return ThreadingHTTPServer(("127.0.0.1", port), Judge)


def test_a_reward_server_that_vanishes_costs_no_finished_round(capsys, tmp_path, monkeypatch, model):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text(ROWS)
    words = ["run", "grpo", "--model", model, *DATA, "--reward", "asks.py:price", "--out", "run"]
    words[words.index("--rounds") + 1] = "4"
    with serving(judge_on(0, 6)) as server:
        (tmp_path / "asks.py").write_text(ASKS.format(server.server_port))
        assert main(words) == 2
    MESSAGES["a reward server that is gone"] = told(capsys, tmp_path, model, model).replace(
        str(server.server_port), "PORT"
    )
    assert "in line 3" in MESSAGES["a reward server that is gone"]
    assert json.loads((tmp_path / "run" / "state.json").read_text())["round"] >= 1
    with serving(judge_on(server.server_port, 10**6)):
        assert main(["resume", "run", "--code", "asks.py"]) == 0


def test_an_engine_that_dies_costs_no_finished_round(capsys, tmp_path, monkeypatch, model):
    dying = failing(LocalEngine.serve, 9, MemoryError("out of memory"))
    words = run_at(tmp_path / "run", model)
    words[words.index("--rounds") + 1] = "6"
    with monkeypatch.context() as engine:
        engine.setattr(LocalEngine, "serve", dying)
        assert main(words) == 2
    MESSAGES["an engine that dies"] = told(capsys, tmp_path, model, model)
    assert "MemoryError" in MESSAGES["an engine that dies"]
    assert json.loads((tmp_path / "run" / "state.json").read_text())["round"] >= 1
    assert main(["resume", str(tmp_path / "run")]) == 0


def test_a_model_that_scores_its_draws_otherwise_ends_the_run_before_an_update(
    capsys, tmp_path, monkeypatch, model
):
    """As one whose log-probabilities depend on what else is in a pass; where the model is mended the run goes
    on.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text(ROWS)
    (tmp_path / "price.py").write_text(
        "def price(completions):\n    return [float(ord(c[-1:] or 'a') % 2) for c in completions]\n"
    )
    words = ["run", "grpo", "--model", model, *DATA, "--n", "8", "--reward", "price.py:price", "--out", "run"]
    forward = LocalEngine.forward

    def other(self, *given, **more):
        out = forward(self, *given, **more)
        return dataclasses.replace(
            out, logp=out.logp - 0.4, plain=None if out.plain is None else out.plain - 0.4
        )

    with monkeypatch.context() as engine:
        engine.setattr(LocalEngine, "forward", other)
        assert main(words) == 2
    MESSAGES["a model that scores its draws otherwise"] = told(capsys, tmp_path, model, model)
    assert "draw_gap is 0.4" in MESSAGES["a model that scores its draws otherwise"]
    assert not (tmp_path / "run" / "weights").exists()
    assert main(["resume", "run", "--code", "price.py"]) == 0


def test_a_disk_that_fills_while_weights_are_written_is_one_message_too(capsys, tmp_path, monkeypatch, model):
    from safetensors import SafetensorError

    from surpass import saved_weights

    def full(*arguments, **options):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    words = [
        "run",
        "star",
        "--model",
        model,
        "--out",
        str(tmp_path / "run"),
        "--task.shots",
        "1",
        *SHORT,
        "--temperature",
        "1.0",
    ]
    with monkeypatch.context() as disk:
        disk.setattr(saved_weights, "save_file", full)
        disk.setattr(LocalEngine, "save", full)
        assert main(words) == 2
    assert "No space left on device" in told(capsys, tmp_path, model, model)
    assert main(["resume", str(tmp_path / "run")]) == 0


def test_equal_rewards_are_said_at_round_1(capsys, tmp_path, monkeypatch, model):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text(ROWS)
    (tmp_path / "price.py").write_text("def price(completions):\n    return [0.0] * len(completions)\n")
    words = ["run", "grpo", "--model", model, *DATA, "--reward", "price.py:price", "--out", "run"]
    assert main(words) == 0
    found = capsys.readouterr()
    (line,) = [
        line for line in found.err.splitlines() if line.startswith("All rewards within a problem were equal")
    ]
    MESSAGES["all rewards equal (a note at round 1, exit code 0)"] = line
    assert "higher temperature" in line
    assert "note" in found.out


def table() -> str:
    lines = [
        "# Errors",
        "",
        "Every message a user can be stopped by ends the command with exit code 2 and costs nothing "
        "that was finished. This table is made of",
        "the tests' own cases: `SURPASS_WRITE=1 python -m pytest tests/test_errors.py`.",
        "",
        "| what is wrong | what is said |",
        "|---|---|",
    ]
    return (
        "\n".join(
            [*lines, *(f"| {what} | {text.replace('|', chr(92) + '|')} |" for what, text in MESSAGES.items())]
        )
        + "\n"
    )


def test_the_table_of_errors_is_up_to_date():
    if len(MESSAGES) < len(CASES) + 5:
        pytest.skip("the table needs every case of this file")
    if os.environ.get("SURPASS_WRITE"):
        TABLE.write_text(table())
    assert TABLE.read_text() == table(), "run: SURPASS_WRITE=1 python -m pytest tests/test_errors.py"


def test_what_failed_before_its_first_exam_is_begun_again_in_the_same_folder(
    capsys, tmp_path, monkeypatch, model
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text(ROWS)
    (tmp_path / "mine.py").write_text(
        "def price(completions, answer):\n    return [1.0 / 0] * len(completions)\n"
    )
    words = ["run", "grpo", "--model", model, *DATA, "--reward", "mine.py:price", "--out", "run"]
    assert main(words) == 2
    (tmp_path / "mine.py").write_text(
        "def price(completions, answer):\n    return [float(len(c)) for c in completions]\n"
    )
    assert main(words) == 0
    assert (tmp_path / "run" / "report.html").exists()
    assert main(words) == 2
    assert "already holds a run; go on with: surpass resume run" in capsys.readouterr().err
