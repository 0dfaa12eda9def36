import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence
from trainings import CPU, assert_member, member_rows, rows_for, trainer_of

from skrdae._random import member_generators
from skrdae.networks.sequential import LEAST_VARIANCE, MOST_VARIANCE, MemberLSTMVAE
from skrdae.objectives.sequences import ProgressBound


def _drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _lstm(weights, sequence):
    """Run an LSTM as its equations say, the gates in torch's order: (n, T, in) → (n, T, units)."""
    w, u, b, c = weights
    h = state = sequence.new_zeros(len(sequence), u.shape[1])
    out = []
    for x in sequence.unbind(1):
        i, f, g, o = (x @ w.T + h @ u.T + b + c).chunk(4, dim=-1)
        state = torch.sigmoid(f) * state + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(state)
        out.append(h)
    return torch.stack(out, dim=1)


def _likelihood(network, k, states, x):
    """Return Σ log p(x|z) from the decoder's states."""
    mean, raw = (states @ network.value_weight[k] + network.value_bias[k]).chunk(2, dim=-1)
    ratio = MOST_VARIANCE / LEAST_VARIANCE
    variance = LEAST_VARIANCE * ratio ** torch.sigmoid(raw)
    return Normal(mean, variance.sqrt()).log_prob(x).sum(dim=(1, 2))


@pytest.mark.parametrize("progress", [0.0, 1.0, 2.5])
def test_the_loss_of_an_lstm_vae_is_that_of_the_paper(progress):
    network = MemberLSTMVAE(10, 2, (4,), 3, member_generators([3, 4]), CPU)
    x, noise = _drawn(2, 7, 10), _drawn(2, 7, 15, seed=1)
    loss, measures = ProgressBound(network, progress).loss("adam", network, x, noise)
    # The prior's mean moves evenly, in the last dimension.
    centre = torch.zeros(5, 3)
    centre[:, 2] = progress * torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0])
    for k in range(2):
        encoder, decoder = network._layer_weights(k)
        windows = x[k].reshape(7, 5, 2)
        states = _lstm(encoder, windows)
        mean, log_variance = (states @ network.code_weight[k] + network.code_bias[k]).chunk(2, -1)
        q = Normal(mean, torch.exp(0.5 * log_variance))
        z = q.mean + q.stddev * noise[k].reshape(7, 5, 3)
        prior = Normal(centre.expand(7, 5, 3), torch.ones(7, 5, 3))
        kl = kl_divergence(Independent(q, 2), Independent(prior, 2))
        log_p = _likelihood(network, k, _lstm(decoder, z), windows)
        torch.testing.assert_close(loss[k], (kl - log_p).mean(), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(
            measures[:, k], torch.stack([-log_p.sum(), kl.sum()]), rtol=1e-4, atol=1e-3
        )


def test_a_window_of_one_step_has_a_standard_prior():
    network = MemberLSTMVAE(2, 2, (4,), 2, member_generators([3]), CPU)
    x, noise = _drawn(1, 7, 2), _drawn(1, 7, 2)
    losses = [ProgressBound(network, p).loss("adam", network, x, noise)[0] for p in (0.0, 3.0)]
    assert torch.equal(*losses)


@pytest.mark.parametrize("kind", ["lstm vae"])
def test_a_member_is_the_same_trained_alone(kind):
    stacked = trainer_of(kind, [5, 6, 7])
    stacked.train(member_rows(rows_for(kind), 3), 2)
    for k, seed in enumerate([5, 6, 7]):
        alone = trainer_of(kind, [seed])
        alone.train(member_rows(rows_for(kind), 1), 2)
        assert_member(stacked.network, k, alone.network)


def test_rows_of_the_history():
    objective = trainer_of("lstm vae", [0]).objective
    assert objective.record(3, [2.0, 0.5]) == {"epoch": 3, "nll": 2.0, "divergence": 0.5}


def test_the_variance_stays_between_its_bounds():
    network = MemberLSTMVAE(10, 2, (4,), 3, member_generators([3]), CPU)
    network.value_weight.mul_(1e4)
    variance = network.infer(_drawn(1, 50, 10)).log_variance.exp()
    assert np.isclose(variance.min(), LEAST_VARIANCE)
    assert np.isclose(variance.max(), MOST_VARIANCE)
