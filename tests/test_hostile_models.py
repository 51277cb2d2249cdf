"""A model's folder from a stranger: each attack ends in one message within seconds, exit code 2; this process
neither hangs nor dies, and reads nothing outside the folder. tests/corpus/models holds what was found, and
fuzzing begins from it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import math
import os
import random
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from conftest import TEMPLATE, make_causal, make_tokenizer
from surpass.cli import main
from surpass.engines import LocalEngine, checkpoints, folders, guard, guarded
from surpass.engines.gguf_header import require_whole
from surpass.engines.templates import Template
from surpass.engines.text import Text
from surpass.errors import SurpassError

TIMES = int(os.environ.get("SURPASS_FUZZ", "1"))  # as many inputs as usual; `make soak` tries more
CORPUS = Path(__file__).parent / "corpus" / "models"
MOST = 15  # seconds that an attack may take on a busy machine


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """What was tried once is noted in a folder of its own."""
    monkeypatch.setenv("SURPASS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    LocalEngine.of(make_causal(0, 0.05), make_tokenizer()).save(folder)
    return folder


@pytest.fixture
def copy(saved, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(saved, model)
    return model


def refused(model, words=""):
    begin = time.monotonic()
    with pytest.raises(SurpassError) as told:
        LocalEngine(str(model))
    assert time.monotonic() - begin < MOST
    assert words in str(told.value) and "\n" not in str(told.value) and len(str(told.value)) < 700, str(
        told.value
    )
    return str(told.value)


def in_one_line(model):
    """Whether a model is loaded; where it is refused, that is one line."""
    try:
        LocalEngine(str(model))
    except SurpassError as error:
        told = str(error)
    else:
        return True
    assert "\n" not in told
    return False


def edited(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# -- chat templates


CASES = json.loads((CORPUS / "templates.json").read_text())
SAID = [
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi"},
    {"role": "user", "content": "1 + 1?"},
]


def text_of(template):
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    return Text(tokenizer)


@pytest.mark.parametrize("template", CASES["endless"])
def test_a_template_that_takes_too_much_is_ended(template, monkeypatch):
    monkeypatch.setitem(guard.RENDER, "seconds", 0.5)
    begin = time.monotonic()
    with pytest.raises(SurpassError, match="chat template"):
        text_of(template).open(SAID)
    assert time.monotonic() - begin < MOST
    assert text_of(TEMPLATE).open(SAID), "and the next one is rendered"


def test_a_template_that_took_too_much_is_not_tried_again(monkeypatch):
    """512 searches would each wait as long."""
    monkeypatch.setitem(guard.RENDER, "seconds", 0.3)
    text = text_of(
        TEMPLATE
        + "{% if messages[0].content == 'go' %}{% for a in range(99999) %}{% for b in range(99999) %}{% "
        "endfor %}{% endfor %}{% endif %}"
    )
    text.open(SAID)
    for most in (MOST, 0.2):
        begin = time.monotonic()
        with pytest.raises(SurpassError, match=r"more than 0\.3 seconds"):
            text.open("go")
        assert time.monotonic() - begin < most


@pytest.mark.parametrize("template", CASES["nosy"])
def test_a_template_that_reaches_for_the_interpreter_gets_nothing(template):
    try:
        shown = text_of(template).template.render(SAID, True)
    except SurpassError:
        return
    assert not any(word in shown for word in ("root:", "subclasses", "<function", "os.", "guarded")), shown


@pytest.mark.parametrize("template", CASES["random"])
def test_a_template_that_would_write_otherwise_each_time_is_refused(template):
    with pytest.raises(
        SurpassError, match=r"something else in every process|No filter named|is undefined|no order"
    ):
        text_of(template).open(SAID)


NOW = [
    "{{ strftime_now('%Y-%m-%d %H:%M') }}",
    "{{ strftime_now('%D %F %R %T %G %V %C %e %k %l %s %j') }}",
    "{{ strftime_now('%-d %_d %^a %5Y %Ey %Od') }}",
    "{% macro now(f) %}{{ strftime_now(f) }}{% endmacro %}{{ now('%c %x %X') }}",
    "{% set f = strftime_now %}{{ f('%A %d %B %Y') }}",
    "{{ ['%Y', '%s']|map('string')|map('upper')|list }}{{ strftime_now(format='%s') }}",
    "{% block b %}{{ strftime_now('%d %b %Y') }}{% endblock %}",
    "{{ date_string }}",
    "{% if strftime_now is defined %}{{ strftime_now('%Y') ~ strftime_now('%S%f%Z') }}{% endif %}",
    "{% macro g() %}{{ caller(1) }}{% endmacro %}{% for m in messages %}{% call(x) g() %}{{ "
    "strftime_now('%Y') }}{% endcall %}{% endfor %}",
]


def dated(template):
    """What it writes, through as little of a tokenizer as a template needs."""
    return Template(
        SimpleNamespace(chat_template=template, special_tokens_map={}), "01 January 2026", {}
    ).render(SAID, True)


@pytest.mark.parametrize("template", NOW)
def test_a_template_is_told_one_date_whichever_way_it_asks(template):
    shown = dated(template)
    assert any(word in shown for word in ("2026", "26", "1767225600")), shown
    assert time.strftime("%Y-%m-%d") not in shown and time.strftime("%d %B %Y") not in shown


def test_a_date_is_the_same_in_another_process_and_time_zone():
    words = (
        "import json; from test_hostile_models import NOW, dated; print(json.dumps([dated(template) for "
        "template in NOW]))"
    )
    zone = os.environ | {"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "3"}
    run = subprocess.run(
        [sys.executable, "-c", words], capture_output=True, text=True, env=zone, cwd=Path(__file__).parent
    )
    assert json.loads(run.stdout) == [dated(template) for template in NOW], run.stderr


def test_templates_are_rendered_as_transformers_renders_them(saved):
    """Whatever a template may use of what transformers gives it, byte for byte."""
    for source in [TEMPLATE, *CASES["usual"]]:
        tokenizer = make_tokenizer()
        tokenizer.chat_template = source
        text = Text(tokenizer)
        tools = [
            {"role": "user", "content": "ü<&>\"' 漢"},
            {"role": "assistant", "content": "a", "thinking": "t", "name": None},
            {"role": "user", "content": " b \n"},
        ]
        for messages in (SAID, tools):
            for more in (False, True):
                wanted = tokenizer.apply_chat_template(
                    messages, add_generation_prompt=more, tokenize=False, date_string="01 January 2026"
                )
                assert text.template._applied(messages, more) == wanted, source


# -- tokenizers


def core(**parts):
    """tokenizer.json of printable letters."""
    vocabulary = {chr(i): i for i in range(32, 127)}
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": vocabulary,
        "merges": [],
    }
    base = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": None,
        "model": model,
    }
    return base | parts


def replace(pattern, content):
    return {
        "type": "Replace",
        "pattern": pattern if isinstance(pattern, dict) else {"String": pattern},
        "content": content,
    }


def split(regex):
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}


def nested(depth):
    node = {"type": "NFC"}
    for _ in range(depth):
        node = {"type": "Sequence", "normalizers": [node]}
    return node


def model_of(**changes):
    return {"model": core()["model"] | changes}


TOKENIZERS = {
    "a normaliser that doubles": core(
        normalizer={"type": "Sequence", "normalizers": [replace("a", "aa")] * 40}
    ),
    "one that doubles what it finds by an expression": core(
        normalizer={"type": "Sequence", "normalizers": [replace({"Regex": "q"}, "qq")] * 30}
    ),
    "one that doubles what nobody tries": core(
        normalizer={"type": "Sequence", "normalizers": [replace("\ue000", "\ue000\ue000")] * 40}
    ),
    "one that puts a book in front": core(normalizer={"type": "Prepend", "prepend": "a" * 10**6}),
    "one that replaces nothing by much": core(normalizer=replace("", "a" * 1000)),
    "doublings in doublings": core(
        normalizer={
            "type": "Sequence",
            "normalizers": [{"type": "Sequence", "normalizers": [replace("a", "aa")] * 8}] * 8,
        }
    ),
    "bytes of bytes of bytes": core(
        pre_tokenizer={
            "type": "Sequence",
            "pretokenizers": [
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
            ]
            * 30,
        }
    ),
    "a decoder that doubles": core(
        decoder={"type": "Sequence", "decoders": [{"type": "Fuse"}, *[replace("a", "aa")] * 40]}
    ),
    "a decoder that searches for ever": core(
        decoder={"type": "Sequence", "decoders": [{"type": "Fuse"}, replace({"Regex": "(a+)+$"}, "b")]}
    ),
    "a bomb": core(pre_tokenizer=split("(a+)+$")),
    "another bomb": core(pre_tokenizer=split("(?:a|aa)+$")),
    "a slow bomb": core(pre_tokenizer=split("a[ab]*[ac]*[ad]*z")),
    "a bomb in a normaliser": core(normalizer=replace({"Regex": "([a-z]+)*\\d$"}, "b")),
    "an expression that is none": core(pre_tokenizer=split("(a")),
    "a nest": core(normalizer=nested(300)),
    "no model": {"version": "1.0"},
    "a list": [1, 2],
    "a number": 7,
    "merges of what is not there": core() | model_of(merges=["zz yy"]),
    "a vocabulary of words": core() | model_of(vocab={"a": "b"}),
    "ids beyond all": core() | model_of(vocab={"a": 2**40}),
    "a model of no kind": core() | model_of(type="Evil"),
    "a mark of a million tokens": core(
        post_processor={
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "x", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"x": {"id": "x", "ids": [1] * 10**5, "tokens": ["a"] * 10**5}},
        }
    ),
    "a text many times over": core(
        post_processor={
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}] * 5000,
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {},
        }
    ),
    "a rule a thousand times": core(
        normalizer={"type": "Sequence", "normalizers": [replace("~", "~")] * 20000}
    ),
    "pieces of no length": core(pre_tokenizer={"type": "FixedLength", "length": 0}),
    "a decoder that takes away more than there is": core(
        decoder={"type": "Strip", "content": "a", "start": 10**18, "stop": 10**18}
    ),
    "tokens without end": core(
        added_tokens=[
            {
                "id": 127 + i,
                "content": f"<{i}>",
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for i in range(guarded.ADDED + 1)
        ]
    ),
    "a table that is none": core(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
    "a table of long answers": core(
        normalizer={
            "type": "Precompiled",
            "precompiled_charsmap": base64.b64encode(
                struct.pack("<I", 4) + b"\0" * 4 + b"a" * 5000 + b"\0"
            ).decode(),
        }
    ),
}


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_tokenizer_that_takes_too_much_or_breaks_is_refused(kind, copy, monkeypatch):
    monkeypatch.setitem(guard.LOAD, "seconds", 1.5)
    (copy / "tokenizer.json").write_text(json.dumps(TOKENIZERS[kind]))
    refused(copy)


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[" * 200_000, b"\xff\xfe\x00", b"null", b'{"model": ' * 5000, b"\0" * 1000]
)
@pytest.mark.parametrize(
    "name", ["tokenizer.json", "config.json", "tokenizer_config.json", "generation_config.json"]
)
def test_json_that_is_none_is_refused(raw, name, copy):
    (copy / name).write_bytes(raw)
    assert not in_one_line(copy) or name in ("generation_config.json", "tokenizer_config.json"), (
        "what says nothing of weight may be left out"
    )


def test_an_expression_that_is_not_known_is_searched_for_in_another_process():
    """A trigger that no trial holds: it ends there, and the text that holds it is refused here."""
    from tokenizers import Regex, pre_tokenizers

    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Split(
        Regex(r"qz(?:x|xx)+y|[\s\S]"), "isolated"
    )
    text = Text(tokenizer)
    plain = Text(make_tokenizer())
    assert text.encode("hello 1 + 1") == plain.encode("hello 1 + 1") and text.open("hi") == plain.open("hi")
    with pytest.raises(SurpassError, match="cannot read a text of 72 characters"):
        text.encode("qz" + "x" * 70)
    assert text.encode("abc") == plain.encode("abc")


def test_a_panic_is_a_message():
    class PanicException(BaseException):
        pass

    text = Text(make_tokenizer())

    def panics(*given, **options):
        raise PanicException("index out of bounds")

    text.tokenizer = panics
    panics.decode = panics
    for ask in (lambda: text.encode("a"), lambda: text.decode([1, 2])):
        with pytest.raises(SurpassError, match="panics: index out of bounds"):
            ask()


def test_a_tokenizer_reads_one_text_in_one_way(copy):
    """BPE dropout draws lots."""
    letters = {c: i for i, c in enumerate("abcdefgh")} | {"ab": 8, "abc": 9, "abcd": 10}
    whole = core() | model_of(dropout=0.5, vocab=letters, merges=["a b", "ab c", "abc d"])
    (copy / "tokenizer.json").write_text(json.dumps(whole))
    from transformers import AutoTokenizer

    text = Text(AutoTokenizer.from_pretrained(copy))
    assert {tuple(text.encode("abcdabcd")) for _ in range(50)} == {(10, 10)}


# -- folders


def test_code_that_comes_with_a_model_does_not_run_though_somebody_says_yes(copy, tmp_path, monkeypatch):
    """transformers would ask at a terminal; we do not."""
    import builtins

    ran = tmp_path / "ran"
    (copy / "own.py").write_text(f"import os\nos.mkdir({str(ran)!r})\nclass Own: pass\n")
    monkeypatch.setattr(builtins, "input", lambda *_: "y")
    config, tokenizer = copy / "config.json", copy / "tokenizer_config.json"
    before = config.read_text()
    edited(config, model_type="own", auto_map={"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"})
    refused(copy)
    config.write_text(before)
    edited(tokenizer, tokenizer_class="Own", auto_map={"AutoTokenizer": ["own.Own", "own.Own"]})
    in_one_line(copy)
    assert not ran.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": 10**9},
        {"num_hidden_layers": 10**6},
        {"vocab_size": 10**12},
        {"intermediate_size": 10**11},
        {"num_attention_heads": 10**9},
        {"head_dim": 10**12},
        {"max_position_embeddings": 10**15},
        {"num_key_value_heads": 10**9},
        {"vocab_size": 1e300},
        {"num_hidden_layers": -(10**9)},
        {"model_type": "mixtral", "num_local_experts": 10**7},
        {"hidden_size": 2048, "vocab_size": 30000},
        {"num_hidden_layers": 250},
        {"hidden_size": "wide"},
        {"hidden_size": None},
        {"vocab_size": [64]},
        {"num_hidden_layers": math.nan},
        {"rope_parameters": {"rope_type": "evil"}},
        {"attn_implementation": "evil/kernel"},
        {"hidden_act": "evil"},
        {"model_type": "bert"},
        {"model_type": "nothing"},
        {"model_type": 7},
        {"architectures": 3, "model_type": None},
        {"model_type": "gpt2", "n_embd": 10**9},
        {"model_type": "gpt2", "n_layer": 10**7},
        {"vocab_size": 0},
        {"num_attention_heads": 0},
        {"hidden_size": -5},
    ],
    ids=str,
)
def test_a_configuration_that_asks_for_more_than_there_is(changes, copy):
    edited(copy / "config.json", **changes)
    refused(copy)


@pytest.mark.parametrize(
    "changes",
    [
        {"eos_token_id": 10**12},
        {"eos_token_id": "x"},
        {"eos_token_id": [[1]]},
        {"eos_token_id": -1},
        {"max_length": 10**18},
        {"temperature": -math.inf},
        {"num_beams": 10**12},
        {"top_k": "many"},
        {"stop_strings": [1] * 1000},
        {"cache_implementation": "evil"},
        {"transformers_version": 3},
    ],
    ids=str,
)
def test_an_absurd_generation_config_is_no_matter_or_a_message(changes, copy):
    edited(copy / "generation_config.json", **changes)
    in_one_line(copy)


def test_a_quantisation_that_nobody_knows_runs_nothing(copy):
    edited(copy / "config.json", quantization_config={"quant_method": "evil"})
    in_one_line(copy)


def header(tensors, tail=b"", n=None):
    body = tensors if isinstance(tensors, bytes) else json.dumps(tensors).encode()
    return struct.pack("<Q", len(body) if n is None else n) + body + tail


LIES = {
    "a long header": header({}, n=2**60),
    "a header beyond the file": header({}, n=10**6),
    "no header": b"",
    "junk": b"\x00" * 64,
    "a tensor beyond the file": header({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}),
    "a tensor before the file": header(
        {"a": {"dtype": "F32", "shape": [4], "data_offsets": [-16, 0]}}, b"\0" * 16
    ),
    "a tensor of more numbers than bytes": header(
        {"a": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 16]}}, b"\0" * 16
    ),
    "a negative shape": header({"a": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}}, b"\0" * 16),
    "no offsets": header({"a": {"dtype": "F32", "shape": [4]}}),
    "a list": header([1]),
    "no object": header(b"7"),
    "a nest": header(b"[" * 100_000),
    "words": header({"a": {"dtype": "F32", "shape": "many", "data_offsets": "all"}}),
    "other tensors": header({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, b"\0" * 16),
}


@pytest.mark.parametrize("kind", LIES)
def test_safetensors_that_lie(kind, copy):
    (copy / "model.safetensors").write_bytes(LIES[kind])
    refused(copy)


@pytest.mark.parametrize(
    "shard",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "..",
        ".",
        "x/model.safetensors",
        "../other/model.safetensors",
        7,
        None,
        "config.json",
        "",
    ],
)
def test_an_index_that_leads_out_of_the_folder(shard, copy, tmp_path):
    (tmp_path / "other").mkdir()
    shutil.move(copy / "model.safetensors", tmp_path / "other" / "model.safetensors")
    (copy / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": {"lm_head.weight": shard}})
    )
    assert "root:" not in refused(copy)


def test_what_is_no_file_is_not_read(copy):
    (copy / "chat_template.jinja").unlink()
    os.mkfifo(copy / "chat_template.jinja")
    refused(copy, "chat_template.jinja is no file")
    (copy / "chat_template.jinja").unlink()
    (copy / "generation_config.json").unlink()
    (copy / "generation_config.json").symlink_to("/dev/zero")
    refused(copy, "generation_config.json is no file")


def test_a_configuration_of_gigabytes_is_not_read(copy):
    os.truncate(copy / "tokenizer_config.json", 10**11)
    refused(copy, "no configuration or tokenizer needs more")


def test_an_adapter_is_not_the_model_that_it_names(copy, saved, tmp_path):
    """transformers would load whatever base its configuration names: another folder, or a download."""
    (copy / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": str(saved)})
    )
    assert "an adapter, made for" in refused(copy)
    (copy / "config.json").unlink()
    assert "an adapter, made for" in refused(copy)


def test_pickles_alone_are_refused(copy):
    import pickle

    (copy / "model.safetensors").unlink()
    (copy / "pytorch_model.bin").write_bytes(pickle.dumps(print))
    refused(copy)
    (copy / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"a": "pytorch_model.bin"}}))
    refused(copy)


def test_one_message_on_the_command_line(copy, capfd):
    (copy / "tokenizer.json").write_text(json.dumps(TOKENIZERS["a normaliser that doubles"]))
    assert main(["eval", "best_of_n", "--model", str(copy), "--limit", "1"]) == 2
    error = capfd.readouterr().err
    assert (
        error.count("surpass:") == 1
        and "Traceback" not in error
        and "panicked" not in error
        and "1.1e+12 times as long" in error
    )


def test_what_came_through_once_is_not_tried_again_and_what_changed_is(copy, monkeypatch):
    asked = []
    ask = guard.Guard.ask
    monkeypatch.setattr(
        guard.Guard,
        "ask",
        lambda self, do, *given, **named: asked.append(do) or ask(self, do, *given, **named),
    )
    edited(copy / "tokenizer_config.json", told=str(random.random()))
    for again in range(2):
        LocalEngine(str(copy))
        assert asked.count("tokenizer") == 1, again
    edited(copy / "tokenizer_config.json", told="changed")
    LocalEngine(str(copy))
    assert asked.count("tokenizer") == 2


def test_what_ships_with_surpass_is_not_tried(monkeypatch):
    monkeypatch.setattr(folders, "look", None)
    checkpoints.load_model("nano", "float32")


# -- GGUF


def gguf(values=0, tensors=0, body=b"", version=3, magic=b"GGUF"):
    return struct.pack("<4sIQQ", magic, version, tensors, values) + body


def word(text, n=None):
    return struct.pack("<Q", len(text) if n is None else n) + text


GGUFS = {
    "nothing": b"",
    "four letters": b"GGUF",
    "another format": gguf(magic=b"GGML"),
    "another version": gguf(version=9),
    "values without end": gguf(values=2**60),
    "tensors without end": gguf(tensors=2**60),
    "a name without end": gguf(1, 0, word(b"a", 2**60)),
    "a text without end": gguf(1, 0, word(b"a") + struct.pack("<I", 8) + word(b"b", 2**62)),
    "an array without end": gguf(1, 0, word(b"a") + struct.pack("<IIQ", 9, 4, 2**60)),
    "texts without end": gguf(1, 0, word(b"a") + struct.pack("<IIQ", 9, 8, 2**60)),
    "arrays in arrays": gguf(1, 0, word(b"a") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 50),
    "a kind that is none": gguf(1, 0, word(b"a") + struct.pack("<I", 99)),
    "a tensor of many dimensions": gguf(0, 1, word(b"a") + struct.pack("<I", 2**31) + b"\0" * 64),
    "a tensor of many numbers": gguf(0, 1, word(b"a") + struct.pack("<IQQIQ", 2, 2**40, 2**40, 0, 0)),
    "a tensor beyond the file": gguf(0, 1, word(b"a") + struct.pack("<IQIQ", 1, 4, 0, 2**50)),
}


@pytest.mark.parametrize("kind", GGUFS)
def test_gguf_that_lies(kind, tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(GGUFS[kind])
    with pytest.raises(SurpassError, match="damaged or no GGUF file"):
        require_whole(path)
    assert "\n" not in refused(path)


def test_two_gguf_files_of_one_name_and_size_are_not_one_model(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(
        checkpoints,
        "require_whole",
        lambda path: made.append(path) or (_ for _ in ()).throw(SurpassError("here")),
    )
    for text in (b"GGUFaaaa", b"GGUFbbbb"):
        folder = tmp_path / text.decode()
        folder.mkdir()
        (folder / "model.gguf").write_bytes(text)
        with pytest.raises(SurpassError, match="here"):
            checkpoints._convert(folder / "model.gguf")
    names = {checkpoints.cache_folder() / f"model-{checkpoints.checksum(path)[:16]}" for path in made}
    assert len(names) == 2


# -- the process that is asked


def test_the_process_that_is_asked_has_no_secrets_writes_nothing_and_ends_with_us(monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    asked = guard.Guard(7)
    process = asked.begin()
    assert asked.ask("render", guard.RENDER, source="{{ 1 + 1 }}", names={}, date=[2026, 1, 1]) == "2"
    if Path(f"/proc/{process.pid}/environ").exists():
        assert b"secret" not in Path(f"/proc/{process.pid}/environ").read_bytes()
        assert "Max file size             0" in Path(f"/proc/{process.pid}/limits").read_text()
    process.stdin.close()
    assert process.wait(10) == 0, "it ends when nobody asks any more, as when we are killed"
    assert asked.ask("render", guard.RENDER, source="{{ 1 + 1 }}", names={}, date=[2026, 1, 1]) == "2", (
        "and is begun again"
    )
    asked.end()


# -- fuzzing


def mutated(raw: bytes, rng: random.Random) -> bytes:
    raw = bytearray(raw)
    for _ in range(rng.randint(1, 4)):
        at, kind = rng.randrange(len(raw) + 1), rng.randrange(6)
        if kind == 0:
            del raw[at : at + rng.randint(1, 40)]
        elif kind == 1:
            raw[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 8)))
        elif kind == 2:
            raw[at:at] = raw[max(0, at - rng.randint(1, 400)) : at] * rng.choice([1, 2, 50])
        elif kind == 3:
            raw[at : at + 1] = rng.choice(
                [
                    b"0",
                    b"9" * 30,
                    b"-",
                    b"null",
                    b"[",
                    b"{",
                    b'"',
                    b"%}",
                    b"{{",
                    b"|join",
                    b" * 10**9",
                    b"\xff",
                ]
            )
        elif kind == 4 and raw:
            raw[at % len(raw)] ^= 1 << rng.randrange(8)
        else:
            digits = [i for i, c in enumerate(raw) if 48 <= c < 58]
            if digits:
                raw[(i := rng.choice(digits)) : i + 1] = rng.choice(
                    [b"0", b"-1", b"1e400", b"99999999999", b"0.5"]
                )
    return bytes(raw)


@pytest.mark.parametrize("seed", range(4 * TIMES))
def test_fuzzed_folders_are_loaded_or_refused_in_one_line(seed, saved, tmp_path, monkeypatch):
    """Each file of a good folder and of the corpus, changed at random: the process stays, within seconds."""
    monkeypatch.setitem(guard.LOAD, "seconds", 1.5)
    monkeypatch.setitem(guard.RENDER, "seconds", 0.5)
    rng = random.Random(seed)
    for number in range(3):
        model = tmp_path / str(number)
        shutil.copytree(saved, model)
        name = rng.choice(
            [
                "config.json",
                "tokenizer.json",
                "tokenizer_config.json",
                "generation_config.json",
                "chat_template.jinja",
                "model.safetensors",
            ]
        )
        corpus = sorted((CORPUS / name).glob("*")) if (CORPUS / name).is_dir() else []
        source = rng.choice([model / name, *corpus]) if (model / name).exists() else rng.choice(corpus)
        (model / name).write_bytes(mutated(source.read_bytes(), rng))
        begin = time.monotonic()
        with contextlib.suppress(SurpassError):
            LocalEngine(str(model)).text.open("hi")
        assert time.monotonic() - begin < MOST + 15, (seed, number, name)


@pytest.mark.parametrize("seed", range(10 * TIMES))
def test_fuzzed_templates_and_headers_end(seed, tmp_path, monkeypatch):
    monkeypatch.setitem(guard.RENDER, "seconds", 0.5)
    rng = random.Random(seed)
    every = [text for texts in CASES.values() for text in texts]
    for _ in range(4):
        source = mutated(rng.choice(every).encode(), rng).decode("utf-8", "replace")
        with contextlib.suppress(SurpassError):
            text_of(source).open(SAID)
        path = tmp_path / "model.gguf"
        path.write_bytes(mutated(rng.choice(list(GGUFS.values())), rng))
        with contextlib.suppress(SurpassError):
            require_whole(path)
        path = tmp_path / "model.safetensors"
        path.write_bytes(mutated(rng.choice(list(LIES.values())), rng))
        with contextlib.suppress(SurpassError):
            folders._tensors(path, "model")


def test_the_longest_that_a_part_may_make_a_text_is_counted():
    assert guarded.longer(TOKENIZERS["doublings in doublings"]["normalizer"]) == 2.0**64
    assert (
        guarded.longer(replace("ab", "a")) == 1
        and guarded.longer(replace({"Regex": " {2,}"}, " ")) == 2
        and guarded.longer(None) == 1
    )
