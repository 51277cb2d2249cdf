"""Our losses against TRL 1.16.0's own numbers (tests/parity/record_trl.py): loss, gradient norm and eight
gradient entries.

Not compared, because surpass has no such loss: the KL term weighted by the ratio ("klratio"; on policy its
value is the plain term's, which is compared), "robust" DPO, DPO's label_smoothing that TRL ignores for
"sigmoid", and a ratio per sequence with weights per token ("bnpo", "dapo" and "dr_grpo" at level "sequence":
in surpass, as in GSPO, a path's ratio counts once a path).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from surpass import objectives
from surpass.flat import gather, pack
from surpass.types import Column, Example, Problem, Tree

DATA = json.loads((Path(__file__).parent / "parity" / "trl_1_16.json").read_text())
CASES = {case["name"]: case for case in DATA["cases"]}
TOLERANCE = 1e-5


def is_ours(case) -> bool:
    s = case["settings"]
    if case["objective"] == "grpo":
        level = s["importance_sampling_level"] == "token" or s["loss_type"] == "grpo"
        return level and (s["beta"] == 0 or not s["use_bias_correction_kl"])
    return s["loss_type"] != "robust" and case["name"] != "dpo-sigmoid-beta0.1-smooth0.2"


OURS = [name for name, case in CASES.items() if is_ours(case)]
ON_POLICY = [name for name in CASES if name.endswith("-onpolicy")]
NORMALISER = {"grpo": "path", "bnpo": "token", "dapo": "token", "dr_grpo": "constant"}


@pytest.fixture
def policy(nano):
    return nano(seed=DATA["model"]["seeds"]["policy"], max_position_embeddings=64)


@pytest.fixture
def reference(nano):
    return nano(seed=DATA["model"]["seeds"]["ref"], max_position_embeddings=64)


def grow(prompts, *answers) -> list[tuple[Tree, list[int]]]:
    """One tree per different prompt, in order, and per prompt the nodes of its answers."""
    trees, out = {}, []
    for prompt, *texts in zip(prompts, *answers, strict=True):
        if tuple(prompt) not in trees:
            tree = trees[tuple(prompt)] = Tree(Problem(str(len(trees)), ""))
            tree.add(-1, "task", prompt)
        tree = trees[tuple(prompt)]
        out.append((tree, [tree.add(0, "policy", text, logp=np.zeros(len(text))) for text in texts]))
    return out


def put_rows(grown, name, rows):
    """A token column from one list of values per answer."""
    for tree in {id(tree): tree for tree, _ in grown}.values():
        values = np.full(int(tree.span[-1]), np.nan)
        for (other, nodes), row in zip(grown, rows, strict=True):
            if other is tree:
                values[tree.span[nodes[0]] : tree.span[nodes[0] + 1]] = row
        tree.put(name, Column("token", values))


def grpo(case, policy, reference):
    s, x = case["settings"], case["inputs"]
    grown = grow(x["prompt_ids"], x["completion_ids"])
    assert len({id(tree) for tree, _ in grown}) == 2
    for tree in {id(tree): tree for tree, _ in grown}.values():
        here = {
            nodes[0]: a for (other, nodes), a in zip(grown, x["advantages"], strict=True) if other is tree
        }
        tree.put("advantage", Column("leaf", np.array([here[leaf] for leaf in tree.leaves()])))
    columns = {"logp@start": "old_logps", "logp@policy@0": "ref_logps"}
    for name, key in columns.items():
        if x[key] is not None:
            put_rows(grown, name, x[key])
    batch = pack(
        [Example(tree, tuple(nodes)) for tree, nodes in grown],
        ("policy",),
        ["advantage", "logp", *(name for name, key in columns.items() if x[key] is not None)],
    )
    normaliser, length = NORMALISER[s["loss_type"]], float(s["max_completion_length"])
    ratio = "path" if s["importance_sampling_level"] == "sequence" else "token"
    terms = [objectives.clipped(s["epsilon"], s["epsilon_high"], normaliser, ratio, length)]
    if s["beta"]:
        terms.append(objectives.kl(s["beta"], "policy@0", normaliser, length))
    totals = {"paths": 6.0, "tokens": float(s["num_items_in_batch"])}
    return objectives.total(tuple(terms)), batch, totals


def dpo(case, policy, reference):
    s, x = case["settings"], case["inputs"]
    grown = grow(x["prompt_ids"], x["chosen_ids"], x["rejected_ids"])
    confidence = 1 - s["label_smoothing"]
    batch = pack([Example(tree, tuple(nodes), confidence=confidence) for tree, nodes in grown], ("policy",))
    with torch.no_grad():
        base = reference.forward(batch).logp.double()
    wanted = [v for pair in zip(x["ref_chosen_logps"], x["ref_rejected_logps"], strict=True) for v in pair]
    np.testing.assert_allclose(gather(base, batch), wanted, atol=2e-5)
    batch.columns["logp@policy@0"] = ("token", base)
    kind = "ipo" if s["loss_type"] == "ipo" else "sigmoid"
    return (
        objectives.dpo(s["beta"], "policy@0", kind, per_token=kind == "ipo"),
        batch,
        {"examples": float(len(grown))},
    )


def sft(case, policy, reference):
    s, x = case["settings"], case["inputs"]
    grown = grow(x["prompt_ids"], x["completion_ids"])
    batch = pack(
        [Example(tree, tuple(nodes)) for tree, nodes in grown],
        ("policy",) if s["completion_only_loss"] else ("policy", "task"),
    )
    assert int(batch.trained.sum()) == case["normaliser"]["scored_tokens"]
    return objectives.sft("token"), batch, {"tokens": float(case["normaliser"]["denominator"])}


def loss_of(case, policy, reference):
    objective, batch, totals = {"grpo": grpo, "dpo": dpo, "sft": sft}[case["objective"]](
        case, policy, reference
    )
    out = policy.forward(batch)
    return sum(value / totals[name] for name, value in objective(out, batch)[0].items())


def test_the_weights_are_those_that_were_recorded(policy, reference):
    for name, engine in (("policy", policy), ("ref", reference)):
        digest = hashlib.sha256()
        for _, p in sorted(engine.causal.named_parameters()):
            digest.update(p.detach().numpy().astype("<f4").tobytes())
        assert digest.hexdigest() == DATA["model"]["sha256"][name]


def test_what_is_compared():
    """4 losses x 2 bounds x (no KL, plain KL), 2 bounds x 2 with a ratio per sequence, 5 DPO, 3 SFT; 4 on
    policy, value only.
    """
    assert len(OURS) == 4 * 2 * 2 + 2 * 2 + 5 + 3 and len(ON_POLICY) == 4


@pytest.mark.parametrize("name", OURS)
def test_loss_and_gradient_equal_trl(name, policy, reference):
    case = CASES[name]
    loss = loss_of(case, policy, reference)
    loss.backward()
    grads = {key: p.grad for key, p in policy.causal.named_parameters()}
    assert loss.item() == pytest.approx(case["loss"], rel=TOLERANCE, abs=TOLERANCE)
    norm = float(sum(g.double().square().sum() for g in grads.values()).sqrt())
    assert norm == pytest.approx(case["grad_norm"], rel=TOLERANCE, abs=TOLERANCE)
    sample = grads[DATA["grad_param"]].flatten()[:8].tolist()
    assert sample == pytest.approx(
        case["grad_sample"], rel=TOLERANCE, abs=TOLERANCE * max(1.0, case["grad_norm"])
    )


@pytest.mark.parametrize("name", ON_POLICY)
def test_loss_on_policy_equals_trl(name, policy, reference):
    """Without old log-probs every ratio is 1; the KL term weighted by that ratio then has the plain term's
    value.
    """
    assert loss_of(CASES[name], policy, reference).item() == pytest.approx(CASES[name]["loss"], abs=TOLERANCE)
