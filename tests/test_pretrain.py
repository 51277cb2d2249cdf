"""The tiny models: what pretraining computes is transformers' Llama, a stopped training goes on to the same
weights, and the models that ship load and know their format.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import surpass
from surpass.assets import pretrain
from surpass.assets.letters import CHARACTERS, MARKS, SHAPES, TOKENS, make_causal, make_tokenizer
from surpass.engines import LocalEngine
from surpass.engines.checkpoints import resolve
from surpass.models import Models
from surpass.types import Problem, Tree

ASSETS = Path(surpass.__file__).parent / "assets"


def test_the_forward_pass_is_llamas():
    causal = make_causal("nano", 1)
    with torch.no_grad():
        for p in causal.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    tokens = torch.randint(0, len(TOKENS), (3, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = causal(input_ids=tokens).logits.log_softmax(-1)
        found = pretrain.logits(
            dict(causal.named_parameters()), tokens, SHAPES["nano"]["num_attention_heads"]
        ).float()
        found = found.log_softmax(-1)
    assert float((wanted - found).abs().max()) < 0.05 and float((wanted - found).abs().mean()) < 0.01, (
        "bfloat16 against float32"
    )
    assert float((wanted[:, 1:] - found[:, :-1]).abs().mean()) > 0.1


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(pretrain, "ROWS", 1024)

    def train(out: Path, stops: list[int]) -> dict[str, torch.Tensor]:
        for stop in stops:
            pretrain.main(
                pretrain.Options(
                    out=out, shape="nano", examples=150, compiled=False, warm=2, save=2, stop=stop
                )
            )
        return load_file(out / "model" / "model.safetensors")

    return train


def test_a_stopped_training_goes_on_to_the_same_weights(small, tmp_path):
    whole, parts = small(tmp_path / "a", [0]), small(tmp_path / "b", [40, 90, 0])
    assert whole.keys() == parts.keys() and all(torch.equal(whole[name], parts[name]) for name in whole)
    fresh = make_causal("nano").to(torch.bfloat16).state_dict()
    assert not any(torch.equal(whole[name], fresh[name]) for name in whole if "proj" in name), (
        "everything was trained"
    )
    log = (tmp_path / "b" / "facts.json").read_text()
    assert '"examples": "150"' in log
    again = LocalEngine(str(tmp_path / "b" / "model"))
    assert again.text.decode(again.text.encode("1 + 1")) == "1 + 1"


def test_batches_hold_every_transcript_once():
    """Rows of a batch have one length, and a transcript waits until its batch is whole; what waits at a stop
    is not lost.
    """
    one, rows = pretrain.Batches(600), 0
    seen = []
    while (batch := one.take()) is not None:
        tokens, weights = batch
        assert (
            tokens.shape == weights.shape
            and tokens.shape[1] in pretrain.LENGTHS
            and tokens.numel() <= pretrain.ROWS
        )
        assert (weights[:, 0] == 0).all() and weights.sum() > 0
        rows += len(tokens)
        seen += [row.numpy().tobytes() for row in tokens]
    assert rows + len(one.waiting) == 600
    first = pretrain.Batches(600)
    some = first.take()
    rest = pretrain.Batches(600, first.next, first.waiting)
    again = [row.numpy().tobytes() for row in some[0]]
    while (batch := rest.take()) is not None:
        again += [row.numpy().tobytes() for row in batch[0]]
    assert again == seen


def test_the_tokenizer_is_one_token_a_character():
    tokenizer = make_tokenizer()
    text = CHARACTERS[:-1] + "".join(MARKS)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert (
        len(ids) == len(CHARACTERS) - 1 + len(MARKS)
        and tokenizer.decode(ids, skip_special_tokens=True) == text
    )
    assert len(tokenizer) == len(TOKENS) == 107


@pytest.mark.parametrize(("name", "least", "most"), [("tiny", 2e6, 5.5e6), ("nano", 4e4, 6e4)])
def test_the_models_that_ship(name, least, most):
    folder = resolve(name)
    assert folder == ASSETS / name
    engine = LocalEngine(name)
    assert least <= sum(p.numel() for p in engine.causal.parameters()) <= most
    assert sum(path.stat().st_size for path in folder.iterdir()) < 12e6
    assert all(value.dtype == torch.bfloat16 for value in load_file(folder / "model.safetensors").values())
    assert engine.why_not_trees is None
    shipped, made = engine.tokenizer, make_tokenizer()
    assert shipped.get_vocab() == made.get_vocab() and shipped.chat_template == made.chat_template
    assert engine.ends == {TOKENS["<|end|>"]}


def test_tiny_writes_steps_calls_its_tool_and_gives_verdicts():
    models = Models(policy=LocalEngine("tiny"))

    def says(prompt: str) -> str:
        async def go():
            tree = Tree(Problem("p", prompt), 0)
            (node,) = await models.generate(
                "policy", tree, models.open("policy", tree, prompt), 1, temperature=0.0, max_tokens=80
            )
            return models.text("policy", tree, node)

        return models.run(go())

    steps = says("3 + 4 + 2 =").split("\n")
    assert steps[0].startswith("3 + 4 = ") and steps[-1].startswith("Answer: ") and len(steps) == 3
    call = says(
        "Who is the teacher of Mira Tolv?\nLook up facts with <call>search WORDS</call>, then write "
        "Answer: NAME"
    )
    assert call.startswith("<call>search teacher of ") and call.endswith("</call>")
    assert says("3 + 4 =\n3 + 4 = 7\nAnswer: 7\nRight? <yes> or <no>") in ("<yes>", "<no>")
