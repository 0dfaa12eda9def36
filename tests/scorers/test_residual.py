import pytest
import torch
from trainings import CPU, plane, trainer_of

from skrdae.networks.workspace import Workspace
from skrdae.penalties import L1, L21, PENALTIES
from skrdae.preprocessing import ColumnScaler
from skrdae.rows import HeldRows, LazyRows
from skrdae.scorers.residual import ResidualScorer
from skrdae.scorers.residual_scale import log_terms, residual_scale

SPACE = Workspace(CPU)
LAM = torch.tensor([1.0, 2.0])
by_name = pytest.mark.parametrize("name", PENALTIES)


@pytest.fixture(scope="module")
def network():
    return trainer_of("autoencoder", [0, 1]).network


@pytest.fixture(scope="module")
def rows():
    return plane(64, size=2.0)


@pytest.fixture(scope="module")
def residual(network, rows):
    return rows - network(rows.clamp(-1.5, 1.5).expand(2, -1, -1))


def _scorer(name="l21", **options):
    norms = torch.full((2, 1, 5), 4.0) if name == "l21_features" else None
    return ResidualScorer(1.5, PENALTIES[name], LAM, norms, **options)


def test_the_network_sees_clipped_values_and_the_residual_is_that_of_all(network, rows, residual):
    assert rows.abs().max() > 1.5
    torch.testing.assert_close(_scorer().residual(network, rows, SPACE), residual)


@by_name
def test_without_a_scale_the_score_is_the_penalty_of_the_row(name, network, rows, residual):
    expected = residual.norm(dim=-1) if name in ("l21", "l20") else residual.abs().sum(dim=-1)
    torch.testing.assert_close(_scorer(name).scores(network, rows, SPACE), expected)


@by_name
@pytest.mark.parametrize("scaled", [True, False])
def test_shares_are_not_negative_and_add_up_to_the_score(name, scaled, network, rows):
    scorer = _scorer(name, scale=torch.rand(2, 1, 5) + 0.5 if scaled else None)
    shares = scorer.shares(network, rows, SPACE)
    assert shares.shape == (2, 64, 5)
    assert (shares >= 0).all()
    torch.testing.assert_close(shares.sum(dim=-1), scorer.scores(network, rows, SPACE))


def test_with_a_scale_the_score_is_the_sum_of_logarithms(network, rows, residual):
    scale = torch.rand(2, 1, 5, generator=torch.Generator().manual_seed(0)) + 0.5
    expected = log_terms(residual.clone(), scale).sum(dim=-1)
    torch.testing.assert_close(_scorer(scale=scale).scores(network, rows, SPACE), expected)


@by_name
def test_members_vote_for_rows_of_which_their_prox_leaves_something(name, network, rows, residual):
    votes = _scorer(name).votes(network, rows, SPACE)
    if name == "l21_features":  # by the columns' norms in training, all above λ here
        expected = torch.ones(2, 64)
    else:
        size = residual.abs().amax(dim=-1) if name == "l1" else residual.norm(dim=-1)
        if name == "l20":
            size = size / rows.norm(dim=-1)
        expected = (size > LAM[:, None]).float()
        assert 0 < expected.mean() < 1
    assert torch.equal(votes, expected)


def test_the_sparse_part_is_the_prox_of_what_the_network_leaves_of_the_rest(network, rows):
    scorer = _scorer()
    sparse = scorer.sparse(network, rows, SPACE)
    again = scorer.residual(network, rows, SPACE, rows - sparse)
    expected = L21().prox(again, LAM)
    moved = (sparse != 0).any(dim=-1)
    assert 0 < moved.double().mean() < 1
    assert torch.equal(moved, scorer.votes(network, rows, SPACE) > 0)
    close = (expected - sparse)[moved].norm() / sparse[moved].norm()
    assert close < 0.05


def test_codes_are_those_of_the_cleaned_rows(network, rows):
    scorer = _scorer()
    cleaned = (rows - scorer.sparse(network, rows, SPACE)).clamp(-1.5, 1.5)
    torch.testing.assert_close(scorer.codes(network, rows, SPACE), network.encode(cleaned))
    assert scorer.code_size(network) == 3


def test_scales_are_measured_on_the_rows_whatever_they_are(network, rows, residual):
    scorer = _scorer()
    expected = residual_scale(residual, rows.clamp(-1.5, 1.5))
    held = scorer.measured(network, HeldRows(rows))
    torch.testing.assert_close(held, expected)
    scaler = ColumnScaler(None).fit(rows.numpy())
    assert torch.equal(scorer.measured(network, LazyRows(rows.numpy(), scaler, CPU)), held)


def test_members_and_devices_of_a_scorer():
    scorer = ResidualScorer(1.5, L1(), LAM, None, torch.rand(2, 1, 5))
    one = scorer.select(torch.tensor([1]))
    assert torch.equal(one.lam, LAM[1:])
    assert torch.equal(one.scale, scorer.scale[1:])
    assert (one.norms, one.penalty, one.bound) == (None, scorer.penalty, 1.5)
    moved = scorer.to(torch.device("meta"))
    assert moved.lam.device.type == moved.scale.device.type == "meta"
    assert scorer.lam.device == CPU
