import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from trainings import assert_member, member_rows, plane, rows_for, trainer_of

from skrdae.objectives.elbo import EvidenceLowerBound, noise_variance
from skrdae.rows import HeldMemberRows
from skrdae.training.rounds import Session, run
from skrdae.training.trainer import Epochs


def _train(data, seeds, likelihood="gaussian", *, n_epochs=5, sizes=(8,), beta=1.0, **options):
    trainer = trainer_of(likelihood, seeds, data.shape[1], sizes=sizes, beta=beta, **options)
    training = Epochs(trainer, member_rows(data, len(seeds)))
    run(training, n_epochs, Session())
    return trainer.network, training.history, trainer.objective.variance


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
@pytest.mark.parametrize("beta", [0.0, 0.7])
def test_the_loss_is_the_evidence_lower_bound(likelihood, beta):
    network = trainer_of(likelihood, [3, 4]).network
    objective = EvidenceLowerBound(likelihood, beta, torch.ones(2, 1, 5))
    x = rows_for(likelihood).expand(2, -1, -1)
    noise = torch.randn(2, 50, 2, generator=torch.Generator().manual_seed(0))
    loss, (error, kl) = objective.loss("adam", network, x, noise)
    mean, log_variance = network.encode(x)
    out = network.decode(mean + torch.exp(0.5 * log_variance) * noise)
    divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(dim=-1)
    if likelihood == "gaussian":
        # After the first batch the variance has made one step from 1 to the errors' own.
        square = (out - x).square().mean(dim=1, keepdim=True)
        variance = 0.95 + 0.05 * square.clamp(min=0.01)
        torch.testing.assert_close(objective.variance, variance)
        of_row = ((out - x) ** 2 / (2 * variance)).sum(dim=-1)
        scale = 2 * variance.mean(dim=2)  # (K, 1)
        squares = (out - x).square().sum(dim=(1, 2))
        torch.testing.assert_close(error, squares)
    else:
        assert torch.equal(objective.variance, torch.ones(2, 1, 5))
        of_row = binary_cross_entropy_with_logits(out, x, reduction="none").sum(dim=-1)
        scale = 1.0
        torch.testing.assert_close(error, of_row.sum(dim=1))
    torch.testing.assert_close(loss, (scale * (of_row + beta * divergence)).mean(dim=1))
    torch.testing.assert_close(kl, divergence.sum(dim=1))


def test_the_objective_of_some_members_shares_their_variances():
    objective = EvidenceLowerBound("gaussian", 1.0, torch.ones(3, 1, 5))
    objective.of_members(slice(1, 2)).variance.fill_(7.0)
    assert objective.variance[:, 0, 0].tolist() == [1.0, 7.0, 1.0]
    assert objective.tensors()[0] is objective.variance


def test_a_row_of_the_history():
    objective = EvidenceLowerBound("gaussian", 1.0, torch.full((2, 1, 5), 0.5))
    expected = {"epoch": 2, "error": 3.0, "kl": 0.25, "variance": 0.5}
    assert objective.record(2, [3.0, 0.25]) == expected


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
@pytest.mark.parametrize(
    ("sizes", "latent_dim", "d"), [((8,), 2, 5), ((30, 1), 1, 3), ((300,), 4, 60)]
)
def test_a_member_is_the_same_fit_made_alone(likelihood, sizes, latent_dim, d):
    data, options = rows_for(likelihood, 70, d), {"sizes": sizes, "latent_dim": latent_dim}
    stacked, _, variances = _train(data, [5, 6, 7], likelihood, **options)
    for k, seed in enumerate([5, 6, 7]):
        alone, _, variance = _train(data, [seed], likelihood, **options)
        assert torch.equal(variance[0], variances[k])
        assert_member(stacked, k, alone)


def test_the_noise_found_is_the_noise_put_in():
    generator = torch.Generator().manual_seed(0)
    signal = torch.randn(2000, 1, generator=generator).expand(-1, 6)
    noise = torch.tensor([0.05, 0.2, 0.3, 0.3, 0.5, 0.5])
    data = signal + noise * torch.randn(2000, 6, generator=generator)
    options = {"sizes": (32,), "latent_dim": 1, "n_epochs": 80, "batch_size": 64}
    network, history, _ = _train(data, [0], **options)
    variance = noise_variance(network, member_rows(data, 1))
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
    divergences = [_train(plane(300), [0], beta=b, n_epochs=40)[1][-1]["kl"] for b in (0.1, 1, 30)]
    assert divergences[0] > divergences[1] > divergences[2]
    assert divergences[2] < 0.05


def test_noise_of_samples_is_larger_than_that_at_the_mean():
    network, _, sampled = _train(plane(300), [0], n_epochs=60)
    at_mean = noise_variance(network, member_rows(plane(300), 1))
    assert (sampled > at_mean).double().mean() > 0.7


def test_the_noise_of_members_is_that_of_their_own_rows():
    network, _, _ = _train(plane(70), [0, 1])
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(2, 3000, 5, generator=generator)  # more than a part
    found = noise_variance(network, HeldMemberRows(data))
    error = network.decode(network.encode(data)[0].contiguous()) - data
    torch.testing.assert_close(found, error.square().mean(dim=1, keepdim=True).clamp(min=0.01))
    one_for_all = noise_variance(network, HeldMemberRows(data[:1]))
    torch.testing.assert_close(one_for_all[0], found[0])
