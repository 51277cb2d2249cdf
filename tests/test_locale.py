"""Shells, locales and homes of strangers: files are UTF-8 whatever the locale, the terminal shows what it
can, and nothing needs a home.
"""

from __future__ import annotations

import ast
import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import surpass
import surpass.models
from servers import Chat, chatting
from surpass.cli import main
from surpass.engines.openai_api import OpenAIEngine
from surpass.files import quoted

ROOT = Path(surpass.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
TEXT = {"read_text", "write_text", "TextIOWrapper", "fdopen"}


def bare(call: ast.Call) -> bool:
    """Whether a call reads or writes text in the locale's encoding: no `encoding`, and no mode or option that
    makes it bytes.
    """
    name = (
        call.func.attr
        if isinstance(call.func, ast.Attribute)
        else call.func.id
        if isinstance(call.func, ast.Name)
        else ""
    )
    given = {word.arg: word.value for word in call.keywords}
    words = [a.value for a in call.args if isinstance(a, ast.Constant)] + [
        v.value for v in given.values() if isinstance(v, ast.Constant)
    ]
    if "encoding" in given or any(isinstance(word, str) and "b" in word and len(word) <= 3 for word in words):
        return False
    if name in ("run", "Popen", "check_output", "check_call"):
        return any(
            isinstance(given.get(key), ast.Constant) and given[key].value
            for key in ("text", "universal_newlines")
        )
    if name == "open":
        of = (
            call.func.value.id
            if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name)
            else ""
        )
        builtin = isinstance(call.func, ast.Name) or of in ("io", "codecs", "gzip", "lzma", "bz2")
        mode = any(isinstance(word, str) and set(word) <= set("rwaxt+") for word in words)
        return builtin or (mode and of != "os")
    if name in ("TemporaryFile", "NamedTemporaryFile"):
        # bytes where no mode is given
        return any(isinstance(word, str) and set(word) <= set("rwaxt+") for word in words)
    return name in TEXT


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_read_or_written_in_the_encoding_of_the_locale(path):
    lines = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Call) and bare(node)
    ]
    assert not lines, f'{path.name} lacks encoding="utf-8" in lines {lines}'


@pytest.mark.parametrize(
    "line, found",
    [
        ("open('x')", True),
        ("open('x', 'w')", True),
        ("open(p, mode='a')", True),
        ("path.open('w')", True),
        ("path.read_text()", True),
        ("path.write_text('x')", True),
        ("subprocess.run(c, text=True)", True),
        ("subprocess.Popen(c, universal_newlines=True)", True),
        ("io.open(p)", True),
        ("NamedTemporaryFile('w')", True),
        ("gzip.open(p, 'rt')", True),
        ("open('x', 'rb')", False),
        ("open('x', encoding='utf-8')", False),
        ("path.open('wb')", False),
        ("os.open('x', flags)", False),
        ("subprocess.run(c)", False),
        ("models.open(role, tree, words)", False),
        ("text.open(messages)", False),
        ("grown.open()", False),
    ],
)
def test_the_rule_finds_what_it_is_for(line, found):
    assert bare(ast.parse(line).body[0].value) is found


# -- the command line in a process of its own


def command(*words, after="", **environment):
    """(exit code, standard output, standard error) of surpass in a shell."""
    line = f"{sys.executable} -m surpass.cli {shlex.join(words)} {after}"
    process = started(["bash", "-c", f"set -o pipefail; {line}"], environment)
    return process.returncode, process.stdout, process.stderr.decode("utf-8", "replace")


def one_process(*commands, before="", **environment):
    """What `command` gives, of each command in turn: one process runs them all, after what stands in
    `before`.
    """
    mark = "-- end --"
    script = (
        f"{before}\nimport sys; from surpass.cli import main\n"
        f"for words in {commands!r}:\n    code = main(words)\n"
        f"    for stream in (sys.stdout, sys.stderr): print(f'{mark}{{code}}', file=stream, flush=True)"
    )
    process = started([sys.executable, "-c", script], environment)
    shape = re.compile(rf"(.*?){mark}(\d+)\n".encode(), re.S)
    out, error = (shape.findall(stream) for stream in (process.stdout, process.stderr))
    assert process.returncode == 0 and len(out) == len(error) == len(commands), process.stderr
    return [
        (int(code), o, e.decode("utf-8", "replace")) for (o, code), (e, _) in zip(out, error, strict=True)
    ]


def started(words, environment):
    """A process without the proxies and certificates of ours."""
    known = {
        "PYTHONPATH": str(ROOT.parent),
        "OPENAI_API_KEY": "k",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith("SSL_")
    }
    return subprocess.run(words, capture_output=True, env=clean | known | environment, timeout=120)


class Says(Chat):
    text = "6 × 7 → ✓ 😀\nAnswer: 42"


@pytest.fixture(scope="module")
def api():
    """The words that make a question go to a server on loopback."""
    with chatting(Says) as url:
        yield ["--model", "api:m", "--url", url]


@pytest.fixture
def direct(monkeypatch):
    """No proxy and no certificates are named in the environment, but for those of the test; the key is
    there.
    """
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("SSL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OPENAI_API_KEY", "k")


SOLVE = ["solve", "What is 6 * 7?", "--n", "2"]


@pytest.mark.parametrize(
    "encoding, shown",
    [("ascii", b"6 ? 7 ? ? ?"), ("latin-1", b"6 \xd7 7 ? ? ?"), ("euc-jp", b"6 \xa1\xdf 7 \xa2\xaa ? ?")],
)
def test_a_terminal_shows_what_it_can(api, direct, monkeypatch, tmp_path, encoding, shown):
    out, error = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", error)
        code = main([*SOLVE, *api, "--cache", str(tmp_path)])
    assert code == 0 and shown in out.buffer.getvalue() and b"Traceback" not in error.buffer.getvalue()


def test_a_shell_without_a_locale_is_shown_what_it_can_show(api, tmp_path):
    """The second time from the cache, which is UTF-8."""
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    asked = [*SOLVE, *api, "--cache", str(tmp_path)]
    (first, out, error), (second, again, _) = one_process(asked, asked, **plain)
    assert first == second == 0 and b"6 ? 7 ? ? ?" in out and "Traceback" not in error, error
    assert b"6 ? 7 ? ? ?" in again


def test_nothing_needs_a_home(api, tmp_path):
    """Without one, or with one that is read-only, answers are not kept, and that is said; what names a home
    is told so.
    """
    (tmp_path / "file").write_text("", encoding="utf-8")
    nobody, (code, _, said) = one_process([*SOLVE, *api], [*SOLVE, *api, "--cache", "~/kept"], before=NOBODY)
    for found in (command(*SOLVE, *api, HOME=str(tmp_path / "file")), nobody):
        done, out, error = found
        assert done == 0 and b"answer: 42" in out and "Traceback" not in error, error
        assert "note: answers are not kept" in error, error
    assert (
        code == 2
        and said
        == "surpass: ~/kept: there is no home folder to find it in (HOME is not set); write the whole path\n"
    )


NOBODY = "import os, pwd; del os.environ['HOME']\ndef none(_): raise KeyError\npwd.getpwuid = none\n"
"""No HOME, and no name for the uid."""


@pytest.mark.parametrize(
    "name, value",
    [
        ("ALL_PROXY", "socks5://127.0.0.1:1080"),
        ("HTTP_PROXY", "htp://x:1"),
        ("http_proxy", "http://[::1"),
        ("SSL_CERT_FILE", "/nonexistent.pem"),
        ("SSL_CERT_DIR", "/nonexistent"),
        ("SSL_CERT_FILE", "/"),
    ],
)
def test_what_cannot_be_used_of_the_network_is_named(api, name, value, direct, monkeypatch, capsys):
    monkeypatch.setenv(name, value)
    code, error = main([*SOLVE, *api, "--cache", "None"]), capsys.readouterr().err
    assert code == 2 and error.count("\n") == 1 and f"surpass: {name}={value}" in error


def test_no_proxy_is_honoured(api, direct, monkeypatch, capsys):
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    for value in ("127.0.0.1", "localhost, 127.0.0.0/8", "*", "[::1,127.0.0.1"):
        monkeypatch.setenv("NO_PROXY", value)
        code, said = main([*SOLVE, *api, "--cache", "None"]), capsys.readouterr()
        assert code == 0 and "answer: 42" in said.out, said.err


@pytest.mark.parametrize(
    "words",
    [
        ["methods"],
        ["tasks"],
        ["--help"],
        ["run", "grpo", "--help"],
        ["tasks", "maze", "--sample", "200"],
        ["rum"],
        ["solve", "q", "--n", "60", "API"],
        ["solve", "q", "--n", "60", "--json", "API"],
    ],
    ids=lambda words: " ".join(words),
)
def test_a_closed_pipe_is_silence(api, words):
    words = [word for some in words for word in ([*api, "--cache", "None"] if some == "API" else [some])]
    for reader in ["| head -1"] * (words != ["rum"]) + ["2>&1 | true"] * (
        words[0] in ("rum", "methods", "--help")
    ):
        code, _, error = command(*words, after=reader)
        assert code == 0 and not error, (reader, error)


def test_a_full_disk_under_the_output_is_one_message(api):
    code, _, error = command("methods", after="> /dev/full")
    assert code == 2 and error == "surpass: No space left on device\n"


def test_printed_commands_are_quoted(tmp_path, capsys, model):
    """What is printed to be copied is what a shell reads back as it was."""
    out = tmp_path / "run s" / "é 1"
    small = "--rounds 1 --test 2 --gate 2 --problems 2 --n 2 --max-tokens 4 --task.shots 1".split()
    assert main(["run", "grpo", "--model", model, "--out", str(out), *small]) == 0
    capsys.readouterr()
    assert main(["run", "grpo", "--model", model, "--out", str(out), *small]) == 2
    said = capsys.readouterr().err
    line = said[said.index("surpass resume") : said.index(", or choose")]
    assert shlex.split(line) == ["surpass", "resume", str(out)]
    assert main(shlex.split(line)[1:]) == 0
    said = capsys.readouterr().out
    if "surpass export" in said:
        line = said[said.index("surpass export") : said.index(" --to hf)")]
        assert shlex.split(line) == ["surpass", "export", str(out)]
    assert quoted("a", Path("-b"), "c d", "é'") == "a ./-b 'c d' 'é'\"'\"''"
    assert main(["init", str(tmp_path / "my files" / "mine.py")]) == 0
    text = (tmp_path / "my files" / "mine.py").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if "surpass eval" in line)
    assert str(tmp_path / "my files" / "mine.py") in shlex.split(line)


def test_exams_are_drawn_as_they_are_told(monkeypatch, capsys, model):
    """--temperature and --top-p are of the exam, whether the method has such knobs or not."""
    drawn = []
    real = surpass.models.Models.generate

    async def generate(self, role, tree, node, n=1, **sampling):
        drawn.append((sampling.get("temperature"), sampling.get("top_p")))
        return await real(self, role, tree, node, n, **sampling)

    monkeypatch.setattr(surpass.models.Models, "generate", generate)
    for method in ("grpo", "self_consistency", "best_of_n"):
        small = [
            "--model",
            model,
            "--limit",
            "1",
            "--max-tokens",
            "2",
            "--task.shots",
            "1",
            *(["--by", "vote"] if method == "best_of_n" else []),
        ]
        drawn.clear()
        assert main(["eval", method, *small, "--temperature", "0.3", "--top-p=0.8"]) == 0
        assert set(drawn) == {(0.3, 0.8)}
    assert main(["eval", "self_refine", "--model", model, "--limit", "1", "--top-p", "0.8"]) == 2
    assert "has no top_p to set" in capsys.readouterr().err


def test_a_prompt_is_found_for_a_model_behind_an_api(api, tmp_path, capsys, monkeypatch):
    """A method that trains no weights runs, by the command line and from Python; one that trains is refused
    before anything is made.
    """
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.chdir(tmp_path)
    rows = "".join(json.dumps({"prompt": f"{i} * 7 =", "answer": "42"}) + "\n" for i in range(40))
    (tmp_path / "rows.jsonl").write_text(rows, encoding="utf-8")
    small = {"rounds": 1, "iterations": 1, "n": 2, "held": 4, "test": 4, "gate": 4}
    flags = [word for name, value in small.items() for word in (f"--{name}", str(value))]
    run = ["run", "promptagent", "--task", "data:rows.jsonl", "--out", "run", "--cache", "None", *api, *flags]
    assert main(run) == 0
    said = capsys.readouterr().out
    assert "test accuracy               1.000" in said and "prompt  the system message of policy" in said
    assert (
        "k"
        not in json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["model"][
            "api"
        ].values()
    )
    assert main(["resume", "run"]) == 0
    assert main(["export", "run", "--to", "hf"]) == 2
    assert "trained no weights" in capsys.readouterr().err
    engine = OpenAIEngine("m", url=api[-1])
    result = surpass.improve("promptagent", "data:rows.jsonl", engine, **small)
    assert result.after.mean("accuracy") == 1.0 and result.system and result.model is None
    assert main(["run", "grpo", "--task", "data:rows.jsonl", "--out", "no", *api]) == 2
    assert "cannot be trained" in capsys.readouterr().err and not (tmp_path / "no").exists()
