"""Golden numbers worked by hand: every objective, advantage, selector and the paired gate, each with its
formula.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from surpass import advantages, gates, objectives, selectors
from surpass.errors import SurpassError
from surpass.flat import pack
from surpass.types import DONE, FAILED, Column, Example, Memory, Out, Problem, Report, Row, Tree

NAN = math.nan


def a_tree(**leaf_columns) -> Tree:
    """A prompt 1, then two answers: 10 11, which goes on as 12 or as 13 14; and 15. Drawn with log-prob -1
    throughout.

    node 0 [1]   node 1 [10 11]   node 2 [12]   node 3 [13 14]   node 4 [15];   leaves 2, 3, 4
    """
    tree = Tree(Problem("p", ""))
    root = tree.add(-1, "task", [1])
    shared = tree.add(root, "policy", [10, 11], logp=[-1, -1])
    tree.add(shared, "policy", [12], logp=[-1], stop=DONE)
    tree.add(shared, "policy", [13, 14], logp=[-1, -1], stop=DONE)
    tree.add(root, "policy", [15], logp=[-1], stop=DONE)
    for name, values in leaf_columns.items():
        tree.put(name, Column("leaf", np.array(values, float)))
    return tree


def batch_of(examples, columns=("logp", "logq"), **by_token):
    """The batch, and a function that orders token values {token: value} as the batch does."""
    batch = pack(examples, ["policy"], columns)

    def arrange(values):
        return torch.tensor([float(values.get(int(t), 0.0)) for t in batch.token], dtype=torch.float64)

    for name, values in by_token.items():
        batch.columns[name.replace("__", "@")] = ("token", arrange(values))
    return batch, arrange


def paths(tree, **settings):
    return [Example(tree, (leaf,), **settings) for leaf in tree.leaves()]


LOGP = {10: -0.1, 11: -0.2, 12: -0.4, 13: -0.8, 14: -1.6, 15: -3.2}
# the paths' sums are .1+.2+.4 = .7 over 3 tokens, .1+.2+.8+1.6 = 2.7 over 4, and 3.2 over 1


@pytest.mark.parametrize(
    ("normaliser", "total", "wanted"),
    [
        ("token", "tokens", 0.7 + 2.7 + 3.2),
        ("path", "paths", 0.7 / 3 + 2.7 / 4 + 3.2 / 1),
        ("constant", "paths", (0.7 + 2.7 + 3.2) / 5),
    ],
)
def test_sft(normaliser, total, wanted):
    """sum over paths of w_path x -sum_t log p(t); a token on two paths counts twice."""
    batch, arrange = batch_of(paths(a_tree()))
    sums, _ = objectives.sft(normaliser, length=5.0)(Out(arrange(LOGP)), batch)
    assert list(sums) == [total] and float(sums[total]) == pytest.approx(wanted, abs=1e-12)


def test_sft_scales_with_the_examples_weights():
    """2 x .7 + 1 x 2.7 + 0.5 x 3.2"""
    tree = a_tree()
    batch, arrange = batch_of(
        [Example(tree, (leaf,), weight=w) for leaf, w in zip(tree.leaves(), (2.0, 1.0, 0.5), strict=True)]
    )
    assert float(objectives.sft()(Out(arrange(LOGP)), batch)[0]["tokens"]) == pytest.approx(
        1.4 + 2.7 + 1.6, abs=1e-12
    )


RHO = {10: 1.5, 11: 0.5, 12: 1.1, 13: 0.9, 14: 2.0, 15: 0.6}
ADVANTAGE = {2: 2.0, 3: -1.0, 4: -3.0}
# min(rho A, clip(rho, .8, 1.3) A):
#   path to 2 (A = 2):   10: min(3, 2.6) = 2.6   11: min(1, 1.6) = 1.0   12: 2.2                       sum
#   5.8 path to 3 (A = -1):  10: min(-1.5, -1.3) = -1.5   11: min(-.5, -.8) = -.8   13: -.9   14: -2.0     sum
#   -5.2 path to 4 (A = -3):  15: min(-1.8, -2.4) = -2.4
#   sum -2.4


@pytest.mark.parametrize(
    ("normaliser", "total", "wanted"),
    [
        ("token", "tokens", -(5.8 - 5.2 - 2.4)),
        ("path", "paths", -(5.8 / 3 - 5.2 / 4 - 2.4 / 1)),
        ("constant", "paths", -(5.8 - 5.2 - 2.4) / 5),
    ],
)
def test_clipped(normaliser, total, wanted):
    """-sum w min(rho A, clip(rho, 1 - .2, 1 + .3) A): clipped on both sides; 10 and 11 lie on a good and on a
    bad path.
    """
    tree = a_tree(advantage=list(ADVANTAGE.values()))
    batch, arrange = batch_of(paths(tree), ("logp", "advantage"), logp__start=dict.fromkeys(RHO, -1.0))
    out = arrange({t: -1 + math.log(rho) for t, rho in RHO.items()}).requires_grad_()
    sums, figures = objectives.clipped(0.2, 0.3, normaliser, length=5.0)(Out(out), batch)
    assert list(sums) == [total] and float(sums[total].detach()) == pytest.approx(wanted, abs=1e-12)
    # at the clip: 10 (above, A > 0), 11 (below, A < 0), 15 (below, A < 0); 14 is above with A < 0 and so is
    # free
    assert figures == {"clip_ratio": (3.0, 6)}


def test_clipped_gives_no_gradient_where_it_clips():
    """d/d log rho of min(...): rho x (sum of the advantages whose clip does not bind there)."""
    tree = a_tree(advantage=list(ADVANTAGE.values()))
    batch, arrange = batch_of(paths(tree), ("logp", "advantage"), logp__start=dict.fromkeys(RHO, -1.0))
    out = arrange({t: -1 + math.log(rho) for t, rho in RHO.items()}).requires_grad_()
    objectives.clipped(0.2, 0.3)(Out(out), batch)[0]["tokens"].backward()
    wanted = {10: -1.5 * -1, 11: -0.5 * 2, 12: -1.1 * 2, 13: -0.9 * -1, 14: -2.0 * -1, 15: 0.0}
    torch.testing.assert_close(out.grad, arrange(wanted), atol=1e-12, rtol=0)


def test_clipped_with_an_advantage_per_node():
    """A = 1 at node 1, -2, 3, 0 at nodes 2, 3, 4: node 1's tokens count for both paths.

    10: min(1.5, 1.3) = 1.3, 11: .5, twice each; 12: -2.2; 13: .9 x 3 = 2.7, 14: min(6, 3.9) = 3.9; 15: 0
    """
    tree = a_tree()
    tree.put("advantage", Column("node", np.array([NAN, 1.0, -2.0, 3.0, 0.0])))
    batch, arrange = batch_of(paths(tree), ("logp", "advantage"), logp__start=dict.fromkeys(RHO, -1.0))
    out = arrange({t: -1 + math.log(rho) for t, rho in RHO.items()})
    sums, _ = objectives.clipped(0.2, 0.3)(Out(out), batch)
    assert float(sums["tokens"]) == pytest.approx(-(2 * 1.3 + 2 * 0.5 - 2.2 + 2.7 + 3.9), abs=1e-12)


def test_clipped_by_path():
    """rho(path) = exp(mean log rho): (1.5 x .5 x 1.1)^(1/3), (1.5 x .5 x .9 x 2)^(1/4) and .6, clipped to
    [.95, 1.05].
    """
    tree = a_tree(advantage=[2.0, 1.0, -3.0])
    batch, arrange = batch_of(paths(tree), ("logp", "advantage"), logp__start=dict.fromkeys(RHO, -1.0))
    out = arrange({t: -1 + math.log(rho) for t, rho in RHO.items()})
    sums, figures = objectives.clipped(0.05, 0.05, "path", "path")(Out(out), batch)
    first, second = 0.825 ** (1 / 3), 1.35 ** (1 / 4)
    assert 0.9 < first < 0.95 < 1.05 < second  # A > 0 binds above only, A < 0 below only
    assert float(sums["paths"]) == pytest.approx(-(2 * first + 1 * 1.05 - 3 * 0.95), abs=1e-12)
    assert figures == {"clip_ratio": (2.0, 3)}  # the second above with A > 0, the third below with A < 0


def test_clipped_corrects_for_another_sampling_distribution():
    """Token weights min(p_start / q, c): 10 was drawn with q = p/1.5, 15 with q = p/4 (cut to c = 2), the
    rest with q = p.
    """
    tree = a_tree(advantage=[1.0, 1.0, -1.0])
    batch, arrange = batch_of(
        paths(tree),
        ("logp", "advantage"),
        logp__start=dict.fromkeys(RHO, -1.0),
        logq={t: -1 - math.log({10: 1.5, 15: 4.0}.get(t, 1.0)) for t in RHO},
    )
    sums, _ = objectives.clipped(correct=2.0)(Out(arrange(dict.fromkeys(RHO, -1.0))), batch)
    assert float(sums["tokens"]) == pytest.approx(-(2 * 1.5 + 2 * 1 + 1 + 1 + 1 - 2.0), abs=1e-12)


def test_clipped_without_a_start_takes_its_own_log_probs():
    """One step a round: every ratio is 1 in value and carries the gradient: d/d logp = -A w."""
    tree = a_tree(advantage=[2.0, -1.0, -3.0])
    batch, arrange = batch_of(paths(tree), ("logp", "advantage"))
    out = arrange(LOGP).requires_grad_()
    sums, _ = objectives.clipped()(Out(out), batch)
    assert float(sums["tokens"].detach()) == pytest.approx(-(2 * 3 - 1 * 4 - 3 * 1), abs=1e-12)
    sums["tokens"].backward()
    torch.testing.assert_close(
        out.grad, arrange({10: -1, 11: -1, 12: -2, 13: 1, 14: 1, 15: 3}), atol=1e-12, rtol=0
    )


def test_a_ratio_per_path_refuses_an_advantage_per_node():
    tree = a_tree()
    tree.put("advantage", Column("node", np.zeros(5)))
    batch, arrange = batch_of(paths(tree), ("logp", "advantage"))
    with pytest.raises(SurpassError, match="one advantage per path"):
        objectives.clipped(ratio="path")(Out(arrange(LOGP)), batch)


BASE = {10: -0.3, 11: -0.3, 12: -0.5, 13: -0.5, 14: -1.0, 15: -3.0}
# log p - log p_base: 10: .2, 11: .1, 12: .1, 13: -.3, 14: -.6, 15: -.2
# paths: to 2: .4 over 3 tokens, to 3: -.6 over 4, to 4: -.2 over 1.  z(2 over 3) = 1.0, z(4 over 2) = -.6


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


PAIRS = [
    (
        {"beta": 0.5},
        -math.log(sigmoid(0.5)) - 0.5 * (0.8 * math.log(sigmoid(-0.3)) + 0.2 * math.log(sigmoid(0.3))),
    ),
    ({"beta": 0.5, "kind": "ipo"}, (1.0 - 1) ** 2 + 0.5 * (0.8 * (-0.6 - 1) ** 2 + 0.2 * (0.6 - 1) ** 2)),
    (
        {"beta": 0.5, "kind": "ipo", "per_token": True},
        (0.4 / 3 + 0.6 / 4 - 1) ** 2
        + 0.5 * (0.8 * (-0.2 - 0.4 / 3 - 1) ** 2 + 0.2 * (0.2 + 0.4 / 3 - 1) ** 2),
    ),
]


@pytest.mark.parametrize(("settings", "wanted"), PAIRS)
def test_dpo(settings, wanted):
    """c l(z) + (1 - c) l(-z) for a sure pair (2 over 3), and for one of weight .5 and confidence .8 (4 over
    2).
    """
    tree = a_tree()
    examples = [Example(tree, (2, 3)), Example(tree, (4, 2), weight=0.5, confidence=0.8)]
    batch, arrange = batch_of(examples, logp__start=BASE)
    sums, figures = objectives.dpo(**settings)(Out(arrange(LOGP)), batch)
    assert list(sums) == ["examples"] and float(sums["examples"]) == pytest.approx(wanted, abs=1e-12)
    if "per_token" not in settings:
        assert figures == {
            "rewards/accuracies": (1.0, 2),
            "rewards/margins": (pytest.approx(0.5 * (1.0 - 0.6)), 2),
            "rewards/abs_margins": (pytest.approx(0.5 * (1.0 + 0.6)), 2),
        }


def test_dpo_learns_only_after_since():
    """After node 1 the pair is 12 against 13 14: z = .1 - (-.9) = 1.0, as before, for what they share cancels
    anyway; from 14 alone it would be different.
    """
    tree = a_tree()
    batch, arrange = batch_of(
        [Example(tree, (2, 3), since=(1, 1)), Example(tree, (2, 4), since=(1, -1))], logp__start=BASE
    )
    sums, _ = objectives.dpo(0.5)(Out(arrange(LOGP)), batch)
    assert float(sums["examples"]) == pytest.approx(
        -math.log(sigmoid(0.5 * 1.0)) - math.log(sigmoid(0.5 * (0.1 + 0.2))), abs=1e-12
    )


def test_dpo_needs_pairs():
    batch, arrange = batch_of(paths(a_tree()), logp__start=BASE)
    with pytest.raises(SurpassError, match="two paths each"):
        objectives.dpo()(Out(arrange(LOGP)), batch)


@pytest.mark.parametrize(
    ("normaliser", "total"), [("token", "tokens"), ("path", "paths"), ("constant", "paths")]
)
def test_kl(normaliser, total):
    """c sum w (exp(d) - d - 1), d = log p_base - log p: 10: -.2, 11: -.1, 12: -.1, 13: .3, 14: .6, 15: .2"""
    k = {t: math.exp(BASE[t] - LOGP[t]) - (BASE[t] - LOGP[t]) - 1 for t in LOGP}
    by_path = [k[10] + k[11] + k[12], k[10] + k[11] + k[13] + k[14], k[15]]
    batch, arrange = batch_of(paths(a_tree()), logp__policy__0=BASE)
    sums, figures = objectives.kl(0.3, normaliser=normaliser, length=5.0)(Out(arrange(LOGP)), batch)
    weights = {"token": (1, 1, 1), "path": (1 / 3, 1 / 4, 1), "constant": (0.2, 0.2, 0.2)}[normaliser]
    assert float(sums[total]) == pytest.approx(
        0.3 * sum(w * x for w, x in zip(weights, by_path, strict=True)), abs=1e-12
    )
    assert figures == {"kl": (pytest.approx(sum(k.values())), 6)}
    assert k[14] == pytest.approx(0.2221188, abs=1e-7) and k[15] == pytest.approx(0.0214028, abs=1e-7)


def test_entropy():
    """-c sum w H: H = 1, 2, 3 on path 2; 1, 2, 4, 5 on path 3; 6 on path 4; w = 1/|path|"""
    batch, arrange = batch_of(paths(a_tree()))
    h = arrange({10: 1, 11: 2, 12: 3, 13: 4, 14: 5, 15: 6})
    sums, figures = objectives.entropy(0.1, "path")(Out(arrange(LOGP), h), batch)
    assert float(sums["paths"]) == pytest.approx(-0.1 * (6 / 3 + 12 / 4 + 6 / 1), abs=1e-12)
    assert figures == {"entropy": (21.0, 6)}


def test_total_adds_what_has_the_same_normaliser():
    batch, arrange = batch_of(paths(a_tree()))
    out = Out(arrange(LOGP), arrange(dict.fromkeys(LOGP, 1.0)))
    both = objectives.total(
        (objectives.sft("token"), objectives.sft("path"), objectives.entropy(0.1, "token"))
    )
    sums, _ = both(out, batch)
    assert float(sums["tokens"]) == pytest.approx(6.6 - 0.1 * 8, abs=1e-12)
    assert float(sums["paths"]) == pytest.approx(0.7 / 3 + 2.7 / 4 + 3.2, abs=1e-12)
    assert both.columns == frozenset() and both.outputs == {"logp", "entropy"}


def test_total_tells_equal_figures_apart():
    """Two leashes to two models: the second's figure once stood in the place of the first's."""
    batch, arrange = batch_of(paths(a_tree()), logp__policy__0=BASE)
    batch.columns["logp@start"] = ("token", arrange(LOGP))
    out = Out(arrange(LOGP))
    _, figures = objectives.total((objectives.kl(1.0), objectives.kl(1.0, base="start"), objectives.sft()))(
        out, batch
    )
    assert set(figures) == {"kl", "kl/2"} and figures["kl"][0] > 0 == figures["kl/2"][0]


@pytest.mark.parametrize(
    "objective", [objectives.dpo(base="policy@0"), objectives.kl(), objectives.regression()]
)
def test_log_probs_of_a_base_that_nobody_computed_are_an_error(objective):
    """They were taken to be the policy's own, so that a leash of any length held nothing."""
    tree = a_tree()
    batch, arrange = batch_of([Example(tree, (2, 3))])
    for name in ("target", "balance"):
        batch.columns[name] = ("token", arrange(LOGP))
    with pytest.raises(SurpassError, match='the column "logp@policy@0" is missing'):
        objective(Out(arrange(LOGP)), batch)
    objectives.dpo(base="start")(Out(arrange(LOGP)), batch)  # the one step of a round: its own are these


@pytest.mark.parametrize("make", [objectives.sft, objectives.clipped, objectives.kl, objectives.entropy])
def test_an_unknown_normaliser_is_refused(make):
    with pytest.raises(SurpassError, match='"tokens" is not one of token, path, constant'):
        make(normaliser="tokens")


# -- advantages


def flat_tree(rewards) -> Tree:
    """One answer per reward."""
    tree = Tree(Problem("p", ""))
    tree.add(-1, "task", [1])
    for i in range(len(rewards)):
        tree.add(0, "policy", [10 + i], logp=[-1.0], stop=DONE)
    tree.put("reward", Column("leaf", np.array(rewards, float)))
    return tree


def advantage_of(part, rewards):
    (columns,) = part([flat_tree(rewards)], Memory())
    assert columns["advantage"].axis == "leaf"
    return columns["advantage"].values


def test_group():
    """(r - mean) / (std + eps), std with ddof 1: 1, 2, 6 have mean 3 and std sqrt((4 + 1 + 9) / 2) = sqrt
    7.
    """
    wanted = np.array([-2, -1, 3]) / (math.sqrt(7) + 1e-4)
    np.testing.assert_allclose(advantage_of(advantages.group(), [1, 2, 6]), wanted, atol=1e-12)
    np.testing.assert_allclose(
        advantage_of(advantages.group(scale=False), [1, 2, 6]), [-2, -1, 3], atol=1e-12
    )
    np.testing.assert_allclose(
        advantage_of(advantages.group(), [1, NAN, 2, 6]), np.insert(wanted, 1, NAN), atol=1e-12
    )


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("reward", [1.0, 0.1, 1 / 3])
def test_equal_rewards_have_exactly_no_advantage(scale, reward):
    """Exactly: a rest of 1e-17 would be trained on, and Adam would make a step of it."""
    assert advantage_of(advantages.group(scale=scale), [reward] * 3).tolist() == [0.0] * 3
    assert advantage_of(advantages.leave_one_out(), [reward] * 3).tolist() == [0.0] * 3


def test_group_of_one_and_of_none():
    assert advantage_of(advantages.group(), [5.0]).tolist() == [0.0]
    assert np.isnan(advantage_of(advantages.group(), [NAN, NAN])).all()


def test_leave_one_out():
    """1 - (2 + 6)/2 = -3, 2 - 7/2 = -1.5, 6 - 3/2 = 4.5"""
    np.testing.assert_allclose(
        advantage_of(advantages.leave_one_out(), [1, 2, 6]), [-3, -1.5, 4.5], atol=1e-12
    )
    np.testing.assert_allclose(
        advantage_of(advantages.leave_one_out(), [1, NAN, 2, 6]), [-3, NAN, -1.5, 4.5], atol=1e-12
    )
    assert advantage_of(advantages.leave_one_out(), [5.0]).tolist() == [0.0]


def test_siblings():
    """Leaves 2, 3, 4 have 1, 0, -1: V(1) = 1/2, V(0) = 0. A(1) = 1/2 - (-1), A(4) = -1 - 1/2, A(2) = 1 - 0,
    A(3) = 0 - 1.
    """
    (columns,) = advantages.siblings()([a_tree(reward=[1, 0, -1])], Memory())
    np.testing.assert_allclose(columns["value"].values, [0, 0.5, 1, 0, -1], atol=1e-12)
    np.testing.assert_allclose(columns["advantage"].values, [0, 1.5, 1, -1, -1.5], atol=1e-12)
    assert columns["advantage"].axis == columns["value"].axis == "node"


def test_siblings_leave_out_what_was_not_judged():
    """With leaf 2 unjudged V(1) = V(3) = 0, and leaf 3 has no judged sibling left."""
    (columns,) = advantages.siblings()([a_tree(reward=[NAN, 0, -1])], Memory())
    np.testing.assert_allclose(columns["value"].values, [-0.5, 0, NAN, 0, -1], atol=1e-12)
    np.testing.assert_allclose(columns["advantage"].values, [0, 1, NAN, 0, -1], atol=1e-12)


def test_siblings_compares_openings_too():
    """Two openings of one leaf each, 1 and 0: A = 1 - 0 and 0 - 1, for the openings and not for their only
    children.
    """
    tree = Tree(Problem("p", ""))
    for _ in range(2):
        tree.add(tree.add(-1, "task", [1]), "policy", [2], logp=[-1.0])
    tree.put("reward", Column("leaf", np.array([1.0, 0.0])))
    assert advantages.siblings()([tree], Memory())[0]["advantage"].values.tolist() == [1, 0, -1, 0]


# -- selectors


def chosen(part, *trees, rng=0):
    return [(trees.index(e.tree), e.nodes) for e in part(list(trees), Memory(), rng)]


def test_every_and_nonconstant():
    one, two, three = flat_tree([1, 0, NAN]), flat_tree([1, 1]), flat_tree([0, 1, 1])
    three.end(2, FAILED)
    assert chosen(selectors.every(), one, two, three) == [
        (0, (1,)),
        (0, (2,)),
        (1, (1,)),
        (1, (2,)),
        (2, (1,)),
        (2, (3,)),
    ]
    assert chosen(selectors.nonconstant(), one, two, three) == [(0, (1,)), (0, (2,)), (2, (1,)), (2, (3,))]


def test_correct_takes_each_right_answer_once():
    tree = flat_tree([1, 0.5, 1, 1, NAN])
    again = tree.add(0, "policy", [10], logp=[-1.0], stop=DONE)  # the same tokens as the first answer
    tree.put("reward", Column("leaf", np.array([1, 0.5, 1, 1, NAN, 1])))
    tree.end(4, FAILED)
    assert again == 6 and chosen(selectors.correct(), tree) == [(0, (1,)), (0, (3,))]
    assert chosen(selectors.correct(threshold=0.5), tree) == [(0, (1,)), (0, (2,)), (0, (3,))]


def test_correct_chooses_at_random_within_its_limit():
    tree = flat_tree([1] * 6)
    seen = [
        tuple(nodes[0] for _, nodes in chosen(selectors.correct(limit=2), tree, rng=rng)) for rng in range(60)
    ]
    assert all(len(set(nodes)) == 2 and list(nodes) == sorted(nodes) for nodes in seen)
    assert {node for nodes in seen for node in nodes} == {1, 2, 3, 4, 5, 6}
    assert seen[7] == tuple(nodes[0] for _, nodes in chosen(selectors.correct(limit=2), tree, rng=7))


def test_best_worst():
    one, two, three = flat_tree([0.2, 0.9, NAN, 0.9, 0.1, 0.1]), flat_tree([1, 1]), flat_tree([NAN])
    assert chosen(selectors.best_worst(), one, two, three) == [(0, (2, 5))]  # the earlier of equals
    assert chosen(selectors.best_worst(margin=0.75), one) == [(0, (2, 5))]
    assert chosen(selectors.best_worst(margin=0.85), one) == []
    one.put("trust", Column("leaf", np.array([0.1, 0.7, 0.3, 0.4, 0.5, 0.6])))
    assert [e.confidence for e in selectors.best_worst(confidence="trust")([one], Memory(), 0)] == [0.7]
    one.end(2, FAILED)
    assert chosen(selectors.best_worst(), one) == [(0, (4, 5))]


# -- the gate


def report(values) -> Report:
    return Report("exam", [Row(f"p{i}", 0, "accuracy", float(v)) for i, v in enumerate(values)])


OLD = [1, 1, 0, 1, 0, 1, 1, 1]
WORSE = [1, 0, 0, 0, 0, 1, 0, 1]  # three of eight lost
MIXED = [1, 0, 1, 1, 0, 0, 1, 1]  # one won, two lost


@pytest.mark.parametrize(("new", "keep"), [(WORSE, False), (MIXED, True), ([1] * 8, True)])
def test_no_worse_is_a_one_sided_paired_t_test(new, keep):
    """t = mean(d) / (std(d, ddof 1) / sqrt n), p = P(T_{n-1} <= t), kept where p >= alpha."""
    d = np.subtract(new, OLD)
    t = d.mean() / (d.std(ddof=1) / math.sqrt(8))
    from scipy import stats  # slow to import

    p = stats.t.cdf(t, 7)
    verdict = gates.no_worse(alpha=0.05)(report(OLD), report([0] * 8), report(new))
    assert verdict.p == pytest.approx(p, abs=1e-12) and verdict.keep is keep is bool(p >= 0.05)


def test_no_worse_at_its_level():
    """WORSE loses 3 of 8: d has mean -3/8 and std sqrt(15/56), so t = -2.0494 and p = 0.0398 at 7 degrees of
    freedom.
    """
    verdict = gates.no_worse()(report(OLD), report(OLD), report(WORSE))
    assert verdict.p == pytest.approx(0.0398, abs=5e-5)
    assert not verdict.keep and gates.no_worse(alpha=0.039)(report(OLD), report(OLD), report(WORSE)).keep


def test_no_worse_without_spread_or_without_problems():
    same = gates.no_worse()(report(OLD), report(OLD), report(OLD))
    assert same.keep and same.p == 1.0
    lost = gates.no_worse()(report([1, 1, 1]), report([1, 1, 1]), report([0, 0, 0]))
    assert not lost.keep and lost.p == 0.0
    assert not gates.no_worse()(report([1]), report([1]), report([1])).keep


def test_no_worse_counts_what_is_judged_no_more_as_wrong_and_means_over_samples():
    """p0 has two samples, 1 and 0: .5. p2 was judged before only. d = (.5 - 1, 1 - 0, 0 - 1)."""
    new = Report(
        "exam",
        [
            Row("p0", 0, "accuracy", 1.0),
            Row("p0", 1, "accuracy", 0.0),
            Row("p1", 0, "accuracy", 1.0),
            Row("p2", 0, "accuracy", NAN),
        ],
    )
    verdict = gates.no_worse()(report([1, 0, 1]), report([1, 0, 1]), new)
    d = np.array([-0.5, 1, -1])
    from scipy import stats  # slow to import

    p = stats.t.cdf(d.mean() / (d.std(ddof=1) / math.sqrt(3)), 2)
    assert verdict.keep and verdict.p == pytest.approx(p, abs=1e-12)
    assert "1 that the best had judged could not be judged now" in verdict.why
    unknown = report([1, NAN, 1, 0])  # nobody knows whether p1 was right before, so nothing can be lost there
    assert gates.no_worse()(unknown, unknown, report([1, 0, 1, 0])).p == 1.0


HARD = [1] * 12 + [1, 0] * 4  # the last eight are hard: half of them right


@pytest.mark.parametrize("gate", [gates.no_worse(), gates.best_so_far()])
def test_a_gate_refuses_a_model_that_learnt_to_fail_at_hard_problems(gate):
    """Over the twelve that are judged in the end nothing changed, and the mean of what is judged even rose
    from 0.8 to 1.
    """
    fails = report([1] * 12 + [NAN] * 8)
    assert fails.mean("accuracy") > report(HARD).mean("accuracy")
    verdict = gate(report(HARD), report(HARD), fails)
    assert not verdict.keep and "8 that the best had judged" in verdict.why
    assert gate(report(HARD), report(HARD), report(HARD)).keep
    assert not gates.at_least(report(HARD), fails, "accuracy"), "nor does it become the best"


def test_below_zero_what_is_not_judged_is_the_worst_there_is():
    old, new = (
        Report("exam", [Row(f"p{i}", 0, "reward", v) for i, v in enumerate(vs)])
        for vs in ([-1.0, -3, 2], [-2.0, NAN, 2])
    )
    assert gates.counted(old, new, "reward")[1] == {"p0": -2.0, "p1": -3.0, "p2": 2.0}


def test_limits_refuse_where_more_problems_could_not_be_measured():
    def measured(failed: int) -> Report:
        names = {
            "agreement": 0.8,
            "answered": 1.0,
            "sameness": 0.1,
            "drift": 0.1,
            "sampled/mean_length": 9,
            "sampled/clipped_ratio": 0.0,
        }
        return Report(
            "agreement",
            [Row(f"p{i}", 0, n, NAN if i < failed else v) for i in range(10) for n, v in names.items()],
        )

    assert gates.limits()(measured(0), measured(0), measured(1)).keep
    verdict = gates.limits()(measured(0), measured(0), measured(2))
    assert not verdict.keep and verdict.why.startswith("more problems could not be measured")


def test_best_so_far_and_always():
    assert gates.best_so_far()(report([1, 0]), report([0, 0]), report([0, 1])).keep
    assert not gates.best_so_far()(report([1, 0]), report([0, 0]), report([0, 0])).keep
    assert gates.always()(report([1, 0]), report([1, 0]), report([0, 0])).keep
