import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from skrdae._random import member_generators
from skrdae.networks.variational import (
    MemberVAE,
    bernoulli_error,
    gaussian_kl,
    gaussian_spread,
)
from skrdae.networks.workspace import Workspace

CPU = torch.device("cpu")


def test_divergence_is_that_of_torch():
    generator = torch.Generator().manual_seed(0)
    mean = 3 * torch.randn(4, 50, 6, generator=generator, dtype=torch.float64)
    log_variance = 3 * torch.randn(4, 50, 6, generator=generator, dtype=torch.float64)
    spread = gaussian_spread(log_variance).double()
    torch.testing.assert_close(spread, torch.exp(0.5 * log_variance).float().double())
    q = Normal(mean, torch.exp(0.5 * log_variance))
    expected = kl_divergence(q, Normal(torch.zeros_like(mean), torch.ones_like(mean)))
    torch.testing.assert_close(gaussian_kl(mean, log_variance), expected)


def test_divergence_keeps_its_digits_near_the_prior():
    tiny = torch.tensor([1e-4, -1e-4, 0.0])
    expected = tiny.double().square() / 4  # of log σ² alone, to second order
    torch.testing.assert_close(
        gaussian_kl(torch.zeros(3), tiny).double(), expected, rtol=1e-3, atol=0
    )


def test_bernoulli_error_is_the_negative_log_likelihood():
    logit = torch.linspace(-30, 30, 61)
    for x in (0.0, 1.0):
        expected = -Bernoulli(logits=logit.double()).log_prob(torch.tensor(x).double())
        torch.testing.assert_close(
            bernoulli_error(logit, torch.tensor(x)), expected.float(), rtol=1e-6, atol=1e-8
        )
    # Between the two it is the mean of both, and far out it neither overflows nor turns negative.
    torch.testing.assert_close(
        bernoulli_error(logit, torch.tensor(0.25)),
        0.25 * bernoulli_error(logit, torch.tensor(1.0))
        + 0.75 * bernoulli_error(logit, torch.tensor(0.0)),
    )
    assert bernoulli_error(torch.tensor(1e4), torch.tensor(1.0)) == 0
    assert bernoulli_error(torch.tensor(-1e4), torch.tensor(1.0)) == 1e4


def test_parts_of_a_workspace_do_not_share_memory():
    space = Workspace(CPU)
    whole, part = space.take("a", 2, 3).fill_(1), space.part("p").take("a", 2, 3).fill_(2)
    assert (whole == 1).all()
    assert (part == 2).all()
    assert space.part("p").take("a", 6).data_ptr() == part.data_ptr()


def test_encoder_and_decoder_have_the_given_shapes():
    network = MemberVAE(7, (5, 4), 2, "tanh", member_generators([0, 1, 2]), CPU)
    mean, log_variance = network.encode(torch.zeros(3, 6, 7))
    assert mean.shape == log_variance.shape == (3, 6, 2)
    assert network.decode(mean).shape == (3, 6, 7)
    assert [tuple(w.shape[1:]) for w in network.decoder.weights] == [(2, 4), (4, 5), (5, 7)]
    assert network.encoder.activations == ["tanh", "tanh", "identity"]
