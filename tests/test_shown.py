"""What a model, a data set, a file name or a server wrote reaches the terminal as text: nothing in it is
obeyed.
"""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
import threading
import unicodedata
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import surpass
from servers import Chat, chatting
from surpass.cli import main
from surpass.progress import Progress, watching
from surpass.shell import ending
from surpass.shown import Terminal, shown

OBEYED = [
    "\x1b[2J",
    "\x1b]52;c;cm0gLXJm\x07",
    "\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]0;title\x07",
    "\x9b31m",
    "\x9d0;x\x9c",
    "\x90q\x9c",
    "good\rbad",
    "good\b\b\b\bevil",
    "\x00",
    "\x7f",
    "\x0b\x0c",
    "\x0e\x0f",
    "\x1bc",
    "\x1b(0",
    "\x85",
    "\u202eevil\u202c",
    "\u2066x\u2069",
    "\u200b",
    "\ufeff",
    "\u2028",
    "\u2060",
    "\xad",
    "\U000e0041",
    "\u3164",
    "a\u200db",
    "\u061c",
    "\u200f",
    "\x1bPq\x1b\\",
]
MARKS = "[red]x[/red] [link=http://evil.example]y[/link] [/] [bold :heart: \\[x]"
HOSTILE = " ".join(OBEYED) + " " + MARKS


def obeyed(text):
    """The characters of a text that are not for reading."""
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") and c not in "\n\t"}


@pytest.mark.parametrize("text", OBEYED, ids=ascii)
def test_what_a_terminal_would_obey_is_shown(text):
    assert not obeyed(shown(text)) and "\u3164" not in shown(text) and "\\" in shown(text)
    assert shown(shown(text)) == shown(text)


@pytest.mark.parametrize(
    "text",
    [
        "a\tb\nc",
        "naïve Ωμέγα ﬁ",
        "e\u0301",
        "日本語 한국어 𠮷 葛\U000e0100"[:-1],
        "שלום العربية",
        "😀 👍🏽 ❤️‍🔥 👩‍👩‍👧‍👦 🏳️‍🌈 1️⃣ 🇩🇪",
        "می\u200cخواهم",
        "क्\u200dष",
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "$x^2$ ∑ → ✓ ░▒▓",
        "\U000f0000\ue0b0",
        "",
    ],
    ids=ascii,
)
def test_what_people_write_stays(text):
    assert shown(text) == text


def test_the_end_of_a_line_is_a_newline():
    assert shown("a\r\nb\n") == "a\nb\n" and shown("a\r\r\nb") == "a\\u000d\nb"


@settings(max_examples=100 * int(os.environ.get("SURPASS_FUZZ", "1")), deadline=None)
@given(st.text(), st.sampled_from(OBEYED), st.text())
def test_json_keeps_its_value_and_anything_is_harmless(before, text, after):
    whole = before + text + after
    assert obeyed(shown(whole)) <= {"\u200c", "\u200d"} | {
        chr(c)
        for c in (
            *range(0x600, 0x606),
            0x6DD,
            0x70F,
            0x890,
            0x891,
            0x8E2,
            0x110BD,
            0x110CD,
            *range(0x13430, 0x13440),
            *range(0xE0020, 0xE0080),
        )
    }
    assert json.loads(shown(json.dumps({"x": whole}))) == {"x": whole}


# -- every command


class Says(Chat):
    status, text = 200, f"{HOSTILE}\nAnswer: {HOSTILE}"

    def answer(self):
        if self.status != 200:
            return self.status, json.dumps({"error": {"message": HOSTILE}}).encode()
        return (200, HOSTILE.encode()) if "raw" in self.path else super().answer()


@pytest.fixture(scope="module")
def api():
    with chatting(Says) as url:
        yield ["--model", "api:m", "--url", url, "--cache", "None", "--retries", "0"]


@pytest.fixture(autouse=True)
def keyed(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    before = warnings.showwarning
    yield
    warnings.showwarning = before


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "odd.jsonl"
    rows = [{"prompt": f"What is {i}? {HOSTILE}", "answer": f"{i} {HOSTILE}"} for i in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return f"data:{path}"


def seen(capsys, words, code=None):
    """What a command printed; nothing in it is obeyed."""
    came = main(words)
    out, error = capsys.readouterr()
    assert code is None or came == code, error
    assert not obeyed(out + error), ascii(out + error)
    assert "Traceback" not in error
    return out + error


def test_solve(api, capsys):
    said = seen(capsys, ["solve", f"q {HOSTILE}", "--n", "2", *api], 0)
    assert MARKS in said and "\\u001b[2J" in said and "\\u202e" in said


def test_solve_and_eval_as_json(api, data, capsys):
    said = seen(capsys, ["solve", f"q {HOSTILE}", "--n", "2", "--json", *api], 0)
    assert HOSTILE in json.loads(said.strip().splitlines()[-1])["attempts"][0]["text"]
    seen(capsys, ["eval", "self_consistency", "--task", data, "--limit", "2", "--n", "2", "--json", *api], 0)


def test_problems_of_a_data_set(data, capsys):
    assert MARKS in seen(capsys, ["tasks", data, "--sample", "2"], 0)


@pytest.mark.parametrize(
    "words",
    [
        ["run", HOSTILE],
        ["eval", HOSTILE],
        [HOSTILE],
        ["solve", "q", "--method", HOSTILE],
        ["tasks", HOSTILE],
        ["tasks", f"data:{HOSTILE}"],
        ["resume", HOSTILE],
        ["view", HOSTILE],
        ["export", HOSTILE, "--to", "hf"],
        ["init", f"{HOSTILE}/x.py"],
        ["run", "grpo", f"--{HOSTILE}", "1"],
        ["run", "grpo", "--seed", HOSTILE],
        ["run", "grpo", "--task.x", HOSTILE],
        ["run", f"{HOSTILE}.py:x"],
        ["compare", HOSTILE, HOSTILE],
        ["eval", "best_of_n", "--model", HOSTILE],
    ],
)
def test_names_that_are_refused(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen(capsys, [word.replace("\0", "") for word in words])


def test_what_a_server_refuses_with(api, capsys, monkeypatch):
    for status in (400, 401, 404):
        monkeypatch.setattr(Says, "status", status)
        assert "surpass: " in seen(capsys, ["solve", "q", "--n", "2", *api], 2)


def test_files_of_ones_own(tmp_path, capsys):
    """What a task's file raises, warns of and prints."""
    path = tmp_path / "odd\x1b[2J.py"
    path.write_text(
        f"import warnings, sys\nwarnings.warn({HOSTILE!r})\nprint({HOSTILE!r})\n"
        f"sys.stderr.write({HOSTILE!r})\nraise ValueError({HOSTILE!r})\n",
        encoding="utf-8",
    )
    said = seen(capsys, ["tasks", f"{path}:odd"], 2)
    assert said.count(MARKS) >= 3
    (tmp_path / "ends.py").write_text(f"raise SystemExit({HOSTILE!r})\n", encoding="utf-8")
    seen(capsys, ["tasks", f"{tmp_path / 'ends.py'}:ends"], 2)


def test_help_of_an_odd_name(tmp_path, capsys):
    path = tmp_path / "odd\x1b[2J\u202e.py"
    path.write_text("from surpass.methods.grpo import grpo as odd\n", encoding="utf-8")
    assert main(["run", f"{path}:odd", "--help"]) == 0
    out, error = capsys.readouterr()
    assert "usage: surpass run" in out and not obeyed(out + error)


def test_what_is_said_while_the_process_ends():
    """By objects that are let go, and by threads."""
    script = (
        "from surpass.shell import ending\nclass Goes:\n    def __del__(self): raise "
        f"ValueError({HOSTILE!r})\ndef main():\n    global kept\n    kept = Goes()\n    import "
        f"threading\n    def dies(): raise ValueError({HOSTILE!r})\n    thread = "
        "threading.Thread(target=dies)\n    thread.start()\n    thread.join()\n    return 0\n"
        "ending(main)()\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(Path(surpass.__file__).parents[1]), "PYTHONIOENCODING": "utf-8"},
    )
    assert found.stderr.count("ValueError") >= 2 and not obeyed(found.stderr), ascii(found.stderr)


def test_a_traceback(capsys, monkeypatch):
    def broken():
        raise ValueError(HOSTILE)

    def leaves():
        sys.exit(HOSTILE)

    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(ValueError) as caught:
        ending(broken)()
    sys.excepthook(caught.type, caught.value, caught.tb)
    error = capsys.readouterr().err
    assert "ValueError" in error and not obeyed(error)
    with pytest.raises(SystemExit) as stop:
        ending(leaves)()
    assert not obeyed(stop.value.code)


# -- a terminal


@contextlib.contextmanager
def terminal(monkeypatch):
    """A pseudo-terminal as standard output and error; what was written to it is in the list that comes."""
    mine, theirs = pty.openpty()
    found = []

    def read():
        with contextlib.suppress(OSError):
            while data := os.read(mine, 65536):
                found.append(data)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    with open(theirs, "w", encoding="utf-8", buffering=1) as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", stream)
        patch.setenv("TERM", "xterm-256color")
        yield found
    reader.join(5)
    os.close(mine)


def unobeyed(found):
    """The bytes that came hold rich's codes at most: colours, a line cleared, the cursor hidden and shown;
    and no link, title or clipboard.
    """
    text = b"".join(found).decode("utf-8", "replace")
    codes = {"\x1b[2K", "\x1b[1A", "\x1b[?25l", "\x1b[?25h", "\x1b[0m"}
    for code in re.findall(r"\x1b(?:\[[0-9;?]*[A-Za-z]|.)?", text):
        assert code in codes or re.fullmatch(r"\x1b\[[0-9;]*m", code), ascii(code)
    left = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", text)
    assert not obeyed(left), ascii(text)
    return left


def test_a_question_on_a_terminal(api, monkeypatch):
    with terminal(monkeypatch) as found:
        assert main(["solve", f"q {HOSTILE}".replace("\0", ""), "--n", "2", *api]) == 0
    said = unobeyed(found)
    assert "[link=http://evil.example]y[/link]" in said.replace(
        "\n", ""
    ) and "good\\u000dbad" in said.replace("\n", "")


class Counted:
    cost = {"policy": {"generated": 5, "calls": 1}}


def test_what_is_printed_beside_a_bar(monkeypatch):
    """rich reads escape codes in what is printed while its bar is there."""

    def work():
        with watching(Counted(), f"task {HOSTILE}"):
            print(HOSTILE)
            print(HOSTILE, file=sys.stderr)
        return 0

    for program in (ending(work), work):
        with terminal(monkeypatch) as found:
            before = sys.stdout, sys.stderr
            program()
            assert (sys.stdout, sys.stderr) == before
        assert unobeyed(found).count("[red]x[/red]") >= 2


def test_a_runs_progress(monkeypatch):
    from surpass.methods.grpo import grpo

    exam = {
        "split": f"gate {HOSTILE}",
        "metrics": {HOSTILE: {"mean": 0.5, "stderr": 0.1, "n": 4, "missing": 0}},
        "rows": {},
    }
    with terminal(monkeypatch) as found, Progress(3, grpo()) as bar:
        bar.say("exam", 0, exam)
        bar.say("exam", 0, {"split": HOSTILE})
        bar.say("gate", 1, {"keep": False, "why": HOSTILE})
        print(HOSTILE)
        Terminal(stderr=True).print(HOSTILE)
    assert unobeyed(found).count("[red]x[/red]") >= 3
