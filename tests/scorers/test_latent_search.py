import pytest
import torch

from skrdae._random import member_generators
from skrdae.networks.gan import MemberGAN
from skrdae.networks.workspace import Workspace
from skrdae.scorers.latent_search import Mismatch, search

CPU = torch.device("cpu")


def _network():
    generators = member_generators([0, 1])
    return MemberGAN(5, (16,), 2, (8, 4), "tanh", "identity", False, generators, CPU)


def _mismatch(network, rows, lam=0.3):
    shown = rows.expand(network.n_members, *rows.shape)
    z = rows.new_zeros(*shown.shape[:2], network.latent_dim)
    return Mismatch(network, rows, shown, z, lam, Workspace(CPU))


def _objective(network, rows, z, lam):
    """The definition, by way of autograd's own operations."""
    made = network.generator(z)
    shown = rows.expand(2, *rows.shape)
    on_rows, on_made = (network.features(values)[-1] for values in (shown, made))
    residual = (made - rows).abs().sum(dim=-1)
    return (1 - lam) * residual + lam * (on_made - on_rows).abs().sum(dim=-1)


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
def test_objective_and_gradient(lam):
    generator = torch.Generator().manual_seed(0)
    network, rows = _network(), torch.randn(40, 5, generator=generator)
    z = torch.randn(2, 40, 2, generator=generator)
    mismatch = _mismatch(network, rows, lam)
    parts = mismatch.at(z)
    follow = z.clone().requires_grad_()
    expected = _objective(network, rows, follow, lam)
    torch.testing.assert_close(mismatch.objective(*parts), expected.detach())
    # A sum over rows: the gradient of one row's code does not shrink with their number.
    (right,) = torch.autograd.grad(expected.sum(), follow)
    torch.testing.assert_close(mismatch.gradient(*parts), right, rtol=1e-4, atol=1e-5)


def test_more_steps_never_raise_the_objective():
    generator = torch.Generator().manual_seed(0)
    network, rows = _network(), 2 * torch.randn(64, 5, generator=generator)
    start = torch.randn(2, 64, 2, generator=generator)
    previous = _objective(network, rows, start, 0.3).detach()
    first = previous
    for n_iter in (1, 2, 5, 10, 30, 100, 300):
        mismatch = _mismatch(network, rows)
        found = mismatch.objective(*mismatch.at(search(mismatch, start, n_iter)))
        assert (found <= previous).all() or n_iter == 1
        assert (found <= previous + 1e-5).all()
        previous = found
    assert previous.mean() < 0.9 * first.mean()


def test_a_row_that_the_generator_makes_is_found():
    network = _network()
    z = torch.randn(1, 64, 2, generator=torch.Generator().manual_seed(0))
    rows = network.generator.select([0])(z)[0]
    mismatch = _mismatch(network, rows)
    found = search(mismatch, torch.zeros(2, 64, 2), 500)
    distance = mismatch.objective(*mismatch.at(found))[0]
    at_start = mismatch.objective(*mismatch.at(torch.zeros(2, 64, 2)))[0]
    assert (distance < 0.1 * at_start).double().mean() > 0.9


def test_a_row_is_found_whatever_the_others_are():
    generator = torch.Generator().manual_seed(0)
    network, rows = _network(), torch.randn(64, 5, generator=generator)
    start = torch.zeros(2, 64, 2)
    whole = search(_mismatch(network, rows), start, 40)
    order = torch.randperm(64, generator=generator)
    assert torch.equal(search(_mismatch(network, rows[order]), start, 40), whole[:, order])
    wild = rows.clone()
    wild[1:] = 1e6 * torch.randn(63, 5, generator=generator)
    assert torch.equal(search(_mismatch(network, wild), start, 40)[:, 0], whole[:, 0])


def test_the_networks_are_only_read():
    network = _network()
    before = [p.clone() for p in network.parameters()]
    search(_mismatch(network, torch.randn(64, 5)), torch.zeros(2, 64, 2), 20)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
