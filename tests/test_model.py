import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from trainings import CPU, rows_for, trainer_of

from skrdae.model import FittedModel, member_weights
from skrdae.penalties import L21
from skrdae.preprocessing import ColumnScaler
from skrdae.scorers.residual import ResidualScorer


@pytest.fixture(scope="module")
def X():
    return rows_for("module").double().numpy()


@pytest.fixture
def model(X):
    network = trainer_of("module", [0, 1, 2]).network
    scorer = ResidualScorer(3.0, L21(), torch.tensor([0.5, 1.0, 4.0]))
    scaler = ColumnScaler("standard").fit(X)
    return FittedModel(scaler, network, scorer, np.array([0.5, 0.3, 0.2]))


def _scores(model, X):
    return model.map(model.scorer.scores, model.rows(X))


def test_a_function_of_all_members_is_mapped_over_the_rows(model, X):
    found = _scores(model, X)
    assert found.dtype == np.float64
    rows = torch.from_numpy(model.scaler.transform(X))
    residual = rows - model.network(rows.clamp(-3, 3).expand(3, -1, -1))
    np.testing.assert_allclose(found, residual.norm(dim=-1).numpy(), rtol=1e-5)
    assert np.array_equal(_scores(model, X[10:11])[:, 0], found[:, 10])
    assert np.array_equal(_scores(model, csr_array(X)), found)


def test_each_chunk_is_told_of(model, X):
    seen = []
    model.map(model.scorer.scores, model.rows(X), seen.append)
    assert [tuple(chunk.shape) for chunk in seen] == [(3, 64)]  # filled up


def test_members_are_averaged_by_their_weights(model, X):
    scores = _scores(model, X)
    expected = (scores * model.weights[:, None]).sum(axis=0)
    np.testing.assert_allclose(model.weighted(scores), expected, rtol=1e-12)
    alone = [model.weighted(scores[:, i : i + 1])[0] for i in range(len(X))]
    assert np.array_equal(alone, model.weighted(scores))


def test_weights_bring_medians_to_one_value_and_keep_their_mean():
    scores = np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 90.0], [0.0, 0.0, 5.0]])
    weights = member_weights(scores)
    weighted = weights[:2] * np.median(scores, axis=1)[:2]
    assert weighted[0] == pytest.approx(weighted[1])
    # The median of the third is zero, which nothing is divided by.
    assert (weights * [2, 20, 1]).sum() == pytest.approx((2 + 20 + 1) / 3)


def test_a_row_is_flagged_by_more_than_half_of_the_members(model, X):
    norms = _scores(model, X)
    votes = (norms > [[0.5], [1.0], [4.0]]).sum(axis=0)
    assert len(np.unique(votes)) > 2
    assert np.array_equal(model.votes(model.rows(X)), votes >= 2)
    two = replace(model.select(torch.tensor([0, 2])), weights=np.ones(2))
    both = (norms[[0, 2]] > [[0.5], [4.0]]).all(axis=0)
    assert np.array_equal(two.votes(two.rows(X)), both)  # one of two is not more than half


def test_codes_are_decoded_member_by_member(model):
    codes = np.random.default_rng(0).normal(size=(3, 70, 2))
    found = model.decode(codes)
    expected = model.network.decode(torch.tensor(codes, dtype=torch.float32))
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-6)
    assert model.code_size == 2


def test_some_members_score_as_they_do_among_all(model, X):
    some = model.select(torch.tensor([2, 0]))
    assert np.array_equal(_scores(some, X), _scores(model, X)[[2, 0]])
    assert some.scorer.lam.tolist() == [4.0, 0.5]
    assert model.network.n_members == 3


def test_to_another_device_and_not(model):
    assert model.device == CPU
    assert model.to(CPU).network is model.network
    other = model.to(torch.device("meta"))
    assert other.device.type == other.scorer.lam.device.type == "meta"
    assert model.device == CPU  # that was a copy


def test_a_pickle_scores_the_same(model, X):
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(_scores(again, X), _scores(model, X))
    assert again.device == CPU
    assert (again.share, again.by_vote) == (model.share, model.by_vote)


def test_what_was_found_cannot_be_changed(model):
    with pytest.raises(AttributeError):
        model.share = 0.5
