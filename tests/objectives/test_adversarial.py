from itertools import chain

import pytest
import torch
from recorded import parameters, perceptron, record_gradients

from skrdae._random import member_generators
from skrdae.networks.gan import MemberGAN
from skrdae.networks.mlp import ACTIVATIONS
from skrdae.training import adversarial
from skrdae.training.adversarial import train_adversarial, train_encoder

CPU = torch.device("cpu")
OPTIONS = {"batch_size": 32, "lr": 2e-3}


def _network(d, generators, sizes=(8,), latent_dim=2, critic=(6, 4), activation="tanh"):
    return MemberGAN(d, sizes, latent_dim, critic, activation, "identity", True, generators, CPU)


def _train(data, seeds, n_epochs=4, n_encoder_epochs=3, **shape):
    generators = member_generators(seeds)
    network = _network(data.shape[1], generators, **shape)
    options = OPTIONS | {"generators": generators}
    rows = data.expand(len(seeds), -1, -1)
    history = train_adversarial(network, rows, n_epochs=n_epochs, **options)
    encoder_history = train_encoder(network, rows, n_epochs=n_encoder_epochs, **options)
    return network, history, encoder_history


def _data(n=50, d=5):
    generator = torch.Generator().manual_seed(1)
    X = torch.randn(n, 2, generator=generator) @ torch.randn(2, d, generator=generator)
    return X + 0.1 * torch.randn(n, d, generator=generator)


@pytest.fixture
def stacked(monkeypatch):
    """Train by torch operations on all members at once, as on a GPU."""
    monkeypatch.setattr(adversarial, "_run_compiled", adversarial._run)
    monkeypatch.setattr(adversarial, "_run_encoder_compiled", adversarial._run_encoder)


@pytest.mark.usefixtures("stacked")
def test_gradients_are_those_of_the_hinge_loss(monkeypatch):
    # Larger rows, so that the discriminator goes beyond the hinge on either side.
    data, noise = 4 * _data(30), torch.tensor([0.6, -1.1])
    generators = member_generators([3, 4])
    network = _network(5, generators)
    recorded = record_gradients(monkeypatch, adversarial, noise)
    adversarial.SpectralBound(network.discriminator)  # training starts from bounded weights
    # One member's D is near 1 on the data, the other's near −1 on what is made.
    made = network.generator(noise.expand(2, 30, 2))
    at = torch.stack(
        [network.discriminator(data.expand(2, -1, -1))[0].median(), made.new_zeros(())]
    )
    at[1] = network.discriminator(made)[1].median() + 1.5
    network.discriminator.biases[-1].add_((torch.tensor([1.0, 0.0]) - at)[:, None, None])
    maker, critic = parameters(network.generator, network.discriminator)
    train_adversarial(
        network,
        data.expand(2, -1, -1),
        n_epochs=1,
        **(OPTIONS | {"generators": generators, "batch_size": 30}),
    )
    made = perceptron(noise.expand(2, 30, 2), maker)
    on_data = perceptron(data.expand(2, -1, -1), critic)
    on_made = perceptron(made.detach(), critic)
    assert 0 < (on_data[0] < 1).double().mean() < 1
    assert (on_made[1] < -1).all()  # on the flat side
    assert (on_made[0] > -1).all()
    hinge = torch.relu(1 - on_data).mean(dim=1) + torch.relu(1 + on_made).mean(dim=1)
    expected = torch.autograd.grad(hinge.sum(), critic)
    for mine, right in zip(recorded[0], expected, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-3, atol=1e-5)
    expected = torch.autograd.grad(-perceptron(made, critic).mean(dim=1).sum(), maker)
    for mine, right in zip(recorded[1], expected, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_compiled_and_stacked_epochs_are_the_same(activation, request):
    # Rows so large that the hinge is passed: otherwise gradients of biases that should vanish are
    # rounding errors, along which Adam steps as far as along any other. 90 rows are three batches,
    # so that the norms are bounded after the fifth step.
    data, options = 6 * _data(90), {"n_epochs": 2, "n_encoder_epochs": 2, "activation": activation}
    compiled, *histories = _train(data, [3, 4], **options)
    request.getfixturevalue("stacked")
    others, *other_histories = _train(data, [3, 4], **options)
    before = _network(5, member_generators([3, 4]), activation=activation)
    for a, b, start in zip(*(n.parameters() for n in (compiled, others, before)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-5)
        assert not torch.allclose(a, start, rtol=1e-3, atol=2e-5)
    for mine, theirs in zip(chain(*histories), chain(*other_histories), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("way", ["compiled", "stacked"])
def test_spectral_norms_stay_near_one(way, request):
    if way == "stacked":
        request.getfixturevalue("stacked")
    data, generators = _data(300), member_generators([0, 1])
    network = _network(5, generators, sizes=(32,), critic=(64, 32))
    largest = []

    def watch(_):  # after ten steps, of which the last is followed by a bound
        weights = network.discriminator.weights
        largest.append(max(torch.linalg.matrix_norm(w, 2).max() for w in weights))

    options = OPTIONS | {"generators": generators, "on_iteration": watch}
    train_adversarial(network, data.expand(2, -1, -1), n_epochs=50, **options)
    watch(None)
    assert len(largest) == 51
    assert max(largest) < 1.4
    assert largest[-1] < 1.02


@pytest.mark.usefixtures("stacked")
def test_gradients_are_those_of_the_encoders_loss(monkeypatch):
    data = _data(30)
    generators = member_generators([3, 4])
    network = _network(5, generators)
    recorded = record_gradients(monkeypatch, adversarial, torch.zeros(1))
    train_encoder(
        network,
        data.expand(2, -1, -1),
        n_epochs=1,
        **(OPTIONS | {"generators": generators, "batch_size": 30}),
    )
    encoder, maker, critic = parameters(network.encoder, network.generator, network.discriminator)
    x = data.expand(2, -1, -1)
    made = perceptron(perceptron(x, encoder), maker)
    on_x, on_made = (perceptron(v, critic, n_layers=2) for v in (x, made))
    loss = (made - x).square().sum(dim=-1) + 5 / 4 * (on_made - on_x).square().sum(dim=-1)
    expected = torch.autograd.grad(loss.mean(dim=1).sum(), encoder)
    (found,) = recorded
    for mine, right in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("sizes", "latent_dim", "critic", "d"),
    [((8,), 2, (6, 4), 5), ((12, 1), 1, (5,), 3), ((300,), 4, (280, 30), 60)],
)
def test_a_member_is_the_same_fit_made_alone(sizes, latent_dim, critic, d):
    options = {"sizes": sizes, "latent_dim": latent_dim, "critic": critic}
    stacked, *_ = _train(_data(70, d), [5, 6, 7], **options)
    for k, seed in enumerate([5, 6, 7]):
        alone, *_ = _train(_data(70, d), [seed], **options)
        for a, b in zip(stacked.parameters(), alone.parameters(), strict=True):
            assert torch.equal(a[k], b[0])


def test_the_generator_learns_where_the_data_are():
    generator = torch.Generator().manual_seed(0)
    centre = torch.tensor([3.0, -2.0, 0.5, 4.0])
    scale = torch.tensor([0.5, 0.3, 1.0, 0.4])
    data = centre + scale * torch.randn(600, 4, generator=generator)
    network, history, _ = _train(
        data, [0, 1], n_epochs=150, sizes=(32,), critic=(32, 16), latent_dim=4
    )
    z = torch.randn(2, 1000, 4, generator=generator)
    made = network.generator(z)
    assert (made.mean(dim=(0, 1)) - centre).abs().max() < 0.8
    assert (made.std(dim=1).mean(dim=0) / scale).log().abs().max() < 1.0
    assert len(history) == 150
    assert all(torch.isfinite(torch.tensor(list(row.values()))).all() for row in history)
    norms = [torch.linalg.matrix_norm(w, 2).max() for w in network.discriminator.weights]
    assert max(norms) < 1.1


def test_the_encoder_learns_and_leaves_generator_and_discriminator_alone():
    data = _data(300)
    generators = member_generators([0])
    network = _network(5, generators, sizes=(16,))
    options = OPTIONS | {"generators": generators}
    train_adversarial(network, data[None], n_epochs=60, **options)
    frozen = [p.clone() for n in (network.generator, network.discriminator) for p in n.parameters()]
    history = train_encoder(network, data[None], n_epochs=30, **options)
    after = [p for n in (network.generator, network.discriminator) for p in n.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(frozen, after, strict=True))
    assert history[-1]["error"] < 0.5 * history[0]["error"]
    assert history[-1]["feature_error"] < history[0]["feature_error"]
