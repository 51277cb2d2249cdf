"""Inputs that mean harm, or nothing: model files, templates, flags. Each is refused in one line, and nothing
of it runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from conftest import make_causal, make_tokenizer
from surpass.cli import main
from surpass.engines import LocalEngine
from surpass.errors import SurpassError

TIMES = int(os.environ.get("SURPASS_FUZZ", "1"))  # as many inputs as usual; `make soak` tries more
QUIET = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    LocalEngine.of(make_causal(0, 0.05), make_tokenizer()).save(folder)
    return folder


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pkl", "model.safetensors"])
def test_a_pickle_is_refused_and_does_not_run(saved, tmp_path, capsys, name):
    model, ran = tmp_path / "model", tmp_path / "ran"
    shutil.copytree(saved, model)
    (model / "model.safetensors").unlink()
    (model / name).write_bytes(pickle.dumps(Payload(ran)))
    torch.save({"x": Payload(ran)}, model / f"also-{name}")
    assert main(["eval", "best_of_n", "--model", str(model), "--limit", "1"]) == 2
    assert not ran.exists()
    error = capsys.readouterr().err
    assert "could not be loaded" in error and "Traceback" not in error


def test_code_that_comes_with_a_model_does_not_run(saved, tmp_path, capsys):
    model, ran = tmp_path / "model", tmp_path / "ran"
    shutil.copytree(saved, model)
    config = json.loads((model / "config.json").read_text())
    names = {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}
    (model / "config.json").write_text(json.dumps(config | {"model_type": "own", "auto_map": names}))
    (model / "own.py").write_text(f"import os\nos.mkdir({str(ran)!r})\nclass Own: pass\n")
    assert main(["eval", "best_of_n", "--model", str(model), "--limit", "1"]) == 2
    assert not ran.exists()
    assert "Traceback" not in capsys.readouterr().err


TEMPLATES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.__init__.__globals__ }}",
    "{% for i in range(10**9) %}a{% endfor %}",
    "{{ cycler.__init__.__globals__.os.system('x') }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{{ raise_exception('no') }}",
    "{{ 1 / 0 }}",
    "{% for",
]


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_reaches_nothing(saved, tmp_path, capsys, template):
    model = tmp_path / "model"
    shutil.copytree(saved, model)
    (model / "chat_template.jinja").write_text(template)
    code = main(
        [
            "eval",
            "best_of_n",
            "--model",
            str(model),
            "--limit",
            "1",
            "--n",
            "1",
            "--max-tokens",
            "2",
            "--task.shots",
            "0",
        ]
    )
    seen = capsys.readouterr()
    assert "Traceback" not in seen.err and "subclass" not in seen.out and "root:" not in seen.out
    assert code == 2 and "longer than" not in seen.err, "the template itself is what was refused"


@settings(max_examples=12 * TIMES, **QUIET)
@given(
    st.sampled_from(
        [
            "model.safetensors",
            "config.json",
            "tokenizer.json",
            "generation_config.json",
            "tokenizer_config.json",
        ]
    ),
    st.data(),
)
def test_a_damaged_model_is_refused_in_one_line(saved, tmp_path, name, data):
    model = tmp_path / "model"
    shutil.rmtree(model, ignore_errors=True)
    shutil.copytree(saved, model)
    raw = bytearray((model / name).read_bytes())
    kind = data.draw(st.sampled_from(["cut", "flip", "junk", "other"]))
    at = data.draw(st.integers(0, min(len(raw) - 1, 2000)))
    if kind == "cut":
        raw = raw[:at]
    elif kind == "flip":
        raw[at] ^= data.draw(st.integers(1, 255))
    elif kind == "junk":
        raw[at : at + 8] = data.draw(st.binary(min_size=1, max_size=16))
    else:
        raw = bytearray(
            data.draw(
                st.sampled_from(
                    [b"", b"{}", b"[]", b"null", b'{"model_type": 1}', b"[" * 100_000, b"\xff\xfe"]
                )
            )
        )
    (model / name).write_bytes(raw)
    with contextlib.suppress(SurpassError):  # or it was harmless
        LocalEngine(str(model))


WORDS = st.one_of(
    st.sampled_from(
        [
            "run",
            "eval",
            "solve",
            "resume",
            "export",
            "tasks",
            "methods",
            "init",
            "report",
            "grpo",
            "star",
            "maze",
            "--model",
            "--task",
            "--task.size",
            "--rounds",
            "--out",
            "--json",
            "--help",
            "--seed",
            "--lora",
            "--reward",
            "--n",
            "-1",
            "nan",
            "1e9",
            "../../x",
            "/dev/null",
            "=",
            "--",
            "-",
            "--task=",
            "data:",
            "data:/dev/null",
            "suite:",
            "api:",
            "file.py:",
            "\u202e",
            "x" * 5000,
        ]
    ),
    st.text(max_size=8),
    st.integers().map(str),
    st.floats().map(str),
)


@settings(max_examples=40 * TIMES, **QUIET)
@given(st.lists(WORDS, max_size=8))
@example(["solve", "run", "--help"])
@example(["run", "grpo", "--help"])
def test_any_words_are_understood_or_refused(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    code = main([*words, "--model", "nowhere.gguf"] if words[:1] in (["run"], ["eval"], ["solve"]) else words)
    assert code in (0, 2), words
    assert "Traceback" not in capsys.readouterr().err
