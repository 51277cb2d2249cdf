"""Fixtures that several test files share: a real but tiny transformer, in memory."""

from __future__ import annotations

import contextlib
import os
import shutil
import string

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def one_thread():
    """A test that resumes a run takes over the number of threads of whoever began it; on some processors
    other tests would then find other last digits than a process of one thread.
    """
    yield
    torch.set_num_threads(1)


SPECIAL = ("<eos>", "<user>", "<assistant>")
CHARACTERS = "\n " + string.digits + string.ascii_lowercase + "ABCDEFG" + "+-*/=?!.,:;()[]|"
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}<assistant>{% else %}<user>{% endif %}"
    "{{ m['content'] }}<eos>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
VOCABULARY = 64
assert len(SPECIAL) + len(CHARACTERS) == VOCABULARY


def make_tokenizer():
    """64 tokens: <eos>, <user>, <assistant> and 61 characters, one token each; with a chat template."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate([*SPECIAL, *CHARACTERS])}, unk_token="?")
    )
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    core.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<eos>",
        additional_special_tokens=list(SPECIAL[1:]),
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def make_causal(seed: int = 0, scale: float = 0.2, dtype: torch.dtype = torch.float32, **changes):
    """A Llama of 2 layers, 4 heads, 2 key heads, width 32, 64 tokens; weights are scale x standard normal
    (norms: 1 +).
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    settings = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "tie_word_embeddings": False,
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": 0,
    }
    # "sdpa", because the softmax of "eager" is fp32 even in a float64 model
    causal = LlamaForCausalLM._from_config(
        LlamaConfig(**settings | changes), attn_implementation="sdpa", dtype=torch.float32
    )
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for _, p in sorted(causal.named_parameters()):
            p.copy_(
                torch.from_numpy(scale * rng.standard_normal(tuple(p.shape)) + (1.0 if p.ndim == 1 else 0.0))
            )
    causal = causal.to(dtype)
    if dtype == torch.float64:  # Llama's own norm rounds to fp32 on the way
        for module in list(causal.modules()):
            for name, norm in list(module.named_children()):
                if type(norm).__name__ == "LlamaRMSNorm":
                    exact = torch.nn.RMSNorm(norm.weight.shape, norm.variance_epsilon, dtype=dtype)
                    exact.weight = norm.weight
                    setattr(module, name, exact)
    return causal


@pytest.fixture(scope="session")
def tokenizer():
    return make_tokenizer()


@pytest.fixture
def nano(tokenizer):
    """A maker of LocalEngines: nano(seed=0, scale=0.2, dtype=torch.float32, memory_tokens=65536, lora=None,
    **LlamaConfig's).

    Equal arguments give equal weights. A scale of 0.2 gives a confident model, 0.05 a nearly uniform one.
    """
    from surpass.engines import LocalEngine

    def make(
        seed: int = 0,
        scale: float = 0.2,
        dtype: torch.dtype = torch.float32,
        memory_tokens: int = 65536,
        lora=None,
        **changes,
    ):
        return LocalEngine.of(
            make_causal(seed, scale, dtype, **changes), tokenizer, lora=lora, memory_tokens=memory_tokens
        )

    return make


@pytest.fixture
def plain():
    """A maker of the same weights as nano's, as a bare transformers model with its own attention: the
    reference.
    """
    return make_causal


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A nano model in a folder, as any user's."""
    from surpass.engines import LocalEngine

    folder = tmp_path_factory.mktemp("model")
    LocalEngine.of(make_causal(0, 0.05), make_tokenizer()).save(folder)
    return str(folder)


# -- servers on loopback


@pytest.fixture(scope="module")
def api():
    """The address of a chat API that answers every question with 4."""
    from servers import Chat, chatting

    class Four(Chat):
        text = "2 + 2\nAnswer: 4"

    with chatting(Four) as url:
        yield url


@pytest.fixture
def server():
    """A chat API that does what the test tells it (chat_api)."""
    from chat_api import Server
    from servers import serving

    with serving(Server()) as found:
        yield found
        found.release.set()


@pytest.fixture
def viewer(root):
    """`surpass view` of the test's folder of runs."""
    from servers import serving
    from surpass.view import Viewer

    with serving(Viewer(root)) as found:
        yield found


# -- folders of runs


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A folder with a nano model, a finished run of it ("whole"), that run as it was after its first of two
    rounds ("half"), and one with an adapter ("lora").
    """
    from run_folders import SHORT
    from surpass.cli import main
    from surpass.engines import LocalEngine

    here = tmp_path_factory.mktemp("home")
    with contextlib.chdir(here):
        LocalEngine.of(make_causal(0, 0.05), make_tokenizer()).save(here / "model")
        assert main(["run", "grpo", "--model", "model", "--out", "whole", "--rounds", "2", *SHORT]) == 0
        assert (
            main(["run", "grpo", "--model", "model", "--out", "lora", "--rounds", "2", "--lora", "2", *SHORT])
            == 0
        )
    for name in ("whole", "lora"):
        half = here / name.replace("whole", "half")
        if name == "whole":
            shutil.copytree(here / name, half)
        shutil.copy(half / "weights" / "0001" / "state.json", half / "state.json")
        shutil.rmtree(half / "weights" / "0002")
        for path in half.glob("*/0002.*"):
            path.unlink()
    return here


@pytest.fixture
def place(home, tmp_path, monkeypatch):
    """`home`, copied, as the working folder."""
    shutil.copytree(home, tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


# -- the sandbox


@pytest.fixture
def none_ahead(monkeypatch):
    """Every job begins its own sandbox."""
    from surpass import sandbox

    sandbox.close()
    monkeypatch.setattr(sandbox, "_taken", sandbox._started)


FIRST = """
    test_docs test_conformance test_locale test_hostile_models test_predecessor test_templates test_openai_api
    test_resume test_families test_every_task test_hacking test_view test_errors test_rewarded test_sampling
""".split()
"""The files that take longest: workers begin with them, so that none is left alone with one at the end."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: FIRST.index(item.path.stem) if item.path.stem in FIRST else len(FIRST))
