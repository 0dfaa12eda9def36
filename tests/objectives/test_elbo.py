import pytest
import torch
from recorded import parameters, perceptron, record_gradients
from torch.nn.functional import binary_cross_entropy_with_logits

from skrdae._random import member_generators
from skrdae.networks.mlp import ACTIVATIONS
from skrdae.networks.variational import MemberVAE
from skrdae.training import variational
from skrdae.training.variational import train_variational

CPU = torch.device("cpu")
OPTIONS = {"beta": 1.0, "n_epochs": 5, "batch_size": 16, "lr": 3e-3}


def _train(data, seeds, likelihood="gaussian", sizes=(8,), latent_dim=2, **options):
    generators, activation = member_generators(seeds), options.pop("activation", "tanh")
    network = MemberVAE(data.shape[1], sizes, latent_dim, activation, generators, CPU)
    found = train_variational(
        network,
        data.expand(len(seeds), -1, -1),
        likelihood=likelihood,
        generators=generators,
        **(OPTIONS | options),
    )
    return network, *found


def _data(n=50, d=5):
    generator = torch.Generator().manual_seed(1)
    X = torch.randn(n, 2, generator=generator) @ torch.randn(2, d, generator=generator)
    return X + 0.1 * torch.randn(n, d, generator=generator)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
@pytest.mark.parametrize("beta", [0.0, 0.7])
def test_gradients_are_those_of_the_evidence_lower_bound(likelihood, beta, monkeypatch):
    data = _data() if likelihood == "gaussian" else _data().sigmoid()
    noise = torch.tensor([0.6, -1.1])
    recorded = record_gradients(monkeypatch, variational, noise)
    monkeypatch.setattr(variational, "_run_compiled", variational._run)
    network, _, _ = _train(data, [3, 4], likelihood, beta=beta, n_epochs=1, batch_size=50)

    encoder, decoder = parameters(network.encoder, network.decoder)
    mean, log_variance = perceptron(data.expand(2, -1, -1), encoder).split(2, dim=-1)
    out = perceptron(mean + torch.exp(0.5 * log_variance) * noise, decoder)
    kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(dim=-1)
    if likelihood == "gaussian":
        # After the first batch the variance has made one step from 1 to the errors' own.
        square = (out - data).square().mean(dim=1, keepdim=True).detach()
        variance = 0.95 + 0.05 * square.clamp(min=0.01)
        error = ((out - data) ** 2 / (2 * variance)).sum(dim=-1)
        scale = 2 * variance.mean(dim=2)  # (K, 1)
    else:
        targets = data.expand(2, -1, -1)
        error = binary_cross_entropy_with_logits(out, targets, reduction="none").sum(dim=-1)
        scale = 1.0
    loss = (scale * (error + beta * kl)).mean(dim=1).sum()
    expected = torch.autograd.grad(loss, encoder + decoder)
    (found,) = recorded
    for mine, right in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_compiled_and_stacked_epochs_are_the_same(likelihood, activation, monkeypatch):
    data = _data(77) if likelihood == "gaussian" else _data(77).sigmoid()
    options = {"likelihood": likelihood, "activation": activation, "beta": 0.7, "sizes": (8, 4)}
    compiled = _train(data, [3, 4], **options)
    monkeypatch.setattr(variational, "_run_compiled", variational._run)
    stacked = _train(data, [3, 4], **options)
    for a, b in zip(compiled[0].parameters(), stacked[0].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-5)
    for mine, theirs in zip(compiled[1], stacked[1], strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)
    torch.testing.assert_close(compiled[2], stacked[2], rtol=1e-3, atol=0)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
@pytest.mark.parametrize(
    ("sizes", "latent_dim", "d"), [((8,), 2, 5), ((30, 1), 1, 3), ((300,), 4, 60)]
)
def test_a_member_is_the_same_fit_made_alone(likelihood, sizes, latent_dim, d):
    data = _data(70, d) if likelihood == "gaussian" else _data(70, d).sigmoid()
    options = {"likelihood": likelihood, "sizes": sizes, "latent_dim": latent_dim}
    stacked, _, variances = _train(data, [5, 6, 7], **options)
    for k, seed in enumerate([5, 6, 7]):
        alone, _, variance = _train(data, [seed], **options)
        assert torch.equal(variance[0], variances[k])
        for a, b in zip(stacked.parameters(), alone.parameters(), strict=True):
            assert torch.equal(a[k], b[0])


def test_the_noise_found_is_the_noise_put_in():
    generator = torch.Generator().manual_seed(0)
    signal = torch.randn(2000, 1, generator=generator).expand(-1, 6)
    noise = torch.tensor([0.05, 0.2, 0.3, 0.3, 0.5, 0.5])
    data = signal + noise * torch.randn(2000, 6, generator=generator)
    options = {"sizes": (32,), "latent_dim": 1, "n_epochs": 80, "batch_size": 64}
    network, history, variance = _train(data, [0], **options)
    found = variance[0, 0].sqrt()
    assert (found[1:] / noise[1:]).sub(1).abs().max() < 0.3
    assert found.argmin() == 0
    assert history[-1]["error"] < 0.3 * history[0]["error"]
    assert history[-1]["kl"] > 1  # the code is used
    # It is the mean square of the errors at z = μ.
    error = network.decode(network.encode(data[None])[0].contiguous())[0] - data
    expected = error.square().mean(dim=0).clamp(min=0.01)
    torch.testing.assert_close(variance[0, 0], expected, rtol=1e-4, atol=0)


def test_a_larger_beta_brings_the_code_nearer_the_prior():
    divergences = [_train(_data(300), [0], beta=b, n_epochs=40)[1][-1]["kl"] for b in (0.1, 1, 30)]
    assert divergences[0] > divergences[1] > divergences[2]
    assert divergences[2] < 0.05


def test_noise_of_samples_is_larger():
    at_mean = _train(_data(300), [0], n_epochs=60)[2]
    sampled = _train(_data(300), [0], n_epochs=60, noise_of_samples=True)[2]
    assert (sampled > at_mean).double().mean() > 0.7
