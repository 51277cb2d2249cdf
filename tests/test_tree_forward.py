"""One pass over the forest equals unrolled rows: log-probs, entropies, every loss and every gradient.

The reference in this file knows nothing of surpass.flat: it runs the model's own attention on padded rows,
one row per path, and evaluates each published formula path by path.
"""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import pytest
import torch

from forests import paths_of, row_of, some_forest
from surpass import objectives
from surpass.engines import LocalEngine, TabularEngine
from surpass.engines.attention import FlexPlan, TreePlan
from surpass.engines.forward import _LogProb, following, row_forward, tree_forward
from surpass.errors import SurpassError
from surpass.flat import may_see, pack
from surpass.learners import gradient
from surpass.models import Models
from surpass.parts import Learn
from surpass.types import Column, Example, Memory, Out, Problem, Tree

VOICES = ("policy",)
LENGTH = 11.0


def examples_of(trees, advantage="leaf") -> list[Example]:
    """Every leaf, with uneven weights; some learn only what follows an inner node. `advantage`: "leaf" or
    "node".
    """
    out = []
    for tree in trees:
        tree = tree.with_columns({"advantage": tree.get(advantage)})
        for i, leaf in enumerate(tree.leaves()):
            path = tree.path(leaf)
            out.append(
                Example(
                    tree,
                    (leaf,),
                    (path[1],) if i % 3 == 0 and len(path) > 2 else None,
                    weight=[1.0, 0.5, 1.5][i % 3],
                )
            )
    return out


def pairs_of(trees) -> list[Example]:
    """Pairs of leaves: one pair shares a drawn prefix, one does not; one is a soft label, one is weighted."""
    out = []
    for tree in trees:
        leaves = tree.leaves()
        out.append(Example(tree, (leaves[0], leaves[1])))
        out.append(Example(tree, (leaves[-1], leaves[1]), confidence=0.8))
        first = tree.path(leaves[2])[1]
        out.append(Example(tree, (leaves[3], leaves[2]), since=(-1, first), weight=0.5))
    return out


class Unrolled:
    """Each path as a row of a padded batch: log-probs [P, R] and entropies, and which tokens the path learns
    from.
    """

    def __init__(self, causal, examples):
        self.paths = list(paths_of(examples))
        self.info = [row_of(example.tree, node, since, VOICES) for _, example, node, since in self.paths]
        width = max(map(len, self.info))
        token = torch.tensor([[t for t, *_ in row] + [0] * (width - len(row)) for row in self.info])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in self.info])
        logits = causal(input_ids=token, attention_mask=mask, use_cache=False).logits[:, :-1].log_softmax(-1)
        pad = logits.new_zeros(len(token), 1)
        self.logp = torch.cat([pad, logits.gather(-1, token[:, 1:, None])[..., 0]], 1)
        self.entropy = torch.cat([pad, -(logits.exp() * logits).sum(-1)], 1)
        self.learns = torch.tensor(
            [[learns for _, learns, *_ in row] + [False] * (width - len(row)) for row in self.info]
        )
        self.n = [int(n) for n in self.learns.sum(1)]
        self.weight = [example.weight for _, example, _, _ in self.paths]

    def column(self, name) -> torch.Tensor:
        """[P, R]: a column of the trees along each row."""
        out = torch.zeros(self.logp.shape, dtype=torch.float64)
        for p, (_, example, node, _) in enumerate(self.paths):
            axis, values = example.tree.get(name)
            for r, (_, _, at, own) in enumerate(self.info[p]):
                out[p, r] = values[
                    example.tree.leaves().index(node) if axis == "leaf" else at if axis == "node" else own
                ]
        return out

    def mean(self, x, normaliser) -> torch.Tensor:
        """The normalised sum of x [P, R] over learnt tokens, straight from the formulas."""
        sums = [w * x[p][self.learns[p]].sum() for p, w in enumerate(self.weight)]
        if normaliser == "token":
            return sum(sums) / sum(self.n)
        if normaliser == "path":
            return sum(s / n for s, n in zip(sums, self.n, strict=True)) / len(sums)
        return sum(s / LENGTH for s in sums) / len(sums)


def totals(examples, rows) -> dict[str, float]:
    return {"tokens": float(sum(rows.n)), "paths": float(len(rows.n)), "examples": float(len(examples))}


def gradients(causal, loss) -> dict[str, torch.Tensor]:
    causal.zero_grad(set_to_none=True)
    loss.backward()
    return {
        name: p.grad.clone() if p.grad is not None else torch.zeros_like(p)
        for name, p in causal.named_parameters()
    }


def sft(rows, normaliser):
    return rows.mean(-rows.logp, normaliser)


def clipped_tokens(rows, normaliser):
    start = rows.logp.detach() - rows.column("noise")
    rho, a = (rows.logp - start).exp(), rows.column("advantage")
    return rows.mean(-torch.minimum(rho * a, rho.clamp(1 - 0.2, 1 + 0.28) * a), normaliser)


def clipped_paths(rows, normaliser):
    """GSPO: one ratio per path, exp of the mean log-ratio; the mean over paths."""
    log_ratio, a = rows.logp - (rows.logp.detach() - rows.column("noise")), rows.column("advantage")
    loss = 0.0
    for p, w in enumerate(rows.weight):
        rho, gain = log_ratio[p][rows.learns[p]].mean().exp(), a[p, 0]
        loss = loss - w * torch.minimum(rho * gain, rho.clamp(1 - 0.02, 1 + 0.03) * gain)
    return loss / len(rows.weight)


def kl(rows, normaliser):
    d = (rows.logp.detach() - rows.column("noise")) - rows.logp
    return 0.3 * rows.mean(d.exp() - d - 1, normaliser)


def entropy(rows, normaliser):
    return -0.3 * rows.mean(rows.entropy, normaliser)


def preference(kind, beta, per_token):
    def loss(rows, _):
        ratio = rows.logp - (rows.logp.detach() - rows.column("noise"))
        score = [ratio[p][rows.learns[p]].sum() / (n if per_token else 1) for p, n in enumerate(rows.n)]
        out = 0.0
        for (a, b), (_, example, _, _) in zip(
            zip(score[0::2], score[1::2], strict=True), rows.paths[0::2], strict=True
        ):
            z, c = a - b, example.confidence
            if kind == "ipo":
                value = c * (z - 1 / (2 * beta)) ** 2 + (1 - c) * (-z - 1 / (2 * beta)) ** 2
            else:
                value = -c * torch.log(1 / (1 + torch.exp(-beta * z))) - (1 - c) * torch.log(
                    1 / (1 + torch.exp(beta * z))
                )
            out = out + example.weight * value
        return out / (len(score) / 2)

    return loss


NORMALISERS = ("token", "path", "constant")
CASES = [
    *((f"sft {n}", objectives.sft(n, LENGTH), sft, n, "leaf") for n in NORMALISERS),
    *(
        (f"clipped {n} {axis}", objectives.clipped(0.2, 0.28, n, length=LENGTH), clipped_tokens, n, axis)
        for n in NORMALISERS
        for axis in ("leaf", "node")
    ),
    ("clipped by path", objectives.clipped(0.02, 0.03, "path", "path"), clipped_paths, "path", "leaf"),
    *((f"kl {n}", objectives.kl(0.3, "policy@0", n, LENGTH), kl, n, "leaf") for n in NORMALISERS),
    *((f"entropy {n}", objectives.entropy(0.3, n, LENGTH), entropy, n, "leaf") for n in NORMALISERS),
    ("dpo", objectives.dpo(0.7), preference("sigmoid", 0.7, False), "", "pairs"),
    ("ipo", objectives.dpo(0.7, kind="ipo"), preference("ipo", 0.7, False), "", "pairs"),
    (
        "ipo per token",
        objectives.dpo(0.7, kind="ipo", per_token=True),
        preference("ipo", 0.7, True),
        "",
        "pairs",
    ),
]


@pytest.mark.parametrize(
    ("objective", "formula", "normaliser", "kind"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_losses_and_gradients_equal_the_formulas_on_unrolled_rows(
    nano, plain, objective, formula, normaliser, kind
):
    trees = some_forest(3)
    examples = pairs_of(trees) if kind == "pairs" else examples_of(trees, kind)
    engine, reference = nano(dtype=torch.float64), plain(dtype=torch.float64)
    rows = Unrolled(reference, examples)
    wanted = formula(rows, normaliser)
    columns = ["logp", "logq", "noise", *([] if kind == "pairs" else ["advantage"])]
    batch = pack(examples, VOICES, columns)
    out = engine.forward(batch, outputs={"logp", "entropy"})
    noisy = ("token", out.logp.detach() - torch.where(batch.trained, batch.columns["noise"][1], 0.0))
    batch.columns |= {"logp@start": noisy, "logp@policy@0": noisy}
    found = sum(value / totals(examples, rows)[name] for name, value in objective(out, batch)[0].items())
    assert float(found.detach()) == pytest.approx(float(wanted.detach()), abs=1e-8)
    expected = gradients(reference, wanted)
    for name, got in gradients(engine.causal, found).items():
        torch.testing.assert_close(got, expected[name], atol=1e-8, rtol=1e-8)
    # the comparison has something to compare
    assert max(float(g.abs().max()) for g in expected.values()) > 1e-4


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-9)])
def test_tree_forward_equals_row_forward(nano, plain, dtype, tolerance):
    batch = pack(examples_of(some_forest(1)), VOICES)
    engine = nano(scale=0.1, dtype=dtype)
    assert engine.why_not_trees is None
    tree = tree_forward(engine.causal, batch, batch.trained, {"entropy"})
    row = row_forward(plain(scale=0.1, dtype=dtype), batch, batch.trained, {"entropy"})
    torch.testing.assert_close(tree.logp, row.logp, atol=tolerance, rtol=0)
    torch.testing.assert_close(tree.entropy, row.entropy, atol=tolerance, rtol=0)
    assert not tree.logp[~batch.trained].any() and not tree.entropy[~batch.trained].any()
    assert tree.logp[batch.trained].max() < 0 < tree.entropy[batch.trained].min()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
def test_both_forwards_equal_the_models_own_log_probs(nano, plain, dtype, tolerance):
    examples = examples_of(some_forest(2))
    engine, reference = nano(dtype=dtype), plain(dtype=dtype)
    rows = Unrolled(reference, examples)
    batch = pack(examples, VOICES)
    parent, last = batch.parent.tolist(), batch.last.tolist()
    for out in (
        tree_forward(engine.causal, batch, batch.trained, {"entropy"}),
        row_forward(reference, batch, batch.trained, {"entropy"}),
    ):
        for p, t in enumerate(last):
            for r in range(len(rows.info[p]) - 1, -1, -1):
                if batch.trained[t]:
                    assert out.logp[t].item() == pytest.approx(rows.logp[p, r].item(), abs=tolerance)
                    assert out.entropy[t].item() == pytest.approx(rows.entropy[p, r].item(), abs=tolerance)
                t = parent[t]


@pytest.mark.parametrize("also", [(), ("entropy",)])
def test_whole_rows_go_in_pieces_with_the_same_gradients(plain, monkeypatch, also):
    batch, found, widths = pack(examples_of(some_forest(1)), VOICES), [], []
    for kept in (2**26, 1):
        monkeypatch.setattr("surpass.engines.forward.KEPT", kept)
        causal = plain(scale=0.1)
        causal.register_forward_pre_hook(
            lambda module, _, named: widths.append(len(named["input_ids"])), with_kwargs=True
        )
        out = row_forward(causal, batch, batch.trained, {"logp", *also})
        found.append((out, gradients(causal, (out.logp + (out.entropy if also else 0)).sum())))
        with torch.no_grad():
            found[-1] += (following(causal, batch, [[1, 2]] * len(batch.last), None),)
    assert widths[0] > 1 and set(widths[2:]) == {1}
    for (a, wanted, after), (b, got, later) in [found]:
        torch.testing.assert_close(a.logp, b.logp, atol=1e-5, rtol=0)
        torch.testing.assert_close(after, later, atol=1e-5, rtol=0)
        for name, gradient_of in wanted.items():
            torch.testing.assert_close(gradient_of, got[name], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("also", [(), ("entropy",)])
def test_large_vocabularies_go_in_chunks_with_the_same_gradients(nano, monkeypatch, also):
    batch = pack(examples_of(some_forest(1)), VOICES)
    found = []
    for chunk, kept in ((2**24, 2**26), (64 * 5, 2**26), (64 * 5, 0)):
        monkeypatch.setattr("surpass.engines.forward.CHUNK", chunk)
        monkeypatch.setattr("surpass.engines.forward.KEPT", kept)
        engine = nano()
        out = engine.forward(batch, outputs={"logp", *also})
        more = 0.1 * out.entropy if also else 0.0
        found.append((out.logp.detach(), gradients(engine.causal, (out.logp + more).sum())))
    for other in found[1:]:
        torch.testing.assert_close(found[0][0], other[0], atol=1e-6, rtol=0)
        for name, gradient_of in found[0][1].items():
            torch.testing.assert_close(gradient_of, other[1][name], atol=1e-4, rtol=1e-4)


def test_many_branches_from_one_token_give_the_same_gradient_bytes_every_time(request):
    request.addfinalizer(partial(torch.set_num_threads, torch.get_num_threads()))
    torch.set_num_threads(4)  # one thread adds in one order anyway
    rng, tree = np.random.default_rng(0), Tree(Problem("p", ""))
    root = tree.add(-1, "task", rng.integers(0, 90, 40))
    leaves = [tree.add(root, "policy", rng.integers(0, 90, 6)) for _ in range(160)]
    batch, engine, found = (
        pack([Example(tree, (leaf,)) for leaf in leaves], VOICES),
        LocalEngine("tiny"),
        set(),
    )
    for _ in range(12):
        engine.causal.zero_grad()
        engine.forward(batch).logp.sum().backward()
        found.add(hash(b"".join(p.grad.numpy().tobytes() for p in engine.causal.parameters())))
    assert len(found) == 1


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probs_have_the_gradient_of_log_softmax_also_the_second_time(temperature):
    generator = torch.Generator().manual_seed(0)
    hidden, weight = (
        torch.randn(n, 6, generator=generator, dtype=torch.float64, requires_grad=True) for n in (9, 7)
    )
    token, g = (
        torch.randint(0, 7, (9,), generator=generator),
        torch.randn(9, generator=generator, dtype=torch.float64),
    )
    wanted = torch.autograd.grad(
        ((hidden @ weight.T / temperature).log_softmax(-1).gather(1, token[:, None])[:, 0] * g).sum(),
        (hidden, weight),
    )
    logp = _LogProb.apply(hidden, weight, token, temperature)[0]
    for _ in range(2):
        for found, right in zip(
            torch.autograd.grad((logp * g).sum(), (hidden, weight), retain_graph=True), wanted, strict=True
        ):
            torch.testing.assert_close(found, right, atol=1e-12, rtol=0)
    (alone,) = torch.autograd.grad(
        _LogProb.apply(hidden, weight.detach(), token, temperature)[0].sum(), hidden
    )
    assert torch.isfinite(alone).all(), "a frozen head"


@pytest.mark.parametrize("least, most", [(1, 3), (3, 7), (1, 256), (256, 256)])
def test_blocks_agree_with_the_dense_mask(least, most):
    batch = pack(examples_of(some_forest(5)), VOICES)
    n = len(batch.token)
    assert n > 2 * 7
    torch.manual_seed(0)
    query, (key, value) = torch.randn(1, 4, n, 8).double(), torch.randn(2, 1, 2, n, 8).double()
    found = TreePlan(batch.parent, batch.end, least, most)(0, query, key, value, 0.3)
    score = 0.3 * query @ key.repeat_interleave(2, 1).transpose(-1, -2)
    dense = score.masked_fill(~may_see(batch.end), -torch.inf).softmax(-1) @ value.repeat_interleave(2, 1)
    torch.testing.assert_close(found, dense, atol=1e-12, rtol=0)


def long_branches(n: int):
    """A batch of forests of about n tokens each, whose branches are 1 to 400 tokens long."""
    rng, examples = np.random.default_rng(n), []
    for i in range(2):
        tree = Tree(Problem(f"p{i}", ""))
        for node in range(max(3, n // 200)):
            tree.add(
                int(rng.integers(-1, node)) if node else -1,
                "policy",
                rng.integers(0, 60, rng.integers(1, 400)),
            )
        examples += [Example(tree, (leaf,)) for leaf in tree.leaves()]
    return pack(examples, VOICES)


@pytest.mark.parametrize("n, heads", [(30, 4), (700, 6), (2000, 2)])
def test_the_kernel_of_a_gpu_sees_what_the_dense_mask_shows(nano, n, heads):
    """Its blocks of 128 tokens, and heads that share keys by 3. PyTorch gives it no gradient on a CPU;
    engines compare that where they load.
    """
    batch = long_branches(n)
    many = len(batch.token)
    plan = FlexPlan(batch.parent, batch.end)
    left_out = (many // 128) ** 2 / 2 - int(
        plan.mask.kv_num_blocks.sum() + plan.mask.full_kv_num_blocks.sum()
    )
    assert n < 2000 or (plan.mask.full_kv_num_blocks.any() and left_out > 20), (
        "the blocks have something to leave out"
    )
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, h, many, 16) for h in (heads, 2, 2))
    found = plan(0, query, key, value, 0.3)
    score = 0.3 * query @ key.repeat_interleave(heads // 2, 1).transpose(-1, -2)
    dense = score.masked_fill(~may_see(batch.end), -torch.inf).softmax(-1) @ value.repeat_interleave(
        heads // 2, 1
    )
    torch.testing.assert_close(found, dense, atol=5e-6, rtol=0)
    engine = nano(dtype=torch.float64)
    wanted = engine.forward(batch).logp.detach()
    engine.form = FlexPlan
    with torch.no_grad():
        torch.testing.assert_close(engine.forward(batch).logp, wanted, atol=1e-9, rtol=0)


def test_a_kernel_is_taken_where_it_agrees_and_else_the_next(nano, monkeypatch):
    class right(TreePlan):
        pass

    class unbuilt(TreePlan):
        def __init__(self, parent, end):
            raise RuntimeError("no compiler")

    class wrong(TreePlan):
        def __call__(self, layer, query, key, value, scaling):
            return value.repeat_interleave(query.shape[1] // value.shape[1], 1)

    class wrong_gradient(TreePlan):
        def __call__(self, layer, query, key, value, scaling):
            return super().__call__(layer, query, key, value.detach(), scaling)

    class short(TreePlan):
        def __init__(self, parent, end):
            assert len(end) < 200, "compiled for one length"
            super().__init__(parent, end)

    taken = {
        (right, TreePlan): right,
        (unbuilt, TreePlan): TreePlan,
        (wrong, TreePlan): TreePlan,
        (wrong_gradient, TreePlan): TreePlan,
        (short, TreePlan): TreePlan,
    }
    for forms, form in taken.items():
        monkeypatch.setattr("surpass.engines.attention.forms", lambda device, forms=forms: forms)
        engine = nano()
        assert engine.form is form and engine.why_not_trees is None
        assert LocalEngine.of(engine.causal, engine.tokenizer, lora={"r": 2}).form is form, (
            "an adapter's first gradients are 0"
        )
    monkeypatch.setattr("surpass.engines.attention.forms", lambda device: (wrong, unbuilt))
    with pytest.warns(UserWarning, match="whole rows.*no compiler"):
        assert "no compiler" in nano().why_not_trees


class Select:
    """Stands for a selector where the test names the examples itself."""


def learn_once(engine, examples, objective, **settings):
    models = Models(policy=engine)
    learner = gradient(objective, **{"lr": 1e-3} | settings)
    return models.run(learner(models, Learn("policy", Select(), learner), examples, Memory(), 0))


LEARNT = {
    "clipped token": objectives.clipped(),
    "clipped path": objectives.clipped(normaliser="path"),
    "gspo": objectives.clipped(ratio="path"),
    "sft": objectives.sft("path"),
    "dpo": objectives.dpo(0.5),
    "sum": objectives.total(
        (
            objectives.clipped(normaliser="constant", length=9.0),
            objectives.entropy(0.05),
            objectives.kl(0.1, "start"),
        )
    ),
}


@pytest.mark.parametrize("name", LEARNT)
def test_the_size_of_micro_batches_changes_nothing(nano, name):
    trees = some_forest(4, n_trees=4)
    examples = pairs_of(trees) if name == "dpo" else examples_of(trees)
    after = []
    for max_tokens in (1, 70, 10**6):
        engine = nano(scale=0.1, dtype=torch.float64)
        before = engine.weights()
        learn_once(engine, examples, LEARNT[name], max_tokens=max_tokens)
        after.append(engine.weights())
        assert max(float((after[-1][k] - before[k]).abs().max()) for k in before) > 5e-4
    for other in after[:2]:
        for key, weight in after[2].items():
            torch.testing.assert_close(other[key], weight, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["clipped token", "clipped path", "gspo"])
def test_an_advantage_of_zero_gives_a_gradient_of_exactly_zero(nano, name):
    examples = []
    for tree in some_forest(4):
        tree = tree.with_columns({"advantage": Column("leaf", np.zeros(len(tree.leaves())))})
        examples += [Example(tree, (leaf,)) for leaf in tree.leaves()]
    engine = nano()
    batch = pack(examples, VOICES, ["advantage", "logp"])
    loss = sum(LEARNT[name](engine.forward(batch), batch)[0].values())
    assert all(not g.any() for g in gradients(engine.causal, loss).values())
    before = engine.weights()
    models = Models(policy=engine)
    learner = gradient(LEARNT[name])
    models.run(learner(models, Learn("policy", Select(), learner), examples, Memory(), 0))
    # what cannot move the weights is not even computed
    assert not models.cost.get(models.account, {}).get("trained")
    assert all(torch.equal(weight, before[key]) for key, weight in engine.weights().items())


@pytest.mark.parametrize("name", LEARNT)
def test_untrained_tokens_get_exactly_no_gradient(name):
    trees = some_forest(6)
    examples = pairs_of(trees) if name == "dpo" else examples_of(trees)
    batch = pack(examples, VOICES, ["logp"] if name == "dpo" else ["logp", "advantage"])
    rng = np.random.default_rng(0)
    logp = torch.from_numpy(-rng.random(len(batch.token))).requires_grad_()
    h = torch.from_numpy(rng.random(len(batch.token))).requires_grad_()
    batch.columns["logp@start"] = (
        "token",
        (logp.detach() + torch.from_numpy(0.1 * rng.normal(size=len(logp)))),
    )
    sum(LEARNT[name](Out(logp, h), batch)[0].values()).backward()
    assert not logp.grad[~batch.trained].any()
    assert h.grad is None or not h.grad[~batch.trained].any()
    assert logp.grad[batch.trained].count_nonzero() > 0.5 * batch.trained.sum()


@pytest.mark.parametrize("name", LEARNT)
def test_what_comes_before_since_gets_exactly_no_gradient(name):
    """Three paths, weights without a finite binary fraction, all learning only what follows the drawn node
    they share.
    """
    tree = some_forest(6, n_trees=1)[0]
    shared = tree.children(tree.children(0)[0])[0]
    leaves = tree.children(shared)
    leaves = [*leaves, tree.add(shared, "policy", [5, 6, 7], logp=np.zeros(3))]
    tree = tree.with_columns({"advantage": Column("leaf", np.linspace(-0.7, 0.9, len(tree.leaves())))})
    if name == "dpo":
        pairs = [(leaves[0], leaves[1]), (leaves[2], leaves[1])]
        examples = [
            Example(tree, pair, (shared, shared), weight)
            for pair, weight in zip(pairs, (1 / 3, 1 / 7), strict=True)
        ]
    else:
        examples = [
            Example(tree, (leaf,), (shared,), weight)
            for leaf, weight in zip(leaves, (1 / 3, 1 / 7, 1 / 5), strict=True)
        ]
    batch = pack(examples, VOICES, ["logp"] if name == "dpo" else ["logp", "advantage"])
    rng = np.random.default_rng(0)
    logp = torch.from_numpy(-rng.random(len(batch.token))).requires_grad_()
    batch.columns["logp@start"] = (
        "token",
        (logp.detach() + torch.from_numpy(0.1 * rng.normal(size=len(logp)))),
    )
    sum(LEARNT[name](Out(logp, torch.zeros(len(logp))), batch)[0].values()).backward()
    since = int(batch.since[0])
    assert batch.trained[: since + 1].any() and (batch.since == since).all()
    assert not logp.grad[: since + 1].any()
    assert logp.grad[since + 1 :].any()


def test_a_missing_value_before_since_does_not_reach_the_loss():
    """A node advantage of nan where no path learns must not make the loss nan."""
    tree = some_forest(6, n_trees=1)[0]
    shared = tree.children(tree.children(0)[0])[0]
    leaves = [*tree.children(shared), tree.add(shared, "policy", [5, 6, 7], logp=np.zeros(3))]
    values = np.full(len(tree), np.nan)
    values[leaves] = [0.5, -1.0, 0.25]
    tree = tree.with_columns({"advantage": Column("node", values)})
    examples = [
        Example(tree, (leaf,), (shared,), weight)
        for leaf, weight in zip(leaves, (1 / 3, 1 / 7, 1 / 5), strict=True)
    ]
    batch = pack(examples, VOICES, ["logp", "advantage"])
    sums, _ = objectives.clipped()(Out(torch.zeros(len(batch.token), dtype=torch.float64)), batch)
    wanted = -sum(
        e.weight * values[leaf] * len(tree.own(leaf)) for e, leaf in zip(examples, leaves, strict=True)
    )
    assert float(sums["tokens"]) == pytest.approx(wanted, abs=1e-12)


def test_a_ratio_objective_refuses_tokens_that_nobody_drew(nano):
    tree = copy.copy(some_forest(6, n_trees=1)[0])
    graft = tree.add(0, "policy", [5, 6, 7])  # written, not drawn: logp is nan
    tree = tree.with_columns({"advantage": Column("leaf", np.ones(len(tree.leaves())))})
    with pytest.raises(SurpassError, match="drawn"):
        learn_once(nano(), [Example(tree, (graft,))], objectives.clipped())


@pytest.mark.parametrize(
    ("objective", "wanted"),
    [
        (objectives.sft("token"), lambda n: (n[0] + n[1] + n[2]) / (3 + 2 + 1)),
        (objectives.sft("path"), lambda n: (n[0] / 3 + n[1] / 2 + n[2] / 1) / 3),
        (objectives.sft("constant", 4.0), lambda n: (n[0] + n[1] + n[2]) / 4 / 3),
    ],
)
def test_the_learner_divides_by_its_totals(objective, wanted):
    """Two examples, one of two paths; the first tree opens in the policy's own words, whose very first token
    nobody predicted.

    A table that is uniform over 3 tokens: every token costs log 3; the paths learn from 3, 2 and 1 tokens.
    """
    engine = TabularEngine("ab", size=64)
    one, two = Tree(Problem("one", "")), Tree(Problem("two", ""))
    opening = one.add(-1, "policy", [0, 1])
    longer, shorter = one.add(opening, "policy", [0, 1]), one.add(opening, "policy", [1])
    other = two.add(two.add(-1, "task", [1, 1]), "policy", [0])
    report = learn_once(
        engine, [Example(one, (longer, shorter)), Example(two, (other,))], objective, max_tokens=1
    )
    (loss,) = [row.value for row in report.rows if row.metric == "loss"]
    assert loss == pytest.approx(float(np.log(3)) * wanted([3, 2, 1]), abs=1e-6)


def test_fewer_trees_than_updates_are_fewer_steps_and_none_is_seen_twice():
    trees = [Tree(Problem(str(i), "")) for i in range(3)]
    for tree in trees:
        tree.add(tree.add(-1, "task", [0]), "policy", [1], logp=np.log([1 / 3]))
        tree.put("advantage", Column("leaf", np.array([1.0])))
    for updates, epochs, steps in ((2, 1, 2), (3, 1, 3), (5, 1, 3), (5, 2, 6)):
        report = learn_once(
            TabularEngine("ab", size=64),
            [Example(tree, (1,)) for tree in trees],
            objectives.clipped(),
            updates=updates,
            epochs=epochs,
        )
        assert len([row for row in report.rows if row.metric == "loss"]) == steps


def test_several_updates_and_epochs_use_the_start_of_the_round():
    """With two epochs the second step's ratio is against the weights before the first: by hand on a table of
    one context.
    """
    engine = TabularEngine("ab", size=64)
    tree = Tree(Problem("x", ""))
    root = tree.add(-1, "task", engine.text.encode("a"))
    tree.add(root, "policy", engine.text.encode("b"), logp=np.log([1 / 3]))
    tree = tree.with_columns({"advantage": Column("leaf", np.array([1.0]))})
    row = engine.row(engine.text.encode("a"))
    report = learn_once(
        engine, [Example(tree, (1,))], objectives.clipped(low=0.2, high=0.2), lr=0.3, epochs=3
    )
    logits = torch.zeros(3)
    p0, seen = 1 / 3, []
    twin = torch.nn.Parameter(logits)
    adam = torch.optim.AdamW([twin], lr=0.3, weight_decay=0.0)
    for _ in range(3):
        rho = twin.softmax(-1)[1] / p0
        loss = -torch.minimum(rho, rho.clamp(0.8, 1.2))
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([twin], 1.0)
        adam.step()
        seen.append(float(loss.detach()))
    assert [r.value for r in report.rows if r.metric == "loss"] == pytest.approx(seen, abs=1e-5)
    assert [r.value for r in report.rows if r.metric == "clip_ratio"] == [0.0, 1.0, 1.0]
    np.testing.assert_allclose(engine.weights()["table"][row], twin.detach(), atol=1e-5)
