import pytest
import torch
from torch.autograd.functional import jacobian

from skrdae._random import member_generators
from skrdae.networks.compiled_latent import chain, flows
from skrdae.networks.compiled_recurrence import run_layer
from skrdae.networks.sequential import (
    MemberLSTMVAE,
    MemberOmniAnomaly,
    _chain_by_steps,
    _invertible,
    planar_flow,
)

CPU = torch.device("cpu")


def _drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_the_log_determinant_of_a_planar_flow_is_that_of_its_jacobian(d, size):
    z, weight, scale = _drawn(4, 3, d), size * _drawn(d, seed=1), size * _drawn(d, seed=2)
    bias = _drawn(1, seed=3)
    moved, log_det = planar_flow(z, weight, bias, scale)
    assert log_det.shape == (4, 3, 1)
    for t in range(4):
        for i in range(3):
            one = lambda x: planar_flow(x.view(1, 1, d), weight, bias, scale)[0].view(d)  # noqa: E731
            torch.testing.assert_close(one(z[t, i]), moved[t, i])
            found = torch.linalg.slogdet(jacobian(one, z[t, i]))
            assert found.sign == 1  # the flow can be inverted
            torch.testing.assert_close(log_det[t, i, 0], found.logabsdet, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("cell", "cls"), [("lstm", torch.nn.LSTM), ("gru", torch.nn.GRU)])
def test_a_compiled_layer_is_that_of_torch(cell, cls):
    layer = cls(3, 5)
    x, grad = _drawn(9, 7, 3).requires_grad_(), _drawn(9, 7, 5)
    weights = layer._flat_weights
    right, found = layer(x)[0], run_layer(cell, x, weights)
    torch.testing.assert_close(found, right)
    for mine, theirs in zip(
        torch.autograd.grad(found, [x, *weights], grad),
        torch.autograd.grad(right, [x, *weights], grad),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    with torch.no_grad():  # where nothing is kept for the way back
        assert torch.equal(run_layer(cell, x, weights), found)


def test_the_compiled_chain_is_the_one_made_step_by_step():
    inputs, weight, noise = 3 * _drawn(9, 7, 4), _drawn(2, 4), _drawn(9, 7, 2)
    grads = _drawn(2, 9, 7, 2)
    found = []
    for make in (chain, _chain_by_steps):
        known = [inputs.clone().requires_grad_(), (0.3 * weight).requires_grad_()]
        made = make(*known, noise, 1e-4)
        found.append((*made, *torch.autograd.grad(made, known, list(grads))))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_compiled_flows_are_those_made_one_by_one():
    z, weight, scale, bias = _drawn(9, 7, 2), _drawn(3, 2), _drawn(3, 2, seed=1), _drawn(3, 1)
    known, found = [z, weight, scale, bias], []
    for tensor in known:
        tensor.requires_grad_()
    for compiled in (True, False):
        moved, total = z, 0.0
        if compiled:
            moved, total = flows(z, weight, bias, *_invertible(weight, scale))
        else:
            for flow in zip(weight, bias, scale, strict=True):
                moved, log_det = planar_flow(moved, *flow)
                total = total + log_det
        grads = [_drawn(*made.shape, seed=2) for made in (moved, total)]
        found.append((moved, total, *torch.autograd.grad([moved, total], known, grads)))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cls", [MemberLSTMVAE, MemberOmniAnomaly])
def test_shapes_and_the_mean_of_z(cls):
    flows = (2,) if cls is MemberOmniAnomaly else ()
    network = cls(12, 2, (5, 4), 3, *flows, member_generators([0, 1]), CPU)
    x = _drawn(2, 70, 12)
    found = network.infer(x)
    assert found.z.shape == (2, 70, 6, 3)
    assert found.mean.shape == found.log_variance.shape == (2, 70, 6, 2)
    assert network.code_size == 18
    assert network.row_shape == (6, 2)
    codes = network.encode(x)
    assert torch.equal(codes, found.z.flatten(2))
    torch.testing.assert_close(network.decode(codes), found.mean.flatten(2))
    assert torch.equal(network(x), found.mean.flatten(2))
    # What is drawn is around the mean.
    drawn = network.infer(x, torch.zeros(2, 70, 18))
    torch.testing.assert_close(drawn.z, found.z)
    assert not torch.allclose(network.infer(x, _drawn(2, 70, 18)).z, found.z)


@pytest.mark.parametrize("cls", [MemberLSTMVAE, MemberOmniAnomaly])
def test_a_step_knows_nothing_of_later_ones(cls):
    flows = (2,) if cls is MemberOmniAnomaly else ()
    network = cls(12, 2, (5,), 3, *flows, member_generators([0]), CPU)
    x = _drawn(1, 4, 12)
    changed = x.clone()
    changed[..., 8:] += 1
    one, other = network.infer(x), network.infer(changed)
    assert torch.equal(one.mean[:, :, :4], other.mean[:, :, :4])
    assert not torch.equal(one.mean[:, :, 4:], other.mean[:, :, 4:])
