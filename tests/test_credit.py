"""What the harder methods add, by hand: ranks, crossed votes, duels, seats, negative examples, marks, pairs
of steps, value heads.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from surpass import advantages, learners, objectives, rewards, selectors
from surpass.choose import best
from surpass.engines import LocalEngine
from surpass.errors import SurpassError, UnmetNeed
from surpass.flat import pack
from surpass.methods.b_star import Balance
from surpass.methods.cream import Trust
from surpass.methods.rest_mcts import Inferred
from surpass.models import Models
from surpass.parts import Learn
from surpass.types import DONE, FAILED, Cast, Column, Example, Memory, Out, Problem, Tree
from test_objectives import LOGP, a_tree, batch_of, paths
from tiny import copy_letter, nano_models, table

NAN = math.nan


def scored(reward, tree, models=None, task=None):
    models = models or table()
    (column,) = models.run(reward(models, task or copy_letter(), [tree]))
    return column.values


# -- votes and ranks


def test_ranks_are_borda_weights():
    """(N - r + 1)^p with N = 4 judged of 5; equals keep their order."""
    tree = Tree(Problem("p", ""))
    root = tree.add(-1, "task", [1])
    for token in range(5):
        tree.add(root, "policy", [token], stop=DONE)
    tree.put("reward", Column("leaf", np.array([0.2, 0.9, NAN, 0.2, 0.5])))
    np.testing.assert_allclose(scored(rewards.ranks(power=2.0), tree), [4, 16, NAN, 1, 9])
    np.testing.assert_allclose(scored(rewards.ranks(power=0.0), tree), [1, 1, NAN, 1, 1])


@pytest.mark.parametrize(("power", "chosen"), [(0.0, "b"), (8.0, "a")])
def test_borda_goes_from_the_majority_to_the_surest(power, chosen):
    """Ranks: a 1, b 2, b 3, b 4 of four. Power 0 counts heads (b), a large power follows the first (a): 4^8 >
    3^8 + 2^8 + 1.
    """
    models, tree = table(), Tree(Problem("p", ""))
    root = tree.add(-1, "task", [0])
    for letter in "babb":
        tree.add(root, "policy", models.encode("policy", letter), stop=DONE)
    tree.put("certainty", Column("leaf", np.array([0.3, 0.9, 0.5, 0.1])))
    task = copy_letter(shared=True)
    tree.put("rank", Column("leaf", scored(rewards.ranks("certainty", power), tree, models, task)))
    tree.put("votes", Column("leaf", scored(rewards.vote(weight="rank"), tree, models, task)))
    leaf = best("votes", then="certainty")(tree)
    assert models.text("policy", tree, leaf) == chosen
    assert chosen == "a" or leaf == 3, "of the attempts that give the winning answer, the surest"


def test_crossed_votes_label_the_other_wording():
    """First wording: a a b, so a; second: b b (one fails), so b. Each is held to the other's."""
    models, tree = table(), Tree(Problem("p", ""))
    one, two = tree.add(-1, "task", [0]), tree.add(-1, "task", [1])
    for root, letter, stop in (
        (one, "a", DONE),
        (one, "a", DONE),
        (one, "b", DONE),
        (two, "b", DONE),
        (two, "b", DONE),
        (two, "a", FAILED),
    ):
        tree.add(root, "policy", models.encode("policy", letter), stop=stop)
    task = copy_letter(shared=True)
    values = scored(rewards.crossed(), tree, models, task)
    np.testing.assert_allclose(values, [0, 0, 1, 0, 0, NAN])
    tree.put("reward", Column("leaf", values))
    (columns,) = advantages.group(scale=False, apart=True)([tree], Memory())
    np.testing.assert_allclose(columns["advantage"].values, [-1 / 3, -1 / 3, 2 / 3, 0, 0, NAN])
    alone = Tree(Problem("p", ""))
    alone.add(alone.add(-1, "task", [0]), "policy", [0], stop=DONE)
    assert np.isnan(scored(rewards.crossed(), alone, models, task)).all()


# -- pairs of attempts


def test_duels_cancel_a_liking_for_the_first_place():
    """A judge that likes the first place by a constant gives 1/2 once both orders are averaged; the task's
    own taste stays.
    """

    @dataclasses.dataclass(frozen=True)
    class partial(copy_letter):
        def prefer(self, models, problem, a, b):
            return min(1.0, 0.3 + (0.4 if a == "b" and b == "a" else 0.0) + 0.3 * (a != b) * 1.0)

    models, tree = table(), Tree(Problem("p", ""))
    root = tree.add(-1, "task", [0])
    for letter in "aba":
        tree.add(root, "policy", models.encode("policy", letter), stop=DONE)
    p = scored(rewards.preferred(), tree, models, partial(shared=True))
    np.testing.assert_allclose(p + p.T, 1)
    # (0.6 + 1 - 1.0) / 2 = 0.3
    np.testing.assert_allclose(p, [[0.5, 0.3, 0.5], [0.7, 0.5, 0.7], [0.5, 0.3, 0.5]])
    tree.put("pairs", Column("pair", p))
    r = scored(rewards.wins("pairs"), tree, models)
    np.testing.assert_allclose(r, [0.4, 0.7, 0.4])
    assert r.mean() == pytest.approx(0.5)
    with pytest.raises(SurpassError, match="prefer"):
        scored(rewards.preferred(), tree, models, object())


def test_siblings_pair_the_best_step_with_the_worst():
    """Confidence N_best / (N_best + N_worst), at least 1/2; what is learnt follows the parent."""
    tree = Tree(Problem("p", ""))
    root = tree.add(-1, "task", [1])
    a, b, c = (tree.add(root, "policy", [token]) for token in (2, 3, 4))
    d, e = (tree.add(a, "policy", [token], stop=DONE) for token in (5, 6))
    tree.put("q", Column("node", np.array([NAN, 0.5, 0.2, 0.9, 0.4, 0.4])))
    tree.put("visits", Column("node", np.array([10, 3, 1, 6, 1, 2.0])))
    (example,) = selectors.siblings("q", visits="visits")([tree], Memory(), 0)
    assert (example.nodes, example.since) == ((c, b), (root, root)) and example.confidence == pytest.approx(
        6 / 7
    )
    assert not selectors.siblings("q", margin=0.8)([tree], Memory(), 0)
    tree.put("visits", Column("node", np.array([10, 3, 6, 1, 1, 2.0])))
    assert selectors.siblings("q", visits="visits")([tree], Memory(), 0)[0].confidence == 0.5
    assert d != e


def test_trust_is_kendalls_correlation():
    """Ranks 1 2 3 against 1 3 2: one of three pairs discordant, tau = 1/3, C = 2/3; against itself 1;
    reversed 0.
    """
    trees = []
    for before in ([1.0, 3.0, 2.0], [1.0, 2.0, 3.0], [3.0, 2.0, 1.0]):
        trees.append(a_tree(now=[1.0, 2.0, 3.0], before=before))
    each = table().run(Trust("now", "before", shared=False)(None, None, trees))
    np.testing.assert_allclose([column.values[0] for column in each], [2 / 3, 1, 0], atol=1e-12)
    every = table().run(Trust("now", "before")(None, None, trees))
    np.testing.assert_allclose([column.values[0] for column in every], 5 / 9)
    floor = table().run(Trust("now", "before", shared=False, least=0.5)(None, None, trees))
    np.testing.assert_allclose([column.values[0] for column in floor], [2 / 3, 1, 0.5])


def test_confidence_one_half_pulls_nowhere_at_the_reference():
    """c l(z) + (1 - c) l(-z) at z = 0: derivative beta (1/2 - c)."""
    tree = a_tree()
    for confidence, wanted in ((0.5, 0.0), (1.0, -0.05), (0.0, 0.05)):
        batch, arrange = batch_of([Example(tree, (2, 4), confidence=confidence)])
        logp = arrange(LOGP).requires_grad_()
        sums, _ = objectives.dpo(0.1)(Out(logp), batch)
        sums["examples"].backward()
        at = batch.token.tolist().index(15)
        assert float(logp.grad[at]) == pytest.approx(-wanted, abs=1e-12)


# -- a model against another


def test_implicit_rewards_and_what_they_are_at_the_start():
    models = nano_models()
    models.weights.remember(["policy@0"])

    async def go(reward):
        tree = Tree(Problem("p", "ab"), 3)
        root = models.open("policy", tree, "ab")
        await models.generate("policy", tree, root, 2, max_tokens=3)
        (column,) = await reward(models, None, [tree])
        means = [tree.drawn(leaf)[0].astype(float).mean() for leaf in tree.leaves()]
        return column.values, np.array(means)

    assert models.weights.same("policy", "policy@0")
    values, means = models.run(go(rewards.implicit("policy", or_likelihood=True)))
    np.testing.assert_allclose(values, means, atol=1e-5)
    with torch.no_grad():
        next(iter(models.engine("policy").trainable().values())).mul_(1.5)
    assert not models.weights.same("policy", "policy@0")
    values, _ = models.run(go(rewards.implicit("policy", beta=2.0, or_likelihood=True)))
    again, _ = models.run(go(rewards.implicit("", beta=1.0)))
    np.testing.assert_allclose(values, 2 * again, atol=1e-4)
    assert np.abs(values).max() > 1e-4


# -- players


def test_seats_have_baselines_of_their_own():
    """R = 1, -1 twice, decay 1/2: first game against 0, second against b = +-1/2; then b = +-3/4."""

    def game():
        tree = Tree(Problem("g", "", meta={"task": "poker"}))
        one, two = tree.add(-1, "task", [1]), tree.add(-1, "task", [2])
        nodes = [tree.add(one, "policy", [3]), tree.add(two, "policy", [4])]
        nodes.append(tree.add(nodes[0], "policy", [5]))
        tree.mark("player", one, 0)
        tree.mark("player", two, 1)
        tree.put("outcome", Column("node", np.array([NAN, NAN, 1, -1, 1.0])))
        return tree, nodes

    (first, _), (second, nodes) = game(), game()
    memory = Memory()
    columns = advantages.seats(decay=0.5, discount=0.9)([first, second], memory)
    np.testing.assert_allclose(columns[0]["advantage"].values, [NAN, NAN, 0.9, -1, 1])
    np.testing.assert_allclose(columns[1]["advantage"].values, [NAN, NAN, 0.45, -0.5, 0.5])
    assert memory.notes["seats"] == {"poker/0": 0.75, "poker/1": -0.75}
    shared = advantages.seats(decay=0.5, apart=False)([first], Memory())
    np.testing.assert_allclose(shared[0]["advantage"].values, [NAN, NAN, 1, -1, 1])
    credited = second.with_columns(columns[1])
    assert [e.nodes for e in selectors.contexts()([credited], Memory(), 0)] == [(nodes[1],), (nodes[2],)]


# -- negative examples


def nft_batch(right=(1.0, 0.0, 0.0), rate=1 / 3):
    tree = a_tree(right=list(right))
    tree.put("rate", Column("node", np.full(len(tree), rate)))
    return batch_of(paths(tree), columns=("logp", "right", "rate"))


def test_nft_by_hand():
    """r = 1/3, omega = 1 - r. Right: -log R. Wrong: -log S((1 - R/3) / (2/3)), value clamped to 1 from below,
    so its loss is <= 0.
    """
    batch, arrange = nft_batch()
    ratio = {10: 1.2, 11: 0.9, 12: 1.5, 13: 0.6, 14: 1.1, 15: 0.3}
    start = arrange(LOGP)
    batch.columns["logp@start"] = ("token", start)
    logp = start + torch.log(arrange(ratio).clamp(min=1e-9))
    sums, _ = objectives.nft(eps=1.0, omega="hard", length=10.0)(Out(logp), batch)

    def wrong(token):
        return -math.log(max(1.0, (1 - ratio[token] / 3) / (2 / 3)))

    right = -sum(math.log(ratio[t]) for t in (10, 11, 12))
    wanted = (right + sum(map(wrong, (10, 11, 13, 14))) + wrong(15)) * (2 / 3) / 10
    assert float(sums["paths"]) == pytest.approx(wanted, abs=1e-12)


def test_the_clamp_of_nft_is_straight_through():
    """At R = 1.5 the wrong path's argument is (1 - .5) / (2/3) = .75 < eps = 1: the value is log 1, the
    gradient -(r R / (1 - r)) / -eps.
    """
    batch, arrange = nft_batch(right=(0.0, 0.0, 0.0))
    start = arrange(LOGP)
    batch.columns["logp@start"] = ("token", start)
    logp = (start + math.log(1.5)).requires_grad_()
    sums, _ = objectives.nft(eps=1.0, omega="one", length=1.0)(Out(logp), batch)
    sums["paths"].backward()
    assert float(sums["paths"]) == pytest.approx(0.0, abs=1e-12)
    at = batch.token.tolist().index(15)
    assert float(logp.grad[at]) == pytest.approx((1 / 3) * 1.5 / (2 / 3), abs=1e-12)


def test_nft_at_the_start_is_grpo():
    """omega = sqrt((1 - r) / r), R = 1: the gradient is -A with A = (reward - r) / std, std = sqrt(r (1 - r))
    over all attempts.
    """
    batch, arrange = nft_batch()
    logp = arrange(LOGP).requires_grad_()
    objectives.nft(omega="grpo", normaliser="token")(Out(logp), batch)[0]["tokens"].backward()
    r = 1 / 3
    std = math.sqrt(r * (1 - r))
    credit = [(1 - r) / std, -r / std, -r / std]
    wanted = arrange(
        {
            10: credit[0] + credit[1],
            11: credit[0] + credit[1],
            12: credit[0],
            13: credit[1],
            14: credit[1],
            15: credit[2],
        }
    )
    torch.testing.assert_close(logp.grad, -wanted, atol=1e-10, rtol=0)


def test_success_says_what_is_right_and_how_often():
    (columns,) = advantages.success()([a_tree(reward=[1.0, 0.4, NAN])], Memory())
    np.testing.assert_allclose(columns["right"].values, [1, 0, NAN])
    np.testing.assert_allclose(columns["rate"].values, 0.5)


# -- marks, and values


def marked_tree():
    tree = a_tree()
    for leaf in tree.leaves():
        tree.add(leaf, "mark", [40 + leaf], aside=True)
    tree.put("target", Column("node", np.array([NAN] * 5 + [1.0, 0.0, NAN])))
    tree.put("balance", Column("node", np.array([NAN] * 5 + [2.0, 0.5, NAN])))
    return tree


def test_a_term_for_the_marks_alone():
    """Policy tokens and marks learn apart: sft of the policy's tokens only, and sum of b (beta (log p - log
    p0) - y)^2 at the marks.
    """
    tree = marked_tree()
    batch = pack([Example(tree, (node,)) for node in (5, 6, 7)], ("policy", "mark"), ("target", "balance"))
    values = LOGP | {42: -3.0, 43: -5.0, 44: -1.0}
    logp = torch.tensor([values.get(int(t), 0.0) for t in batch.token], dtype=torch.float64)
    batch.columns["logp@policy@0"] = ("token", torch.where(batch.token >= 40, -10.0, 0.0).double())
    both = objectives.total(
        (objectives.only("policy", objectives.sft()), objectives.only("mark", objectives.regression(0.1)))
    )
    assert both.columns == {"logp@policy@0", "target", "balance"}
    sums, figures = both(Out(logp), batch)
    assert float(sums["tokens/policy"]) == pytest.approx(0.7 + 2.7 + 3.2)
    # .1 (-3 + 10) = .7, .1 (-5 + 10) = .5
    assert float(sums["paths"]) == pytest.approx(2.0 * (0.7 - 1) ** 2 + 0.5 * 0.5**2)
    assert figures["target_gap"][1] == 2


def test_value_objectives_by_hand():
    tree = a_tree()
    tree.put("target", Column("node", np.array([NAN, 0.5, 1.0, 0.0, NAN])))
    examples = selectors.prefixes()([tree], Memory(), 0)
    assert [e.nodes for e in examples] == [(1,), (2,), (3,)]
    batch = pack(examples, ["policy"], ["target"])
    v = torch.tensor([{11: 0.2, 12: 0.9, 14: 0.4}.get(int(t), 7.0) for t in batch.token])[:, None]
    nothing = torch.zeros(len(batch.token))
    sums, figures = objectives.value()(Out(nothing, value=v), batch)
    assert float(sums["paths"]) == pytest.approx(0.3**2 + 0.1**2 + 0.4**2, abs=1e-6)
    assert figures["value_gap"] == (pytest.approx(0.8, abs=1e-6), 3)
    sums, _ = objectives.value("bce")(Out(nothing, value=v), batch)
    s = [1 / (1 + math.exp(-x)) for x in (0.2, 0.9, 0.4)]
    wanted = -0.5 * math.log(s[0]) - 0.5 * math.log(1 - s[0]) - math.log(s[1]) - math.log(1 - s[2])
    assert float(sums["paths"]) == pytest.approx(wanted, abs=1e-6)


def test_an_actor_and_its_critic_learn_in_one_pass():
    """A policy gradient and a value loss on one model: which of the two the forward pass gave hung on the
    order of hashing.
    """
    models = nano_models()
    models.cast({"actor": Cast("policy", heads=1)})
    tree = Tree(Problem("p", "ab"), 1)
    nodes = models.run(models.generate("actor", tree, models.open("actor", tree, "ab"), 3, max_tokens=4))
    tree.put("advantage", Column("leaf", np.array([1.0, -1.0, 0.5])))
    tree.put("target", Column("leaf", np.array([1.0, 0.0, 1.0])))
    engine, objective = (
        models.engine("actor"),
        objectives.total((objectives.clipped(), objectives.value(), objectives.entropy())),
    )
    before = engine.weights()
    row = Learn("actor", selectors.every(), learners.gradient(objective, lr=1e-3))
    report = models.run(row.learner(models, row, [Example(tree, (node,)) for node in nodes], Memory(), 0))
    figures = {name: some["mean"] for name, some in report.metrics.items()}
    assert {"clip_ratio", "value_gap", "entropy", "draw_gap"} <= figures.keys() and figures["draw_gap"] < 1e-4
    moved = {name for name, weight in engine.weights().items() if not torch.equal(weight, before[name])}
    assert any("head" in name for name in moved) and any("embed" in name for name in moved)


def test_a_copy_with_heads_learns_values_and_is_saved(tmp_path):
    models = nano_models()
    models.cast({"value": Cast("policy", heads=2), "judge": Cast("policy", shared=True)})
    assert "value" in models.can("value") and "value" not in models.can("policy")
    assert models.engine("judge") is models.engine("policy")
    tree = Tree(Problem("p", "ab"), 1)
    root = models.open("policy", tree, "ab")
    nodes = models.run(models.generate("policy", tree, root, 3, max_tokens=4))
    engine = models.engine("value")
    with torch.no_grad():
        engine.heads.weight.normal_(generator=torch.Generator().manual_seed(1))
    found = [models.run(models.value("value", tree, node)) for node in nodes]
    batch = pack([Example(tree, (node,)) for node in nodes], ["policy"])
    wanted = torch.ones(len(batch.token), dtype=torch.bool)
    with torch.no_grad():
        trees = engine.forward(batch, wanted, {"value"}).value
        engine.why_not_trees = "a test"
        rows = engine.forward(batch, wanted, {"value"}).value
        engine.why_not_trees = None
    torch.testing.assert_close(trees, rows, atol=1e-4, rtol=1e-4)
    ends = torch.zeros_like(wanted).index_fill(0, batch.last, True)
    for why in (None, "a test"):
        engine.why_not_trees = why
        with torch.no_grad():
            both = engine.forward(batch, batch.trained, {"logp", "entropy", "value"}, ends=ends)
            torch.testing.assert_close(both.logp, engine.forward(batch).logp, atol=1e-5, rtol=0)
            torch.testing.assert_close(
                both.entropy, engine.forward(batch, outputs={"entropy"}).entropy, atol=1e-5, rtol=0
            )
        torch.testing.assert_close(both.value, trees * ends[:, None], atol=1e-4, rtol=1e-4)
    engine.why_not_trees = None
    for node, value, last in zip(nodes, found, batch.last.tolist(), strict=True):
        assert value.shape == (len(tree.path_tokens(node)), 2)
        np.testing.assert_allclose(value[-1], trees[last].numpy(), atol=1e-4)
    engine.save(tmp_path)
    weights = engine.weights()
    assert set(engine.read(tmp_path)) == set(weights)
    torch.testing.assert_close(engine.read(tmp_path)["value_heads.weight"], weights["value_heads.weight"])
    models.forget()
    assert list(models.engines) == ["policy"]
    with pytest.raises(UnmetNeed):
        models.run(models.value("policy", tree, nodes[0]))
    assert isinstance(engine, LocalEngine) and isinstance(models, Models)


def test_labels_inferred_from_a_tree():
    """ReST-MCTS*: a right path of three steps is worth 1/3, 2/3, 1; a wrong end after its first step takes
    the distance of that step.
    """
    tree = Tree(Problem("p", ""))
    root = tree.add(-1, "task", [1])
    a = tree.add(root, "policy", [2])
    b = tree.add(a, "policy", [3])
    right = tree.add(b, "policy", [4], stop=DONE)
    wrong = tree.add(a, "policy", [5], stop=DONE)
    lost = tree.add(root, "policy", [6])
    open_ = tree.add(lost, "policy", [7])
    tree.put(
        "reward",
        Column("leaf", np.array([{right: 1.0, wrong: 0.0, open_: NAN}[leaf] for leaf in tree.leaves()])),
    )
    (columns,) = Inferred()([tree], Memory())
    target = columns["target"].values
    # distances: right 1, b 2, a 3; wrong takes a's 3: 1/3 + (2/3) (-1) / 3 = 1/9
    np.testing.assert_allclose(target[[a, b, right, wrong]], [1 / 3, 2 / 3, 1, 1 / 9])
    assert np.isnan(target[[root, lost, open_]]).all(), "unfinished branches have no label"


def test_balance_wants_enough_and_pure():
    """Three kept of five (two equal but for blanks): 2 right of 3 distinct, 4 wanted: 2/4 x 2/3."""
    tree = Tree(Problem("p", ""))
    root = tree.add(-1, "task", [1])
    for token in range(5):
        tree.add(root, "policy", [token], stop=DONE)
    tree.put("reward", Column("leaf", np.array([1.0, 1.0, 1.0, 0.5, 0.0])))
    texts = ["x = 1", "x=1", "y", "z", "w"]
    assert Balance((), 4, 0).of(tree, texts, 0.5) == pytest.approx(2 / 4 * 2 / 3)
    assert Balance((), 2, 0).of(tree, texts, 1.0) == 1.0
    assert Balance((), 2, 0).of(tree, texts, 2.0) == 0.0


def test_step_advantages_read_node_scores():
    """Three siblings scored 1, 0, -1: (r - 0) / (1 + 1e-4); an only child 0."""
    tree = Tree(Problem("p", ""))
    root = tree.add(-1, "task", [1])
    kept = [tree.add(root, "policy", [token]) for token in (2, 3, 4)]
    told = tree.add(kept[0], "task", [5])
    last = tree.add(told, "policy", [6], stop=DONE)
    tree.put("step", Column("node", np.array([NAN, 1, 0, -1, NAN, 1.0])))
    (columns,) = advantages.siblings("step", scale=True)([tree], Memory())
    np.testing.assert_allclose(
        columns["advantage"].values[[*kept, last]], np.array([1, 0, -1, 0]) / (1 + 1e-4) * [1, 1, 1, 0]
    )
    examples = selectors.steps()([tree.with_columns(columns)], Memory(), 0)
    assert [(e.nodes, e.since) for e in examples] == [
        ((kept[0],), (root,)),
        ((kept[1],), (root,)),
        ((kept[2],), (root,)),
        ((last,), (told,)),
    ]


def test_choosing_a_temperature_takes_a_fifth_of_what_is_drawn():
    """8 rounds of 32 problems x 16 attempts; after rounds 1 and 5 four temperatures x 8 problems x 16."""
    from surpass import gates, measures
    from surpass.loop import improve
    from surpass.methods.b_star import b_star

    @dataclasses.dataclass(frozen=True)
    class many(copy_letter):
        def problems(self, split, seed):
            yield from (Problem(f"{split}-{i}", "a", "a") for i in range(64))

    models, method = table(), b_star(max_tokens=1)
    method = dataclasses.replace(
        method, gate=gates.always(), exam=measures.sized(method.exam, {"gate": 1, "test": 1})
    )
    models.run(improve(method, many(), models, rounds=8))
    assert models.cost["search"]["calls"] == 8 * 32 * 16
    assert models.cost["adapt"]["calls"] == 2 * 4 * 8 * 16
    drawn = models.cost["adapt"]["calls"] + models.cost["search"]["calls"]
    assert models.cost["adapt"]["calls"] / drawn == 0.2


def test_a_dev_pool_without_a_right_attempt_changes_nothing():
    """All balances are 0 then; a threshold of 0 would have the model imitate wrong attempts."""
    import dataclasses

    from surpass.methods.b_star import b_star

    @dataclasses.dataclass(frozen=True)
    class hopeless(copy_letter):
        async def check(self, models, problem, text):
            return 0.0

    method, models = b_star(dev=2, n=2, max_tokens=2), table()
    same = models.run(method.adapt(method, models, hopeless(shared=True), Memory(), None, 0))
    assert same == method
    easy = dataclasses.replace(method, search=dataclasses.replace(method.search, n=16))
    other = models.run(easy.adapt(easy, models, copy_letter(shared=True), Memory(), None, 0))
    assert other.learn[0].select.threshold == 1.0


def test_values_are_learnt_at_the_end_of_a_path_whoever_wrote_there():
    """A path that ends with the task's words has a value too: one step moves it towards its target."""
    from surpass import learners
    from surpass.parts import Learn

    models = table()
    models.cast({"value": Cast("policy", heads=1)})
    tree = Tree(Problem("p", "ab"))
    root = models.open("policy", tree, "ab")
    tree.put("target", Column("node", np.array([1.0])))
    learn = Learn(
        "value", selectors.prefixes(), learners.gradient(objectives.value(), lr=0.1), voices=("policy",)
    )
    models.run(learn.learner(models, learn, learn.select([tree], Memory(), 0), Memory(), 0))
    assert models.run(models.value("value", tree, root))[-1, 0] == pytest.approx(0.1, abs=1e-3)


def test_marks_are_balanced_over_attempts_that_ended():
    """Four judged attempts, three ended (one right, two wrong): w = judged / (2 N_side) = 2 and 1, times
    alpha = 0.1.
    """
    from surpass.methods.laser import SelfScored

    tree = Tree(Problem("p", ""))
    root = tree.add(-1, "task", [1])
    leaves = [tree.add(root, "policy", [token], stop=DONE) for token in range(4)]
    marks = [tree.add(leaf, "mark", [9], aside=True) for leaf in leaves]
    tree.put("reward", Column("leaf", np.array([1.0, 0.0, 0.0, 1.0])))
    tree.put("held", Column("leaf", np.array([0.5, 0.5, 0.5, NAN])))
    (columns,) = SelfScored(0.1, 0.0, 0)([tree], Memory())
    np.testing.assert_allclose(columns["balance"].values[marks], [0.2, 0.1, 0.1, NAN])
    np.testing.assert_allclose(columns["target"].values[marks], [1, 0, 0, NAN])
    assert (columns["advantage"].values[marks] == 0).all()


def taught_nft(**knobs) -> torch.Tensor:
    """The table's logits after one round of the method's own learner on "ab", "ab" (right), "ac" and "bc"
    (wrong).
    """
    from surpass.engines import TabularEngine
    from surpass.methods.nft import nft
    from surpass.types import Memory

    engine = TabularEngine("abc", size=512)
    models = Models(policy=engine)
    tree = Tree(Problem("p", "a"))
    root, third = models.open("policy", tree, "a"), math.log(1 / 4)  # three letters and the end
    for text in ("ab", "ab", "ac", "bc"):
        tree.add(root, "policy", engine.text.encode(text), logp=np.full(2, third))
    tree.put("reward", Column("leaf", np.array([1.0, 1.0, 0.0, 0.0])))
    (learn,) = nft(lr=0.3, updates=1, **knobs).learn
    (credit,) = learn.advantage([tree], Memory())
    models.run(
        learn.learner(models, learn, learn.select([tree.with_columns(credit)], Memory(), 0), Memory(), 0)
    )
    return engine.weights()["table"]


def test_passes_over_the_same_attempts_make_nft_s_eps_matter():
    """At R = 1 both ratios are 1 and the clamp holds nothing; the letter that right and wrong answers share
    rises above the start's, so (1 - r R) / (1 - r) falls below 1 and eps = 1 holds it. One pass of one step
    never leaves R = 1.
    """
    assert torch.equal(taught_nft(epochs=1, eps=1.0), taught_nft(epochs=1, eps=1e-3))
    apart = (taught_nft(eps=1.0) - taught_nft(eps=1e-3)).abs().max()
    assert apart > 1e-2, "the method's own number of passes"
