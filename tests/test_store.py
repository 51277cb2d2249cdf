"""What is written is what is read: trees with every column, optimisers, snapshots."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from surpass.engines.training import optimiser
from surpass.errors import SurpassError
from surpass.models import Models
from surpass.parts import from_json
from surpass.store import Store, trees_from_table, trees_to_table
from surpass.types import Column, Problem, Tree


@st.composite
def trees(draw):
    tree = Tree(
        Problem(
            draw(st.text(max_size=5)),
            draw(st.one_of(st.text(max_size=5), st.just(({"role": "user", "content": "ü"},)))),
            draw(st.one_of(st.none(), st.integers(), st.text(max_size=3))),
            {"a": [1, None]},
        ),
        draw(st.integers(0, 2**63 - 1)),
    )
    for node in range(draw(st.integers(1, 8))):
        tokens = draw(st.lists(st.integers(0, 50000), max_size=4))
        logp = draw(st.one_of(st.none(), st.just(-np.arange(len(tokens), dtype=np.float32) / 3)))
        tree.add(
            draw(st.integers(-1, node - 1)),
            draw(st.sampled_from(["task", "policy"])),
            tokens,
            logp=logp,
            stop=draw(st.integers(0, 4)),
            cause=draw(st.integers(-1, node - 1)),
            state=draw(st.one_of(st.none(), st.just({"x": [1, 2]}))),
            text=draw(st.one_of(st.none(), st.text(max_size=3))),
            version=3,
            aside=draw(st.booleans()),
        )
    n = len(tree.leaves())
    tree.put("node", Column("node", np.arange(len(tree)) + 0.5))
    tree.put("leaf", Column("leaf", np.where(np.arange(n) % 2, np.nan, np.arange(n))))
    tree.put("pair", Column("pair", np.arange(n * n, dtype=float).reshape(n, n)))
    tree.put("wide", Column("node", np.arange(3 * len(tree), dtype=float).reshape(-1, 3)))
    return tree


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=50)
@given(st.lists(trees(), max_size=3))
def test_trees_survive_a_table(forest):
    again = trees_from_table(trees_to_table(forest))
    for a, b in zip(forest, again, strict=True):
        assert (a.problem, a.key, a.opened) == (b.problem, b.key, b.opened)
        assert (a.author, a.state, a.text, a.keys, a.draws, a.aside) == (
            b.author,
            b.state,
            b.text,
            b.keys,
            b.draws,
            b.aside,
        )
        for name in ("parent", "cause", "stop", "version", "span", "tokens", "logp", "logq"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        assert a.columns.keys() == b.columns.keys()
        for name, column in a.columns.items():
            assert column.axis == b.get(name).axis
            np.testing.assert_array_equal(column.values, b.get(name).values)
    assert str(trees_to_table(again).to_pylist()) == str(trees_to_table(forest).to_pylist())


def test_columns_follow_a_tree_that_grows():
    tree = Tree(Problem("p", ""))
    root = tree.add(-1, "task", [1, 2])
    a, b = tree.add(root, "policy", [3]), tree.add(root, "policy", [4, 5])
    tree.put("leaf", Column("leaf", np.array([1.0, 2.0])))
    tree.put("token", Column("token", np.arange(5.0)))
    c = tree.add(a, "policy", [6])
    assert tree.leaves() == [b, c]
    np.testing.assert_array_equal(tree.get("leaf").values, [2.0, np.nan])
    np.testing.assert_array_equal(tree.get("token").values, [0, 1, 2, 3, 4, np.nan])
    tree.mark("value", c, 7.0)
    np.testing.assert_array_equal(tree.get("value").values, [np.nan] * 3 + [7.0])
    with pytest.raises(SurpassError, match="needs 2 values"):
        tree.put("leaf", Column("leaf", np.zeros(3)))
    with pytest.raises(SurpassError, match="has: leaf, token, value"):
        tree.get("reward")


def test_weights_and_optimisers_come_back_to_the_byte(nano, tmp_path):
    from surpass.models import Models

    for lora in (None, {"r": 2}):
        models = Models(policy=nano(lora=lora))
        engine = models.engine("policy")
        adamw = optimiser(engine, "policy", lr=0.1)
        for p in engine.trainable().values():
            p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(1))
        adamw.step()
        store = Store(tmp_path / str(lora))
        store.save(3, models, ["policy"])
        other = Models(policy=nano(lora=lora))
        other.weights.put_back("policy", store.load(3, other, "policy", {}, 5))
        assert other.version["policy"] == 5
        for name, weight in engine.weights().items():
            assert torch.equal(weight, other.engine("policy").weights()[name])
        a, b = adamw.state_dict(), other.engine("policy").optimisers["policy"].state_dict()
        assert a["param_groups"] == b["param_groups"]
        for i, values in a["state"].items():
            for name, value in values.items():
                assert torch.equal(value, b["state"][i][name])
        store.close()


def test_parts_outside_surpass_are_not_resolved():
    for name in ("os.system", "subprocess.Popen", "surpassed.parts.Method"):
        with pytest.raises(SurpassError, match="not inside surpass"):
            from_json({"part": name, "args": ["true"]})
    with pytest.raises(SurpassError, match="no part"):
        from_json({"part": "surpass.store.write_whole", "path": "x"})


@pytest.mark.parametrize("role", ["../evil", "a/b", "", ".", "a b"])
def test_a_role_is_no_path(role, nano, tmp_path):
    store = Store(tmp_path / "run")
    with pytest.raises(SurpassError, match="a role's name"):
        store.save(1, Models(policy=nano()), [role])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
