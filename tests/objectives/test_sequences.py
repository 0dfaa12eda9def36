import numpy as np
import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence
from trainings import CPU, assert_member, member_rows, rows_for, trainer_of

from skrdae._random import member_generators
from skrdae.networks.sequential import (
    LEAST_VARIANCE,
    MOST_VARIANCE,
    MemberLSTMVAE,
    MemberOmniAnomaly,
)
from skrdae.objectives.sequences import ProgressBound, StateSpaceBound


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


def _gru(weights, sequence):
    """Run a GRU as its equations say, the gates in torch's order: (n, T, in) → (n, T, units)."""
    w, u, b, c = weights
    h, out = sequence.new_zeros(len(sequence), u.shape[1]), []
    for x in sequence.unbind(1):
        (r, z, n), (of_r, of_z, of_n) = (x @ w.T + b).chunk(3, -1), (h @ u.T + c).chunk(3, -1)
        r, z = torch.sigmoid(r + of_r), torch.sigmoid(z + of_z)
        h = (1 - z) * torch.tanh(n + r * of_n) + z * h
        out.append(h)
    return torch.stack(out, dim=1)


def _kalman(z):
    """Return log p(z) of random walks with noise, by a Kalman filter: (n, T, d) → (n,)."""
    mean, variance, total = torch.zeros_like(z[:, 0]), torch.ones(()), 0.0
    for seen in z.unbind(1):
        spread = variance + 1
        total = total + Normal(mean, spread.sqrt()).log_prob(seen).sum(dim=-1)
        gain = variance / spread
        mean, variance = mean + gain * (seen - mean), variance * (1 - gain) + 1
    return total


@pytest.mark.parametrize("n_flows", [0, 3])
def test_the_loss_of_omni_anomaly_is_that_of_the_paper(n_flows):
    network = MemberOmniAnomaly(10, 2, (4,), 3, n_flows, member_generators([3, 4]), CPU)
    network.before_weight.copy_(0.4 * _drawn(2, 3, 6, seed=2))
    x, noise = _drawn(2, 7, 10), _drawn(2, 7, 15, seed=1)
    loss, measures = StateSpaceBound(network).loss("adam", network, x, noise)
    for k in range(2):
        encoder, decoder = network._layer_weights(k)
        windows, drawn = x[k].reshape(7, 5, 2), noise[k].reshape(7, 5, 3)
        states = _gru(encoder, windows)
        z, log_q, chain = torch.zeros(7, 3), 0.0, []
        # One linear map of both the state and the z before.
        weight = torch.cat([network.before_weight[k], network.code_weight[k]])
        for t in range(5):
            mean, raw = (torch.cat([z, states[:, t]], 1) @ weight + network.code_bias[k]).chunk(
                2, 1
            )
            q = Normal(mean, torch.nn.functional.softplus(raw) + 1e-4)
            z = q.mean + q.stddev * drawn[:, t]
            log_q = log_q + q.log_prob(z).sum(dim=1)
            chain.append(z)
        z = torch.stack(chain, dim=1)
        for w, u, b in (
            zip(
                *(getattr(network, f"flow_{name}")[k] for name in ("weight", "scale", "bias")),
                strict=True,
            )
            if n_flows
            else ()
        ):
            u = u + (torch.log1p(torch.exp(w @ u)) - 1 - w @ u) * w / (w @ w)
            bend = torch.tanh(z @ w + b)
            psi = (1 - bend**2)[..., None] * w
            log_q = log_q - torch.log(torch.abs(1 + psi @ u)).sum(dim=1)
            z = z + bend[..., None] * u
        divergence = log_q - _kalman(z)
        log_p = _likelihood(network, k, _gru(decoder, z), windows)
        torch.testing.assert_close(loss[k], (divergence - log_p).mean(), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(
            measures[:, k], torch.stack([-log_p.sum(), divergence.sum()]), rtol=1e-4, atol=1e-3
        )


def test_the_prior_is_that_of_the_state_space():
    z, steps = _drawn(6, 5, 1), torch.arange(1.0, 6.0)
    covariance = torch.minimum(steps[:, None], steps) + torch.eye(5)
    expected = MultivariateNormal(torch.zeros(5), covariance).log_prob(z[..., 0])
    torch.testing.assert_close(_kalman(z), expected)


def test_a_window_of_one_step_has_a_standard_prior():
    network = MemberLSTMVAE(2, 2, (4,), 2, member_generators([3]), CPU)
    x, noise = _drawn(1, 7, 2), _drawn(1, 7, 2)
    losses = [ProgressBound(network, p).loss("adam", network, x, noise)[0] for p in (0.0, 3.0)]
    assert torch.equal(*losses)


def _in_pieces(trainer, rows_a_piece):
    trainer.network.rows_a_piece = rows_a_piece
    return trainer


@pytest.mark.parametrize("kind", ["lstm vae", "omni anomaly"])
def test_a_member_is_the_same_trained_alone_on_any_number_of_threads(kind):
    rows, before = rows_for(kind), torch.get_num_threads()
    torch.set_num_threads(3)
    stacked = _in_pieces(trainer_of(kind, [5, 6, 7]), 5)  # pieces of batches of 12 and 13
    stacked.train(member_rows(rows, 3), 2)
    for k, seed in enumerate([5, 6, 7]):
        torch.set_num_threads(1 + k)
        alone = _in_pieces(trainer_of(kind, [seed]), 5)
        alone.train(member_rows(rows, 1), 2)
        assert_member(stacked.network, k, alone.network)
    torch.set_num_threads(before)


@pytest.mark.parametrize("kind", ["lstm vae", "omni anomaly"])
def test_the_pieces_of_a_batch_make_the_same_step(kind):
    whole, pieces = (_in_pieces(trainer_of(kind, [5, 6]), size) for size in (None, 3))
    rows = member_rows(rows_for(kind), 2)
    torch.testing.assert_close(pieces.train(rows, 2), whole.train(rows, 2))
    for a, b in zip(pieces.network.parameters(), whole.network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4)


def test_rows_of_the_history():
    objective = trainer_of("lstm vae", [0]).objective
    assert objective.record(3, [2.0, 0.5]) == {"epoch": 3, "nll": 2.0, "divergence": 0.5}


def test_the_variance_stays_between_its_bounds():
    network = MemberLSTMVAE(10, 2, (4,), 3, member_generators([3]), CPU)
    network.value_weight.mul_(1e4)
    variance = network.infer(_drawn(1, 50, 10)).log_variance.exp()
    assert np.isclose(variance.min(), LEAST_VARIANCE)
    assert np.isclose(variance.max(), MOST_VARIANCE)
