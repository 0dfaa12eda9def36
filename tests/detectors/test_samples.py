"""Rows that members are trained on."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from skrdae import (
    AnoGANDetector,
    LSTMRobustAutoencoder,
    RobustDeepAutoencoder,
    RobustDeepAutoencoderCV,
    VAEDetector,
)
from skrdae.detectors import samples
from skrdae.detectors.samples import member_places, rows_a_member

DETECTORS = {
    "robust": RobustDeepAutoencoder(n_estimators=3, max_iter=2, random_state=0),
    "CV": RobustDeepAutoencoderCV(2, cv=2, n_estimators=3, max_iter=2, random_state=0),
    "LSTM": LSTMRobustAutoencoder(n_estimators=2, max_iter=2, n_channels=2, random_state=0),
    "VAE": VAEDetector(n_estimators=3, n_epochs=2, random_state=0),
    "Bernoulli VAE": VAEDetector(
        likelihood="bernoulli", n_estimators=3, n_epochs=2, random_state=0
    ),
    "GAN": AnoGANDetector(n_estimators=3, n_epochs=2, n_encoder_epochs=2, random_state=0),
}
by_name = pytest.mark.parametrize("name", DETECTORS)


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(300, 6))
    rows[:6] += rng.normal(scale=5, size=(6, 6))
    return rows


def _scores(name, X, **options):
    return clone(DETECTORS[name]).set_params(**options).fit(X).decision_scores_


def test_how_many_rows_there_are():
    assert rows_a_member(None, 9_999) == 9_999
    assert rows_a_member(None, 10**6) == 10_000
    assert rows_a_member(1.0, 10**6) == 10**6
    assert rows_a_member("auto", 10**6) == 256
    assert rows_a_member("auto", 100) == 100
    assert rows_a_member(500, 100) == 100
    assert rows_a_member(0.25, 1000) == 250
    assert rows_a_member(1e-9, 1000) == 1


@by_name
def test_the_default_is_all_rows_of_a_table_that_is_not_large(name, X, monkeypatch):
    all_rows = _scores(name, X, max_samples=1.0)
    assert np.array_equal(_scores(name, X), all_rows)
    monkeypatch.setattr(samples, "MOST_ROWS", 120)  # so that this one is
    few = _scores(name, X)
    assert not np.array_equal(few, all_rows)
    if name != "CV":  # whose folds are smaller
        assert np.array_equal(few, _scores(name, X, max_samples=120))


@pytest.mark.parametrize("name", ["VAE", "Bernoulli VAE", "GAN"])
def test_a_member_trained_on_a_part_is_the_same_fit_made_alone(name, X):
    # To the last bit on a CPU.
    detector = clone(DETECTORS[name]).set_params(max_samples=0.4, device="cpu").fit(X)
    alone = clone(detector).set_params(n_estimators=1).fit(X)
    for stacked, single in zip(
        detector.network_.parameters(), alone.network_.parameters(), strict=True
    ):
        assert torch.equal(stacked[:1], single)


@pytest.mark.parametrize("name", ["robust", "VAE", "GAN"])
def test_members_see_different_rows_and_anomalies_are_found(name, X):
    options = {"max_samples": 100} | ({"max_iter": 5} if name == "robust" else {"n_epochs": 30})
    found = _scores(name, X, n_estimators=8, **options)
    assert roc_auc_score(np.arange(300) < 6, found) > 0.97


def test_rows_of_members_are_drawn_by_their_generators():
    generators = [torch.Generator().manual_seed(k) for k in (0, 1)]
    places = member_places(4, 10, generators)
    assert places.shape == (2, 4)
    for k, mine in enumerate(places):
        assert torch.equal(member_places(4, 10, [torch.Generator().manual_seed(k)])[0], mine)
        assert len(set(mine.tolist())) == 4  # without replacement
    assert member_places(10, 10, generators) is None


@by_name
def test_more_rows_than_there_are_is_a_warning(name, X):
    if name == "CV":
        pytest.skip("folds are smaller than X")
    with pytest.warns(UserWarning, match="max_samples .1000. is greater"):
        found = _scores(name, X, max_samples=1000)
    assert np.array_equal(found, _scores(name, X))


@pytest.mark.parametrize("name", ["robust", "VAE"])
@pytest.mark.parametrize("max_samples", [0.5, 90, "auto"])
def test_sparse_rows_of_members_are_those_of_the_dense_matrix(name, max_samples):
    rng = np.random.default_rng(0)
    X = rng.poisson(0.4, size=(300, 8)).astype(np.float64)
    options = {"max_samples": max_samples, "scaler": "standard", "device": "cpu"}
    dense, sparse = _scores(name, X, **options), _scores(name, csr_matrix(X), **options)
    np.testing.assert_allclose(dense, sparse, rtol=1e-4)


def test_warnings_for_sparse_rows_are_those_for_dense_ones():
    X = np.abs(np.random.default_rng(0).normal(size=(50, 4)))
    for rows in (X, csr_matrix(X)):
        detector = RobustDeepAutoencoder(n_estimators=1, device="cpu", random_state=0)
        with pytest.warns(UserWarning, match="max_samples"):
            clone(detector).set_params(max_samples=60).fit(rows)
        with pytest.warns(UserWarning, match="output_activation='sigmoid'"):
            clone(detector).set_params(output_activation="sigmoid").fit(rows)
        with pytest.warns(UserWarning, match="4 of 4 columns of X hold values far beyond 1"):
            clone(detector).set_params(scaler=None).fit(100 * rows)
