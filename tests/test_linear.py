"""Products by oneDNN are those of torch, with their gradients, wherever they are used."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from surpass.engines import LocalEngine, linear
from surpass.engines.linear import Linear, adopt, times

pytestmark = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="this build of torch has no oneDNN"
)


@pytest.fixture(params=[True, False], ids=["oneDNN", "torch"])
def served(request, monkeypatch):
    monkeypatch.setattr(linear, "foreign", lambda: request.param)
    return request.param


@pytest.mark.parametrize("shape", [(5, 7), (1, 7), (2, 3, 7), (1, 1, 7), (0, 7)])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients(shape, bias, served):
    torch.manual_seed(0)
    plain = torch.nn.Linear(7, 4, bias=bias)
    layer = copy.deepcopy(plain)
    layer.__class__ = Linear
    x = torch.randn(shape)
    weights = torch.randn(*shape[:-1], 4)
    mine, theirs = x.clone().requires_grad_(), x.double().requires_grad_()
    double = copy.deepcopy(plain).double()
    found, wanted = layer(mine), double(theirs)
    torch.testing.assert_close(found, wanted.float())
    (found * weights).sum().backward()
    (wanted * weights.double()).sum().backward()
    torch.testing.assert_close(mine.grad, theirs.grad.float())
    for ours, other in zip(layer.parameters(), double.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, other.grad.float())


def test_a_gradient_that_is_one_number_seen_often(served):
    layer = Linear(7, 4, bias=False)
    x = torch.randn(3, 7, requires_grad=True)
    layer(x).sum().backward()  # its gradient has strides of 0
    torch.testing.assert_close(x.grad, layer.weight.detach().sum(0).expand(3, 7))
    torch.testing.assert_close(layer.weight.grad, x.detach().sum(0).expand(4, 7))


@pytest.mark.parametrize("bias", [True, False])
def test_what_comes_out_may_be_changed_in_place(bias, served):
    """As gemma3n does."""
    layer, x = Linear(7, 4, bias=bias), torch.randn(2, 3, 7, requires_grad=True)
    y = layer(x)
    y *= 2
    y.sum().backward()
    torch.testing.assert_close(x.grad, 2 * layer.weight.detach().sum(0).expand(2, 3, 7))


def test_frozen_weights_get_no_gradient(served):
    layer = Linear(7, 4).requires_grad_(False)
    x = torch.randn(3, 7, requires_grad=True)
    layer(x).sum().backward()
    assert layer.weight.grad is None and x.grad is not None


def test_other_precisions_are_torchs_own(served):
    layer = Linear(7, 4)
    x = torch.randn(3, 7)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
        assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))
    double = copy.deepcopy(layer).double()
    assert torch.equal(double(x.double()), F.linear(x.double(), double.weight, double.bias))
    assert times(x.double(), x.double()).dtype == torch.float64


def test_views_of_any_stride(served):
    torch.manual_seed(0)
    a, b = torch.randn(6, 9), torch.randn(6, 5)
    torch.testing.assert_close(times(a.T, b.T), (a.double().T @ b.double()).float())
    torch.testing.assert_close(
        times(a[::2, 1:8:3], b[:, ::2]), (a[::2, 1:8:3].double() @ b[:, ::2].double().T).float()
    )
    torch.testing.assert_close(
        times(a[:, :1].expand(6, 5), b), (a[:, :1].expand(6, 5).double() @ b.double().T).float()
    )


def test_an_engine_and_its_twin_take_it_over(served, nano):
    from conftest import make_causal, make_tokenizer

    causal = make_causal(0, 0.1)
    before = {name: value.clone() for name, value in causal.state_dict().items()}
    engine = LocalEngine.of(causal, make_tokenizer())
    for one in (engine, engine.twin(heads=1)):
        kinds = {type(m) for m in one.causal.modules() if isinstance(m, torch.nn.Linear)}
        assert kinds == {Linear if served else torch.nn.Linear}
    assert all(torch.equal(before[name], value) for name, value in engine.causal.state_dict().items())
    logits = engine.causal(input_ids=torch.arange(12)[None]).logits
    plain = make_causal(0, 0.1)(input_ids=torch.arange(12)[None]).logits
    np.testing.assert_allclose(logits.detach(), plain.detach(), atol=1e-5)


def test_a_layer_of_another_kind_is_left_alone(monkeypatch):
    monkeypatch.setattr(linear, "foreign", lambda: True)

    class Mine(torch.nn.Linear):
        pass

    both = torch.nn.Sequential(Mine(2, 2), torch.nn.Linear(2, 2))
    adopt(both)
    assert [type(layer) for layer in both] == [Mine, Linear]
