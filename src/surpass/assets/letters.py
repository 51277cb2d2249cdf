"""The tokenizer and the shapes of the models that ship with surpass: a token for each character, and a few
for turns, calls and verdicts.
"""

from __future__ import annotations

from typing import Any

END, SYSTEM, USER, ASSISTANT = "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"
TURNS = (END, SYSTEM, USER, ASSISTANT)
# plain text, but one token each
MARKS = ("<call>", "</call>", "<result>", "</result>", "<yes>", "<no>")
UNKNOWN = "\x7f"  # stands for what is neither printable ASCII nor a newline
CHARACTERS = "\n" + "".join(map(chr, range(32, 127))) + UNKNOWN
VOCABULARY = 107
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}<|assistant|>{% elif m['role'] == "
    "'system' %}<|system|>{% else %}<|user|>{% endif %}{{ m['content'] }}<|end|>{% endfor %}{% if "
    "add_generation_prompt %}<|assistant|>{% endif %}"
)
TOKENS = {word: i for i, word in enumerate([*TURNS, *MARKS, *CHARACTERS])}
SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 256, "intermediate_size": 640, "num_hidden_layers": 6, "num_attention_heads": 4},
    "nano": {"hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 4},
}


def make_tokenizer() -> Any:
    """A tokenizer of transformers: printable ASCII and line ends, one token a character; a chat template."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel(TOKENS, unk_token=UNKNOWN))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    core.decoder = decoders.Fuse()
    core.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in MARKS])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=END,
        pad_token=END,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def make_causal(shape: str, seed: int = 0) -> Any:
    """A Llama of transformers with fresh float32 weights: normal with std 0.02, but 0 where a layer adds to
    the residual stream.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        **SHAPES[shape],
        num_key_value_heads=SHAPES[shape]["num_attention_heads"],
        rms_norm_eps=1e-6,
        max_position_embeddings=1024,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=TOKENS[END],
        pad_token_id=TOKENS[END],
    )
    causal = LlamaForCausalLM._from_config(config, attn_implementation="sdpa", dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(causal.named_parameters()):
            if p.ndim == 2:
                p.normal_(0.0, 0.02, generator=generator)
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                p.zero_()
    return causal
