import torch

from skrdae._random import member_generators
from skrdae.networks.mlp import MemberAutoencoder
from skrdae.training.adam import MemberAdam


def _network(n_members=2):
    generators = member_generators(range(n_members))
    return MemberAutoencoder(5, (4, 2), "tanh", "identity", generators, torch.device("cpu"))


def _fill(optimiser, generator):
    for grad in optimiser.grads.values():
        grad.copy_(torch.randn(grad.shape, generator=generator))


def test_steps_are_those_of_torch():
    network, twin = _network(), _network()
    mine = MemberAdam(network, lr=0.01)
    theirs = torch.optim.Adam(twin.parameters(), lr=0.01, eps=MemberAdam._EPS)
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):  # past the cut-off of tiny averages
        _fill(mine, generator)
        for p, grad in zip(twin.parameters(), mine.grads.values(), strict=True):
            p.grad = grad.clone()
        mine.step()
        theirs.step()
    for a, b in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_averages_that_fade_are_cut_off_before_they_are_denormal():
    network = _network(1)
    optimiser = MemberAdam(network, lr=0.01)
    for grad in optimiser.grads.values():
        grad.fill_(1.0)
    optimiser.step()
    for grad in optimiser.grads.values():
        grad.zero_()
    for _ in range(1000):  # 0.9 ** 1000 is denormal in single precision
        optimiser.step()
        optimiser.flush()
    used = torch.cat([view.reshape(-1) for view in optimiser._views(optimiser._mean)])
    assert not used.any()
    assert optimiser._square.min() >= MemberAdam._TINY * 0.9


def test_selected_members_go_on_as_before():
    network = _network(3)
    optimiser = MemberAdam(network, lr=0.01)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        _fill(optimiser, generator)
        optimiser.step()
    some = torch.tensor([2, 0])
    part = network.select(some)
    part_optimiser = optimiser.select(part, some)
    for _ in range(3):
        _fill(optimiser, generator)
        pairs = zip(
            optimiser.grads.values(),
            part_optimiser.grads.values(),
            strict=True,
        )
        for whole, selected in pairs:
            selected.copy_(whole[some])
        optimiser.step()
        part_optimiser.step()
    for whole, selected in zip(network.parameters(), part.parameters(), strict=True):
        assert torch.equal(whole[some], selected)


def test_a_whole_number_as_lr_needs_no_loops_of_its_own():
    network = _network(1)
    (adam, _), *_ = MemberAdam(network, lr=1).compiled(network)
    assert type(adam.lr) is float
