"""Models of other families: loaded, drawn from, scored, trained, written and read as transformers does,
whatever surrounds them.
"""

from __future__ import annotations

import dataclasses
import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import families
from families import drawn_from, folder, learn_once, make, tokenizer
from surpass import objectives
from surpass.alarms import alarms
from surpass.cli import main
from surpass.engines import LocalEngine, attention, probe
from surpass.engines.checkpoints import load_model
from surpass.engines.forward import row_forward
from surpass.engines.requests import Generate, Sampling
from surpass.errors import EngineError, RunBroken, SurpassError
from surpass.flat import pack
from surpass.learners import gradient
from surpass.models import Models
from surpass.parts import Learn
from surpass.types import Cast, Column, Example, Memory, Problem, Tree


@pytest.mark.parametrize("kind", families.QUICK)
def test_an_architecture_draws_scores_learns_and_is_read_again(kind, tmp_path):
    assert families.tried(kind, tmp_path).how == families.QUICK[kind][0]


# -- what is loaded


def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    at = Path(folder("llama", tmp_path))
    weights = load_file(at / "model.safetensors")
    lost = weights.pop("lm_head.weight")
    save_file(weights, at / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SurpassError, match=r"does not hold 1 of the weights .* such as lm_head\.weight"):
        load_model(str(at), "float32")
    engine = LocalEngine.of(make("llama"), tokenizer())
    with pytest.raises(SurpassError, match=r"lm_head\.weight"):
        engine.read(at)
    save_file(weights | {"lm_head.weight": lost}, at / "model.safetensors", metadata={"format": "pt"})
    engine.read(at)


def test_weights_of_another_shape_are_refused(tmp_path):
    engine = LocalEngine.of(make("llama"), tokenizer())
    engine.save(tmp_path)
    with pytest.raises(SurpassError, match="belongs to another model"):
        LocalEngine.of(make("llama", intermediate_size=64), tokenizer()).read(tmp_path)


@pytest.mark.parametrize(
    "changes", [{"output_attentions": True}, {"return_dict": False}, {"output_hidden_states": True}]
)
def test_what_a_configuration_asks_to_be_returned_changes_nothing(changes, tmp_path):
    at = Path(folder("llama", tmp_path / "model"))
    wanted = [tree.tokens.tolist() for tree in drawn_from(Models(policy=LocalEngine(str(at))))]
    (at / "config.json").write_text(json.dumps(json.loads((at / "config.json").read_text()) | changes))
    engine = LocalEngine(str(at))
    assert [tree.tokens.tolist() for tree in drawn_from(Models(policy=engine))] == wanted
    engine.save(tmp_path / "saved")


def test_a_models_own_sampling_defaults_are_not_ours(tmp_path):
    """generation_config.json says how its makers would draw; a method says how it does."""
    at = Path(folder("llama", tmp_path))
    wanted = [tree.tokens.tolist() for tree in drawn_from(Models(policy=LocalEngine(str(at))))]
    own = {
        "temperature": 0.1,
        "top_k": 1,
        "do_sample": True,
        "repetition_penalty": 2.0,
        "suppress_tokens": [5],
        "eos_token_id": 0,
    }
    (at / "generation_config.json").write_text(json.dumps(own))
    assert [tree.tokens.tolist() for tree in drawn_from(Models(policy=LocalEngine(str(at))))] == wanted


def test_a_copy_of_a_role_knows_the_attention_its_model_came_with():
    engine = LocalEngine.of(make("llama"), tokenizer())
    assert engine.own == "sdpa" and engine.causal.config._attn_implementation == attention.NAME
    assert engine.twin(1).own == "sdpa"


# -- texts of a length at which a model changes its mind

LONGROPE = {
    "original_max_position_embeddings": 64,
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0] * 4,
        "long_factor": [8.0] * 4,
        "factor": 4.0,
    },
}


def test_longrope_is_read_as_far_as_it_does_not_depend_on_what_else_is_there():
    own = make("phi3", **LONGROPE)
    with pytest.warns(UserWarning, match=r"reads 64 of its 256 tokens.*rotary frequencies"):
        engine = LocalEngine.of(make("phi3", **LONGROPE), tokenizer())
    assert engine.context == 64 and engine.why_not_trees is None
    tree = Tree(Problem("p", ""))
    rng = np.random.default_rng(0)
    for n in (5, 64, 30):
        tree.add(-1, "policy", rng.integers(1, 107, n))
    batch = pack([Example(tree, (leaf,)) for leaf in tree.leaves()], ["policy"])
    with torch.no_grad():
        found, wanted = engine.forward(batch).logp, row_forward(own, batch, batch.trained).logp
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    request = Generate(rng.integers(1, 107, 65).astype(np.int32), (1,), Sampling(max_tokens=4))
    ((_, reply),) = engine.serve([request])
    assert isinstance(reply, EngineError) and "context of 64" in str(reply)
    with torch.no_grad():  # why: one token more, and what was said of those before it is another
        logits = [
            own(input_ids=torch.from_numpy(request.tokens[None, :n]).long()).logits[0, :60] for n in (64, 65)
        ]
    assert float((logits[0] - logits[1]).abs().max()) > 1


def test_dynamic_scaling_does_not_reach_into_the_context_and_static_scaling_is_left_alone():
    for kind, more in {
        "dynamic": {"factor": 2.0},
        "yarn": {"factor": 4.0, "original_max_position_embeddings": 64},
        "linear": {"factor": 2.0},
    }.items():
        causal = make("llama", rope_parameters={"rope_type": kind, "rope_theta": 10000.0, **more})
        assert LocalEngine.of(causal, tokenizer()).context == 256, kind


def test_dynamic_scaling_is_known_by_what_its_frequencies_do():
    rope = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}
    assert probe.steady(make("llama", rope_parameters=rope), 1024) == 256
    assert probe.steady(make("llama"), 1024) == 1024


@pytest.mark.parametrize(
    "changes", [{"attention_chunk_size": 32}, {"floor_scale": 32, "attn_temperature_tuning": True}]
)
def test_what_shows_only_in_longer_texts_is_tried_at_that_length(changes, monkeypatch):
    """Chunks of llama 4, and a temperature of its queries that goes by the place in the pass: in short texts
    nothing shows.
    """
    with pytest.warns(UserWarning, match="whole rows"):
        engine = LocalEngine.of(make("llama4_text", **changes), tokenizer())
    assert "differ" in engine.why_not_trees
    tree = families.Tree(Problem("p", ""))
    tree.add(-1, "policy", np.random.default_rng(0).integers(1, 107, 60))
    batch = pack([Example(tree, (0,))], ["policy"])
    own = make("llama4_text", **changes)
    with torch.no_grad():
        torch.testing.assert_close(
            engine.forward(batch).logp, row_forward(own, batch, batch.trained).logp, atol=1e-5, rtol=0
        )
    monkeypatch.setattr(probe, "_lengths", lambda config, context: [])
    monkeypatch.setattr(probe, "_forest", lambda engine, nodes: probe._chain(engine, 20))
    assert LocalEngine.of(make("llama4_text", **changes), tokenizer()).why_not_trees is None, (
        "so the length is what finds it"
    )


def test_draws_are_compared_at_load_too(monkeypatch):
    from surpass.engines.row_attention import RowPlan

    answer = RowPlan._answer
    monkeypatch.setattr(RowPlan, "_answer", lambda self, *given: 0.9 * answer(self, *given))
    with pytest.warns(UserWarning, match="whole rows.*differ"):
        assert LocalEngine.of(make("llama"), tokenizer()).why_not_trees


# -- draw_gap

OBJECTIVES = {
    "clipped": objectives.clipped(),
    "gspo": objectives.clipped(ratio="path"),
    "sft": objectives.sft(),
    "dpo": objectives.dpo(),
    "sum": objectives.total((objectives.sft(), objectives.kl(0.1, "start"))),
    "bonus": objectives.total((objectives.sft(), objectives.entropy())),
}


class Off(LocalEngine):
    """An engine whose learner sees other log-probabilities than its draws."""

    by = 0.0

    def forward(self, batch, wanted=None, outputs=("logp",), temperature=1.0, ends=None):
        out = super().forward(batch, wanted, outputs, temperature, ends)
        return dataclasses.replace(
            out, logp=out.logp + self.by, plain=None if out.plain is None else out.plain + self.by
        )


def pairs(trees):
    return [Example(tree, tuple(tree.leaves()[:2])) for tree in trees]


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("updates", [1, 2])
def test_every_gradient_learner_compares_its_log_probs_with_those_at_the_draw(name, updates):
    models = Models(policy=Off.of(make("llama"), tokenizer()))
    learner = gradient(OBJECTIVES[name], 1e-3, updates=updates)
    for by, refused in ((0.0, False), (0.005, False), (-0.02, True), (math.nan, True)):
        trees = drawn_from(models, n=4)
        examples = (
            pairs(trees)
            if name == "dpo"
            else [Example(tree, (leaf,)) for tree in trees for leaf in tree.leaves()]
        )
        models.engine("policy").by, before = by, models.engine("policy").weights()
        run = learner(models, Learn("policy", None, learner), examples, Memory(), 0)
        if refused and math.isnan(by):
            with pytest.raises(RunBroken, match="update was not made"):
                models.run(run)
        elif refused:
            with pytest.raises(RunBroken, match=r"draw_gap is 0\.02.*less than 0\.01.*--dtype float32"):
                models.run(run)
        else:
            figures = models.run(run).metrics
            assert (
                figures["draw_gap"]["mean"] == pytest.approx(abs(by), abs=1e-4)
                and figures["draw_gap_limit"]["mean"] == 0.01
            )
            assert figures["draw_gap"]["n"] == 1, "the first step alone"
        changed = any(not torch.equal(p, before[key]) for key, p in models.engine("policy").weights().items())
        assert changed != refused


@pytest.mark.parametrize("family", ["llama", "mamba"])
def test_trained_at_another_temperature_draws_are_compared_at_one(family):
    """The log-probs of softmax(logits / T) are not those at the draw, and no reason to end a run; a model
    that is off is.
    """
    models = Models(policy=Off.of(make(family), tokenizer()))
    learner = gradient(objectives.sft(), 1e-3, temperature=0.5)
    for by in (0.0, -0.02):
        examples = [Example(tree, (leaf,)) for tree in drawn_from(models, n=4) for leaf in tree.leaves()]
        models.engine("policy").by = by
        run = learner(models, Learn("policy", None, learner), examples, Memory(), 0)
        if by:
            with pytest.raises(RunBroken, match=r"draw_gap is 0\.02"):
                models.run(run)
        else:
            assert models.run(run).metrics["draw_gap"]["mean"] < 1e-4


def test_half_precision_may_be_ten_times_as_far():
    models = Models(policy=Off.of(make("llama"), tokenizer()))
    models.engine("policy").mixed, models.engine("policy").by = True, 0.05
    figures = learn_once(models, drawn_from(models))
    assert 0.02 < figures["draw_gap"] < 0.1 == figures["draw_gap_limit"]


def test_what_other_weights_drew_is_not_compared():
    """Draws of an earlier round, of a snapshot, of another model, words that nobody drew, and weights that
    were put back.
    """
    engine, other = Off.of(make("llama"), tokenizer()), LocalEngine.of(make("llama", seed=1), tokenizer())
    models = Models(policy=engine, judge=other)
    models.weights.remember(["policy@-1"])
    old = drawn_from(models)
    assert "draw_gap" in learn_once(models, old)
    assert "draw_gap" not in learn_once(models, old, objectives.sft()), "the weights moved on"
    engine.by = 1.0
    tree = Tree(Problem("p", ""))
    root = tree.add(-1, "task", [5, 6, 7])
    models.run(models.generate("policy@-1", tree, root, 2, max_tokens=3))
    models.run(models.generate("judge", tree, root, 2, max_tokens=3))
    tree.add(root, "policy", [8, 9])
    examples = [Example(tree, (leaf,)) for leaf in tree.leaves()]
    learner = gradient(objectives.sft(), 1e-3)
    row = Learn("policy", None, learner, voices=("policy", "judge", "policy@-1"))
    assert "draw_gap" not in models.run(learner(models, row, examples, Memory(), 0)).metrics
    fresh = drawn_from(models)
    for tree in fresh:
        tree.past = True
    assert "draw_gap" not in learn_once(models, fresh), (
        "a round read again, whose versions a refusal may have counted anew"
    )
    fresh = drawn_from(models)
    examples = [Example(tree, (leaf,)) for tree in fresh for leaf in tree.leaves()]
    with pytest.raises(RunBroken, match="draw_gap"):
        models.run(learner(models, Learn("policy", None, learner), examples, Memory(), 0))
    report = models.run(
        learner(models, Learn("policy", None, learner, start="policy@0"), examples, Memory(), 0)
    )
    assert "draw_gap" not in report.metrics


def test_a_role_that_shares_weights_is_compared_until_they_move():
    models = Models(policy=Off.of(make("llama"), tokenizer()))
    models.cast({"proposer": Cast("policy", shared=True)})
    trees = []
    for i in range(2):
        tree = Tree(Problem(f"p{i}", ""), key=i)
        models.run(models.generate("proposer", tree, tree.add(-1, "task", [3, 4, 5 + i]), 2, max_tokens=3))
        trees.append(tree.with_columns({"advantage": Column("leaf", np.array([1.0, -1.0]))}))
    examples = [Example(tree, (leaf,)) for tree in trees for leaf in tree.leaves()]
    learner = gradient(objectives.clipped(), 1e-3)
    row = Learn("policy", None, learner, voices=("proposer",))
    assert "draw_gap" in models.run(learner(models, row, examples, Memory(), 0)).metrics
    assert "draw_gap" not in models.run(learner(models, row, examples, Memory(), 0)).metrics


def test_an_alarm_where_draw_gap_is_near_its_limit():
    search = {"event": "search", "round": 1}
    learnt = {"event": "learn", "round": 1, "examples": 3, "grad_norm": 1.0, "draw_gap_limit": 0.01}
    assert not alarms([search, learnt | {"draw_gap": 0.001}])
    (found,) = alarms(
        [
            search,
            learnt | {"draw_gap": 1e-6},
            learnt | {"draw_gap": 0.006, "round": 2},
            learnt | {"draw_gap": 1e-6, "round": 3},
        ]
    )
    assert "0.006" in found and "round 2" in found


# -- what surrounds a run

OUTSIDE = {
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4",
    "ACCELERATE_MIXED_PRECISION": "bf16",
    "ACCELERATE_DYNAMO_BACKEND": "EAGER",
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "true",
    "ACCELERATE_USE_CPU": "false",
    "ACCELERATE_DOWNCAST_BF16": "true",
    "ACCELERATE_SPLIT_BATCHES": "true",
    "ACCELERATE_USE_MEGATRON_LM": "true",
    "ACCELERATE_USE_DEEPSPEED": "true",
    "XLA_USE_BF16": "1",
    "ACCELERATE_TORCH_DEVICE": "meta",
    "TORCHDYNAMO_DISABLE": "1",
}


def test_no_variable_of_accelerate_changes_an_update(monkeypatch, tmp_path):
    at, found = folder("llama", tmp_path), []
    for outside in ({}, OUTSIDE, *({name: value} for name, value in list(OUTSIDE.items())[:2])):
        with monkeypatch.context() as patch:
            for name, value in outside.items():
                patch.setenv(name, value)
            models = Models(policy=LocalEngine(at))
            figures = learn_once(models, drawn_from(models))
            found.append((figures, [p.numpy().tobytes() for p in models.engine("policy").weights().values()]))
    assert all(other == found[0] for other in found[1:])


def test_a_distributed_launcher_is_refused(monkeypatch):
    models = Models(policy=LocalEngine.of(make("llama"), tokenizer()))
    trees = drawn_from(models)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SurpassError, match="one process"):
        learn_once(models, trees)


# -- adapters


def adapted(kind, *targets, **changes):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(.|\n)*(whole rows|save_embedding|pattern|is_gradient)")
        return LocalEngine.of(make(kind, **changes), tokenizer(), lora={"r": 2, "targets": targets})


@pytest.mark.parametrize(
    ("kind", "targets", "words"),
    [
        ("llama", ("q_proj", "v_proj"), {"q_proj", "v_proj"}),
        ("llama", ("layers.1.mlp.up_proj",), {"up_proj"}),
        ("llama", ("embed_tokens", "o_proj"), {"embed_tokens", "o_proj"}),
        ("granitemoe", ("experts.gate_up_proj",), {"experts"}),
        (
            "granitemoe",
            ("all-linear", "experts.down_proj"),
            {"q_proj", "k_proj", "v_proj", "o_proj", "experts"},
        ),
    ],
)
def test_lora_targets_name_what_is_adapted(kind, targets, words, tmp_path):
    engine = adapted(kind, *targets)
    models = Models(policy=engine)
    assert {
        word
        for name in engine.trainable()
        for word in name.split(".")
        if word in {*words, "up_proj", "q_proj", "experts"}
    } == words
    assert learn_once(models, drawn_from(models))["draw_gap"] < 1e-4
    engine.save(tmp_path)
    found = engine.read(tmp_path)
    assert all(torch.equal(found[name], p) for name, p in engine.weights().items()) and len(found) == len(
        engine.trainable()
    )
    assert any("B" in name and bool(p.any()) for name, p in found.items()), "it learnt"


def test_a_target_that_is_none_is_refused_with_those_there_are():
    with pytest.raises(
        SurpassError, match=r'nothing named "q_prj"; did you mean q_proj\?.*down_proj.*all-linear'
    ):
        adapted("llama", "q_prj")
    with pytest.raises(SurpassError, match="leave out q_proj"):
        adapted("llama", "all-linear", "q_proj")


def test_what_peft_refuses_is_a_message():
    with pytest.raises(
        SurpassError,
        match=r"peft puts no adapter on in memory.*incompatible.*--lora-targets, out of:.*in_proj",
    ):
        adapted("mamba")
    assert adapted("mamba", "x_proj").trainable()


def test_fused_experts_without_an_adapter_are_named():
    with pytest.warns(
        UserWarning,
        match=r"experts\.gate_up_proj, .*experts\.down_proj of in memory, \d\d% .*--lora-targets all-linear "
        r"experts\.gate_up_proj",
    ):
        adapted("granitemoe")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", message="(.|\n)*pattern", category=RuntimeWarning)
        adapted("mixtral")  # peft knows its experts


def test_lora_targets_on_the_command_line(tmp_path, capsys):
    at, out = folder("llama", tmp_path / "model"), tmp_path / "run"
    words = [
        "run",
        "grpo",
        "--model",
        at,
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
    ]
    assert main([*words, "--out", str(out), "--lora", "2", "--lora-targets", "q_proj", "v_proj"]) == 0
    assert json.loads((out / "run.json").read_text())["model"]["lora_targets"] == ["q_proj", "v_proj"]
    weights = LocalEngine(at, lora={"r": 2, "targets": ("q_proj", "v_proj")}).read(
        out / "weights" / "0001" / "policy"
    )
    assert len(weights) == 8
    assert main(["resume", str(out)]) == 0
    capsys.readouterr()
    assert main([*words, "--out", str(tmp_path / "other"), "--lora-targets", "q_proj"]) == 2
    assert "--lora 16" in capsys.readouterr().err
    assert main([*words, "--out", str(tmp_path / "other"), "--lora", "2", "--lora-targets", "q_prj"]) == 2
    assert "did you mean q_proj?" in capsys.readouterr().err


# -- cost


def test_whole_rows_count_what_they_compute_again():
    with pytest.warns(UserWarning, match="whole rows"):
        engine = LocalEngine.of(make("mamba"), tokenizer())
    assert engine.counters()["prefilled"] == 0, "trying a model out costs a run nothing"
    request = Generate(np.arange(1, 11, dtype=np.int32), (1, 2), Sampling(max_tokens=3))
    ((_, drawn),) = engine.serve([request])
    computed = sum(10 + t for reply in drawn for t in range(len(reply.tokens)))
    assert engine.counters()["prefilled"] + sum(len(reply.tokens) for reply in drawn) == computed + 2
    assert LocalEngine.of(make("llama"), tokenizer()).counters()["prefilled"] == 0
