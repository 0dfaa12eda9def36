import pytest
import torch
from torch.autograd.functional import jacobian

from skrdae._random import member_generators
from skrdae.networks.compiled_recurrence import run_layer
from skrdae.networks.sequential import (
    MemberLSTMVAE,
    MemberOmniAnomaly,
    _chain_by_steps,
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


def test_the_compiled_gru_is_that_of_torch():
    layer = torch.nn.GRU(3, 5)
    x, grad = _drawn(9, 7, 3), _drawn(9, 7, 5)
    w, u, b, c = layer._flat_weights
    right, found = layer(x)[0], gru(x @ w.t() + b, u, c)
    torch.testing.assert_close(found, right)
    for mine, theirs in zip(
        torch.autograd.grad(found, [w, u, b, c], grad),
        torch.autograd.grad(right, [w, u, b, c], grad),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


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
