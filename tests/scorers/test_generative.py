import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from trainings import CPU, plane, trainer_of

from skrdae.networks.workspace import Workspace
from skrdae.scorers.generative import ElboScorer
from skrdae.scorers.mismatch import MismatchScorer

SPACE = Workspace(CPU)
LIKELIHOODS = pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])


def _elbo(likelihood, n_samples=0, level=1.0):
    generator = torch.Generator().manual_seed(0)
    variance = torch.rand(2, 1, 5, generator=generator) + 0.5
    draws = torch.randn(2, n_samples, 2, generator=generator)
    network = trainer_of(likelihood, [0, 1]).network
    return network, ElboScorer(1.5, level, likelihood, 0.7, variance, draws)


def _mismatch(n_search_iter=0):
    return trainer_of("gan", [0, 1]).network, MismatchScorer(1.5, 2.0, 0.3, n_search_iter)


SCORERS = {
    "gaussian": lambda: _elbo("gaussian", level=2.0),
    "draws": lambda: _elbo("gaussian", n_samples=3, level=2.0),
    "bernoulli": lambda: _elbo("bernoulli"),
    "encoder": _mismatch,
    "search": lambda: _mismatch(4),
}


@pytest.fixture(params=SCORERS)
def made(request):
    return SCORERS[request.param]()


@pytest.fixture(scope="module")
def rows():
    return plane(64, size=2.0)


@LIKELIHOODS
def test_the_score_is_the_negative_evidence_lower_bound_at_the_mean(likelihood, rows):
    network, scorer = _elbo(likelihood)
    x = rows.clamp(-1.5, 1.5).expand(2, -1, -1)
    mean, log_variance = network.encode(x)
    out = network.decode(mean.contiguous())
    if likelihood == "gaussian":
        error = ((rows - out).square() / (2 * scorer.variance)).sum(dim=-1)
    else:
        inside = rows.clamp(0, 1).expand(2, -1, -1)
        error = binary_cross_entropy_with_logits(out, inside, reduction="none").sum(dim=-1)
        error = error + (rows - inside).square().sum(dim=-1)
    kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(dim=-1)
    found = scorer.parts(network, rows, SPACE)
    torch.testing.assert_close(found, torch.stack([error, 0.7 * kl], dim=-1), rtol=1e-4, atol=1e-5)


@LIKELIHOODS
def test_with_draws_the_score_is_the_mean_error_at_them(likelihood, rows):
    network, scorer = _elbo(likelihood, n_samples=3)
    mean, log_variance = network.encode(scorer.shown(network, rows))
    _, other = _elbo(likelihood)
    errors = []
    for draw in range(3):
        z = mean + torch.exp(0.5 * log_variance) * scorer.draws[:, draw : draw + 1]
        errors.append(other._error_at(network, z, rows, SPACE).sum(dim=-1).clone())
    expected = torch.stack(errors).mean(dim=0)
    torch.testing.assert_close(scorer.scores(network, rows, SPACE), expected)
    assert not scorer.parts(network, rows, SPACE)[..., 1].any()


def test_the_score_is_the_weighted_mismatch_of_rows_and_features(rows):
    network, scorer = _mismatch()
    unit = (rows.clamp(-1.5, 1.5) / 2).expand(2, -1, -1)
    made = network.generator(network.encoder(unit))
    residual = (rows / 2 - made).abs().sum(dim=-1)
    by_feature = (network.features(unit)[-1] - network.features(made)[-1]).abs().sum(dim=-1)
    found = scorer.parts(network, rows, SPACE)
    expected = torch.stack([0.7 * residual, 0.3 * by_feature], dim=-1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_search_starts_at_the_encoders_codes_and_never_raises_a_score(rows):
    network, encoder = _mismatch()
    scores = encoder.scores(network, rows, SPACE)
    searched = _mismatch(10)[1].scores(network, rows, SPACE)
    assert (searched <= scores + 1e-5).all()
    assert searched.mean() < scores.mean()


def test_parts_and_shares_add_up_to_the_score(made, rows):
    network, scorer = made
    scores = scorer.scores(network, rows, SPACE).clone()
    parts = scorer.parts(network, rows, SPACE)
    torch.testing.assert_close(parts.sum(dim=-1), scores, rtol=1e-4, atol=1e-4)
    shares = scorer.shares(network, rows, SPACE)
    assert (shares >= 0).all()
    torch.testing.assert_close(shares.sum(dim=-1), scores, rtol=1e-4, atol=1e-4)


def test_codes_and_what_is_decoded_of_them(made, rows):
    network, scorer = made
    codes = scorer.codes(network, rows, SPACE).contiguous()
    assert codes.shape == (2, 64, scorer.code_size(network))
    decoded = scorer.decode(network, codes.clone(), SPACE)
    assert decoded.shape == (2, 64, 5)
    if isinstance(scorer, MismatchScorer):
        expected = 2 * network.generator(codes)
    elif scorer.likelihood == "bernoulli":
        expected = network.decode(codes).sigmoid()
    else:
        expected = 2 * network.decode(codes)
    torch.testing.assert_close(decoded, expected)


def test_a_member_scores_as_it_does_alone(made, rows):
    network, scorer = made
    one = torch.tensor([1])
    alone = scorer.select(one).scores(network.select(one), rows, SPACE)
    assert torch.equal(alone[0], scorer.scores(network, rows, Workspace(CPU))[1])


def test_rows_are_left_as_they_are(made, rows):
    network, scorer = made
    before = rows.clone()
    for method in (scorer.scores, scorer.shares, scorer.parts, scorer.codes):
        method(network, rows, SPACE)
    assert torch.equal(rows, before)
