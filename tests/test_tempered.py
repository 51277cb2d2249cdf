"""Training at the temperature of the draws: by hand, against log_softmax(logits / T) written out, and in
every method that uses a ratio.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import numpy as np
import pytest
import torch

import surpass.methods
from surpass import learners, objectives, rewards, searches, selectors
from surpass.engines import TabularEngine
from surpass.engines.forward import row_forward, tree_forward
from surpass.flat import pack
from surpass.loop import credited, improve
from surpass.models import Models
from surpass.parts import Learn, demands
from surpass.searches.round import search_all
from surpass.types import Column, Example, Memory, Problem, Tree
from tiny import copy_letter, nano_models

T = 0.7


def of(name: str):
    return getattr(importlib.import_module(f"surpass.methods.{name}"), name)


def by_ratio() -> list[str]:
    """The methods whose loss is a ratio of what was drawn."""
    return [
        name
        for name in sorted(module.name for module in pkgutil.iter_modules(surpass.methods.__path__))
        if any(
            type(part) in (objectives.clipped, objectives.nft)
            for learn in of(name)().learn
            for part, *_ in demands(learn.learner)
        )
    ]


NAMES = [name for name in by_ratio() if name != "laser"]  # whose score of itself is read at temperature 1


def test_the_family_is_all_of_it():
    assert {"grpo", "dapo", "dr_grpo", "gspo", "rloo", "tree_grpo", "nft", "ttrl"} <= set(NAMES) and len(
        NAMES
    ) >= 16


@pytest.mark.parametrize("name", NAMES)
def test_methods_train_at_the_temperature_they_draw_at(name):
    """And one flag turns it off; 0, greedy draws, is trained as 1."""
    for learn in of(name)(temperature=T).learn:
        assert learn.learner.heat == T
    for learn in of(name)(temperature=T, tempered=False).learn:
        assert learn.learner.heat == 1
    if "temperature" in inspect.signature(of(name)).parameters:
        assert all(learn.learner.heat == 1 for learn in of(name)(temperature=0.0).learn)


@pytest.mark.parametrize("name", ["grpo", "dapo", "dr_grpo", "rloo", "tree_grpo"])
def test_methods_pass_the_correction_on(name):
    (learn,) = of(name)(correct=2.0).learn
    assert learn.learner.objective.correct == 2.0
    (learn,) = of(name)().learn
    assert learn.learner.objective.correct == 0.0


def forest(engine, n: int = 5) -> list[Example]:
    tree, rng = Tree(Problem("p", "")), np.random.default_rng(0)
    root = tree.add(-1, "task", rng.integers(3, 40, 4))
    shared = tree.add(root, "policy", rng.integers(3, 40, 3), logp=np.zeros(3))
    for _ in range(n):
        tree.add(shared, "policy", rng.integers(3, 40, 5), logp=np.zeros(5))
    return [Example(tree, (leaf,)) for leaf in tree.leaves()]


@pytest.mark.parametrize("also", [(), ("entropy",)])
@pytest.mark.parametrize("form", [tree_forward, row_forward])
def test_log_probs_are_those_of_logits_divided_by_the_temperature(form, also, nano):
    """TRL's formula: logits / T, then log_softmax and the token's entry; entropy of the same distribution;
    and the gradients of both.
    """
    engine = nano(dtype=torch.float64)
    batch = pack(forest(engine), ("policy",))
    parameters = list(engine.causal.parameters())

    def written_out():
        paths = []
        for last in batch.last.tolist():
            path = []
            while last >= 0:
                path.append(last)
                last = int(batch.parent[last])
            paths.append(path[::-1])
        logp, entropy = [torch.zeros(len(batch.token), dtype=torch.float64) for _ in range(2)]
        for path in paths:
            logits = engine.causal(input_ids=batch.token[path][None]).logits[0, :-1] / T
            p = logits.log_softmax(-1)
            at = torch.tensor(path[1:])
            logp = logp.index_put((at,), p.gather(1, batch.token[at][:, None])[:, 0])
            entropy = entropy.index_put((at,), -(p.exp() * p).sum(-1))
        return logp * batch.trained, entropy * batch.trained

    engine.causal.set_attn_implementation("sdpa")
    logp, entropy = written_out()
    wanted = entropy if also else logp
    right = torch.autograd.grad(wanted.sum(), parameters)
    if form is tree_forward:
        from surpass.engines import attention

        engine.causal.set_attn_implementation(attention.NAME)
    out = form(engine.causal, batch, batch.trained, {"logp", *also}, temperature=T)
    torch.testing.assert_close(out.logp, logp, atol=1e-9, rtol=0)
    found = out.entropy if also else out.logp
    torch.testing.assert_close(found, wanted, atol=1e-9, rtol=0)
    for mine, theirs in zip(torch.autograd.grad(found.sum(), parameters), right, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-9, rtol=1e-7)
    plain = form(engine.causal, batch, batch.trained).logp
    assert float((plain - logp).detach().abs().max()) > 0.1, "at T = 1 it is another distribution"


def drawn(engine, temperature: float, n: int = 8):
    """Scored trees of attempts drawn at a temperature."""
    models, task = Models(policy=engine), copy_letter(shared=True)
    search = searches.samples(n, temperature, 3)
    trees = models.run(search_all(search, models, task, list(task.problems("train", 0)), 3))
    for tree, column in zip(trees, models.run(rewards.check()(models, task, trees)), strict=True):
        tree.put("reward", column)
    return models, trees


@pytest.mark.parametrize("engine", ["table", "nano"])
def test_the_first_ratio_is_one_where_training_is_at_the_temperature_of_the_draws(engine, nano):
    def made():
        return TabularEngine("ab", size=512, scale=1.5) if engine == "table" else nano()

    gaps = {}
    for tempered in (True, False):
        models, trees = drawn(made(), T)
        for i, tree in enumerate(trees):  # rewards that differ, whatever was drawn
            trees[i] = tree.with_columns({"reward": Column("leaf", np.arange(len(tree.leaves())) % 2.0)})
        (learn,) = of("grpo")(temperature=T, tempered=tempered, updates=2, lr=0.0).learn
        report = models.run(
            learn.learner(
                models, learn, learn.select(credited(trees, learn, Memory()), Memory(), 0), Memory(), 0
            )
        )
        gaps[tempered] = max(row.value for row in report.rows if row.metric == "draw_gap")
    assert gaps[True] < 1e-5, "at the first step p_start is what was drawn from"
    assert gaps[False] < 1e-5, "as if drawn at 1: against the draw's log-prob at 1"
    assert gap(made(), True) < 1e-5


def gap(engine, tempered: bool) -> float:
    """The largest |log p_start - log q| of a drawn token: 0 where the trained distribution is the one that
    was drawn from.
    """
    models, trees = drawn(engine, T)
    batch = pack([Example(tree, (leaf,)) for tree in trees for leaf in tree.leaves()], ("policy",), ["logq"])
    with torch.no_grad():
        out = models.engine("policy").forward(batch, temperature=T if tempered else 1.0)
    return float((out.logp - batch.columns["logq"][1])[batch.trained].abs().max())


def test_trained_as_if_drawn_at_one_the_ratio_is_another():
    assert gap(TabularEngine("ab", size=512, scale=1.5), False) > 0.1


LOGITS = torch.tensor([0.3, -0.8, 0.5])  # of "a", "b" and the end, after "a"


def one_token(letter: str, advantage: float):
    """A table with LOGITS after "a", and an attempt of one letter drawn at T."""
    engine = TabularEngine("ab", size=64)
    with torch.no_grad():
        engine.module["table"][engine.row([0])] = LOGITS
    token = "ab".index(letter)
    tree = Tree(Problem("x", ""))
    root = tree.add(-1, "task", [0])
    p, q = LOGITS.log_softmax(-1)[token].item(), (LOGITS / T).log_softmax(-1)[token].item()
    tree.add(root, "policy", [token], logp=np.array([p]), logq=np.array([q]))
    return (
        engine,
        tree.with_columns({"advantage": Column("leaf", np.array([advantage]))}),
        token,
        np.exp(p - q),
    )


@pytest.mark.parametrize("letter, advantage", [("a", 2.0), ("b", -1.0)])
@pytest.mark.parametrize("how", ["tempered", "plain", "corrected", "cut"])
def test_the_first_step_by_hand(letter, advantage, how):
    """-A d log p_T(token) / d logits = -A (onehot - softmax(logits / T)) / T. Plain: the same at T = 1;
    corrected: that times p / q, cut off at `correct`.
    """
    engine, tree, token, weight = one_token(letter, advantage)
    correct = {"corrected": 10.0, "cut": 0.9}.get(how, 0.0)
    heat = T if how == "tempered" else 1.0
    learner = learners.gradient(objectives.clipped(correct=correct), lr=0.0, temperature=heat)
    grads = []
    hook = engine.module["table"].register_hook(lambda g: grads.append(g.clone()))
    models = Models(policy=engine)
    report = models.run(
        learner(models, Learn("policy", selectors.every(), learner), [Example(tree, (1,))], Memory(), 0)
    )
    hook.remove()
    onehot = torch.eye(3)[token]
    wanted = -advantage * (onehot - (LOGITS / heat).softmax(-1)) / heat
    factor = {"corrected": weight, "cut": min(weight, 0.9)}.get(how, 1.0)
    torch.testing.assert_close(grads[0][engine.row([0])], (factor * wanted).float(), atol=1e-6, rtol=0)
    (found,) = [row.value for row in report.rows if row.metric == "loss"]
    assert found == pytest.approx(-advantage * factor, abs=1e-6), (
        "every ratio is 1, so the loss is minus the advantage"
    )


def test_correction_at_the_temperature_of_the_draws_changes_nothing():
    losses = []
    for correct in (0.0, 5.0):
        engine, tree, *_ = one_token("b", -1.0)
        learner = learners.gradient(objectives.clipped(correct=correct), lr=0.1, epochs=3, temperature=T)
        models = Models(policy=engine)
        report = models.run(
            learner(models, Learn("policy", selectors.every(), learner), [Example(tree, (1,))], Memory(), 0)
        )
        losses.append([row.value for row in report.rows if row.metric == "loss"])
    assert losses[0] == pytest.approx(losses[1], abs=1e-6) and losses[0][0] != losses[0][-1]


def test_several_steps_at_a_temperature_are_trl_s_formula():
    """coef = exp(log p_T - log p_T at the start); -min(coef A, clip(coef) A): three steps on a table of one
    context.
    """
    engine, tree, token, _ = one_token("b", 1.5)
    learner = learners.gradient(objectives.clipped(), lr=0.3, epochs=3, temperature=T)
    models = Models(policy=engine)
    report = models.run(
        learner(models, Learn("policy", selectors.every(), learner), [Example(tree, (1,))], Memory(), 0)
    )
    twin, seen = torch.nn.Parameter(LOGITS.clone()), []
    adam = torch.optim.AdamW([twin], lr=0.3, weight_decay=0.0)
    old = (twin / T).log_softmax(-1)[token].detach()
    for _ in range(3):
        coef = ((twin / T).log_softmax(-1)[token] - old).exp()
        loss = -torch.minimum(coef * 1.5, coef.clamp(0.8, 1.2) * 1.5)
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([twin], 1.0)
        adam.step()
        seen.append(float(loss.detach()))
    assert [row.value for row in report.rows if row.metric == "loss"] == pytest.approx(seen, abs=1e-5)
    np.testing.assert_allclose(engine.weights()["table"][engine.row([0])], twin.detach(), atol=1e-5)


def test_gspo_says_how_many_paths_are_at_the_clip():
    models = nano_models()
    method = of("gspo")(problems=6, n=8, max_tokens=3, lr=0.01, updates=3, every=100)
    result = models.run(improve(method, copy_letter(), models, rounds=1))
    (learnt,) = [event for event in result.events if event["event"] == "learn"]
    assert 0 < learnt["clip_ratio"] <= 1
