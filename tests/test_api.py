"""surpass from Python and with files of one's own: as a user would write it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import surpass
from surpass.cli import main
from surpass.errors import SurpassError
from surpass.files import load_file, load_name
from surpass.find import make_task
from surpass.methods.grpo import grpo
from tiny import copy_letter, nano_models

SMALL = {"problems": 2, "n": 2, "max_tokens": 4, "every": 1, "lr": 0.01}


@pytest.fixture(autouse=True)
def forget_files():
    """Modules of files that a test loaded."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if "pytest" in str(getattr(sys.modules[name], "__file__", "") or ""):
            del sys.modules[name]


def improve(**options):
    return surpass.improve(
        "grpo",
        copy_letter(),
        nano_models(),
        quiet=True,
        **{"rounds": 2, "test": 2, "gate": 2, **SMALL, **options},
    )


def same(a, b) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_blocking_awaited_and_inside_a_loop_give_the_same_result():
    plain = improve()

    async def inside():
        nested = improve()  # as in a notebook cell: a loop is running
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.005)

        ticking = asyncio.create_task(tick())
        awaited = await surpass.improve_async(
            "grpo", copy_letter(), nano_models(), rounds=2, test=2, gate=2, quiet=True, **SMALL
        )
        ticking.cancel()
        return nested, awaited, ticks

    nested, awaited, ticks = asyncio.run(inside())
    assert ticks > 3, "the awaited form does not stop other coroutines"
    for other in (nested, awaited):
        assert other.before.rows == plain.before.rows
        assert other.after.rows == plain.after.rows
        assert json.dumps(other.events) == json.dumps(plain.events)


def test_cancelling_leaves_a_run_that_goes_on(tmp_path):
    out = tmp_path / "run"
    options = {"rounds": 400, "test": 2, "gate": 2, "quiet": True, "out": out, **SMALL}

    async def begin():
        task = asyncio.create_task(surpass.improve_async("grpo", copy_letter(), nano_models(), **options))
        while not (out / "trees" / "0002.parquet").exists():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(begin())
    done = json.loads((out / "state.json").read_text())["round"]
    assert 1 <= done < 400
    about = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(about | {"rounds": done + 1}))
    result = surpass.improve("grpo", copy_letter(), nano_models(), **{**options, "rounds": done + 1})
    assert result.events[-1]["event"] == "end"
    assert result.folder == out and result.page.exists()


def test_the_same_call_goes_on_and_another_is_refused(tmp_path):
    first = improve(out=tmp_path / "run")
    began = time.perf_counter()
    again = improve(out=tmp_path / "run")
    assert time.perf_counter() - began < 5
    assert again.after.rows == first.after.rows
    with pytest.raises(
        SurpassError, match=r"holds a run with another method.learn.0.learner.lr \(was 0.01, now 0.5\)"
    ):
        improve(out=tmp_path / "run", lr=0.5)
    with pytest.raises(SurpassError, match=r"another method.exam.n.test \(was 2, now 3\)"):
        improve(out=tmp_path / "run", test=3)


def test_a_method_and_models_of_ones_own_and_pandas():
    pytest.importorskip("pandas")
    models = nano_models()
    before = models.engine("policy").weights()
    result = surpass.improve(grpo(**SMALL), copy_letter(), models, rounds=2, test=2, gate=2, quiet=True)
    table = result.to_pandas()
    assert list(table["round"]) == [1, 2] and {"reward", "keep", "loss", "entropy"} <= set(table.columns)
    rows = result.after.to_pandas()
    assert set(rows["metric"]) >= {"accuracy"} and len(rows) == len(result.after.rows)
    assert result.kept_round == 0 or not same(before, models.engine("policy").weights())
    assert "test accuracy" in str(result) and "tokens" in str(result)
    with pytest.raises(SurpassError, match="has its knobs already"):
        surpass.improve(grpo(**SMALL), copy_letter(), models, lr=1.0)


def test_unknown_knobs_are_named_with_the_nearest():
    with pytest.raises(SurpassError, match="did you mean problems"):
        surpass.improve("grpo", copy_letter(), nano_models(), problem=3)


def test_evaluate_and_solve():
    report = surpass.evaluate("self_consistency", copy_letter(), nano_models(), limit=2, n=3, max_tokens=3)
    assert report.metrics["accuracy"]["n"] == 2 and "accuracy" in str(report)
    for method in ("self_consistency", "tree_sharpen", "self_refine", "best_of_n"):
        knobs = {"max_tokens": 3} | ({"n": 3} if method in ("self_consistency", "best_of_n") else {})
        knobs |= {"by": "likelihood"} if method == "best_of_n" else {}
        found = surpass.solve("abc", method, nano_models(), **knobs)
        chosen = [text for text, _, _, mark in found.attempts if mark]
        assert chosen == [found.answer] and found.cost["generated"] > 0
    scores = [scores["score"] for _, _, scores, _ in found.attempts]
    assert len(scores) == 3 and not np.isnan(scores).any()


def test_a_run_without_labels_says_that_accuracy_is_not_known():
    task = surpass.tasks.question("abc")
    result = surpass.improve(
        "tree_sharpen",
        copy_letter(),
        nano_models(),
        rounds=1,
        test=2,
        gate=2,
        quiet=True,
        problems=2,
        n=(2, 2),
        stop="a",
        max_tokens=4,
        every=1,
    )
    assert result.change("agreement")["n"] == 2

    class unlabelled(copy_letter):
        async def check(self, models, problem, text):
            return None

    result = surpass.improve(
        "tree_sharpen",
        unlabelled(),
        nano_models(),
        rounds=1,
        test=2,
        gate=2,
        quiet=True,
        problems=2,
        n=(2, 2),
        stop="a",
        max_tokens=4,
        every=1,
    )
    assert "test accuracy" in str(result) and "not known" in str(result)
    assert list(task.problems("test", 0))


def test_what_is_exported_is_there_and_nothing_heavy_is_imported_for_it():
    """`surpass.compare` is the function: no module has its name."""
    for name in surpass.__all__:
        found = getattr(surpass, name)
        assert found.__name__ == name and callable(found)
    from surpass import Column, Example, LocalEngine, Models, compare

    assert {Column, Example, LocalEngine, Models} <= {getattr(surpass, name) for name in surpass.__all__}
    assert compare.__module__ == "surpass.comparing"
    with pytest.raises(AttributeError, match="surpass has no improved"):
        surpass.improved  # noqa: B018
    program = "import sys, surpass; print(sorted({'torch', 'numpy', 'tyro', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_model_behind_an_api_is_refused_from_python_too():
    with pytest.raises(SurpassError, match="cannot be trained"):
        surpass.improve("grpo", copy_letter(), "api:m")


# -- files


def test_what_init_writes_runs(tmp_path, monkeypatch, capsys, model):
    monkeypatch.chdir(tmp_path)
    for kind, name in (("task", "next_number"), ("reward", "prize"), ("method", "my_way")):
        assert main(["init", f"{name}.py", "--kind", kind]) == 0
        assert main(["init", f"{name}.py", "--kind", kind]) == 2
        assert "left as it is" in capsys.readouterr().err
    small = [
        "--model",
        model,
        "--rounds",
        "1",
        "--test",
        "2",
        "--gate",
        "2",
        "--problems",
        "2",
        "--max-tokens",
        "4",
        "--every",
        "1",
    ]
    assert (
        main(
            [
                "run",
                "my_way.py",
                "--task",
                "next_number.py",
                "--task.digits",
                "2",
                "--n",
                "2",
                "--out",
                "run",
                *small,
            ]
        )
        == 0
    )
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    assert about["task"] == {"part": "next_number.next_number", "digits": 2}
    assert about["name"] == "my_way" and len(about["files"]) == 1
    capsys.readouterr()
    # code of one's own is run on resume only if it is named, and only while it is the same
    assert main(["resume", "run"]) == 2
    assert "--code" in capsys.readouterr().err
    assert main(["resume", "run", "--code", "next_number.py"]) == 0
    (tmp_path / "next_number.py").write_text((tmp_path / "next_number.py").read_text() + "\n")
    capsys.readouterr()
    assert main(["resume", "run", "--code", "next_number.py"]) == 2
    assert "has changed since this run began" in capsys.readouterr().err


def test_a_sync_check_may_return_none_or_bool(tmp_path):
    path = tmp_path / "plain_task.py"
    path.write_text(
        "from dataclasses import dataclass\nimport surpass\n@dataclass(frozen=True)\nclass "
        "plain_task(surpass.Task):\n    def problems(self, split, seed):\n        for i in range(3):\n "
        "           yield surpass.Problem(f'{split}{i}', 'a', None)\n    def check(self, models, "
        "problem, text):\n        return None if problem.id.endswith('0') else True\n"
    )
    task = make_task(str(path))
    report = surpass.evaluate("grpo", task, nano_models(), limit=3, max_tokens=2)
    assert report.metrics["accuracy"] == {"mean": 1.0, "stderr": 0.0, "n": 2, "missing": 1}


@pytest.mark.parametrize(
    "text, message",
    [
        ("x = 1", "has no task"),
        ("import nothing_like_this", "could not be run: ModuleNotFoundError"),
        ("def f(:", "could not be run: SyntaxError"),
        ("class a:\n    def problems(self, s, r): ...\n    def check(self, m, p, t): ...", "dataclass"),
        ("class a:\n    problems = check = print\nclass b(a): ...", "several tasks; name one"),
    ],
)
def test_files_that_hold_no_task_are_named_with_the_reason(tmp_path, text, message):
    path = tmp_path / "wrong_task.py"
    path.write_text(text)
    with pytest.raises(SurpassError, match=message):
        make_task(str(path))


def test_files_are_found_by_name_and_never_shadow_a_module(tmp_path):
    (tmp_path / "json.py").write_text("")
    (tmp_path / "my_tools.py").write_text("def prize(): return 3\n")
    with pytest.raises(SurpassError, match="name of another module"):
        load_file(tmp_path / "json.py")
    with pytest.raises(SurpassError, match=r"did you mean my_tools\.py"):
        load_file(tmp_path / "my_tool.py")
    with pytest.raises(SurpassError, match="did you mean prize"):
        load_name(f"{tmp_path / 'my_tools.py'}:price")
    assert load_name(f"{tmp_path / 'my_tools.py'}:prize")() == 3


# -- export


def test_export_merges_an_adapter_and_copies_weights(tmp_path, capsys, model):
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoModelForCausalLM

    small = [
        "--model",
        model,
        "--rounds",
        "1",
        "--test",
        "2",
        "--gate",
        "2",
        "--problems",
        "2",
        "--n",
        "2",
        "--max-tokens",
        "4",
        "--every",
        "1",
        "--task.shots",
        "1",
    ]
    own = ["--lr", "0.01"]
    method = tmp_path / "keeper.py"
    method.write_text(
        "from dataclasses import replace\nfrom surpass import gates, rewards, Method\nfrom "
        "surpass.methods.grpo import grpo\ndef keeper(problems: int = 2, n: int = 2, max_tokens: int = "
        "4, every: int = 1, lr: float = 0.01) -> Method:\n    return replace(grpo(problems, n, 1.0, "
        "max_tokens, lr), gate=gates.always(every), scores={'reward': rewards.likelihood('')})\n"
    )
    assert main(["run", str(method), "--out", str(tmp_path / "full"), *small, *own]) == 0
    assert main(["run", str(method), "--out", str(tmp_path / "lora"), "--lora", "2", *small, *own]) == 0
    capsys.readouterr()
    assert main(["export", str(tmp_path / "full"), "--to", "hf", "--out", str(tmp_path / "whole")]) == 0
    assert "vllm serve" in capsys.readouterr().out
    assert main(["export", str(tmp_path / "lora"), "--to", "hf", "--out", str(tmp_path / "merged")]) == 0
    assert main(["export", str(tmp_path / "lora"), "--to", "lora", "--out", str(tmp_path / "adapter")]) == 0
    base, whole, merged = (
        AutoModelForCausalLM.from_pretrained(f) for f in (model, tmp_path / "whole", tmp_path / "merged")
    )
    adapted = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter")
    tokens = torch.arange(1, 12)[None]
    logits = [m(tokens).logits for m in (base, whole, merged, adapted)]
    assert not torch.allclose(logits[0], logits[1], atol=1e-4) and not torch.allclose(
        logits[0], logits[2], atol=1e-4
    )
    torch.testing.assert_close(logits[2], logits[3], atol=1e-4, rtol=1e-4)
    for words, message in (
        (["full", "--to", "lora"], "no adapter"),
        (["full", "--to", "hf", "--out", str(tmp_path / "whole")], "was left as it is"),
        (["nowhere", "--to", "hf"], "is not a run"),
        (["full", "--to", "gguf"], "usage: surpass export"),
    ):
        assert main(["export", str(tmp_path / words[0]), *words[1:]]) == 2
        assert message in capsys.readouterr().err


# -- what a review found


def test_models_can_be_used_again_and_begin_anew():
    models = nano_models()
    options = {
        "rounds": 1,
        "test": 2,
        "gate": 2,
        "quiet": True,
        "problems": 2,
        "n": (2, 2),
        "stop": "a",
        "max_tokens": 4,
        "every": 1,
    }
    first = surpass.improve("tree_sharpen", copy_letter(), models, lr=0.05, **options)
    second = surpass.improve("tree_sharpen", copy_letter(), models, lr=0.05, **options)
    assert first.before.mean("drift") == pytest.approx(0, abs=1e-5)
    assert second.before.mean("drift") == pytest.approx(0, abs=1e-5)
    assert second.cost["search"]["calls"] == first.cost["search"]["calls"]
    a, b = (surpass.evaluate("grpo", copy_letter(), models, limit=2, max_tokens=2) for _ in range(2))
    assert a.cost == b.cost


def test_a_run_is_not_gone_on_with_from_another_model(tmp_path):
    models = nano_models()
    options = {"rounds": 2, "test": 2, "gate": 2, "quiet": True, "out": tmp_path / "run", **SMALL, "lr": 0.1}
    surpass.improve("grpo", copy_letter(), models, **options)
    with torch.no_grad():
        next(iter(models.engine("policy").trainable().values())).add_(1)
    with pytest.raises(SurpassError, match="not the one this run began with"):
        surpass.improve("grpo", copy_letter(), models, **options)
    surpass.improve("grpo", copy_letter(), nano_models(), **options)


def test_busy_models_refuse_a_second_run_and_early_cancels_count():
    models = nano_models()

    async def both():
        task = asyncio.create_task(
            surpass.improve_async(
                "grpo", copy_letter(), models, rounds=200, test=2, gate=2, quiet=True, **SMALL
            )
        )
        while models._queue.loop is None:
            await asyncio.sleep(0.01)
        with pytest.raises(SurpassError, match="busy with another run"):
            await surpass.evaluate_async("grpo", copy_letter(), models, limit=2, max_tokens=2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(both(), 60))
    assert (
        surpass.evaluate("grpo", copy_letter(), models, limit=2, max_tokens=2).metrics["accuracy"]["n"] == 2
    )


def test_nothing_to_draw_is_refused_and_failed_attempts_vote_for_nothing():
    from surpass import measures, rewards, searches
    from surpass.types import FAILED

    with pytest.raises(SurpassError, match="n of at least 1"):
        surpass.solve("abc", "self_consistency", nano_models(), n=0)
    with pytest.raises(SurpassError, match="at least 1"):
        improve(every=0)
    for name, wrong in {"rounds": -1, "patience": 0, "retain": -1, "lora": -1}.items():
        with pytest.raises(SurpassError, match=f"a run needs {name} of at least {wrong + 1}; found {wrong}"):
            improve(**{name: wrong})

    class broken(copy_letter):
        final_answer = staticmethod(str.strip)

        async def start(self, models, problem):
            if problem.prompt == "g":
                raise ValueError("no")
            return await copy_letter.start(self, models, problem)

    models = nano_models()
    models.weights.remember(["policy@0"])
    report = models.run(
        measures.agreement(searches.samples(2, 1.0, 2), {"gate": 2})(models, broken(), "gate", 0)
    )
    assert np.isnan([row.value for row in report.rows if row.problem == "gate-g"]).all()
    tree = surpass.Tree(surpass.Problem("p", "a"))
    tree.add(-1, "task", stop=FAILED, text="ValueError: no")
    for reward in (rewards.vote(), rewards.majority()):
        (column,) = models.run(reward(models, broken(), [tree]))
        tree.put("vote", column)
        assert np.isnan(column.values).all()


def test_solve_refuses_scores_that_the_model_cannot_give():
    from surpass.engines.openai_api import OpenAIEngine

    with pytest.raises(SurpassError, match="likelihood needs"):
        surpass.solve(
            "abc", "best_of_n", OpenAIEngine("m", url="http://127.0.0.1:9/v1", key="none"), by="likelihood"
        )


def test_json_lines_hold_no_nan(tmp_path):
    surpass.improve(
        "tree_sharpen",
        copy_letter(),
        nano_models(),
        rounds=1,
        test=1,
        gate=1,
        quiet=True,
        problems=2,
        n=(2, 2),
        stop="a",
        max_tokens=4,
        every=1,
        out=tmp_path / "run",
    )

    def refuse(name):
        raise AssertionError(name)

    for line in [
        *(tmp_path / "run" / "events.jsonl").read_text().splitlines(),
        (tmp_path / "run" / "state.json").read_text(),
    ]:
        json.loads(line, parse_constant=refuse)


def test_code_named_on_resume_is_the_only_code_that_is_run(tmp_path, monkeypatch, capsys, model):
    """A run's folder names somebody else's file of the same stem as the user's own."""
    text = "def prize(completions):\n    return [1.0] * len(completions)\n"
    for folder in ("good", "evil"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "prize_file.py").write_text(text)
    monkeypatch.chdir(tmp_path / "good")
    small = [
        "--model",
        model,
        "--rounds",
        "1",
        "--test",
        "2",
        "--gate",
        "2",
        "--problems",
        "2",
        "--n",
        "2",
        "--max-tokens",
        "4",
        "--every",
        "1",
        "--task.shots",
        "1",
    ]
    assert (
        main(["run", "grpo", "--reward", "prize_file.py:prize", "--out", str(tmp_path / "run"), *small]) == 0
    )
    (tmp_path / "evil" / "prize_file.py").write_text(f"open({str(tmp_path / 'PWNED')!r}, 'w')\n{text}")
    about = (tmp_path / "run" / "run.json").read_text()
    (tmp_path / "run" / "run.json").write_text(
        about.replace('"prize_file.py:prize"', json.dumps(f"{tmp_path}/evil/prize_file.py:prize"))
    )
    monkeypatch.chdir(tmp_path)
    assert main(["resume", "run", "--code", "good/prize_file.py"]) == 0, capsys.readouterr().err
    assert not (tmp_path / "PWNED").exists()


def test_a_task_of_ones_own_that_raises_is_one_message(tmp_path, capsys, model):
    path = tmp_path / "raising_task.py"
    path.write_text(
        "from dataclasses import dataclass\nimport surpass\n@dataclass(frozen=True)\nclass "
        "raising_task(surpass.Task):\n    def problems(self, split, seed):\n        yield "
        "surpass.Problem('a', 'a', None)\n    def check(self, models, problem, text):\n        return "
        "1 / 0\n"
    )
    assert (
        main(["eval", "grpo", "--task", str(path), "--model", model, "--limit", "1", "--max-tokens", "2"])
        == 2
    )
    error = capsys.readouterr().err
    assert (
        "raising_task.py raised ZeroDivisionError in line 8: division by zero" in error
        and "Traceback" not in error
    )
