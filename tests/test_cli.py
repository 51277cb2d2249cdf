"""The command line as a user meets it: runs, evaluation, resume, and one clear message for every mistake."""

from __future__ import annotations

import dataclasses
import inspect
import json
import signal
import subprocess
import sys
import time

import pytest
import torch

import surpass
from surpass.cli import COMMANDS, main
from surpass.errors import SurpassError
from surpass.find import make_task, method_names
from surpass.options import HELP, compare_flags, eval_flags, run_flags, solve_flags
from surpass.parsing import picked, plain
from surpass.tasks import arithmetic, reasoning_gym

SMALL = "--rounds 2 --test 4 --gate 4 --problems 2 --n 2 --max-tokens 6 --every 1 --task.shots 1".split()


def test_run_writes_a_folder_that_transformers_loads_and_prints_json(model, tmp_path, capsys):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = tmp_path / "run"
    assert main(["run", "grpo", "--model", model, "--out", str(out), "--json", *SMALL]) == 0
    last = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert last["run"] == str(out)
    for when in ("before", "after"):
        assert {"mean", "stderr", "n"} <= last[when]["accuracy"].keys() and last[when]["accuracy"]["n"] == 4
    assert last["cost"]["search"]["generated"] > 0 and last["cost"]["exam"]["generated"] > 0
    weights = sorted((out / "weights").glob("*/policy"))[-1]
    AutoTokenizer.from_pretrained(weights)
    loaded = AutoModelForCausalLM.from_pretrained(weights)
    assert all(torch.isfinite(p).all() for p in loaded.parameters())
    names = {path.name for path in out.iterdir()}
    assert {
        "run.json",
        "events.jsonl",
        "timing.jsonl",
        "state.json",
        "trees",
        "examples",
        "weights",
        "report.html",
    } <= names
    run = json.loads((out / "run.json").read_text())
    assert run["method"]["search"] == {
        "part": "surpass.searches.samples",
        "n": 2,
        "temperature": 0.8,
        "max_tokens": 6,
        "top_p": 1.0,
        "turns": 32,
        "role": "policy",
    }
    # the same folder is not written twice, and resuming a finished run only tells its result again
    assert main(["run", "grpo", "--model", model, "--out", str(out), *SMALL]) == 2
    assert "surpass resume" in capsys.readouterr().err
    events = (out / "events.jsonl").read_bytes()
    assert main(["resume", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.strip().splitlines()[-1])["after"] == last["after"]
    assert (out / "events.jsonl").read_bytes() == events


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_leaves_a_run_that_can_be_resumed(times, model, tmp_path, capsys):
    out = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "surpass.cli",
        "run",
        "grpo",
        "--model",
        model,
        "--out",
        str(out),
        *SMALL,
        "--rounds",
        "500",
    ]
    # a shell's background jobs ignore it
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **heard)
    deadline = time.time() + 60
    while not (out / "trees" / "0003.parquet").exists() and time.time() < deadline:
        time.sleep(0.05)
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.001)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"surpass resume {out}" in error
    assert "Traceback" not in error
    run = json.loads((out / "run.json").read_text())
    rounds = json.loads((out / "state.json").read_text())["round"] + 1
    (out / "run.json").write_text(json.dumps(run | {"rounds": rounds}))
    assert main(["resume", str(out)]) == 0
    assert "test accuracy" in capsys.readouterr().out


def test_lora_trains_an_adapter_alone(model, tmp_path, capsys):
    out = tmp_path / "run"
    assert (
        main(
            [
                "run",
                "grpo",
                "--model",
                model,
                "--out",
                str(out),
                "--lora",
                "2",
                "--lr",
                "0.01",
                "--json",
                *SMALL,
            ]
        )
        == 0
    )
    weights = sorted((out / "weights").glob("*/policy"))[-1]
    assert (weights / "adapter_model.safetensors").exists()
    assert not (weights / "model.safetensors").exists()
    capsys.readouterr()
    assert main(["resume", str(out), "--json"]) == 0


def test_eval_reports_every_metric_with_its_error(model, capsys):
    assert (
        main(
            [
                "eval",
                "self_consistency",
                "--model",
                model,
                "--limit",
                "4",
                "--n",
                "3",
                "--max-tokens",
                "4",
                "--json",
                "--task.shots",
                "1",
            ]
        )
        == 0
    )
    printed = capsys.readouterr().out.strip().splitlines()
    accuracy = json.loads(printed[-1])["metrics"]["accuracy"]
    assert accuracy["n"] + accuracy["missing"] == 4
    assert any(line.startswith("accuracy") and "+-" in line for line in printed)


def test_methods_lists_every_file(capsys):
    assert main(["methods"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in method_names())


@pytest.mark.parametrize(
    "words, message",
    [
        (["rum"], "did you mean run?"),
        (["run"], "wants a method first"),
        (["run", "grop"], "did you mean grpo?"),
        (["run", "grpo", "--task", "arithmetics"], "did you mean arithmetic?"),
        (["run", "grpo", "--task.term", "3"], "did you mean terms?"),
        (["run", "grpo", "--task.terms"], "--task.terms wants a value"),
        (["run", "grpo", "--task.terms", "many"], "wants a whole number"),
        (["run", "grpo", "--task", "reasoning_gym:chain_sums"], "chain_sum"),
        (["run", "grpo", "--model", "no-such-model"], "neither an alias"),
        (["run", "grpo", "--model", "gone.gguf"], "exists here"),
        (["run", "self_consistency"], "learns nothing"),
        (["resume", "nowhere"], "is not a run"),
        (["resume"], "usage: surpass resume FOLDER"),
        (["eval", "grpo", "--split", "train"], "--split is test or gate"),
        (["run", "grpo", "--lrr", "3"], "perhaps you meant --lr FLOAT"),
        (["run", "grpo", "--rounds", "many"], "Error parsing --rounds"),
        (["solve"], "wants a question first"),
        (["export", "nowhere", "--to", "hf"], "is not a run"),
        (["init", "task.txt"], "usage: surpass init"),
    ],
)
def test_mistakes_end_in_one_message_and_exit_code_2(words, message, capsys, tmp_path, monkeypatch, model):
    monkeypatch.chdir(tmp_path)
    if words == ["run", "self_consistency"]:
        words = [*words, "--model", model]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1 and error.startswith("surpass: ")
    assert not list(tmp_path.iterdir()), "a mistake leaves nothing behind"


@pytest.mark.parametrize(
    "words, says",
    [
        (["--version"], f"surpass {surpass.__version__}"),
        (["run", "--help"], "surpass run METHOD"),
        (["view", "-h"], "surpass view"),
        (["eval", "--help"], "--limit"),
        (["compare", "--help"], "--budget"),
    ],
)
def test_help_and_version_end_with_exit_code_0(words, says, capsys):
    code: object = 0
    try:
        code = main(words)
    except SystemExit as stop:  # tyro's own help
        code = stop.code
    assert not code
    assert says in capsys.readouterr().out


def test_ctrl_c_in_any_command_is_no_traceback(capsys, monkeypatch):
    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setitem(COMMANDS, "tasks", interrupted)
    assert main(["tasks"]) == 130
    assert "surpass: stopped" in capsys.readouterr().err


def test_init_makes_the_folder_of_its_file(tmp_path):
    assert main(["init", str(tmp_path / "new" / "mine.py")]) == 0
    assert (tmp_path / "new" / "mine.py").exists()


def test_words_are_read_by_hand_as_tyro_reads_them():
    rest, found = picked(["a", "--x", "1", "--x=2", "--x", "--y", "b=c"], "--x".__eq__)
    assert rest == ["a", "--y", "b=c"] and found == [("--x", ["1"]), ("--x", ["2"]), ("--x", [])]
    rest, found = picked(["--x", "1", "2", "--y", "--x=3", "4"], "--x".__eq__, many=True)
    assert rest == ["--y", "4"] and found == [("--x", ["1", "2"]), ("--x", ["3"])]
    words = {"usage": "do A", "words": (1,), "flags": ("--x",), "many": ("--m",), "switches": ("--s",)}
    assert plain(["--s", "--x=1", "a", "--m", "1", "2", "--m", "3"], **words) == (
        ["a"],
        {"--x": "1", "--m": ["1", "2", "3"], "--s": True},
    )
    for wrong in (["a", "b"], [], ["a", "--x"], ["a", "--y"], ["a", "--m"], ["a", "-z"]):
        with pytest.raises(SurpassError, match="usage: do A"):
            plain(wrong, **words)


@pytest.mark.parametrize(
    "made, function, own",
    [
        (run_flags, surpass.improve, {"json", "api"}),
        (eval_flags, surpass.evaluate, {"json", "api"}),
        (compare_flags, surpass.compare, {"json", "dtype", "device", "template_args"}),
        (solve_flags, surpass.solve, {"json", "api", "dtype", "device"}),
    ],
    ids=["run", "eval", "compare", "solve"],
)
def test_flags_are_the_functions_arguments(made, function, own):
    """Whatever Python can be given by name, the command line can, with the same default and a help text."""
    python = {p.name: p.default for p in inspect.signature(function).parameters.values()}
    flags = {field.name: field.default for field in dataclasses.fields(made())}
    elsewhere = {"method", "methods", "question", "knobs", "options", "quiet", "name", "tell"}
    assert flags.keys() - own == python.keys() - elsewhere - own
    other = {name for name in flags.keys() & python.keys() if flags[name] != python[name]}
    assert other <= {"instruction", "template_args", "out"}
    assert flags.keys() - {"api"} <= HELP.keys()


def test_tasks_from_words():
    assert make_task("arithmetic", {"terms": "5"}) == arithmetic(terms=5)
    assert make_task("reasoning_gym:chain_sum", {"min_terms": "3", "shots": "1"}) == reasoning_gym(
        "chain_sum", {"min_terms": 3}, 1
    )
