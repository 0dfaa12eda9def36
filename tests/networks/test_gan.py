import torch

from skrdae._random import member_generators
from skrdae.networks.gan import MemberGAN, SpectralBound, bound_stacked
from skrdae.networks.mlp import MemberMLP

CPU = torch.device("cpu")


def _network(seeds=(0, 1), encodes=True):
    sizes = (7, 4), 2, (6, 3)
    return MemberGAN(5, *sizes, "tanh", "identity", encodes, member_generators(seeds), CPU)


def test_layers_mirror_and_features_are_the_last_hidden_layer():
    network = _network()
    shapes = {
        name: [tuple(w.shape[1:]) for w in getattr(network, name).weights]
        for name in ("generator", "discriminator", "encoder")
    }
    assert shapes["generator"] == [(2, 4), (4, 7), (7, 5)]
    assert shapes["encoder"] == [(5, 7), (7, 4), (4, 2)]
    assert shapes["discriminator"] == [(5, 6), (6, 3), (3, 1)]
    x = torch.randn(2, 9, 5)
    features = network.features(x)[-1]
    assert features.shape == (2, 9, 3)
    last = network.discriminator.weights[-1], network.discriminator.biases[-1]
    torch.testing.assert_close(features @ last[0] + last[1], network.discriminator(x))
    assert _network(encodes=False).encoder is None


def test_weights_end_at_spectral_norm_one_and_small_ones_stay():
    network = MemberMLP(
        [20, 30, 6, 1], ["tanh", "tanh", "identity"], member_generators([0, 1]), CPU
    )
    first, second, last = network.weights
    first.mul_(5)
    second.mul_(0.1)
    last[0] *= 9
    small, direction = second.clone(), first / torch.linalg.matrix_norm(first, 2)[:, None, None]
    SpectralBound(network).finish()
    norms = torch.linalg.matrix_norm(first, 2)
    torch.testing.assert_close(norms, torch.ones(2), rtol=1e-3, atol=0)
    torch.testing.assert_close(first / norms[:, None, None], direction, rtol=1e-4, atol=1e-6)
    assert torch.equal(second, small)
    assert (torch.linalg.matrix_norm(last, 2) < 1.001).all()


def test_matrices_are_bounded_one_by_one_as_all_at_once():
    sizes, kinds = [20, 30, 6, 1], ["tanh", "tanh", "identity"]
    network = MemberMLP(sizes, kinds, member_generators([0, 1]), CPU)
    for weight, factor in zip(network.weights, (5, 0.1, 9), strict=True):
        weight.mul_(factor)
    weights = [weight.clone() for weight in network.weights]
    vectors = [weight.new_ones(2, 1, weight.shape[2]) for weight in weights]
    bound = SpectralBound(network)
    for n_rounds in (50, 2):
        for weight, vector in zip(weights, vectors, strict=True):
            bound_stacked(weight, vector, n_rounds)
    bound.apply()
    found = [*network.weights, *bound.vectors]
    for mine, right in zip(found, [*weights, *vectors], strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-4, atol=1e-6)


def test_the_bound_is_kept_while_the_weights_move():
    network = MemberMLP([20, 30, 1], ["tanh", "identity"], member_generators([0]), CPU)
    bound = SpectralBound(network)
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        for weight in network.weights:
            weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.01)
        bound.apply()
    for weight in network.weights:
        assert torch.linalg.matrix_norm(weight[0], 2) < 1.1
    x = torch.randn(500, 20, generator=generator)
    y = x + 0.1 * torch.randn(500, 20, generator=generator)
    growth = (network(x[None]) - network(y[None])).norm(dim=-1)[0] / (x - y).norm(dim=-1)
    assert growth.max() < 1.2


def test_the_first_members_of_a_larger_stack_are_those_of_a_smaller_one():
    for a, b in zip(_network([3]).parameters(), _network([3, 4]).parameters(), strict=True):
        assert torch.equal(a[0], b[0])
