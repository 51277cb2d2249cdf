"""Tiny models of many architectures with random weights, and what every one of them has to pass."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

import surpass
from surpass import objectives
from surpass.engines import LocalEngine
from surpass.engines.checkpoints import load_model
from surpass.engines.forward import row_forward
from surpass.errors import SurpassError
from surpass.flat import pack
from surpass.learners import gradient
from surpass.models import Models
from surpass.parts import Learn
from surpass.store import Store
from surpass.types import Column, Example, Memory, Problem, Tree

COMMON = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "vocab_size": 107,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "tie_word_embeddings": False,
}
MOE = {
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
}
LATENT = MOE | {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "num_key_value_heads": 4,
}
LINEAR = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"],
}
SSM2 = {"num_heads": 8, "head_dim": 8, "state_size": 8, "n_groups": 1, "expand": 2, "chunk_size": 16}
HYBRID = {
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_d_state": 8,
    "mamba_n_groups": 1,
    "mamba_chunk_size": 16,
}
LLAMA4 = MOE | {
    "num_local_experts": 2,
    "interleave_moe_layer_step": 1,
    "intermediate_size_mlp": 48,
    "attention_chunk_size": 256,
    "no_rope_layers": [1, 0],
}

# architecture: (how it is computed, what its configuration has beside COMMON)
QUICK: dict[str, tuple[str, dict]] = {
    "llama": ("trees", {}),
    "gpt_neox": ("trees", {}),
    "stablelm": ("trees", {}),
    "nemotron": ("trees", {}),
    "falcon": ("trees", {}),
    "mixtral": ("trees", MOE),
    "qwen3_moe": ("trees", MOE),
    "deepseek_v3": ("trees", LATENT),
    "granitemoe": ("trees", MOE),
    "gemma2": ("rows", {}),
    "mamba": ("rows", {"state_size": 8}),
    "qwen3_next": ("rows", MOE | LINEAR),
    "bert": ("refused", {}),
}
SLOW: dict[str, tuple[str, dict]] = {
    **{
        kind: ("trees", {})
        for kind in tuple(
            "qwen2 qwen3 mistral phi phi3 gemma gemma3_text glm glm4 granite olmo olmo2 olmo3 opt gpt2 "
            "gpt_bigcode starcoder2 smollm3 seed_oss persimmon helium arcee apertus ernie4_5 exaone4 "
            "biogpt hunyuan_v1_dense ministral bitnet diffllama jetmoe ctrl internlm3 iquestcoder".split()
        )
    },
    "qwen2_moe": ("trees", MOE),
    "olmoe": ("trees", MOE),
    "phimoe": ("trees", MOE),
    "deepseek_v2": ("trees", LATENT),
    "granitemoeshared": ("trees", MOE),
    "flex_olmo": ("trees", MOE),
    "llama4_text": ("trees", LLAMA4),
    "ernie4_5_moe": ("trees", MOE | {"moe_num_experts": 4, "moe_k": 2}),
    "vaultgemma": ("rows", {}),
    "mamba2": ("rows", SSM2),
    "rwkv": ("rows", {}),
    "falcon_mamba": ("rows", {"state_size": 8}),
    "falcon_h1": (
        "rows",
        {
            "mamba_d_ssm": 64,
            "mamba_n_heads": 8,
            "mamba_d_head": 8,
            "mamba_d_state": 8,
            "mamba_chunk_size": 16,
        },
    ),
    "bamba": ("rows", HYBRID),
    "jamba": ("rows", MOE | {"mamba_d_state": 8, "attn_layer_period": 2, "attn_layer_offset": 1}),
    "minimax": ("rows", MOE),
    "recurrent_gemma": ("rows", {}),
    "olmo_hybrid": ("rows", LINEAR),
    "gpt_oss": ("rows", MOE | {"sliding_window": 256}),
    "bloom": ("rows", {}),
    "mpt": ("rows", {}),
    "cohere": ("rows", {}),
    "cohere2": ("rows", {}),
    "nanochat": ("rows", {}),
    "xglm": ("rows", {}),
    "gptj": ("rows", {"rotary_dim": 8}),
    "codegen": ("rows", {"rotary_dim": 8}),
    "lfm2": ("rows", {"layer_types": ["conv", "full_attention"]}),
    "xlstm": ("rows", {}),
    "gemma3n_text": ("rows", {"vocab_size_per_layer_input": 107, "num_kv_shared_layers": 0}),
    "gemma4_text": ("trees", {"vocab_size_per_layer_input": 107}),
    "longcat_flash": ("trees", LATENT),
    "glm4_moe": ("trees", LATENT),
    "glm4_moe_lite": ("trees", LATENT),
    "hy_v3": ("trees", LATENT),
    "dots1": ("trees", LATENT | {"n_shared_experts": 1}),
    "exaone_moe": ("trees", LATENT | {"num_shared_experts": 1}),
    "youtu": ("trees", LATENT),
    "laguna": ("trees", LATENT),
    "mellum": ("trees", LATENT),
    "cwm": ("trees", {}),
    "solar_open": ("trees", LATENT),
    "minicpm3": ("rows", LATENT),
    "deepseek_v32": ("rows", LATENT | {"index_n_heads": 2, "index_head_dim": 16, "index_topk": 64}),
    "granitemoehybrid": ("rows", MOE | HYBRID),
    "modernbert-decoder": ("rows", {}),
    "gpt_neo": ("rows", {"attention_types": [[["global", "local"], 1]], "window_size": 32}),
    **{kind: ("refused", {}) for kind in ("roberta", "electra", "xlm", "megatron-bert")},
}
ALL = QUICK | SLOW


def make(kind: str, seed: int = 0, **changes: Any) -> Any:
    """A causal language model of transformers with weights that make it sure of itself."""
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = COMMON | ALL.get(kind, ("", {}))[1] | changes
    try:
        config = AutoConfig.for_model(kind, **settings)
    except AttributeError:  # falcon works its heads' width out
        config = AutoConfig.for_model(
            kind, **{name: value for name, value in settings.items() if name != "head_dim"}
        )
    torch.manual_seed(seed)
    causal = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(causal.named_parameters()):
            if p.ndim >= 2 and not any(word in name for word in ("A_log", "decay", "time_")):
                p.copy_(0.2 * torch.randn(p.shape, generator=generator))
    return causal.eval()


def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(Path(surpass.__file__).parent / "assets" / "nano")


def folder(kind: str, at: Path, **changes: Any) -> str:
    """A tiny model in a folder, as any user's."""
    make(kind, **changes).save_pretrained(at)
    tokenizer().save_pretrained(at)
    return str(at)


class Found(NamedTuple):
    """How an architecture is computed, and by how many nats it is from its own forward at the most, as it
    draws and as it learns.
    """

    how: str
    drawn: float
    learnt: float


def drawn_from(models: Models, n: int = 3, prompts: int = 2, **sampling: Any) -> list[Tree]:
    """Attempts at random prompts of 9 tokens and more, their advantages 1, -1, 0.5 in turn."""
    rng, trees, causal = np.random.default_rng(0), [], models.engine("policy").causal
    for i in range(prompts):
        tree = Tree(Problem(f"p{i}", ""), key=i)
        root = tree.add(-1, "task", rng.integers(1, causal.config.get_text_config().vocab_size, 9 + 2 * i))
        models.run(models.generate("policy", tree, root, n, **{"max_tokens": 5} | sampling))
        trees.append(tree.with_columns({"advantage": Column("leaf", np.resize([1.0, -1.0, 0.5], n))}))
    return trees


def learn_once(models: Models, trees: list[Tree], objective: Any = None, **settings: Any) -> dict[str, float]:
    """Figures of one update."""
    learner = gradient(objective or objectives.clipped(), **{"lr": 1e-2} | settings)
    examples = [Example(tree, (leaf,)) for tree in trees for leaf in tree.leaves()]
    report = models.run(learner(models, Learn("policy", None, learner), examples, Memory(), 0))
    return {row.metric: row.value for row in report.rows}


def tried(kind: str, at: Path) -> Found:
    """Draws from an architecture, scores what was drawn, takes a step, and writes and reads it; asserts that
    all is right.
    """
    own, name = make(kind), folder(kind, at / "model")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it goes in whole rows
        try:
            engine, twin = LocalEngine(name), LocalEngine(name)
        except SurpassError as error:
            if "causal language model" not in str(error):
                raise
            return Found("refused", float("nan"), float("nan"))
    models = Models(policy=engine)
    trees = drawn_from(models)
    batch = pack([Example(tree, (leaf,)) for tree in trees for leaf in tree.leaves()], ["policy"], ["logp"])
    with torch.no_grad():
        wanted, learnt = row_forward(own, batch, batch.trained).logp, engine.forward(batch).logp
    gaps = [float((some - wanted)[batch.trained].abs().max()) for some in (batch.columns["logp"][1], learnt)]
    assert max(gaps) < 1e-3, gaps
    before, figures = engine.weights(), learn_once(models, trees)
    assert figures["draw_gap"] < 1e-4 and figures["grad_norm"] > 0
    after = engine.weights()
    moved = [key for key in before if not torch.equal(before[key], after[key])]
    assert len(moved) > 0.6 * len(before), sorted(before.keys() - set(moved))
    store = Store(at / "run")
    store.save(1, models, ["policy"])
    # as a run that goes on in another process
    found = store.load(1, Models(policy=twin), "policy", {}, 1).weights
    store.close()
    assert found.keys() == after.keys() and all(torch.equal(found[key], after[key]) for key in after)
    again, _ = load_model(str(at / "run" / "weights" / "0001" / "policy"), "float32")  # as any program does
    assert all(torch.equal(p, after[key]) for key, p in again.named_parameters())
    return Found("rows" if engine.why_not_trees else "trees", *gaps)
